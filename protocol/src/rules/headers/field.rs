//! One header line, and which headers a file of the site may touch.

use crate::rules::{
    diagnostic::{DiagnosticCode, Fault, shown},
    template::Template,
};

/// A header with the value that a block gives it.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: Template,
    pub(super) combination: Combination,
}

/// What several values of one header make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combination {
    /// A list (RFC 9110, section 5.3): a block's are joined, and later blocks' are added.
    List,
    /// Nothing that a browser understands: the last one counts.
    Single,
    /// Lines of their own, which must not be joined (RFC 6265, section 3).
    Lines,
    /// A list that adds to the server's own, which has to stay.
    Additional,
}

/// Headers with one value. Two, on two lines or in one, make browsers ignore or refuse the header.
const SINGLE: [&str; 17] = [
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "access-control-max-age",
    "content-disposition",
    "content-location",
    "content-type",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "expires",
    "origin-agent-cluster",
    "refresh",
    "retry-after",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
];

/// Headers that frame a message or belong to one connection (RFC 9110, section 7.6.1; RFC 9112): a wrong
/// one makes the answer unreadable, or lets one answer be taken for two.
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that say what the server did: which bytes it chose, when, and what else it can do with them.
const OF_THE_ANSWER: [&str; 10] = [
    "accept-ranges",
    "age",
    "allow",
    "content-encoding",
    "content-range",
    "date",
    "etag",
    "last-modified",
    "location",
    "server",
];

impl Combination {
    /// Returns what several values of a header make; `name` is in lower case.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "set-cookie" => Self::Lines,
            "vary" => Self::Additional,
            _ if SINGLE.contains(&name) => Self::Single,
            _ => Self::List,
        }
    }
}

/// What a line below a path says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FieldLine<'l> {
    /// `! Name`, in lower case.
    Detach(String),
    /// `Name: value`, the name in lower case.
    Value(String, &'l str),
}

impl<'l> FieldLine<'l> {
    /// Returns what a line says.
    pub(super) fn parse(text: &'l str) -> Result<Self, Fault> {
        let fault = |message: String| Fault::new(DiagnosticCode::BadHeaderLine, message);
        if let Some(name) = text.strip_prefix('!') {
            let name = checked_name(name.trim())?;
            if name == "vary" {
                return Err(Fault::new(
                    DiagnosticCode::ReservedHeader,
                    "`vary` says what the server's own choice depends on, and caches need it; a file may add \
                     to it, not take it away",
                ));
            }
            return Ok(Self::Detach(name));
        }
        let Some((name, value)) = text.split_once(':') else {
            return Err(fault(format!(
                "{} is no header; write `Name: value`, or `! Name` to take a header away",
                shown(text)
            )));
        };
        let name = checked_name(name.trim())?;
        let value = value.trim();
        if value.is_empty() {
            return Err(fault(format!(
                "{} has no value; write one, or `! {name}` to take the header away",
                shown(&name)
            )));
        }
        check_value(value)?;
        Ok(Self::Value(name, value))
    }
}

/// Returns a name in lower case, when it is one (RFC 9110, section 5.6.2) and a file may touch it.
fn checked_name(name: &str) -> Result<String, Fault> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_letter) {
        let message = format!(
            "{} is no name of a header, which has letters, digits and `-`",
            shown(name)
        );
        return Err(Fault::new(DiagnosticCode::BadHeaderName, message));
    }
    let name = name.to_ascii_lowercase();
    let reason = if OF_THE_CONNECTION.contains(&name.as_str()) {
        "frames the answer, and the server alone can know it; remove the line"
    } else if OF_THE_ANSWER.contains(&name.as_str()) {
        "says what the server did, and it alone can know it; remove the line"
    } else if name == "basic-auth" {
        "asks for a password on Netlify, and here would show it to everybody; remove the line, and the \
         password with it"
    } else {
        return Ok(name);
    };
    let message = format!("{} {reason}", shown(&name));
    Err(Fault::new(DiagnosticCode::ReservedHeader, message))
}

/// Refuses what no value has (RFC 9110, section 5.5), and what is not ASCII, which every program reads
/// its own way.
fn check_value(value: &str) -> Result<(), Fault> {
    let is_letter = |letter: char| matches!(letter, '\t' | ' '..='~');
    if let Some(letter) = value.chars().find(|letter| !is_letter(*letter)) {
        let message = format!(
            "the value has {}, and a header has ASCII letters alone; encode it",
            shown(&letter.to_string())
        );
        return Err(Fault::new(DiagnosticCode::BadHeaderValue, message));
    }
    Ok(())
}
