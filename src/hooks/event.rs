//! What a proven request says: which document or branch changed, and how; pure.
//!
//! Also tells one delivery from another. The names of deliveries are kept as digests, so that whatever
//! a sender puts there takes the same room.

use hyper::HeaderMap;
use onsave_protocol::Sha256Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{HookConfig, HookVerify};

/// The start of ids of documents that nobody published.
const UNPUBLISHED: [&str; 2] = ["drafts.", "versions."];

/// What happened elsewhere; as the build command gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The id of its outcome.
    pub id: String,
    /// The hook that told it.
    pub hook: String,
    /// The sender's own name for the kind of event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What was done to the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The document, where the event is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_id: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub received_unix_ms: u64,
    /// The body: what its JSON says, or its text.
    pub payload: Value,
}

/// What was done to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It is new.
    Create,
    /// It changed.
    Update,
    /// It is gone.
    Delete,
}

/// What a request means.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Something is to be done.
    Act(Event),
    /// Nothing is, for this reason.
    Ignore(String),
}

/// Returns what a proven request means; its event has no id and no time yet.
pub(super) fn meaning(hook: &HookConfig, headers: &HeaderMap, body: &[u8]) -> Meaning {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    let payload = serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
    let of_body = |name: &str| payload.get(name)?.as_str().map(str::to_owned);
    let (event, operation, document_id) = match hook.verify {
        HookVerify::Sanity => {
            // The body is signed, and the headers are not.
            let document = of_body("_id").or_else(|| text("sanity-document-id"));
            (None, text("sanity-operation"), document)
        }
        HookVerify::GitHub => (text("x-github-event"), None, None),
        HookVerify::StandardWebhooks => {
            let event = of_body("type");
            let done = event.as_deref().and_then(|event| event.rsplit('.').next());
            let operation = done.map(str::to_owned);
            (event, operation, None)
        }
        HookVerify::SharedSecret(_) => {
            let document = of_body("documentId").or_else(|| of_body("_id"));
            (of_body("event"), of_body("operation"), document)
        }
    };
    if hook.verify == HookVerify::GitHub {
        let event = event.as_deref().unwrap_or("(none)");
        if event == "ping" || !hook.events.iter().any(|wanted| wanted == event) {
            return Meaning::Ignore(format!("the event {event} does nothing here"));
        }
    }
    let is_unpublished = |id: &String| UNPUBLISHED.iter().any(|start| id.starts_with(start));
    if hook.verify == HookVerify::Sanity && document_id.as_ref().is_some_and(is_unpublished) {
        return Meaning::Ignore("the document is not published".to_owned());
    }
    Meaning::Act(Event {
        id: String::new(),
        hook: hook.id.clone(),
        event,
        operation: operation.as_deref().and_then(operation_named),
        document_id,
        received_unix_ms: 0,
        payload,
    })
}

fn operation_named(text: &str) -> Option<Operation> {
    match text {
        "create" | "created" => Some(Operation::Create),
        "update" | "updated" => Some(Operation::Update),
        "delete" | "deleted" => Some(Operation::Delete),
        _ => None,
    }
}

