//! What is wrong with a line of `_redirects` or `_headers`, and what to do about it.
//!
//! The codes are stable, so that scripts can tell faults apart; the words may change. What a message
//! quotes from the file is shortened and has no control characters, so that it can go to a terminal.

use std::fmt;

use super::MAX_DIAGNOSTICS;

/// One fault of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: u32,
    /// What kind of fault it is; stable.
    pub code: DiagnosticCode,
    /// Whether the line was refused, or holds in spite of the fault.
    pub severity: Severity,
    /// What is wrong and what to do, in one sentence without a full stop.
    pub message: String,
}

/// What became of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The line, or what follows it, is not in force.
    Refused,
    /// The line is in force, but does less or other than it seems to.
    Warning,
}

/// What kind of fault a line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiagnosticCode {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The line is over [`super::MAX_LINE_BYTES`].
    LineTooLong,
    /// The file has more bytes than are read.
    FileTooLarge,
    /// The file has more rules than are taken.
    TooManyRules,
    /// More faults were found than are listed.
    MoreFaults,
    /// A redirect without a target.
    MissingTarget,
    /// A token that has no meaning where it stands.
    UnexpectedToken,
    /// A path that no request can have.
    BadPath,
    /// A rule for another host, or for one host of several.
    DomainRule,
    /// A target that is neither a path nor an address with `http` or `https`.
    BadTarget,
    /// A wildcard where none can stand.
    BadWildcard,
    /// A placeholder that is not a whole segment, or is there twice.
    BadPlaceholder,
    /// A placeholder in the target that nothing captures.
    UnknownPlaceholder,
    /// A status that is not supported.
    BadStatus,
    /// A target on another host that would have to be fetched from there.
    Proxy,
    /// A condition on the visitor: country, language, role or cookie.
    UnsupportedCondition,
    /// A query condition that is not `name=value` or `name=:placeholder`.
    BadQueryCondition,
    /// A path that belongs to the server, or to a service of another platform.
    ReservedPath,
    /// A redirect that leads to itself, for ever.
    RedirectLoop,
    /// A rule that an earlier one already answers.
    DuplicateRule,
    /// A part of the target that has no effect.
    IgnoredPart,
    /// A header line before any path.
    HeaderWithoutPath,
    /// A path without any header line.
    EmptyBlock,
    /// A header line without a colon, a name or a value.
    BadHeaderLine,
    /// A header name that is none.
    BadHeaderName,
    /// A header value with bytes that none can have.
    BadHeaderValue,
    /// A header that the server alone decides.
    ReservedHeader,
    /// A header with one value, given twice for one path.
    RepeatedHeader,
}

impl DiagnosticCode {
    /// Every code, for documentation and tests.
    pub const ALL: [Self; 28] = [
        Self::NotUtf8,
        Self::LineTooLong,
        Self::FileTooLarge,
        Self::TooManyRules,
        Self::MoreFaults,
        Self::MissingTarget,
        Self::UnexpectedToken,
        Self::BadPath,
        Self::DomainRule,
        Self::BadTarget,
        Self::BadWildcard,
        Self::BadPlaceholder,
        Self::UnknownPlaceholder,
        Self::BadStatus,
        Self::Proxy,
        Self::UnsupportedCondition,
        Self::BadQueryCondition,
        Self::ReservedPath,
        Self::RedirectLoop,
        Self::DuplicateRule,
        Self::IgnoredPart,
        Self::HeaderWithoutPath,
        Self::EmptyBlock,
        Self::BadHeaderLine,
        Self::BadHeaderName,
        Self::BadHeaderValue,
        Self::ReservedHeader,
        Self::RepeatedHeader,
    ];

    /// Returns the stable name, in words with hyphens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not-utf8",
            Self::LineTooLong => "line-too-long",
            Self::FileTooLarge => "file-too-large",
            Self::TooManyRules => "too-many-rules",
            Self::MoreFaults => "more-faults",
            Self::MissingTarget => "missing-target",
            Self::UnexpectedToken => "unexpected-token",
            Self::BadPath => "bad-path",
            Self::DomainRule => "domain-rule",
            Self::BadTarget => "bad-target",
            Self::BadWildcard => "bad-wildcard",
            Self::BadPlaceholder => "bad-placeholder",
            Self::UnknownPlaceholder => "unknown-placeholder",
            Self::BadStatus => "bad-status",
            Self::Proxy => "proxy",
            Self::UnsupportedCondition => "unsupported-condition",
            Self::BadQueryCondition => "bad-query-condition",
            Self::ReservedPath => "reserved-path",
            Self::RedirectLoop => "redirect-loop",
            Self::DuplicateRule => "duplicate-rule",
            Self::IgnoredPart => "ignored-part",
            Self::HeaderWithoutPath => "header-without-path",
            Self::EmptyBlock => "empty-block",
            Self::BadHeaderLine => "bad-header-line",
            Self::BadHeaderName => "bad-header-name",
            Self::BadHeaderValue => "bad-header-value",
            Self::ReservedHeader => "reserved-header",
            Self::RepeatedHeader => "repeated-header",
        }
    }
}

