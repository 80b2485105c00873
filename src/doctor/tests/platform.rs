//! The token, the organisation, the app and its addresses, fact by fact.

use serde_json::json;

use super::{assert_worst, from_json, healthy, inside, look, organisation, worst};
use crate::{
    config::{FlyDriver, Source},
    doctor::{
        Verdict::{Broken, Ok as Well, Warning},
        facts::{FlyFacts, TokenFacts},
        platform::{findings, has_no_app},
    },
    fly::{
        Action, Asked, FlyError, Reason, Refusal, TokenLimits,
        resources::{AppLookup, BillingStatus},
    },
    provision::{ProvisionError, Record},
};
use onsave_protocol::Sha256Digest;

fn refused(status: u16, reason: Reason) -> FlyError {
    FlyError::Refused(Box::new(Refusal {
        asked: Asked {
            action: Action::ReadToken,
            subject: String::new(),
        },
        reason,
        status,
        message: "Authenticate: token validation error".into(),
        request_id: Some("01J".into()),
        retry_after: None,
    }))
}

fn record() -> Record {
    Record::new(
        "my-site".into(),
        "my-site".into(),
        "https://my-site.fly.dev".into(),
        Some(Sha256Digest::of(b"")),
    )
}

fn without_token() -> FlyFacts {
    let mut facts = healthy();
    facts.token = TokenFacts::Missing;
    facts.look = None;
    facts
}

#[test]
fn a_healthy_app_has_nothing_to_mend() {
    let found = findings(&healthy());
    assert!(
        found.iter().all(|finding| finding.verdict == Well),
        "{found:#?}"
    );
    let expected = (Well, "reaches 1 organisation: personal", "");
    assert_worst(&found, "token", expected);
    assert_worst(&found, "ips", (Well, "66.241.125.1 (shared)", ""));
}

#[test]
fn a_token_is_missing_bad_or_at_its_end() {
    let make = "fly tokens create org";
    let missing = without_token();
    assert_worst(&findings(&missing), "token", (Broken, "no token", make));
    let published = FlyFacts {
        record: Some(record()),
        ..without_token()
    };
    assert_worst(&findings(&published), "token", (Warning, "goes on", make));
    assert_worst(&findings(&published), "app", (Well, "made from here", ""));
    let mut flyctl = without_token();
    flyctl.target.driver = FlyDriver::Flyctl;
    assert_worst(&findings(&flyctl), "token", (Warning, "flyctl", make));

    let mut unusable = without_token();
    unusable.token = TokenFacts::Unusable(ProvisionError::BadToken {
        origin: "variable FLY_API_TOKEN".into(),
        source: crate::fly::BadToken::Space,
    });
    assert_worst(&findings(&unusable), "token", (Broken, "a space", make));

    let mut refusing = healthy();
    look(&mut refusing).organisations = Err(refused(401, Reason::BadToken));
    look(&mut refusing).app = Err(refused(401, Reason::BadToken));
    look(&mut refusing).inside = None;
    let found = findings(&refusing);
    assert_worst(&found, "token", (Broken, "request 01J", make));
    assert!(
        found.iter().all(|finding| finding.topic != "app"),
        "told once"
    );
    assert!(has_no_app(&refusing), "nobody knows of one");
    look(&mut refusing).app = Err(refused(500, Reason::PlatformFailed));
    let expected = (Broken, "status 500", "status.flyio.net");
    assert_worst(&findings(&refusing), "app", expected);
}

#[test]
fn what_a_token_says_of_its_limits_is_told() {
    let with = |limits| {
        let mut facts = healthy();
        facts.token = TokenFacts::Given {
            origin: "variable FLY_API_TOKEN".into(),
            limits,
        };
        findings(&facts)
    };
    // 2026-02-01T12:00:00Z, which is now in these tests.
    let now = 1_769_947_200;
    let until = |expires| TokenLimits {
        expires: Some(expires),
        only_reads: false,
    };
    let day = 86_400;
    for (limits, expected) in [
        (
            until(now),
            (Broken, "expired at 2026-02-01T12:00:00Z", "create org"),
        ),
        (
            until(now + day),
            (Warning, "expires at 2026-02-02", "create org"),
        ),
        (until(now + 15 * day), (Well, "personal", "")),
        (until(u64::MAX), (Well, "personal", "")),
        (
            TokenLimits {
                expires: None,
                only_reads: true,
            },
            (Warning, "may only read", "create org"),
        ),
    ] {
        assert_worst(&with(limits), "token", expected);
    }
}

#[test]
fn a_token_that_reaches_nothing_is_broken() {
    let mut facts = healthy();
    look(&mut facts).organisations = Ok(Vec::new());
    let expected = (Broken, "reaches no organisation", "create org");
    assert_worst(&findings(&facts), "token", expected);
}

