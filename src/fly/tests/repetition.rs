//! What is sent again, how often, and when.

use std::time::Duration;

use tokio::time::Instant;

use super::{Reply, Scripted, error, say};
use crate::fly::Reason;

const LINE: &str = "GET /v1/apps/site/ip_assignments";
const NONE: &str = r#"{"ips":[]}"#;

#[tokio::test(start_paused = true)]
async fn a_passing_failure_is_tried_again() {
    let failures = [
        error(408, "x"),
        error(429, "x"),
        error(500, "x"),
        error(502, "x"),
        error(503, "x"),
        error(504, "x"),
        Reply::Cut,
        Reply::Down,
    ];
    for failure in failures {
        let scripted = Scripted::new(vec![(LINE, failure), (LINE, say(200, NONE))]);
        scripted.fly.ips("site").await.unwrap();
        scripted.made();
    }
}

#[tokio::test(start_paused = true)]
async fn what_stays_is_not_tried_again() {
    for status in [301, 400, 401, 403, 404, 409, 422, 501] {
        let scripted = Scripted::new(vec![(LINE, error(status, "x"))]);
        scripted.fly.ips("site").await.unwrap_err();
        scripted.made();
    }
    let scripted = Scripted::new(vec![(LINE, say(200, "<html>"))]);
    let error = scripted.fly.ips("site").await.unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn trying_again_ends() {
    let start = Instant::now();
    let scripted = Scripted::new((0..6).map(|_| (LINE, error(503, "down"))).collect());
    let refused = scripted.fly.ips("site").await.unwrap_err();
    assert_eq!(refused.reason(), Some(&Reason::PlatformFailed));
    assert!(start.elapsed() < Duration::from_mins(1));
    assert_eq!(scripted.made().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_offline_is_told_soon() {
    let start = Instant::now();
    let scripted = Scripted::new((0..3).map(|_| (LINE, Reply::Down)).collect());
    let error = scripted.fly.ips("site").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to list the addresses of app site: Fly.io did not answer"
    );
    assert!(error.hint().unwrap().contains("network"));
    assert!(start.elapsed() < Duration::from_secs(2));
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn the_platform_says_how_long_to_wait() {
    let busy = |seconds| Reply::With(429, seconds, r#"{"error":"slow down"}"#.into());
    let scripted = Scripted::new(vec![
        (LINE, busy(&[("retry-after", "20")])),
        (LINE, say(200, NONE)),
    ]);
    let start = Instant::now();
    scripted.fly.ips("site").await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(20));
    scripted.made();
    // Longer than anybody waits: said at once.
    let scripted = Scripted::new(vec![(LINE, busy(&[("retry-after", "3600")]))]);
    let start = Instant::now();
    let refused = scripted.fly.ips("site").await.unwrap_err();
    assert!(refused.hint().unwrap().contains("3600 s"));
    assert_eq!(start.elapsed(), Duration::ZERO);
    scripted.made();
}

#[tokio::test(start_paused = true)]
async fn calls_keep_the_documented_pace() {
    let scripted = Scripted::new((0..6).map(|_| (LINE, say(200, NONE))).collect());
    let start = Instant::now();
    for _ in 0..6 {
        scripted.fly.ips("site").await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    scripted.made();
}
