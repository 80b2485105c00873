//! What the daemon says: one line for each publish, for people or for programs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{World, eventually};

/// What a line about a publish has to state.
const FIELDS: [&str; 6] = [
    "deploy.id",
    "wire.sent_bytes",
    "settle_ms",
    "scan_ms",
    "send_ms",
    "server_ms",
];

#[test]
fn a_publish_is_one_line_that_says_what_changed_and_what_it_took() {
    let world = World::with_small_site();
    let daemon = world.watch_until_live();
    for save in 0..3 {
        world.site.save("about.html", &format!("<h1>{save}</h1>"));
        world.wait_until_live(&world.site.tree());
    }
    let lines = || -> Vec<String> {
        let said = daemon.stderr();
        let published = said.lines().filter(|line| line.contains("published"));
        published.map(str::to_owned).collect()
    };
    eventually("a line for each publish", || lines().len() == 4);
    for line in &lines()[1..] {
        assert!(line.contains("about.html"), "{line}");
        assert!(FIELDS.iter().all(|field| line.contains(field)), "{line}");
    }
    let id = world.current_deploy().unwrap();
    assert!(
        lines()[3].contains(&id),
        "the last line names the current deploy"
    );
}

#[test]
fn as_json_every_line_is_an_object() {
    let world = World::with_small_site();
    let arguments = ["watch", "--log-format", "json", "--verbose"];
    let daemon = world.start("watch", &mut world.command(&arguments));
    world.wait_until_live(&world.site.tree());
    world.site.save("index.html", "<h1>second</h1>");
    world.wait_until_live(&world.site.tree());
    eventually("both publishes to be logged", || {
        daemon.stderr().matches("server_ms").count() == 2
    });
    let said = daemon.stderr();
    let whole_lines = said
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let mut levels = BTreeSet::new();
    for line in whole_lines {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        levels.insert(
            event["level"]
                .as_str()
                .expect("every event has a level")
                .to_owned(),
        );
    }
    assert_eq!(
        levels,
        BTreeSet::from(["DEBUG".to_owned(), "INFO".to_owned()])
    );
}
