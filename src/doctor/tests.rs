//! What the doctor says of an app on Fly.io, fact by fact, and how a report reads; gathering against
//! real servers and an answering platform in [`gathering`].

mod gathering;
mod machine;
mod platform;

use serde_json::{Value, json};

use super::{
    Finding, Report, Verdict,
    facts::{FlyFacts, Inside, Look, SecretFacts, Taken, TokenFacts},
};
use crate::{
    fly::{
        TokenLimits,
        resources::{App, AppLookup, AppOrganisation, Machine, Organisation, Volume},
    },
    provision::{machine_config, tests::target},
};

const IMAGE: &str = "registry.fly.io/my-site:onsave-1";

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn volume(more: &Value) -> Volume {
    let volume = json!({
        "id": "vol_1", "name": "site_data", "state": "created", "size_gb": 1, "region": "arn",
        "snapshot_retention": 5, "auto_backup_enabled": true,
        "created_at": "2026-01-01T00:00:00Z",
    });
    from_json(merged(volume, more))
}

fn machine(more: &Value) -> Machine {
    let machine = json!({
        "id": "m1", "name": "onsave", "state": "started", "region": "arn",
        "config": machine_config::wanted(&target(), IMAGE, "vol_1"),
        "checks": [{"name": "servicecheck-00-http-8080", "status": "passing", "output": "ok"}],
    });
    from_json(merged(machine, more))
}

/// Returns `base` with the keys of `more` over it.
fn merged(mut base: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
    base
}

/// An app with everything that it ought to have.
fn healthy() -> FlyFacts {
    let target = target();
    let inside = Inside {
        ips: Ok(from_json(json!([
            {"ip": "2a09:8280:1::1"},
            {"ip": "66.241.125.1", "shared": true},
        ]))),
        secrets: Ok(from_json(json!([{"name": "SYNC_SECRET", "digest": "d1"}]))),
        volumes: Ok(vec![volume(&json!({}))]),
        snapshots: vec![(
            "vol_1".into(),
            Ok(from_json(
                json!([{"id": "vs_1", "created_at": "2026-02-01T00:00:00Z"}]),
            )),
        )],
        machines: Ok(vec![machine(&json!({}))]),
        certificates: Ok(Vec::new()),
    };
    FlyFacts {
        target: Box::new(target),
        app: "my-site".into(),
        record: None,
        now: "2026-02-01T12:00:00Z".parse().unwrap(),
        token: TokenFacts::Given {
            origin: "variable FLY_API_TOKEN".into(),
            limits: TokenLimits::default(),
        },
        look: Some(Look {
            organisations: Ok(vec![organisation("personal")]),
            app: Ok(AppLookup::Ours(app())),
            inside: Some(inside),
        }),
        secret: Ok(SecretFacts {
            known: Some("/h/fly-secret".into()),
            given: false,
            begun: false,
            taken: Taken::Known,
        }),
        domains: Vec::new(),
    }
}

fn app() -> App {
    App {
        name: "my-site".into(),
        status: "deployed".into(),
        organization: AppOrganisation {
            slug: "personal".into(),
        },
    }
}

fn organisation(slug: &str) -> Organisation {
    Organisation {
        slug: slug.into(),
        name: slug.into(),
        billing: None,
    }
}

fn look(facts: &mut FlyFacts) -> &mut Look {
    facts.look.as_mut().unwrap()
}

fn inside(facts: &mut FlyFacts) -> &mut Inside {
    look(facts).inside.as_mut().unwrap()
}

/// Returns the worst finding of a topic, which has to be there.
#[track_caller]
fn worst<'a>(findings: &'a [Finding], topic: &str) -> &'a Finding {
    let of_topic = findings.iter().filter(|finding| finding.topic == topic);
    of_topic
        .max_by_key(|finding| finding.verdict)
        .unwrap_or_else(|| panic!("nothing is said of {topic}: {findings:#?}"))
}

#[track_caller]
fn assert_worst(findings: &[Finding], topic: &str, expected: (Verdict, &str, &str)) {
    let (verdict, what, fix) = expected;
    let finding = worst(findings, topic);
    assert_eq!(finding.verdict, verdict, "{finding:?}");
    assert!(finding.what.contains(what), "{what:?} in {finding:?}");
    let said = finding.fix.as_deref().unwrap_or_default();
    assert!(said.contains(fix), "{fix:?} in {finding:?}");
    assert_eq!(finding.fix.is_none(), verdict == Verdict::Ok, "{finding:?}");
}

fn report(findings: Vec<Finding>) -> Report {
    let worst = findings.iter().map(|finding| finding.verdict).max();
    Report {
        worst: worst.unwrap(),
        findings,
    }
}

#[test]
fn a_report_is_aligned_and_ends_with_its_counts() {
    let report = report(vec![
        Finding::ok("token", "reaches 1 organisation: personal"),
        Finding::warning("snapshots", "vol_1 has none", "take one"),
        Finding::broken("dns", "leads\nnowhere\u{1b}[2J", "set the records"),
    ]);
    assert_eq!(
        report.text(),
        "\
ok       token      reaches 1 organisation: personal
warning  snapshots  vol_1 has none
                    fix: take one
broken   dns        leads; nowhere\\u{1b}[2J
                    fix: set the records

1 ok, 1 warning, 1 broken
"
    );
}

#[test]
fn a_report_is_one_object_for_scripts() {
    let report = report(vec![
        Finding::ok("token", "good"),
        Finding::warning("clock", "off", "set it"),
    ]);
    let object = serde_json::to_value(&report).unwrap();
    let expected = json!({
        "findings": [
            {"topic": "token", "verdict": "ok", "what": "good", "fix": null},
            {"topic": "clock", "verdict": "warning", "what": "off", "fix": "set it"},
        ],
        "worst": "warning",
    });
    assert_eq!(object, expected);
}

#[test]
fn sizes_are_said_as_people_say_them() {
    for (bytes, said) in [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (2_500_000, "2.5 MB"),
        (1_000_000_000, "1.0 GB"),
    ] {
        assert_eq!(super::size(bytes), said);
    }
}
