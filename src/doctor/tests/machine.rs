//! The volume, the machine, its image and what differs from the configuration, fact by fact.

use serde_json::{Value, json};

use super::{assert_worst, from_json, healthy, inside, machine, volume, worst};
use crate::{
    config::Autostop,
    doctor::{
        Finding,
        Verdict::{Broken, Ok as Well, Warning},
        facts::FlyFacts,
        machine::findings,
    },
};

fn with_volume(more: &Value) -> FlyFacts {
    let mut facts = healthy();
    inside(&mut facts).volumes = Ok(vec![volume(more)]);
    facts
}

fn with_machine(more: &Value) -> FlyFacts {
    let mut facts = healthy();
    inside(&mut facts).machines = Ok(vec![machine(more)]);
    facts
}

fn of(facts: &FlyFacts) -> Vec<Finding> {
    findings(facts, None)
}

#[test]
fn a_healthy_app_has_nothing_to_mend() {
    let found = of(&healthy());
    assert!(
        found.iter().all(|finding| finding.verdict == Well),
        "{found:#?}"
    );
    let told: Vec<&str> = found.iter().map(|finding| finding.topic).collect();
    let expected = [
        "volume",
        "snapshots",
        "machine",
        "checks",
        "image",
        "settings",
    ];
    assert_eq!(told, expected);
    assert_worst(
        &found,
        "machine",
        (Well, "m1 in arn, started, shared 1x, 256 MB", ""),
    );
    assert_worst(
        &found,
        "image",
        (Well, "registry.fly.io/my-site:onsave-1", ""),
    );
}

#[test]
fn a_volume_is_there_and_answers() {
    for (more, expected) in [
        (json!({}), (Well, "vol_1 in arn, 1 GB", "")),
        (
            json!({"host_status": "unreachable"}),
            (Broken, "hardware under vol_1", "status.flyio.net"),
        ),
        (
            json!({"state": "restoring"}),
            (Warning, "is restoring", "again"),
        ),
    ] {
        assert_worst(&of(&with_volume(&more)), "volume", expected);
    }
    let none = with_volume(&json!({"state": "pending_destroy"}));
    assert_worst(
        &of(&none),
        "volume",
        (Broken, "no volume", "onsave provision"),
    );
    let mut two = healthy();
    inside(&mut two).volumes = Ok(vec![volume(&json!({"id": "vol_2"})), volume(&json!({}))]);
    let expected = (
        Warning,
        "not used by it: vol_2",
        "fly volumes destroy vol_2",
    );
    assert_worst(&of(&two), "volume", expected);
}

#[test]
fn a_volume_that_may_grow_says_how_far() {
    let mut facts = healthy();
    facts.target.volume.limit_gb = 10;
    assert_worst(
        &of(&facts),
        "volume",
        (Well, "grows by itself to 10 GB", ""),
    );
    facts.target.volume.limit_gb = 1;
    assert_worst(&of(&facts), "volume", (Well, "does not grow", ""));
}

#[test]
fn snapshots_are_as_old_as_the_newest_one() {
    for (volume, snapshots, expected) in [
        (
            json!({}),
            json!([
                {"id": "a", "created_at": "2026-01-31T12:00:00Z"},
                {"id": "b", "created_at": "2026-02-01T02:00:00Z"},
            ]),
            (Well, "2, the newest 10 hours old, kept for 5 days", ""),
        ),
        (
            json!({}),
            json!([{"id": "a", "created_at": "2026-01-29T12:00:00Z"}]),
            (Warning, "3 days old", "snapshots create vol_1"),
        ),
        (
            json!({}),
            json!([]),
            (Warning, "vol_1 has none", "snapshots create vol_1"),
        ),
        (
            json!({"created_at": "2026-02-01T00:00:00Z"}),
            json!([]),
            (Well, "none yet", ""),
        ),
        (json!({}), json!([{"id": "a"}]), (Well, "1, kept", "")),
        (
            json!({"auto_backup_enabled": false}),
            json!([]),
            (Warning, "not snapshotted", "--scheduled-snapshots"),
        ),
    ] {
        let mut facts = with_volume(&volume);
        inside(&mut facts).snapshots = vec![("vol_1".into(), Ok(from_json(snapshots)))];
        assert_worst(&of(&facts), "snapshots", expected);
    }
}

