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

/// Rules that are looked at, all chains together, before the search for circles ends: a fraction of a
/// second.
const MOST_TRIED: usize = 5_000_000;

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

/// Returns the rules that are part of a circle, by their lines, with what to say of each.
///
/// Of a file in which a request has to try very many rules, only the first are followed: a warning is
/// not worth a wait.
pub(super) fn circles(redirects: &Redirects) -> Vec<(u32, Fault)> {
    let mut tried = 0;
    redirects
        .rules
        .iter()
        .filter(|rule| is_own_redirect(rule))
        .map_while(|rule| {
            let is_followed = tried < MOST_TRIED;
            is_followed.then(|| (rule, is_in_circle(redirects, rule, &mut tried)))
        })
        .filter(|(_, is_in_circle)| *is_in_circle)
        .map(|(rule, _)| (rule.line, circle()))
        .collect()
}

fn is_in_circle(redirects: &Redirects, rule: &Redirect, tried: &mut usize) -> bool {
    let mut request = Request::example(rule);
    let mut seen = Vec::new();
    for _ in 0..MOST_STEPS {
        let query = request.query.as_deref();
        let Some(found) = redirects.find_and_count(&request.path, query, tried) else {
            return false;
        };
        let Some(next) = Request::next(found.action()) else {
            return false;
        };
        if found.line() == rule.line {
            if seen.contains(&next.path) {
                return true;
            }
            seen.push(next.path.clone());
        }
        request = next;
    }
    false
}

fn circle() -> Fault {
    Fault::new(
        DiagnosticCode::RedirectLoop,
        "the rule leads back to itself through other rules, unless a file stands on the way; a browser \
         gives up after some twenty steps",
    )
}
