//! What goes over the wire, counted at a relay: on a warm connection one save is one exchange.

use std::fs;

use onsave_protocol::Sha256Digest;

use crate::harness::{
    World, eventually,
    relay::{Relay, RequestReader},
    world,
};

fn calls(relay: &Relay) -> Vec<String> {
    let mut requests = relay.take_requests();
    // Warming the connection asks for health before anything is to be published; it costs the
    // publish no wait.
    requests.retain(|request| !request.starts_with("GET /_icd/health"));
    requests
}

#[test]
fn a_publish_on_a_warm_connection_is_one_exchange() {
    let world = World::with_small_site();
    let relay = Relay::start(world.address());
    let mut command = world.command_to(relay.address(), &["watch"]);
    command.env("ONSAVE_PUBLISH_VERIFY_LIVE", "false");
    let _daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    eventually("the first publish to be counted", || {
        !calls(&relay).is_empty()
    });

    let connections = relay.connections();
    for save in 0..8 {
        world.site.save("index.html", &format!("<h1>{save}</h1>"));
        world::wait_until_live(world.address(), &world.site.tree());
        assert_eq!(calls(&relay), ["POST /_icd/changesets"], "save {save}");
    }
    assert_eq!(relay.connections(), connections, "the connection is kept");
}

/// A page of about `paragraphs` times 140 bytes, with as much in common as pages have.
fn page(sentence: &str, paragraphs: u32) -> String {
    let paragraphs: Vec<String> = (0..paragraphs)
        .map(|number| {
            let salt = number.wrapping_mul(2_654_435_761);
            format!(
                "<p>Paragraph {number} has a mark of its own, {salt:08x}, and some words that every \
                 paragraph of this page has in common with the others.</p>\n"
            )
        })
        .collect();
    format!("<h1>Page</h1>\n<p>{sentence}</p>\n{}", paragraphs.concat())
}

/// Returns the bytes that an edit of one sentence costs, both ways and headers included.
fn edit(paragraphs: u32) -> u64 {
    let world = World::with_small_site();
    world.site.save("page.html", &page("Before.", paragraphs));
    let relay = Relay::start(world.address());
    let mut command = world.command_to(relay.address(), &["watch"]);
    command.env("ONSAVE_PUBLISH_VERIFY_LIVE", "false");
    let _daemon = world.start("watch", &mut command);
    world.wait_until_live(&world.site.tree());
    let digest = Sha256Digest::of(&world.site.tree()["page.html"]).to_string();
    eventually("the version that the server has to be kept", || {
        let folders = fs::read_dir(world.path("home/state/onsave")).expect("it is made");
        let mut states = folders.flatten().map(|state| state.path());
        states.any(|state| {
            state
                .join("versions")
                .join(&digest[..2])
                .join(&digest)
                .exists()
        })
    });
    relay.take_requests();
    let before = relay.bytes();
    world
        .site
        .save("page.html", &page("One sentence has changed.", paragraphs));
    world.wait_until_live(&world.site.tree());
    assert_eq!(calls(&relay), ["POST /_icd/changesets"]);
    relay.bytes() - before
}

#[test]
fn a_sentence_in_a_10_kb_page_costs_at_most_1200_bytes() {
    let cost = edit(72);
    assert!((100..=1_200).contains(&cost), "{cost} bytes");
}

#[test]
fn a_sentence_in_a_2_mb_file_costs_at_most_4_kb() {
    let cost = edit(14_500);
    assert!((100..=4_000).contains(&cost), "{cost} bytes");
}

const STREAM: &[u8] = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n\
    POST /d HTTP/1.1\r\nContent-Length: 9\r\n\r\nGET /\r\n\r\n\
    HEAD /e HTTP/1.1\r\n\r\n";

#[test]
fn requests_are_found_wherever_the_stream_is_cut() {
    for cut in 0..STREAM.len() {
        let mut reader = RequestReader::default();
        let (first, rest) = STREAM.split_at(cut);
        let mut found = reader.read(first);
        found.extend(reader.read(rest));
        assert_eq!(found, ["GET /a?b=c", "POST /d", "HEAD /e"], "cut at {cut}");
    }
}