impl fmt::Display for DiagnosticCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Warning => "warning",
        })
    }
}

impl Diagnostic {
    /// Returns the diagnostic as one line that starts with where it is: `_redirects:3: refused: …`.
    #[must_use]
    pub fn in_file(&self, file: &str) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let Self {
                line,
                code,
                severity,
                message,
            } = self;
            write!(f, "{file}:{line}: {severity}: {message} [{code}]")
        })
    }
}

/// A fault whose line and severity are not said yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: DiagnosticCode,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(code: DiagnosticCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Collects the diagnostics of one file, and counts what is over the bound.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    listed: Vec<Diagnostic>,
    left_out: u32,
    first_left_out: u32,
}

impl Diagnostics {
    /// Notes that a line is not in force.
    pub(super) fn refuse(&mut self, line: u32, fault: Fault) {
        self.add(line, Severity::Refused, fault);
    }

    /// Notes that a line is in force, but not as it seems.
    pub(super) fn warn(&mut self, line: u32, fault: Fault) {
        self.add(line, Severity::Warning, fault);
    }

    fn add(&mut self, line: u32, severity: Severity, fault: Fault) {
        if self.listed.len() >= MAX_DIAGNOSTICS {
            if self.left_out == 0 {
                self.first_left_out = line;
            }
            self.left_out += 1;
            return;
        }
        self.listed.push(Diagnostic {
            line,
            code: fault.code,
            severity,
            message: fault.message,
        });
    }

    /// Returns what was collected, by line; the last one says how many were left out.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.listed.sort_by_key(|diagnostic| diagnostic.line);
        if self.left_out > 0 {
            self.listed.push(Diagnostic {
                line: self.first_left_out,
                code: DiagnosticCode::MoreFaults,
                severity: Severity::Warning,
                message: format!(
                    "and {} more; mend those above and look again",
                    self.left_out
                ),
            });
        }
        self.listed
    }
}

/// Returns a piece of a file as it can be shown: shortened, without control characters.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut quoted = String::from("`");
    for (count, letter) in text.chars().enumerate() {
        if count == LONGEST {
            quoted.push('…');
            break;
        }
        quoted.push(if letter.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            letter
        });
    }
    quoted.push('`');
    quoted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_words_with_hyphens() {
        let names: BTreeSet<&str> = DiagnosticCode::ALL
            .iter()
            .map(|code| code.as_str())
            .collect();
        assert_eq!(names.len(), DiagnosticCode::ALL.len());
        for name in names {
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{name}"
            );
        }
    }

    #[test]
    fn a_diagnostic_says_where_it_is() {
        let diagnostic = Diagnostic {
            line: 3,
            code: DiagnosticCode::BadStatus,
            severity: Severity::Refused,
            message: "no such status".into(),
        };
        assert_eq!(
            diagnostic.in_file("_redirects").to_string(),
            "_redirects:3: refused: no such status [bad-status]"
        );
    }

    #[test]
    fn faults_over_the_bound_are_counted() {
        let mut diagnostics = Diagnostics::default();
        for line in 1..=250 {
            diagnostics.refuse(line, Fault::new(DiagnosticCode::BadPath, "x"));
        }
        let listed = diagnostics.finish();
        assert_eq!(listed.len(), MAX_DIAGNOSTICS + 1);
        let last = listed.last().unwrap();
        assert_eq!(last.code, DiagnosticCode::MoreFaults);
        assert_eq!(last.line, 101);
        assert!(last.message.starts_with("and 150 more"), "{}", last.message);
    }

    #[test]
    fn what_is_quoted_can_go_to_a_terminal() {
        assert_eq!(shown("/a"), "`/a`");
        assert_eq!(shown("\u{1b}[31m"), "`\u{fffd}[31m`");
        assert_eq!(shown(&"x".repeat(200)).chars().count(), 83);
    }
}
