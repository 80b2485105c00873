//! The running judges: orders and answers as lines of JSON.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// Which platform's code judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    Netlify,
    Cloudflare,
}

/// Which file is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Redirects,
    Headers,
}

/// What a judge says of one file.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Rules that are in force there.
    pub(crate) accepted: u64,
    /// What is wrong, in the judge's words.
    pub(crate) errors: Vec<String>,
    /// One for each request.
    pub(crate) answers: Vec<Value>,
}

/// The running Node program; ended when dropped.
pub(crate) struct Judge {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    /// Starts the judges. `test` names the scratch file, which no two tests may share.
    pub(crate) fn start(test: &str) -> Self {
        let judges = node_judges();
        assert!(
            judges.join("node_modules").is_dir(),
            "{} is missing; make it with: ./scripts/test packages",
            judges.join("node_modules").display()
        );
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules_oracle/judges.mjs");
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("rules-{test}"));
        let mut child = Command::new("node")
            .args([&program, &judges, &scratch])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run node ({error}); install it with: ./scripts/test packages")
            });
        let orders = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            child,
            orders,
            answers,
        }
    }

    /// Returns what a platform makes of a file and of each request.
    pub(crate) fn ask(
        &mut self,
        platform: Platform,
        kind: Kind,
        file: &str,
        requests: &[String],
    ) -> Verdict {
        let order = match (platform, kind) {
            (Platform::Netlify, Kind::Redirects) => "netlify-redirects",
            (Platform::Netlify, Kind::Headers) => "netlify-headers",
            (Platform::Cloudflare, Kind::Redirects) => "cloudflare-redirects",
            (Platform::Cloudflare, Kind::Headers) => "cloudflare-headers",
        };
        let order = json!({ "do": order, "file": file, "requests": requests });
        writeln!(self.orders, "{order}").expect("the judges take orders");
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the judges answer");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            panic!(
                "the judges answered {line:?} ({error}) to {order}; their message is above, and \
                 ./scripts/test packages installs what they import"
            )
        });
        let texts = |value: &Value| -> Vec<String> {
            let values = value.as_array().expect("it is a list");
            let text = |value: &Value| value.as_str().expect("it is a text").to_owned();
            values.iter().map(text).collect()
        };
        Verdict {
            accepted: answer["accepted"].as_u64().expect("it is a count"),
            errors: texts(&answer["errors"]),
            answers: answer["answers"].as_array().expect("a list").clone(),
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is collected.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns the folder that `scripts/test` fills: beside Cargo's own folder for test files.
fn node_judges() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the folder for test files is below the target folder")
        .join("node-judges")
}
