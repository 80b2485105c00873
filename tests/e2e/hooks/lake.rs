//! A stand-in for Sanity's API, with Sanity's own engine behind it.

use std::{net::SocketAddr, path::Path, process::Command};

use serde_json::{Value, json};

use crate::harness::{
    http::{Connection, Request},
    installed::{INSTALL, installed},
    process::Process,
};

/// The token that the API asks for.
pub(super) const TOKEN: &str = "sk-lake-hunter2";

/// A running stand-in; ended when dropped.
#[derive(Debug)]
pub(super) struct Lake {
    address: SocketAddr,
    _process: Process,
}

impl Lake {
    /// Starts one without documents; what it says goes to files in `logs`.
    pub(super) fn start(logs: &Path) -> Self {
        let packages = installed("node-hooks");
        let engine = packages.join("node_modules/groq-js");
        assert!(
            engine.is_dir(),
            "{} is missing; {INSTALL}",
            engine.display()
        );
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/hooks/content_lake.mjs");
        let mut command = Command::new("node");
        command.arg(program).arg(packages).arg(TOKEN);
        let mut process = Process::start("lake", &mut command, logs);
        let port: u16 = process.wait_for_line("listening ").parse().expect("a port");
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            _process: process,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has these documents from now on.
    pub(super) fn hold(&self, documents: &Value) {
        self.say("POST", "/documents", documents);
    }

    /// Answers the next queries with a failure.
    pub(super) fn fail(&self, count: u32, status: u16) {
        self.say(
            "POST",
            "/failures",
            &json!({ "count": count, "status": status }),
        );
    }

    /// Returns the queries that were answered, with their parameters.
    pub(super) fn asked(&self) -> Vec<Value> {
        let answer = self.say("GET", "/asked", &Value::Null);
        serde_json::from_str(&answer).expect("a list")
    }

    fn say(&self, method: &str, target: &str, body: &Value) -> String {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut connection = Connection::open(self.address).expect("it listens");
        let request = Request {
            method,
            target,
            headers: Vec::new(),
            body: body.as_bytes(),
        };
        let answer = connection.send(&request).expect("it answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }
}
