//! Every call against answers in memory, in virtual time (`start_paused = true`), and one over a socket.
//!
//! Owns the script: which calls are expected, in order, and what each is answered. A call that is not
//! the expected one fails the test where it is made.

mod apps;
mod certificates;
mod machines;
mod organisations;
mod refusals;
mod regions;
mod repetition;
mod secrecy;
mod socket;
mod volumes;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;

use super::{Fly, Token, line::Line, pace::Pace};
use crate::http::{Answer, Body, HttpError, Request};

pub(super) const TOKEN: &str = "fm2_hunter2token";

/// What a call gets.
pub(super) enum Reply {
    /// Status and body.
    Say(u16, String),
    /// The same, with headers.
    With(u16, &'static [(&'static str, &'static str)], String),
    /// The same, after a time.
    After(Duration, u16, String),
    /// Status, and a body that is made from that of the first request.
    Echo(u16, fn(&Value) -> Value),
    /// The connection breaks after the request was sent.
    Cut,
    /// No connection can be made.
    Down,
}

/// A call that was made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) headers: Vec<(&'static str, String)>,
    /// The body as JSON; null where there is none.
    pub(super) body: Value,
}

impl Made {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Answers, in the order in which they are asked for.
pub(super) struct Script {
    expected: Mutex<VecDeque<(String, Reply)>>,
    made: Mutex<Vec<Made>>,
}

/// What a script holds is no matter of a client.
impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(super) async fn answer(&self, request: &Request<'_>) -> Result<Answer, HttpError> {
        let line = format!("{} {}", request.method, request.path_and_query);
        let Body::Parts(parts) = &request.body else {
            panic!("{line} has a file as its body");
        };
        let body = parts.concat();
        self.made.lock().unwrap().push(Made {
            headers: request.headers.clone(),
            body: if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(&body).unwrap()
            },
        });
        let expected = self.expected.lock().unwrap().pop_front();
        let Some((expected, reply)) = expected else {
            panic!("one call too many: {line}");
        };
        assert_eq!(line, expected);
        match reply {
            Reply::Say(status, body) => Ok(Answer::made_up(status, &[], &body)),
            Reply::With(status, headers, body) => Ok(Answer::made_up(status, headers, &body)),
            Reply::After(time, status, body) => {
                tokio::time::sleep(time).await;
                Ok(Answer::made_up(status, &[], &body))
            }
            Reply::Echo(status, body) => {
                let asked = self.made.lock().unwrap()[0].body.clone();
                Ok(Answer::made_up(status, &[], &body(&asked).to_string()))
            }
            Reply::Cut => Err(HttpError::Broken(io::ErrorKind::ConnectionReset.into())),
            Reply::Down => Err(HttpError::Connect(io::ErrorKind::ConnectionRefused.into())),
        }
    }
}

/// A client and what it is answered.
pub(super) struct Scripted {
    pub(super) fly: Fly,
    script: Arc<Script>,
}

impl Scripted {
    pub(super) fn new(expected: Vec<(&str, Reply)>) -> Self {
        let expected = expected.into_iter();
        let script = Arc::new(Script {
            expected: Mutex::new(expected.map(|(line, reply)| (line.into(), reply)).collect()),
            made: Mutex::default(),
        });
        let line = || Line::scripted(Arc::clone(&script));
        let fly = Fly {
            token: Token::parse(TOKEN).unwrap(),
            machines: line(),
            web: line(),
            registry: "registry.example".into(),
            pace: Pace::default(),
        };
        Self { fly, script }
    }

    /// Returns what was asked; everything that was expected was.
    pub(super) fn made(&self) -> Vec<Made> {
        let left: Vec<String> = self
            .script
            .expected
            .lock()
            .unwrap()
            .iter()
            .map(|(line, _)| line.clone())
            .collect();
        assert_eq!(left, [""; 0], "expected, but not asked");
        self.script.made.lock().unwrap().clone()
    }
}

pub(super) fn say(status: u16, body: &str) -> Reply {
    Reply::Say(status, body.into())
}

/// An error as the Machines API writes it.
pub(super) fn error(status: u16, text: &str) -> Reply {
    Reply::Say(status, serde_json::json!({"error": text}).to_string())
}

pub(super) fn json(status: u16, body: &Value) -> Reply {
    Reply::Say(status, body.to_string())
}