#[test]
fn each_state_of_a_machine_has_its_finding() {
    let exit = json!({
        "type": "exit", "status": "stopped", "source": "flyd", "timestamp": 1_777_000_000_000_u64,
        "request": {"exit_event": {"exit_code": 2}},
    });
    let mut asked = exit.clone();
    asked["request"]["exit_event"]["requested_stop"] = true.into();
    for (more, expected) in [
        (
            json!({"state": "stopped"}),
            (Broken, "m1 is stopped", "starts it"),
        ),
        (
            json!({"state": "starting"}),
            (Warning, "m1 is starting", "again"),
        ),
        (
            json!({"state": "failed", "events": [exit]}),
            (
                Broken,
                "exit stopped (flyd), with exit code 2",
                "fly logs -a my-site",
            ),
        ),
        (
            json!({"events": [exit, exit, exit]}),
            (Warning, "ended lately", "fly logs -a my-site"),
        ),
        (
            json!({"events": [asked, asked, asked]}),
            (Well, "started", ""),
        ),
        (
            json!({"host_status": "unreachable"}),
            (Broken, "hardware", "status.flyio.net"),
        ),
        (
            json!({"state": "destroyed"}),
            (Broken, "no machine", "onsave provision"),
        ),
    ] {
        assert_worst(&of(&with_machine(&more)), "machine", expected);
    }
}

#[test]
fn a_machine_that_may_sleep_is_well_asleep() {
    let mut facts = with_machine(&json!({"state": "suspended"}));
    facts.target.autostop = Autostop::Suspend;
    assert_worst(&of(&facts), "machine", (Well, "until somebody asks", ""));
}

#[test]
fn a_second_machine_has_no_site() {
    let mut facts = healthy();
    let other = json!({"id": "m2", "config": {"metadata": {"onsave": "1"}}});
    inside(&mut facts).machines = Ok(vec![machine(&other), machine(&json!({}))]);
    let expected = (Warning, "the volume of m1 alone", "fly machine destroy m2");
    assert_worst(&of(&facts), "machine", expected);
}

#[test]
fn the_worst_check_is_told_with_its_output() {
    let check =
        |status: &str, output: &str| json!({"name": "web", "status": status, "output": output});
    let long = "x".repeat(5_000);
    for (checks, expected) in [
        (json!([check("passing", "")]), (Well, "1 of 1 pass", "")),
        (json!([]), (Warning, "has none", "onsave provision")),
        (
            json!([
                check("passing", ""),
                check("critical", "connection refused")
            ]),
            (
                Broken,
                "web is critical: connection refused",
                "fly logs -a my-site",
            ),
        ),
        (
            json!([check("warning", "")]),
            (Warning, "no output yet", "fly logs -a my-site"),
        ),
        (
            json!([check("critical", &long)]),
            (Broken, "web is critical: xxx", "fly logs -a my-site"),
        ),
    ] {
        let found = of(&with_machine(&json!({ "checks": checks })));
        assert_worst(&found, "checks", expected);
        assert!(worst(&found, "checks").what.len() < 300);
    }
}

#[test]
fn another_image_than_the_configured_one_is_told() {
    let mut facts = healthy();
    facts.target.image = Some("ghcr.io/ann/onsave-server:2".into());
    let expected = (
        Warning,
        "fly.image is ghcr.io/ann/onsave-server:2",
        "onsave provision",
    );
    let found = of(&facts);
    assert_worst(&found, "image", expected);
    assert_eq!(worst(&found, "settings").verdict, Well, "told once");
    let digest = json!({"image_ref": {"digest": "sha256:0123456789abcdef0123"}});
    let found = of(&with_machine(&digest));
    assert_worst(&found, "image", (Well, "(sha256:0123456789ab)", ""));
}

#[test]
fn what_provision_would_do_is_told() {
    let mut facts = healthy();
    facts.target.volume.size_gb = 3;
    facts.target.guest.memory_mb = 512;
    let found = of(&facts);
    let all: Vec<&str> = found
        .iter()
        .filter(|finding| finding.topic == "settings")
        .map(|finding| finding.what.as_str())
        .collect();
    assert!(
        all.iter()
            .any(|what| what.contains("1 GB, and fly.volume_gb is 3")),
        "{all:?}"
    );
    assert!(
        all.iter().any(|what| what.contains("512 MB instead of")),
        "{all:?}"
    );
    assert_eq!(worst(&found, "settings").verdict, Warning);

    // Above the 10 GB that it may grow to.
    let larger = of(&with_volume(&json!({"size_gb": 12})));
    let expected = (Warning, "the volume has 12 GB", "set fly.volume_gb = 12");
    assert_worst(&larger, "settings", expected);
}

#[test]
fn what_stands_in_the_way_is_broken() {
    let elsewhere = with_volume(&json!({"region": "fra"}));
    let expected = (Broken, "is in fra", "fly.region = \"fra\"");
    assert_worst(&of(&elsewhere), "settings", expected);
    let mut gone = healthy();
    inside(&mut gone).volumes = Ok(Vec::new());
    assert_worst(
        &of(&gone),
        "settings",
        (Broken, "is gone", "fly machine destroy m1"),
    );
    let mut foreign = healthy();
    let other = json!({"id": "m9", "config": {"image": "nginx"}});
    inside(&mut foreign).machines = Ok(vec![machine(&other)]);
    assert_worst(
        &of(&foreign),
        "settings",
        (Broken, "did not make", "another name"),
    );
}
