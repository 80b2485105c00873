//! Neither a token nor a secret's value is ever shown: everything that can be formatted is.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex},
};

use onsave_protocol::Secret;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::{Reply, Scripted, TOKEN, say};
use crate::fly::{Fly, Hosts, Token, action::Action, call::Call};

const VALUE: &str = "hunter2value";

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn assert_silent(text: &str) {
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn neither_log_nor_error_shows_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    // With one subscriber alone, an event that another test's thread meets first is off for all.
    let second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let guard = tracing::subscriber::set_default(subscriber);
    let line = "POST /v1/apps/site/secrets";
    // A server that repeats all it got.
    let echo = json!({"error": format!("bad value {VALUE} of {TOKEN}")}).to_string();
    let ok = r#"{"secrets":[],"version":1}"#;
    let headers: &[_] = &[("fly-request-id", "01JNRQ-arn")];
    let scripted = Scripted::new(vec![
        (line, Reply::With(503, headers, echo.clone())),
        (line, Reply::With(422, headers, echo)),
        (line, Reply::With(200, headers, ok.into())),
    ]);
    let secret = Secret::from_text(VALUE).unwrap();
    let values = [("SYNC_SECRET", Some(&secret))];
    let error = scripted
        .fly
        .change_secrets("site", &values)
        .await
        .unwrap_err();
    scripted.fly.change_secrets("site", &values).await.unwrap();
    drop((guard, second));
    for text in [
        format!("{error}"),
        format!("{error:?}"),
        format!("{error:#?}"),
    ] {
        assert_silent(&text);
        assert!(text.contains("bad value **** of ****"), "{text}");
    }
    assert!(error.source().is_none());
    assert_silent(&format!("{:?}", scripted.fly));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_silent(&log);
    for part in ["POST", "/v1/apps/site/secrets", "422", "01JNRQ-arn"] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    // The values went where they belong.
    assert_eq!(scripted.made()[2].body["values"]["SYNC_SECRET"], VALUE);
}

#[tokio::test(start_paused = true)]
async fn what_is_quoted_is_masked_too() {
    let value = "hunter2 \"quoted\" value";
    let secret = Secret::from_text(value).unwrap();
    let values = [("SYNC_SECRET", Some(&secret))];
    let line = "POST /v1/apps/site/secrets";
    let scripted = Scripted::new(vec![
        // Not what the call answers, and quoted by the error; then not understood, and shown whole.
        (line, say(200, &json!([value, TOKEN]).to_string())),
        (line, say(200, &json!({"version": value}).to_string())),
        (line, say(200, &json!({"version": TOKEN}).to_string())),
        (line, say(418, &json!({"odd": [value, TOKEN]}).to_string())),
    ]);
    for _ in 0..4 {
        let error = scripted.fly.change_secrets("site", &values).await;
        let error = error.unwrap_err();
        assert_silent(&format!("{error} {error:?}"));
        assert_silent(&crate::error_report::with_causes(&error));
    }
    scripted.made();
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    let token = Token::parse(TOKEN).unwrap();
    assert_silent(&format!("{token:?} {token:#?}"));
    let fly = Fly::new(token, &Hosts::default()).unwrap();
    assert_silent(&format!("{fly:?} {fly:#?}"));
    assert_eq!(fly.registry_password(), TOKEN);
    assert_eq!(fly.registry_host(), "registry.fly.io");
    let call = Call::post(
        Action::ChangeSecrets,
        "site",
        "/v1/apps/site/secrets".into(),
    )
    .json(&json!({"values": {"SYNC_SECRET": VALUE}}))
    .hiding(vec![VALUE]);
    assert_silent(&format!("{call:?} {call:#?}"));
}
