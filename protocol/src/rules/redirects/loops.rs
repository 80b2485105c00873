//! Redirects that lead back to where they started.
//!
//! A rule is followed from a path that matches it, with what it answers as the next request. What one
//! rule does for ever by itself is refused. A circle of several rules is a warning: a file of the site
//! may stand in it, which only the server knows.

use percent_encoding::percent_decode_str;

use super::{
    Action, Redirect, Redirects,
    condition::{Condition, Parameters, Wanted},
    normal,
    target::Target,
};
use crate::rules::{
    diagnostic::{DiagnosticCode, Fault},
    pattern::EXAMPLE,
};

/// Steps after which a chain counts as endless: browsers give up at twenty.
const MOST_STEPS: usize = 20;

/// A request on the way.
struct Request {
    path: String,
    query: Option<String>,
}

impl Request {
    /// Returns a request that the rule matches.
    fn example(rule: &Redirect) -> Self {
        let pairs: Vec<String> = rule.conditions.iter().map(example_of).collect();
        Self {
            path: rule.from.example(),
            query: (!pairs.is_empty()).then(|| pairs.join("&")),
        }
    }

    /// Returns the request that a browser sends next, when it stays on this site.
    fn next(action: &Action) -> Option<Self> {
        let Action::Redirect { location, .. } = action else {
            return None;
        };
        if !location.starts_with('/') {
            return None;
        }
        let sent = location.split('#').next().unwrap_or(location);
        let (path, query) = match sent.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (sent, None),
        };
        Some(Self {
            path: percent_decode_str(path).decode_utf8().ok()?.into_owned(),
            query,
        })
    }
}

fn example_of(condition: &Condition) -> String {
    let escaped = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let value = match &condition.wanted {
        Wanted::Value(value) => escaped(value),
        Wanted::Capture(_) => EXAMPLE.into(),
    };
    format!("{}={value}", escaped(&condition.name))
}

/// Returns what is wrong with a rule that, whatever else the file says, matches all that it leads to.
pub(super) fn of_one_rule(rule: &Redirect) -> Option<Fault> {
    if !is_own_redirect(rule) {
        return None;
    }
    let mut request = Request::example(rule);
    for _ in 0..MOST_STEPS {
        request = step(rule, &request)?;
    }
    Some(Fault::new(
        DiagnosticCode::RedirectLoop,
        "the rule matches what it leads to, so a browser would be sent on for ever; lead out of what \
         `from` matches",
    ))
}

/// Returns where one rule sends a request.
fn step(rule: &Redirect, request: &Request) -> Option<Request> {
    let parameters = Parameters::new(request.query.as_deref());
    let action = rule.answer(&normal(&request.path), &parameters)?;
    Request::next(&action)
}

fn is_own_redirect(rule: &Redirect) -> bool {
    matches!(&rule.target, Target::Redirect { to, .. } if to.is_own())
}

/// Returns the warning of a rule that is part of a circle.
pub(super) fn cycle(redirects: &Redirects, rule: &Redirect) -> Option<Fault> {
    if !is_own_redirect(rule) {
        return None;
    }
    let mut request = Request::example(rule);
    let mut seen = Vec::new();
    for _ in 0..MOST_STEPS {
        let found = redirects.find(&request.path, request.query.as_deref())?;
        let next = Request::next(found.action())?;
        if found.line() == rule.line && seen.contains(&next.path) {
            return Some(circle());
        }
        if found.line() == rule.line {
            seen.push(next.path.clone());
        }
        request = next;
    }
    None
}

fn circle() -> Fault {
    Fault::new(
        DiagnosticCode::RedirectLoop,
        "the rule leads back to itself through other rules, unless a file stands on the way; a browser \
         gives up after some twenty steps",
    )
}
