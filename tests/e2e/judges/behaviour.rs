//! `REDbot` asks the server by itself: with and without encodings, for parts, and whether what it has still
//! holds; then it compares the answers.

use serde_json::{Value, json};

use super::notes::{self, Accepted};
use crate::harness::{World, sync_client};

/// Address, and whether what is there can be asked for in parts and for changes.
const ADDRESSES: [(&str, bool); 7] = [
    ("/", true),
    ("/notes.txt", true),
    ("/css/site.css", true),
    ("/assets/app.3f9c2b1a.js", true),
    ("/picture.gif", true),
    ("/app/settings", true),
    ("/nowhere.png", false),
];

const ACCEPTED: &[Accepted] = &[Accepted {
    note: "STORE_PUBLIC_UNNECESSARY",
    answers: &[
        "/notes.txt",
        "/css/site.css",
        "/assets/app.3f9c2b1a.js",
        "/picture.gif",
    ],
    why: "a shared cache may keep assets also where a proxy in front asks for a password (RFC 9111, section 3.5)",
}];

fn publish(world: &World) {
    let words = "Every word of this page is here to be encoded, and then again. ".repeat(80);
    let page = format!("<!doctype html>\n<html lang=\"en\"><title>A page</title>\n<p>{words}\n");
    world.site.write("index.html", &page);
    world.site.write("404.html", &page);
    world.site.write("notes.txt", &words);
    world
        .site
        .write("css/site.css", &"main { color: navy }\n".repeat(80));
    world
        .site
        .write("assets/app.3f9c2b1a.js", &"console.log(1);\n".repeat(80));
    // A signature alone makes no picture, and all that counts is that the name says not to encode it.
    world.site.write("picture.gif", &format!("GIF89a{words}"));
    world.site.write("_redirects", "/app/* /index.html 200\n");
    let tree = world.site.tree();
    sync_client::publish(world.address(), None, (&<_>::default(), &tree))
        .expect("the server answers");
}

fn verdict(world: &World, address: &str) -> Value {
    let url = format!("{}{address}", World::url_of(world.address()));
    let order = json!({ "answer": address, "url": url });
    notes::verdicts("probe_addresses.py", &[order]).remove(0)
}

#[test]
fn negotiation_validators_and_ranges_agree() {
    let world = World::new();
    publish(&world);
    let mut verdicts = Vec::new();
    for (address, is_file) in ADDRESSES {
        let verdict = verdict(&world, address);
        let supports = &verdict["supports"];
        for what in ["ranges", "tags"] {
            assert_eq!(supports[what], is_file, "{address}: {what}");
        }
        // What a rule decides is another file from one request to the next, and has no date.
        let is_dated = is_file && address != "/app/settings";
        assert_eq!(supports["dates"], is_dated, "{address}: dates");
        let is_encoded = address != "/picture.gif";
        assert_eq!(supports["gzip"], is_encoded, "{address}");
        verdicts.push(verdict);
    }
    notes::assert_accepted(&verdicts, ACCEPTED);
}