/// Returns the names that the delivery is known by; none where each is a new one.
///
/// `proven` is what the proof itself says of it.
pub(super) fn deliveries(
    hook: &HookConfig,
    headers: &HeaderMap,
    proven: Option<&str>,
) -> Vec<String> {
    let header = match hook.verify {
        HookVerify::Sanity | HookVerify::SharedSecret(_) => Some("idempotency-key"),
        HookVerify::GitHub => Some("x-github-delivery"),
        HookVerify::StandardWebhooks => None,
    };
    let told = header.and_then(|name| headers.get(name));
    let told = told.map(|value| ("header", value.as_bytes()));
    let proven = proven.map(|text| ("proof", text.as_bytes()));
    let named = |(kind, name): (&str, &[u8])| {
        let start = format!("{}\n{kind}\n", hook.id);
        Sha256Digest::of(&[start.as_bytes(), name].concat()).to_hex()
    };
    told.into_iter().chain(proven).map(named).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hooks::{tests::hook, verify::tests::headers};

    fn acted(meaning: Meaning) -> Event {
        match meaning {
            Meaning::Act(event) => event,
            Meaning::Ignore(why) => panic!("ignored: {why}"),
        }
    }

    #[test]
    fn sanity_names_a_document_and_what_was_done_to_it() {
        let hook = hook("cms", HookVerify::Sanity);
        let told = headers(&[("sanity-operation", "delete"), ("sanity-document-id", "b")]);
        let event = acted(meaning(&hook, &told, b"{\"_id\": \"a\", \"n\": 1}"));
        assert_eq!(event.document_id.as_deref(), Some("a"));
        assert_eq!(event.operation, Some(Operation::Delete));
        assert_eq!(event.payload, json!({"_id": "a", "n": 1}));
        let event = acted(meaning(&hook, &told, b"true"));
        assert_eq!(event.document_id.as_deref(), Some("b"));
        for id in ["drafts.a", "versions.r1.a"] {
            let body = json!({"_id": id}).to_string();
            let meaning = meaning(&hook, &told, body.as_bytes());
            assert!(matches!(meaning, Meaning::Ignore(_)), "{id}");
        }
    }

    #[test]
    fn github_acts_on_the_events_that_are_wanted() {
        let hook = HookConfig {
            events: vec!["push".into(), "release".into()],
            ..hook("git", HookVerify::GitHub)
        };
        for (event, acts) in [
            ("push", true),
            ("release", true),
            ("ping", false),
            ("star", false),
        ] {
            let told = headers(&[("x-github-event", event)]);
            let meaning = meaning(&hook, &told, b"{}");
            assert_eq!(matches!(meaning, Meaning::Act(_)), acts, "{event}");
        }
        assert!(matches!(
            meaning(&hook, &headers(&[]), b"{}"),
            Meaning::Ignore(_)
        ));
    }

    #[test]
    fn other_senders_say_it_in_the_body() {
        let standard = hook("s", HookVerify::StandardWebhooks);
        let event = acted(meaning(
            &standard,
            &headers(&[]),
            b"{\"type\": \"post.updated\"}",
        ));
        assert_eq!(event.event.as_deref(), Some("post.updated"));
        assert_eq!(event.operation, Some(Operation::Update));
        let shared = hook("c", HookVerify::SharedSecret("x".into()));
        let body = b"{\"operation\": \"create\", \"documentId\": \"7\"}";
        let event = acted(meaning(&shared, &headers(&[]), body));
        assert_eq!(event.operation, Some(Operation::Create));
        assert_eq!(event.document_id.as_deref(), Some("7"));
        let event = acted(meaning(&shared, &headers(&[]), b"no JSON"));
        assert_eq!(event.payload, json!("no JSON"));
        assert_eq!(
            acted(meaning(&shared, &headers(&[]), b"")).payload,
            json!("")
        );
    }

    #[test]
    fn a_delivery_is_known_by_what_its_sender_repeats() {
        let sanity = hook("cms", HookVerify::Sanity);
        let key = headers(&[("idempotency-key", "k1")]);
        let both = deliveries(&sanity, &key, Some("t=1,v1=x"));
        assert_eq!(both.len(), 2);
        assert_ne!(both[0], both[1]);
        assert_eq!(
            deliveries(&sanity, &headers(&[]), Some("t=1,v1=x")),
            both[1..]
        );
        let other = hook("other", HookVerify::Sanity);
        assert_ne!(deliveries(&other, &key, None), both[..1]);
        let shared = hook("cms", HookVerify::SharedSecret("x".into()));
        assert_eq!(deliveries(&shared, &headers(&[]), None), [""; 0]);
        let standard = hook("cms", HookVerify::StandardWebhooks);
        assert_eq!(deliveries(&standard, &key, Some("msg_1")).len(), 1);
    }
}
