//! After a publish, the machines of an app are restarted one after the other, and only where a path of
//! theirs changed.

use serde_json::{Value, json};

use super::desk::{APP, Desk};
use crate::{fly_simulator::ORGANIZATION_TOKEN, harness::eventually};

#[test]
fn machines_restart_one_after_the_other_and_only_for_their_paths() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    let first = desk.machine();
    // A second one, without a volume: what it serves is its own business.
    let mut config = first["config"].clone();
    config["mounts"] = json!([]);
    let (status, second) = desk.ask_platform(
        "POST",
        &format!("/v1/apps/{APP}/machines"),
        &json!({"name": "second", "region": first["region"], "config": config}),
    );
    assert_eq!(status, 200, "{second}");
    wait_until_well(&desk, 2);
    // The site of another server, whose publishes are told to that app.
    desk.world.configure(&format!(
        "[[after_publish]]\nkind = \"fly-restart\"\napp = \"{APP}\"\npaths = [\"content/\"]\ntimeout_s = 25\n"
    ));
    let command = |arguments: &[&str]| {
        let mut command = desk.world.command(arguments);
        command
            .env("FLY_FLAPS_BASE_URL", &desk.api_url)
            .env("FLY_API_TOKEN", ORGANIZATION_TOKEN);
        command
    };
    let publish = || {
        let mut command = command(&["publish"]);
        let output = command.output().expect("onsave can be started");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let restarts = || {
        let mut writes = desk.writes();
        writes.retain(|write| write.ends_with("/restart"));
        writes
    };
    publish();
    assert!(restarts().is_empty(), "no path of theirs changed");
    desk.world.site.write("content/a.json", "{}");
    let said = publish();
    assert!(!said.contains(ORGANIZATION_TOKEN), "{said}");
    let mut ids =
        [&first["id"], &second["id"]].map(|id| id.as_str().unwrap_or_default().to_owned());
    ids.sort();
    let expected = ids.map(|id| format!("POST /v1/apps/{APP}/machines/{id}/restart"));
    assert_eq!(restarts(), expected, "{said}");
    let listed = command(&["deliveries", "list"])
        .output()
        .expect("onsave can be started");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(listed, "nothing waits, and nothing failed\n", "{said}");
    wait_until_well(&desk, 2);
}

fn wait_until_well(desk: &Desk, count: usize) {
    let is_well = |machine: &Value| {
        let passing = |check: &Value| check["status"] == "passing";
        machine["state"] == "started"
            && machine["checks"]
                .as_array()
                .is_none_or(|checks| checks.iter().all(passing))
    };
    eventually("every machine to be well", || {
        let machines = desk.listed("machines");
        machines.len() == count && machines.iter().all(is_well)
    });
}
