//! What each refusal means, and that it says what to do.

use std::time::Duration;

use crate::{
    fly::{Action, Asked, FlyError, Reason, Refusal, refusal},
    http::Answer,
};

fn read(action: Action, status: u16, body: &str) -> Refusal {
    let asked = Asked {
        action,
        subject: "site".into(),
    };
    let headers = [("fly-request-id", "01JNRQ-arn"), ("retry-after", "7")];
    let answer = Answer::made_up(status, &headers, body);
    refusal::read(&asked, &answer, str::to_owned)
}

fn said(text: &str) -> String {
    serde_json::json!({"error": text}).to_string()
}

/// Bodies of real answers: action | status | body | what it means | words of the hint.
///
/// A body that is no JSON stands for `{"error": …}`, except after `raw:`.
const TABLE: &str = r#"
LookUpApp | 401 | {"message":"Unauthorized"} | BadToken | expired
CreateMachine | 401 | Authenticate: token validation error | BadToken | fly tokens create org
CreateApp | 401 | {"message":"Unauthorized"} | BadToken | of its organisation
CreateMachine | 403 | unauthorized | TokenMayNot | read-only
CreateApp | 403 | Not authorized to access this organization | TokenCannotCreateApps | of its organisation
CreateApp | 422 | {"error":"taken","status":"name_taken"} | NameTaken | another app name
CreateApp | 422 | {"message":"Validation failed: Name has already been taken"} | NameTaken | another app name
CreateMachine | 412 | insufficient resources to create new machine with existing volume 'vol_x' | NoRoomAtVolume | snapshot
CreateMachine | 412 | {"error":"x","status":"volume_placement_capacity"} | NoRoomAtVolume | snapshot
CreateVolume | 422 | {"error":"x","status":"volume_placement_capacity"} | NoCapacity | another region
CreateVolume | 400 | no capacity | NoCapacity | another region
CreateMachine | 422 | {"error":"x","status":"insufficient_capacity"} | NoCapacity | another region
CreateMachine | 409 | aborted: could not reserve resource for machine: insufficient memory available to fulfill request | NoCapacity | another region
CreateMachine | 409 | aborted: could not reserve resource for machine: insufficient CPUs available | NoCapacity | another region
CreateMachine | 403 | organization "X" is using 2048 MB of memory in arn which is over the allowed quota | OverQuota | quota
CreateMachine | 400 | Mounts source volume "vol_x" is in the wrong region ("dfw" != "iad") | VolumeElsewhere | region
CreateMachine | 400 | volume does not exist | VolumeGone | made anew
CreateMachine | 404 | volume not found | VolumeGone | made anew
CreateMachine | 422 | could not find volume | VolumeGone | made anew
CreateMachine | 422 | To create more than 1 machine per app please add a payment method. https://fly.io/dashboard/ann-1/billing | CardNeeded { url: "https://fly.io/dashboard/ann-1/billing" } | method at https://fly.io/dashboard/ann-1/billing,
CreateApp | 422 | We need your payment information to continue! Pay at https://evil.example/fly.io | CardNeeded { url: "https://fly.io/dashboard" } | method at https://fly.io/dashboard,
CreateApp | 422 | Your account has been marked as high risk. Please go to https://fly.io/high-risk-unlock to verify it. | HighRisk { url: "https://fly.io/high-risk-unlock" } | at https://fly.io/high-risk-unlock,
LookUpApp | 403 | trial has ended, please add a credit card by visiting https://fly.io/trial | Trial { url: "https://fly.io/trial" } | card at https://fly.io/trial,
DeleteApp | 422 | trial has ended, please add a credit card | Trial { url: "https://fly.io/trial" } | card at https://fly.io/trial,
CreateMachine | 400 | failed to get manifest registry.fly.io/app:tag: request failed: not found [http 404]: {"errors":[{"code":"MANIFEST_UNKNOWN" | ImageNotVisible | image
CreateMachine | 412 | secrets version 3 is not available | SecretsNotVisible | minute
TakeLease | 409 | machine ID m1 lease currently held by ann@example.org, expires at 2026-10-01T10:41:08Z | LeaseHeld { by: Some("ann@example.org") } | ann@example.org
TakeLease | 409 | conflict | LeaseHeld { by: None } | somebody else
UpdateMachine | 409 | current_version does not match | ChangedMeanwhile | run it again
UpdateMachine | 409 | aborted: machine update failed due to concurrent update | ChangedMeanwhile | run it again
CreateMachine | 400 | Not enough space to unpack image, possibly exceeds maximum of 8GB uncompressed | ImageTooBig | smaller
CreateMachine | 409 | already_exists: unique machine name violation, machine ID m1 already exists | MachineNameTaken | other machine
CreateMachine | 429 | rate limit exceeded | RateLimited | 7 s
LookUpApp | 400 | could not find app "site" | NotFound | name
LookUpApp | 404 | raw:404 page not found | NoSuchCall | FLY_FLAPS_BASE_URL
LookUpApp | 404 | raw: | NotFound | name
WaitForMachine | 408 | deadline_exceeded: machine failed to reach desired state, started, currently starting | NotInTime | status.flyio.net
CreateMachine | 503 | raw:<html>upstream</html> | PlatformFailed | status.flyio.net
"#;

const ACTIONS: [Action; 8] = [
    Action::DeleteApp,
    Action::LookUpApp,
    Action::CreateApp,
    Action::CreateMachine,
    Action::CreateVolume,
    Action::TakeLease,
    Action::UpdateMachine,
    Action::WaitForMachine,
];

#[test]
fn every_known_refusal_is_recognised_and_has_a_next_step() {
    for row in TABLE.trim().lines() {
        let columns: Vec<&str> = row.split(" | ").collect();
        let [action, status, body, reason, word] = columns[..] else {
            panic!("not five columns: {row}");
        };
        let action = ACTIONS
            .into_iter()
            .find(|known| format!("{known:?}") == action)
            .unwrap();
        let body = match body.strip_prefix("raw:") {
            Some(raw) => raw.to_owned(),
            None if body.starts_with('{') => body.to_owned(),
            None => said(body),
        };
        let refusal = read(action, status.parse().unwrap(), &body);
        assert_eq!(format!("{:?}", refusal.reason), reason, "{row}");
        let hint = refusal.hint().unwrap();
        assert!(hint.contains(word), "{row}: {hint}");
        let shown = FlyError::Refused(Box::new(refusal)).to_string();
        assert!(shown.contains("request 01JNRQ-arn"), "{shown}");
    }
}

#[test]
fn what_is_not_known_is_shown_whole() {
    let body = r#"{"error":"teapot","details":{"cause":"tea"}}"#;
    let refusal = read(Action::CreateMachine, 418, body);
    assert_eq!(refusal.reason, Reason::Unknown);
    assert_eq!(refusal.hint(), None);
    assert_eq!(
        FlyError::Refused(Box::new(refusal)).to_string(),
        format!("failed to create a machine in app site: {body} (status 418, request 01JNRQ-arn)")
    );
    let long = read(Action::CreateMachine, 418, &"\u{e5}".repeat(5_000));
    assert!(long.message.len() < 2_100 && long.message.ends_with('…'));
    let odd = read(Action::CreateMachine, 418, "a\u{1b}[2Jb");
    assert_eq!(odd.message, "a\\u{1b}[2Jb");
    assert_eq!(
        read(Action::CreateMachine, 418, " ").message,
        "no reason given"
    );
}

#[test]
fn all_shapes_of_errors_are_read() {
    for body in [
        r#"{"error":"no capacity"}"#,
        r#"{"error":"","message":"no capacity"}"#,
        r#"{"error":null,"msg":"no capacity","status":7}"#,
        "no capacity",
    ] {
        let refusal = read(Action::CreateVolume, 400, body);
        assert_eq!(refusal.reason, Reason::NoCapacity, "{body}");
        assert_eq!(refusal.message, "no capacity", "{body}");
    }
    let object = read(Action::CreateVolume, 400, r#"{"error":{"code":1}}"#);
    assert_eq!(object.message, r#"{"error":{"code":1}}"#);
}

#[test]
fn a_passing_failure_is_told_from_one_that_stays() {
    let is_worth_repeating = |status, body: &str| {
        let refusal = read(Action::CreateMachine, status, body);
        FlyError::Refused(Box::new(refusal)).is_worth_repeating()
    };
    for status in [408, 429, 500, 502, 503, 504] {
        assert!(is_worth_repeating(status, ""), "{status}");
    }
    for (status, text) in [
        (400, "no capacity"),
        (401, ""),
        (403, ""),
        (404, ""),
        (422, ""),
        (501, ""),
    ] {
        assert!(!is_worth_repeating(status, &said(text)), "{status}");
    }
    assert_eq!(
        read(Action::LookUpApp, 429, "").retry_after,
        Some(Duration::from_secs(7))
    );
}

#[test]
fn a_tool_tells_the_same_in_words_alone() {
    for (action, text, reason) in [
        (
            Action::CreateApp,
            "Validation failed: Name has already been taken",
            Reason::NameTaken,
        ),
        (
            Action::LookUpApp,
            "failed to get app: Could not find App \"site\"",
            Reason::NotFound,
        ),
        (
            Action::LookUpApp,
            "No access token available. Please login with 'flyctl auth login'",
            Reason::BadToken,
        ),
        (
            Action::ListIps,
            "failed: unauthorized (Request ID: 01-arn)",
            Reason::BadToken,
        ),
        (
            Action::CreateApp,
            "Not authorized to access this organization",
            Reason::TokenCannotCreateApps,
        ),
        (
            Action::AssignIp,
            "You are not authorized to do this",
            Reason::TokenMayNot,
        ),
        (
            Action::CreateVolume,
            "failed: {\"status\":\"volume_placement_capacity\"}",
            Reason::NoCapacity,
        ),
        (
            Action::UpdateMachine,
            "failed: {\"status\":\"volume_placement_capacity\"}",
            Reason::NoRoomAtVolume,
        ),
        (
            Action::CreateMachine,
            "New machine in group 'app' needs an unattached volume named 'x' in region 'arn'",
            Reason::VolumeGone,
        ),
        (
            Action::UpdateMachine,
            "Could not find image \"registry.fly.io/site:1\"",
            Reason::ImageNotVisible,
        ),
        (
            Action::UpdateMachine,
            "deadline_exceeded: machine failed to reach desired state",
            Reason::NotInTime,
        ),
        (
            Action::ListIps,
            "Post: 503 Service Unavailable",
            Reason::PlatformFailed,
        ),
        // Words that mean nothing by themselves.
        (
            Action::DeleteApp,
            "something was not found",
            Reason::Unknown,
        ),
        (Action::CreateApp, "the moon is full", Reason::Unknown),
    ] {
        assert_eq!(crate::fly::told_reason(action, text), reason, "{text}");
    }
}
