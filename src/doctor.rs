//! `onsave doctor`: what is well, what is not, and what to do about it.
//!
//! ```text
//! configuration ─┐
//! this machine  ─┤
//! server        ─┼─► Facts ─► findings (pure) ─► lines, or JSON
//! public URL    ─┤
//! Fly.io        ─┘
//! ```
//!
//! Only looks: nothing is changed here, on the server or on the platform, and no secret is made.
//! What cannot be asked is left out or said, and never ends the rest.
//!
//! | module | holds |
//! |---|---|
//! | `facts` | what was found out |
//! | `gather` | finding it out: the only part that reads files and asks anybody |
//! | `here` | findings about the configuration and this machine; pure |
//! | `server` | findings about the server, its secret, its clock, its space; pure |
//! | `platform` | findings about the token, the organisation, the app and its addresses; pure |
//! | `machine` | findings about the volume, the machine and its image; pure |
//! | `secret` | findings about the secret of an app; pure |
//! | `domains` | findings about certificates and DNS; pure |

mod domains;
pub mod facts;
pub mod gather;
mod here;
mod machine;
mod platform;
mod secret;
mod server;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::facts::Facts;
use crate::{error_report, shown::ShownText};

/// How something is. What is worse comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not as it should, or not for long.
    Warning,
    /// It does not work.
    Broken,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Broken => "broken",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: one word.
    pub topic: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub what: String,
    /// What to do about it, where there is something to do.
    pub fix: Option<String>,
}

impl Finding {
    fn ok(topic: &'static str, what: impl Into<String>) -> Self {
        Self {
            topic,
            verdict: Verdict::Ok,
            what: what.into(),
            fix: None,
        }
    }

    fn warning(topic: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            topic,
            verdict: Verdict::Warning,
            what: what.into(),
            fix: Some(fix.into()),
        }
    }

    fn broken(topic: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Broken,
            ..Self::warning(topic, what, fix)
        }
    }

    /// Returns what an error says, and its hint as the fix.
    fn error(
        topic: &'static str,
        error: &(dyn std::error::Error + 'static),
        hint: Option<String>,
    ) -> Self {
        Self {
            topic,
            verdict: Verdict::Broken,
            what: error_report::with_causes(error),
            fix: hint,
        }
    }
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub struct Report {
    /// In the order in which they are told.
    pub findings: Vec<Finding>,
    /// The worst verdict of them.
    pub worst: Verdict,
}

impl Report {
    /// Returns what the facts come to.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let mut findings = here::findings(facts);
        if let Some(fly) = &facts.fly {
            findings.extend(platform::findings(fly));
            findings.extend(machine::findings(fly, facts.server.as_ref()));
        }
        findings.extend(server::findings(facts));
        if let Some(fly) = &facts.fly {
            findings.extend(secret::findings(fly, facts.server.as_ref()));
            findings.extend(domains::findings(fly));
        }
        findings.extend(server::public_findings(facts));
        let worst = findings.iter().map(|finding| finding.verdict).max();
        Self {
            worst: worst.unwrap_or(Verdict::Ok),
            findings,
        }
    }

    /// Returns how many findings have that verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        let has = |finding: &&Finding| finding.verdict == verdict;
        self.findings.iter().filter(has).count()
    }

    /// Returns the report for a person: a line for each finding, what to do below it, and how many
    /// there are of each kind.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.topic.len());
        let width = width.max().unwrap_or(0);
        let mut lines = Vec::new();
        for finding in &self.findings {
            let (topic, what) = (finding.topic, one_line(&finding.what));
            lines.push(format!(
                "{:7}  {topic:width$}  {what}",
                finding.verdict.word()
            ));
            let fix = finding.fix.as_deref().map(one_line);
            lines.extend(fix.map(|fix| format!("{:7}  {:width$}  fix: {fix}", "", "")));
        }
        let warnings = self.count(Verdict::Warning);
        let plural = if warnings == 1 { "" } else { "s" };
        let (ok, broken) = (self.count(Verdict::Ok), self.count(Verdict::Broken));
        lines.push(String::new());
        lines.push(format!(
            "{ok} ok, {warnings} warning{plural}, {broken} broken"
        ));
        lines.join("\n") + "\n"
    }
}

/// Returns a text of several lines as one, with nothing that a terminal obeys.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    ShownText(&lines.join("; ")).to_string()
}

/// Returns bytes as people say them.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(unit, name)| format!("{:.1} {name}", bytes as f64 / *unit as f64),
    )
}
