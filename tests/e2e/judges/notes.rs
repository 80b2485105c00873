//! What the linters in Python say, and what of it is meant so.
//!
//! An accepted note that no answer gets any more fails the test as one does that nobody accepted.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::beside;
use crate::harness::installed::{INSTALL, installed};

/// A note that the linter gives for something that is meant so.
pub(super) struct Accepted {
    /// The note's own name.
    pub(super) note: &'static str,
    /// The answers that may get it.
    pub(super) answers: &'static [&'static str],
    /// Why the answer is right as it is.
    pub(super) why: &'static str,
}

/// Fails the test for every note of the two worse levels that is not accepted, and for every accepted one
/// that is not given.
pub(super) fn assert_accepted(verdicts: &[Value], accepted: &[Accepted]) {
    let mut met = BTreeSet::new();
    let mut faults = Vec::new();
    for verdict in verdicts {
        let answer = text(&verdict["answer"]);
        for note in verdict["notes"].as_array().expect("it is a list") {
            if !["bad", "warning"].contains(&text(&note["level"])) {
                continue;
            }
            let name = text(&note["note"]);
            let known = accepted
                .iter()
                .position(|known| known.note == name && known.answers.contains(&answer));
            match known {
                Some(place) => {
                    met.insert((place, answer));
                }
                None => faults.push(format!("{answer}: {name}: {}", text(&note["summary"]))),
            }
        }
    }
    for (place, known) in accepted.iter().enumerate() {
        for answer in known.answers {
            if !met.contains(&(place, *answer)) {
                let (note, why) = (known.note, known.why);
                faults.push(format!(
                    "{answer}: {note} is not given any more; was: {why}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Runs a linter on orders, one a line, and returns its verdicts in the same order.
pub(super) fn verdicts(program: &str, orders: &[Value]) -> Vec<Value> {
    let python = installed("python-venv").join("bin/python");
    let mut child = Command::new(&python)
        .arg(beside(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}; {INSTALL}", python.display()));
    let lines: Vec<String> = orders.iter().map(Value::to_string).collect();
    // The linter reads all of it before it says anything, so that neither waits for the other.
    child
        .stdin
        .take()
        .expect("it is piped")
        .write_all((lines.join("\n") + "\n").as_bytes())
        .expect("the linter takes orders");
    let output = child.wait_with_output().expect("it was started");
    assert!(
        output.status.success(),
        "{program}: {}; its message is above, and for a missing package: {INSTALL}",
        output.status
    );
    let verdicts: Vec<Value> = String::from_utf8(output.stdout)
        .expect("it writes JSON")
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    assert_eq!(verdicts.len(), orders.len(), "each order gets a verdict");
    verdicts
}

fn text(value: &Value) -> &str {
    value.as_str().expect("it is a text")
}
