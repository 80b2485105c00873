//! `onsave doctor`: what it says of a healthy site and of a sick one, and that it only looks.

use std::{fs, process::Output};

use serde_json::Value;

use crate::harness::{World, server};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("what onsave prints is UTF-8")
}

/// Runs the doctor, checks its exit code, and returns what it found.
#[track_caller]
fn examine(mut command: std::process::Command, code: i32) -> Value {
    let output = command
        .arg("--json")
        .output()
        .expect("onsave can be started");
    let printed = stdout(&output);
    assert_eq!(output.status.code(), Some(code), "{printed}");
    assert!(!printed.contains(server::SECRET), "{printed}");
    serde_json::from_str(&printed).expect("it prints one object")
}

/// Returns the verdict and the words of the worst finding of a topic.
#[track_caller]
fn finding(report: &Value, topic: &str) -> (String, String) {
    let findings = report["findings"].as_array().expect("there are findings");
    let rank = |finding: &Value| match finding["verdict"].as_str() {
        Some("ok") => 0,
        Some("warning") => 1,
        Some("broken") => 2,
        other => panic!("no verdict: {other:?}"),
    };
    let worst = findings
        .iter()
        .filter(|finding| finding["topic"] == topic)
        .max_by_key(|finding| rank(finding))
        .unwrap_or_else(|| panic!("nothing is said of {topic}: {report:#}"));
    let text = |key: &str| worst[key].as_str().unwrap_or_default().to_owned();
    assert!(
        worst["verdict"] == "ok" || worst["fix"].is_string(),
        "what is not well has a fix: {worst}"
    );
    (text("verdict"), format!("{} {}", text("what"), text("fix")))
}

#[track_caller]
fn assert_finding(report: &Value, topic: &str, expected: (&str, &str)) {
    let (verdict, text) = finding(report, topic);
    assert_eq!(verdict, expected.0, "{topic}: {text}");
    assert!(text.contains(expected.1), "{topic}: {text}");
}

#[test]
fn a_healthy_site_is_well_on_a_server_and_on_this_machine() {
    let world = World::with_small_site();
    world.run_well(&["publish"]);
    let deploy = world.current_deploy().expect("it was published");
    let report = examine(world.command(&["doctor"]), 0);
    for topic in ["config", "state", "secret", "clock", "version"] {
        assert_finding(&report, topic, ("ok", ""));
    }
    assert_finding(&report, "folder", ("ok", "3 folders"));
    assert_finding(&report, "server", ("ok", &deploy));
    assert_finding(&report, "public", ("ok", "answers its visitors"));
    let text = world.run_well(&["doctor"]);
    assert!(text.contains("\nok       server"), "{text}");
    assert!(text.ends_with(" 0 broken\n"), "{text}");

    // The local target, before anything was made for it, and then with a daemon.
    let before = examine(world.local_command(&["doctor"]), 0);
    assert_finding(&before, "server", ("ok", "no `onsave watch` runs"));
    assert!(!world.project().join(".onsave").exists(), "it only looks");
    let mut daemon = world.start("watch", &mut world.local_command(&["watch"]));
    world.local_address(&mut daemon);
    let with = examine(world.local_command(&["doctor"]), 0);
    assert_finding(&with, "server", ("ok", "the local target"));
    assert_finding(&with, "secret", ("ok", "takes the secret"));
    drop(daemon);
    // What a killed daemon left points nowhere.
    assert!(world.project().join(".onsave/server.json").exists());
    let after = examine(world.local_command(&["doctor"]), 0);
    assert_finding(&after, "server", ("ok", "no `onsave watch` runs"));
}

#[test]
fn a_wrong_secret_and_a_missing_folder_are_broken_and_say_what_to_do() {
    let world = World::with_small_site();
    let mut stranger = world.command(&["doctor"]);
    stranger.env("ONSAVE_SYNC_SECRET", "another-secret-31337");
    let report = examine(stranger, 9);
    assert_finding(&report, "secret", ("broken", "ONSAVE_SYNC_SECRET"));
    assert_finding(&report, "server", ("ok", "answers"));
    assert_eq!(report["worst"], "broken");
    assert!(!report.to_string().contains("31337"));

    let report = examine(world.command(&["doctor", "--dir", "no-such-folder"]), 9);
    assert_finding(&report, "folder", ("broken", "no-such-folder"));
    assert_finding(&report, "secret", ("ok", ""));

    let told = world.run(&["doctor", "--dir", "no-such-folder"]);
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(said.contains("error: 1 finding is broken"), "{said}");
    assert!(
        stdout(&told).contains("fix: build the site first"),
        "{told:?}"
    );
    assert_eq!(world.current_deploy(), None);
}

#[test]
fn a_faulty_configuration_is_examined_as_far_as_it_goes() {
    let world = World::with_small_site();
    world.configure("[watch]\nquiet = 25\n");
    let report = examine(world.command(&["doctor"]), 9);
    assert_finding(&report, "config", ("broken", "quiet_ms"));
    assert_finding(&report, "server", ("ok", "nothing was published"));
    world.configure("[watch\n");
    let report = examine(world.command(&["doctor"]), 9);
    assert_finding(&report, "config", ("broken", "onsave.toml"));
    assert_finding(&report, "state", ("ok", ""));
    fs::remove_file(world.project().join("onsave.toml")).expect("it was written");
    examine(world.command(&["doctor"]), 0);
}

#[test]
fn a_server_that_is_down_is_broken() {
    let mut world = World::with_small_site();
    let address = world.address();
    world.server.stop();
    let report = examine(world.command_to(address, &["doctor"]), 9);
    assert_finding(&report, "server", ("broken", &World::url_of(address)));
}
