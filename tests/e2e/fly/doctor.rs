//! The doctor at an app on the simulated platform: well, and sick in several ways.

use std::fs;

use serde_json::Value;

use super::desk::Desk;
use crate::harness::eventually;

impl Desk {
    /// Returns what the doctor finds: topic, verdict and what it says, of everything that is not well.
    fn complaints(&self) -> (Option<i32>, Vec<(String, String, String)>) {
        let said = self.run(&["doctor", "--json"]);
        let found: Value =
            serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let text =
            |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let complaints = found["findings"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|finding| finding["verdict"] != "ok")
            .map(|finding| {
                (
                    text(finding, "topic"),
                    text(finding, "verdict"),
                    text(finding, "what"),
                )
            })
            .collect();
        (said.output.status.code(), complaints)
    }

    /// Fails the test unless the doctor complains of `topic` with `verdict` and `part`.
    fn assert_complains(&self, topic: &str, verdict: &str, part: &str) {
        let (code, complaints) = self.complaints();
        let told = complaints
            .iter()
            .any(|(t, v, what)| t == topic && v == verdict && what.contains(part));
        assert!(
            told,
            "{topic} {verdict} {part:?} is not among {complaints:#?}"
        );
        assert_eq!(
            code,
            Some(if verdict == "broken" { 9 } else { 0 }),
            "{complaints:#?}"
        );
    }
}

#[test]
fn before_and_after_the_first_publish_nothing_is_broken() {
    let desk = Desk::new();
    let (code, _) = desk.complaints();
    assert_eq!(code, Some(0), "an app that is still to be made is no fault");
    desk.run_well(&["publish"]);
    let writes = desk.writes();
    let said = desk.run_well(&["doctor"]);
    for topic in ["token", "app", "volume", "machine", "secret", "clock"] {
        assert!(said.stdout.contains(topic), "{topic}: {said:?}");
    }
    assert!(!said.stdout.contains("broken "), "{said:?}");
    assert_eq!(desk.writes(), writes, "the doctor changes nothing");
}

#[test]
fn each_sickness_is_named() {
    let desk = Desk::new();
    desk.run_well(&["publish"]);
    desk.fly.set_billing_status("TRIAL_ACTIVE");
    desk.assert_complains("billing", "warning", "trial");
    desk.fly.set_billing_status("CURRENT");

    desk.configure("\n[fly]\nmemory_mb = 512\n");
    let (code, complaints) = desk.complaints();
    assert_eq!(code, Some(0));
    assert!(
        complaints.iter().any(|(_, _, what)| what.contains("512")),
        "{complaints:#?}"
    );
    desk.configure("");

    let machine = desk.machine();
    let path = format!(
        "/v1/apps/my-site/machines/{}/stop",
        machine["id"].as_str().expect("an id")
    );
    desk.ask_platform("POST", &path, &serde_json::json!({}));
    eventually("the machine to stop", || {
        desk.machine()["state"] == "stopped"
    });
    let (code, complaints) = desk.complaints();
    assert_eq!(code, Some(9), "{complaints:#?}");
    assert!(
        complaints
            .iter()
            .any(|(topic, _, what)| topic == "machine" && what.contains("stopped")),
        "{complaints:#?}"
    );
    // What the doctor advises mends it.
    desk.run_well(&["provision"]);
    let (code, complaints) = desk.complaints();
    assert_eq!(code, Some(0), "{complaints:#?}");

    fs::write(
        desk.state().join("fly-secret"),
        format!("{}\n", "0".repeat(64)),
    )
    .expect("it can be written");
    desk.assert_complains("secret", "broken", "");
}
