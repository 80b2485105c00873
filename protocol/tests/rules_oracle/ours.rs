//! What this crate makes of a file, in the judges' words.

use std::collections::BTreeMap;

use onsave_protocol::rules::{
    Action, Diagnostic, DiagnosticCode, HeaderRules, HeaderStep, Redirects, Severity,
};

/// A file as this crate reads it.
pub(crate) struct Ours<R> {
    rules: R,
    pub(crate) accepted: usize,
    /// The first fault that keeps a line from being in force.
    pub(crate) code: Option<DiagnosticCode>,
}

pub(crate) fn redirects(file: &str) -> Ours<Redirects> {
    let (rules, diagnostics) = Redirects::parse(file.as_bytes());
    Ours {
        accepted: rules.len(),
        rules,
        code: refusal(&diagnostics),
    }
}

pub(crate) fn headers(file: &str) -> Ours<HeaderRules> {
    let (rules, diagnostics) = HeaderRules::parse(file.as_bytes());
    Ours {
        accepted: rules.len(),
        rules,
        code: refusal(&diagnostics),
    }
}

fn refusal(diagnostics: &[Diagnostic]) -> Option<DiagnosticCode> {
    let refused = diagnostics
        .iter()
        .find(|diagnostic| diagnostic.severity == Severity::Refused);
    // A block without lines is not in force, though that is only a warning.
    let empty = diagnostics
        .iter()
        .find(|diagnostic| diagnostic.code == DiagnosticCode::EmptyBlock);
    refused.or(empty).map(|diagnostic| diagnostic.code)
}

impl Ours<Redirects> {
    /// Returns what a request gets: `301 /x`, `200! /x` or `nothing`.
    ///
    /// A rewrite to the path itself is `nothing`: that is all that a handler's answer shows.
    pub(crate) fn answer(&self, request: &str) -> String {
        let (path, query) = parts(request);
        let Some(found) = self.rules.find(&path, query) else {
            return "nothing".into();
        };
        let force = if found.is_forced() { "!" } else { "" };
        match found.into_action() {
            Action::Redirect { status, location } => format!("{}{force} {location}", status.code()),
            Action::Rewrite { path: to, .. } if page(&to) == page(&path) => "nothing".into(),
            Action::Rewrite { path: to, .. } => format!("200{force} {}", page(&to)),
            Action::Status { code, path: to } => format!("{}{force} {to}", code.code()),
        }
    }

    /// Returns whether a request gets what it would get without a rule.
    pub(crate) fn serves_itself(&self, request: &str) -> bool {
        let (path, query) = parts(request);
        self.rules.find(&path, query).is_some() && self.answer(request) == "nothing"
    }
}

fn parts(request: &str) -> (String, Option<&str>) {
    match request.split_once('?') {
        Some((path, query)) => (decoded(path), Some(query)),
        None => (decoded(request), None),
    }
}

impl Ours<HeaderRules> {
    /// Returns the headers after the rules, several lines of one joined as browsers do.
    pub(crate) fn applied(
        &self,
        path: &str,
        mut headers: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        for step in self.rules.for_path(&decoded(path)) {
            match step {
                HeaderStep::Set { name, value } => {
                    headers.insert(name.into(), value.into_owned());
                }
                HeaderStep::Append { name, value } => {
                    let joined = match headers.get(name) {
                        Some(before) => format!("{before}, {value}"),
                        None => value.into_owned(),
                    };
                    headers.insert(name.into(), joined);
                }
                HeaderStep::Detach { name } => {
                    headers.remove(name);
                }
            }
        }
        headers
    }
}

/// Returns a path as the judges show it: a folder and its index are one page.
fn page(path: &str) -> &str {
    let folder = path.strip_suffix("index.html");
    folder
        .filter(|folder| folder.ends_with('/'))
        .unwrap_or(path)
}

/// Returns a text, percent-decoded once.
pub(crate) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .expect("it is UTF-8")
        .into_owned()
}
