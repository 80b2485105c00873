//! Save→live: from the return of the editor's rename to the first GET over a kept connection that
//! answers the new bytes; and what the server and the wire had to do for it.

use std::{
    io::{self, Write},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    big_site::{self, EDITED, EDITED_TARGET},
    harness::{
        World,
        deadline::{LIMIT, throughout},
        http::{Connection, Request},
        relay::Relay,
        site::Tree,
        sync_client,
    },
    resources::{self, AtRest},
    samples::Samples,
};

/// Edits whose bytes are counted.
const COUNTED_EDITS: u32 = 10;

/// Deploys after the first for which no pruned tree can be recycled yet.
const EARLY_COMMITS: usize = 5;

/// Commits after those, each when the server has come to rest.
const LATER_COMMITS: usize = 10;

/// Commits after those, one right after the other.
const BURST_COMMITS: usize = 20;

/// What was measured at one size.
#[derive(Debug)]
pub(crate) struct Measured {
    files: u32,
    save_to_live: Samples,
    /// What one durable save took on this disk meanwhile.
    durable_save: Samples,
    commits: Commits,
    bytes_per_edit: u64,
    /// The daemon and the server.
    at_rest: [AtRest; 2],
}

/// What the server says that commits took, by when they were made.
#[derive(Debug, Default)]
struct Commits {
    /// The second to the sixth deploy.
    early: Samples,
    later: Samples,
    burst: Samples,
}

/// Measures a site of `files` pages; returns its world as well.
pub(crate) fn measure(files: u32, edits: u32) -> (Measured, World) {
    let mut world = World::new();
    big_site::write(&world.site, files);
    rustix::fs::sync();
    world.run_well(&["publish"]);
    let commits = commits_by_hand(&mut world);

    let durable_save = resources::durable_saves(&world.path("home"));
    let daemon = world.watch();
    wait_until_in_step(&world);
    let processes = [daemon.id(), world.server.process().id()];
    resources::wait_until_at_rest(processes);
    let save_to_live = edits_until_live(&world, edits);
    let at_rest = resources::at_rest(processes);
    drop(daemon);
    let measured = Measured {
        files,
        save_to_live,
        durable_save,
        commits,
        bytes_per_edit: bytes_per_edit(&world),
        at_rest,
    };
    (measured, world)
}

/// Prints what was measured as tables.
pub(crate) fn print(measured: &[Measured], out: &mut impl Write) -> io::Result<()> {
    let (Some(first), Some(last)) = (measured.first(), measured.last()) else {
        return Ok(());
    };
    writeln!(out, "In ms, but for the bytes; each p50 / p95 / max.\n")?;
    writeln!(
        out,
        "| files | save→live | server, deploys 2 to 6 | server, later deploys | server, in a burst | a durable save of this disk | bytes an edit |"
    )?;
    writeln!(out, "|---:|---:|---:|---:|---:|---:|---:|")?;
    for one in measured {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            one.files,
            one.save_to_live.cell(),
            one.commits.early.cell(),
            one.commits.later.cell(),
            one.commits.burst.cell(),
            one.durable_save.cell(),
            one.bytes_per_edit
        )?;
    }
    writeln!(
        out,
        "\n| files | daemon MB | daemon idle CPU % | server MB | server idle CPU % |"
    )?;
    writeln!(out, "|---:|---:|---:|---:|---:|")?;
    for one in measured {
        let [daemon, server] = one.at_rest;
        writeln!(
            out,
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} |",
            one.files,
            megabytes(daemon.resident),
            daemon.processor,
            megabytes(server.resident),
            server.processor
        )?;
    }
    let [smallest, largest] =
        [first, last].map(|one| one.save_to_live.percentile(50).as_secs_f64());
    writeln!(
        out,
        "\np50 at {} files is {:.2} times that at {}.",
        last.files,
        largest / smallest,
        first.files
    )
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Publishes the second deploy and later ones by hand and returns what the server says they took.
fn commits_by_hand(world: &mut World) -> Commits {
    let server = world.server.process().id();
    let mut base = world.current_deploy();
    let tree = |text: String| Tree::from([(EDITED.to_owned(), text.into_bytes())]);
    let mut old = tree(big_site::page(0, "As it was first written."));
    let mut commits = Commits::default();
    for number in 0..EARLY_COMMITS + LATER_COMMITS + BURST_COMMITS {
        let samples = if number < EARLY_COMMITS {
            &mut commits.early
        } else if number < EARLY_COMMITS + LATER_COMMITS {
            &mut commits.later
        } else {
            &mut commits.burst
        };
        if number < EARLY_COMMITS + LATER_COMMITS {
            resources::wait_until_at_rest([server]);
        }
        let new = tree(big_site::page(
            0,
            &format!("Written by hand {number} times."),
        ));
        let published = sync_client::publish(world.address(), base.as_deref(), (&old, &new))
            .expect("the server answers");
        samples.push(Duration::from_secs_f64(published.server_ms / 1_000.0));
        base = Some(published.deploy_id.to_string());
        old = new;
    }
    commits
}

/// Waits until the daemon publishes saves: until one of them is live.
fn wait_until_in_step(world: &World) {
    let page = big_site::page(0, "Saved to see that the daemon watches.");
    world.site.save(EDITED, &page);
    world.wait_for_page(EDITED_TARGET, &page);
}

fn edits_until_live(world: &World, edits: u32) -> Samples {
    let mut reader = Connection::open(world.address()).expect("the server listens");
    let mut samples = Samples::default();
    for edit in 0..edits {
        let page = big_site::page(0, &format!("This sentence is edit {edit}."));
        world.site.save(EDITED, &page);
        let saved = Instant::now();
        wait_for_bytes(&mut reader, page.as_bytes());
        samples.push(saved.elapsed());
        // A person saves again after the daemon has come to rest, and not in its rhythm.
        throughout(
            Duration::from_millis(120 + u64::from(edit % 7) * 13),
            "rest",
            || true,
        );
    }
    samples
}

/// Asks without a pause until the new bytes are there.
fn wait_for_bytes(reader: &mut Connection, bytes: &[u8]) {
    let end = Instant::now() + LIMIT;
    let request = Request {
        method: "GET",
        target: EDITED_TARGET,
        ..Request::default()
    };
    loop {
        let answer = reader.send(&request).expect("the server answers");
        if answer.body == bytes {
            return;
        }
        assert!(
            Instant::now() < end,
            "the edit was not live within {LIMIT:?}"
        );
    }
}

/// Returns the mean bytes in both directions for one edited sentence, counted between a daemon and
/// its server.
fn bytes_per_edit(world: &World) -> u64 {
    let relay = Relay::start(world.address());
    let mut command = world.command_to(relay.address(), &["watch"]);
    command.env("ONSAVE_PUBLISH_VERIFY_LIVE", "false");
    let _daemon = world.start("watch-counted", &mut command);
    wait_until_in_step(world);
    let before = relay.bytes();
    for number in 0..COUNTED_EDITS {
        let page = big_site::page(0, &format!("Sentence {number} of those that are counted."));
        world.site.save(EDITED, &page);
        world.wait_for_page(EDITED_TARGET, &page);
    }
    (relay.bytes() - before) / u64::from(COUNTED_EDITS)
}