#[test]
fn the_organisation_is_the_one_that_is_configured() {
    let mut facts = healthy();
    facts.target.organisation = Some("acme".into());
    let expected = (Warning, "the app is in personal", "fly.org = \"personal\"");
    assert_worst(&findings(&facts), "org", expected);
    facts.target.organisation = Some("personal".into());
    assert_worst(&findings(&facts), "org", (Well, "personal", ""));

    let mut missing = healthy();
    look(&mut missing).app = Ok(AppLookup::Free);
    look(&mut missing).inside = None;
    missing.target.organisation = Some("acme".into());
    assert_worst(
        &findings(&missing),
        "org",
        (Broken, "does not reach", "correct"),
    );
    missing.target.organisation = None;
    look(&mut missing).organisations = Ok(vec![organisation("personal"), organisation("acme")]);
    assert_worst(
        &findings(&missing),
        "org",
        (Warning, "several", "set fly.org"),
    );
    missing.target.organisation = Some("acme".into());
    assert_worst(&findings(&missing), "org", (Well, "acme", ""));
}

#[test]
fn each_state_of_the_bills_has_its_finding() {
    let page = "https://fly.io/dashboard/personal/billing";
    for (billing, expected) in [
        (None, (Well, "may not see", "")),
        (Some(BillingStatus::Current), (Well, "all is well", "")),
        (
            Some(BillingStatus::PastDue),
            (Warning, "not paid in time", page),
        ),
        (Some(BillingStatus::Delinquent), (Broken, "for long", page)),
        (
            Some(BillingStatus::SourceRequired),
            (Warning, "no way of payment", page),
        ),
        (Some(BillingStatus::Suspended), (Broken, "suspended", page)),
        (
            Some(BillingStatus::TrialActive),
            (Warning, "after five minutes", page),
        ),
        (Some(BillingStatus::TrialEnded), (Broken, "is over", page)),
        (
            Some(BillingStatus::Other("ODD".into())),
            (Warning, "ODD", page),
        ),
    ] {
        let mut facts = healthy();
        let mut one = organisation("personal");
        one.billing = billing;
        look(&mut facts).organisations = Ok(vec![organisation("acme"), one]);
        assert_worst(&findings(&facts), "billing", expected);
    }
}

#[test]
fn an_app_that_is_not_there_is_made_by_the_next_publish() {
    let with = |lookup, record, source: Option<Source>| {
        let mut facts = healthy();
        look(&mut facts).app = Ok(lookup);
        look(&mut facts).inside = None;
        facts.record = record;
        if let Some(source) = source {
            facts.target.app_source = source;
        }
        assert!(has_no_app(&facts));
        findings(&facts)
    };
    let flag = || Some(Source::Variable("ONSAVE_APP".into()));
    let expected = (Warning, "no app my-site yet", "next publish makes it");
    assert_worst(&with(AppLookup::Free, None, None), "app", expected);
    let expected = (Warning, "is gone", "next publish makes it");
    assert_worst(
        &with(AppLookup::Free, Some(record()), None),
        "app",
        expected,
    );
    let taken = AppLookup::TakenByOthers;
    let expected = (Warning, "somebody else's", "with a suffix");
    assert_worst(&with(taken.clone(), None, None), "app", expected);
    let expected = (Broken, "somebody else's", "choose another name");
    assert_worst(&with(taken.clone(), None, flag()), "app", expected);
    let expected = (Broken, "may not use it", "use a token");
    assert_worst(&with(taken, Some(record()), flag()), "app", expected);
}

#[test]
fn a_suspended_app_is_broken() {
    let mut facts = healthy();
    let mut app = super::app();
    app.status = "suspended".into();
    look(&mut facts).app = Ok(AppLookup::Ours(app));
    assert_worst(
        &findings(&facts),
        "app",
        (Broken, "suspended", "fly.io/apps/my-site"),
    );
}

#[test]
fn both_families_of_addresses_are_needed() {
    let v6 = json!({"ip": "2a09:8280:1::1"});
    let v4 = json!({"ip": "66.241.125.1"});
    let private = json!({"ip": "fdaa:0:1::3"});
    for (ips, expected) in [
        (json!([v6, v4]), (Well, "2a09", "")),
        (json!([v6]), (Warning, "no IPv4", "onsave provision")),
        (
            json!([v4, private]),
            (Warning, "no IPv6", "onsave provision"),
        ),
        (
            json!([private]),
            (Broken, "nobody reaches", "onsave provision"),
        ),
    ] {
        let mut facts = healthy();
        inside(&mut facts).ips = Ok(from_json(ips));
        assert_worst(&findings(&facts), "ips", expected);
    }
    let mut facts = healthy();
    inside(&mut facts).ips = Err(refused(500, Reason::PlatformFailed));
    assert_eq!(worst(&findings(&facts), "ips").verdict, Broken);
}
