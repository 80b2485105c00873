//! Schemathesis makes requests from the API's own description, right ones and wrong ones, and holds each
//! answer against it: status, headers, body, methods, who needs the token.

use std::{fs, process::Command};

use serde_json::Value;

use crate::harness::{
    World,
    installed::{INSTALL, installed},
    wait_for,
};

/// The token stands in a variable: an argument is visible to every process of the machine. What tells
/// without an end is read for a second each time, and not made up at length.
const CONFIGURATION: &str = "\
request-timeout = 20

[auth.openapi.token]
bearer = \"${ONSAVE_TOKEN}\"

[[operations]]
include-path = [\"/v1/events\", \"/events\", \"/v1/logs\"]
request-timeout = 1
phases.fuzzing.enabled = false
phases.stateful.enabled = false
";

#[test]
fn the_api_is_what_its_description_says() {
    let world = World::with_small_site();
    let _daemon = world.watch_until_live();
    let address = wait_for("the address of the API", || {
        let output = world.run(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(status["address"].as_str()?.to_owned())
    });
    let url = world.run_well(&["open", "--print"]);
    let (_, token) = url.trim_end().split_once("#token=").expect("it has one");
    let configuration = world.path("schemathesis.toml");
    fs::write(&configuration, CONFIGURATION).expect("the folder is ours");
    let program = installed("python-venv").join("bin/schemathesis");
    let output = Command::new(&program)
        .env("ONSAVE_TOKEN", token)
        .current_dir(world.path("home"))
        .arg("--config-file")
        .arg(&configuration)
        .args(["run", "--checks", "all", "--no-color", "--seed", "1"])
        .args(["--max-examples", "10", "--url", &address])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/control/openapi.json"
        ))
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}; {INSTALL}", program.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    // A run that chose nothing would find nothing.
    assert!(said.contains("Selected: 18/18"), "{said}");
}
