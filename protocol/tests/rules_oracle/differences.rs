//! Where the outcomes differ on purpose, and why.
//!
//! An entry says in which cases it counts, as narrowly as it can: two outcomes that differ otherwise, or an
//! entry that no case needs, fail the test.

use std::collections::{BTreeMap, BTreeSet};

use onsave_protocol::rules::DiagnosticCode as Code;

use crate::ours::decoded;

/// One deliberate difference.
pub(crate) struct Difference {
    /// What the documentation calls it.
    pub(crate) name: &'static str,
    pub(crate) cases: Cases,
}

/// In which cases a difference counts.
pub(crate) enum Cases {
    /// The judge takes it, and this crate refuses it with this code.
    OnlyHere(Code),
    /// This crate takes it, and the judge refuses files like it with these words.
    OnlyThere(&'static str, fn(&str) -> bool),
    /// Both take it, and answer a request otherwise.
    Answered(fn(&Answer<'_>) -> bool),
}

/// What both sides say to a file that not both take.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) file: String,
    pub(crate) ours: Option<Code>,
    pub(crate) theirs: Option<String>,
}

/// What both sides answer to a request.
#[derive(Debug)]
pub(crate) struct Answer<'c> {
    pub(crate) file: &'c str,
    pub(crate) request: &'c str,
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

/// Notes which differences were met, and what no difference explains.
pub(crate) struct Ledger {
    differences: &'static [Difference],
    /// The places of those that explained something.
    met: BTreeSet<usize>,
    /// The first case of each file.
    unexplained: BTreeMap<String, String>,
}

impl Ledger {
    pub(crate) fn new(differences: &'static [Difference]) -> Self {
        Self {
            differences,
            met: BTreeSet::new(),
            unexplained: BTreeMap::new(),
        }
    }

    /// Notes a file that not both take.
    pub(crate) fn refusal(&mut self, case: &Refusal) {
        match (case.ours, &case.theirs) {
            (Some(code), None) => self.note(
                &case.file,
                format!("{case:?}"),
                |cases| matches!(cases, Cases::OnlyHere(known) if *known == code),
            ),
            (None, Some(message)) => self.note(&case.file, format!("{case:?}"), |cases| {
                matches!(cases, Cases::OnlyThere(words, applies)
                        if message.contains(words) && applies(&case.file))
            }),
            // Both refuse it, or it is a comment.
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Notes the answers to a request.
    pub(crate) fn answer(&mut self, case: &Answer<'_>) {
        if case.ours != case.theirs {
            self.note(
                case.file,
                format!("{case:#?}"),
                |cases| matches!(cases, Cases::Answered(applies) if applies(case)),
            );
        }
    }

    fn note(&mut self, file: &str, case: String, explains: impl Fn(&Cases) -> bool) {
        let found = self
            .differences
            .iter()
            .position(|difference| explains(&difference.cases));
        match found {
            Some(place) => {
                self.met.insert(place);
            }
            None => {
                self.unexplained.entry(file.to_owned()).or_insert(case);
            }
        }
    }

    /// Fails when something is not explained, or an entry explains nothing.
    pub(crate) fn finish(self) {
        let count = self.unexplained.len();
        let first: Vec<String> = self.unexplained.into_values().take(12).collect();
        assert!(
            first.is_empty(),
            "the outcomes of {count} files differ, and no entry says why:\n{}",
            first.join("\n")
        );
        let idle: Vec<&str> = self
            .differences
            .iter()
            .enumerate()
            .filter(|(place, _)| !self.met.contains(place))
            .map(|(_, difference)| difference.name)
            .collect();
        assert!(idle.is_empty(), "these differences are none: {idle:?}");
    }
}

const fn only_here(name: &'static str, code: Code) -> Difference {
    Difference {
        name,
        cases: Cases::OnlyHere(code),
    }
}

const fn only_there(
    name: &'static str,
    words: &'static str,
    applies: fn(&str) -> bool,
) -> Difference {
    Difference {
        name,
        cases: Cases::OnlyThere(words, applies),
    }
}

const fn answered(name: &'static str, applies: fn(&Answer<'_>) -> bool) -> Difference {
    Difference {
        name,
        cases: Cases::Answered(applies),
    }
}

/// The parts of a line of `_redirects` that tell what kind of rule it is.
struct Rule<'l> {
    from: &'l str,
    to: &'l str,
    has_status: bool,
}

impl<'l> Rule<'l> {
    /// Returns the rule of a file of one line.
    fn of(file: &'l str) -> Option<Self> {
        if file.contains('\n') {
            return None;
        }
        let mut tokens = file
            .split_whitespace()
            .take_while(|token| !token.starts_with('#'));
        let from = tokens.next()?;
        let to = tokens.find(|token| token.starts_with('/') || token.starts_with("http"))?;
        Some(Self {
            from,
            to,
            has_status: tokens.next().is_some(),
        })
    }

    fn segments(&self) -> impl Iterator<Item = &'l str> {
        self.from.split('/')
    }
}

impl Answer<'_> {
    fn path(&self) -> &str {
        self.request.split('?').next().unwrap_or(self.request)
    }

    fn rule(&self) -> Option<Rule<'_>> {
        Rule::of(self.file)
    }
}

/// Returns whether a line has a comment behind a rule.
fn has_comment(line: &str) -> bool {
    line.split_whitespace().any(|token| token.starts_with('#'))
}

/// Returns whether a line has query conditions.
fn has_conditions(line: &str) -> bool {
    let mut tokens = line.split_whitespace().skip(1);
    tokens
        .next()
        .is_some_and(|token| !is_target(token) && token.contains('='))
}

/// Returns whether a status stands where the target does.
fn has_no_target(line: &str) -> bool {
    let second = line.split_whitespace().nth(1);
    second.is_some_and(|token| token.starts_with(|letter: char| letter.is_ascii_digit()))
}

fn is_target(token: &str) -> bool {
    token.starts_with('/') || token.starts_with("http")
}

/// Returns whether a redirect would lead to where the visitor is.
fn leads_nowhere(case: &Answer<'_>) -> bool {
    let location = case.theirs.split_once(' ').map(|(_, location)| location);
    case.ours == "nothing" && location == Some(case.request)
}

/// Returns whether a visitor's second slash would come first in the target.
fn could_be_a_host(case: &Answer<'_>) -> bool {
    let starts_with_splat = case
        .rule()
        .is_some_and(|rule| rule.to.starts_with("/:splat"));
    starts_with_splat && case.path().contains("//")
}

/// How the answers to redirects differ from Netlify's; the matching there is ours, as documented.
pub(crate) const NETLIFY_REDIRECTS: &[Difference] = &[
    only_here("a rewrite to another host", Code::Proxy),
    only_here("conditions on the visitor", Code::UnsupportedCondition),
    only_here("a rule for one host", Code::DomainRule),
    only_here("a star that is not the last segment", Code::BadWildcard),
    only_here(
        "a placeholder that is not a whole segment",
        Code::BadPlaceholder,
    ),
    only_here("a path that no request has", Code::BadPath),
    only_here("a target that is no path and no host", Code::BadTarget),
    only_here("a status without a meaning", Code::BadStatus),
    only_here("a token that is ignored there", Code::UnexpectedToken),
    only_here("a query condition without a value", Code::BadQueryCondition),
    only_here("a path of the server's own", Code::ReservedPath),
    only_here("a rule that leads to itself", Code::RedirectLoop),
    answered("an own address is not answered", leads_nowhere),
    answered("a visitor never chooses the host", could_be_a_host),
    answered("an empty parameter is not captured", |case| {
        case.file.contains("=:") && case.request.ends_with('=')
    }),
    answered("of two same lines the first counts", |case| {
        let lines: Vec<&str> = case.file.lines().collect();
        let distinct: BTreeSet<&&str> = lines.iter().collect();
        distinct.len() < lines.len()
    }),
    answered("two slashes are two slashes", |case| {
        case.rule().is_some_and(|rule| rule.from.contains("//"))
    }),
    answered("spelling", |case| {
        decoded(&case.ours) == decoded(&case.theirs)
    }),
];

/// How the answers to redirects differ from those of Cloudflare Pages.
pub(crate) const CLOUDFLARE_REDIRECTS: &[Difference] = &[
    only_here("a path that no request has", Code::BadPath),
    only_here("a star that is not the last segment", Code::BadWildcard),
    only_here(
        "a placeholder that is not a whole segment",
        Code::BadPlaceholder,
    ),
    only_here("a target that is no path and no host", Code::BadTarget),
    only_here("a path of the server's own", Code::ReservedPath),
    only_here("a rule that leads to itself", Code::RedirectLoop),
    only_there(
        "a comment behind a rule",
        "Expected exactly 2 or 3",
        has_comment,
    ),
    only_there(
        "query conditions",
        "Expected exactly 2 or 3",
        has_conditions,
    ),
    only_there(
        "query conditions",
        "URLs should either be relative",
        has_conditions,
    ),
    only_there(
        "a rewrite to the same path",
        "URLs should either be relative",
        has_no_target,
    ),
    only_there(
        "redirects to http",
        "URLs should either be relative",
        |line| line.contains("http://"),
    ),
    only_there("statuses 404 and 410", "Valid status codes", |line| {
        line.contains(" 404") || line.contains(" 410")
    }),
    only_there("a comment behind a rule", "Valid status codes", has_comment),
    only_there("forced rules", "Valid status codes", |line| {
        line.contains('!')
    }),
    only_there("an index is a page like others", "Infinite loop", |line| {
        line.contains("/index")
    }),
    answered("an own address is not answered", leads_nowhere),
    answered("301 is the default", |case| {
        let has_none = case.rule().is_some_and(|rule| !rule.has_status);
        let swapped = case
            .theirs
            .strip_prefix("302")
            .map(|rest| format!("301{rest}"));
        has_none && swapped.is_some_and(|theirs| decoded(&theirs) == decoded(&case.ours))
    }),
    answered("a slash at the end does not count", |case| {
        let differs = case.rule().is_some_and(|rule| {
            !rule.from.ends_with('*') && rule.from.ends_with('/') != case.path().ends_with('/')
        });
        differs && case.theirs == "nothing"
    }),
    answered("a splat may be nothing", |case| {
        let folder = case.rule().and_then(|rule| rule.from.strip_suffix("/*"));
        let depth = |path: &str| path.matches('/').count();
        case.theirs == "nothing" && folder.is_some_and(|folder| depth(folder) == depth(case.path()))
    }),
    answered("a placeholder is a whole segment", |case| {
        let is_within = |segment: &str| segment.find(':').is_some_and(|at| at > 0);
        case.rule()
            .is_some_and(|rule| rule.segments().any(is_within))
    }),
    answered("a visitor never chooses the host", could_be_a_host),
    answered("a backslash is no slash", |case| {
        case.rule().is_some_and(|rule| rule.to.contains('\\'))
    }),
    answered("spelling", |case| {
        decoded(&case.ours) == decoded(&case.theirs)
    }),
];
/// Returns the paths of a file of header rules.
fn header_paths(file: &str) -> impl Iterator<Item = &str> {
    file.lines().filter(|line| line.starts_with('/'))
}

fn has_upper_case(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Returns a pattern with its placeholders filled from the segments of a path.
fn fill(pattern: &str, path: &str) -> String {
    let segments: Vec<&str> = pattern
        .split('/')
        .zip(path.split('/').chain(std::iter::repeat("")))
        .map(|(segment, given)| {
            if segment.starts_with(':') {
                given
            } else {
                segment
            }
        })
        .collect();
    segments.join("/")
}

/// Returns whether a star of the path could be taken to stand for no segment, or the path asked for has
/// a slash at the end and the other has not.
fn is_about_slashes(case: &Answer<'_>) -> bool {
    header_paths(case.file).any(|path| {
        path.contains("/*/")
            || path.ends_with("/*")
            || (path.ends_with('/') != case.request.ends_with('/'))
    })
}

/// How the headers of one block differ from Netlify's.
pub(crate) const NETLIFY_HEADERS: &[Difference] = &[
    only_here("a path that no request has", Code::BadPath),
    only_here(
        "a placeholder that is not a whole segment",
        Code::BadPlaceholder,
    ),
    only_here("a path of the server's own", Code::ReservedPath),
    only_here(
        "a header that the server alone decides",
        Code::ReservedHeader,
    ),
    only_here("a value that is not ASCII", Code::BadHeaderValue),
    only_here("a name that is none", Code::BadHeaderName),
    only_there("taking a header away", "no rule", |file| file.contains('!')),
    answered("escapes in a path are decoded", |case| {
        header_paths(case.file).any(|path| path.contains('%'))
    }),
    answered("letters are compared as they are", |case| {
        has_upper_case(case.request) || header_paths(case.file).any(has_upper_case)
    }),
    answered("names in any case are one header", |case| {
        case.file.contains("Cache-Control: a") && case.file.contains("cache-control: b")
    }),
    answered("of a header with one value the last counts", |case| {
        case.file.matches("X-Frame-Options").count() > 1
    }),
    answered("captures are put into values", |case| {
        [":splat", ":x", ":title"]
            .iter()
            .any(|name| case.theirs.contains(name))
    }),
    answered("a value is sent as it is written", |case| {
        case.file.contains("a,b  ,c")
    }),
    answered("a comment behind a path", |case| {
        case.file.contains("/a # note")
    }),
    answered("a star that is a segment starts at a slash", |case| {
        case.ours.is_empty() && is_about_slashes(case)
    }),
];

/// How the headers differ from those of Cloudflare Pages.
pub(crate) const CLOUDFLARE_HEADERS: &[Difference] = &[
    only_here("a path that no request has", Code::BadPath),
    only_here(
        "a placeholder that is not a whole segment",
        Code::BadPlaceholder,
    ),
    only_here("a path of the server's own", Code::ReservedPath),
    only_here(
        "a header that the server alone decides",
        Code::ReservedHeader,
    ),
    only_here("a value that is not ASCII", Code::BadHeaderValue),
    only_here("a block for one host", Code::DomainRule),
    only_there(
        "taking a header away without a space",
        "Expected a colon-separated",
        |file| file.contains("\n  !A"),
    ),
    answered("of a header with one value the last counts", |case| {
        case.file.matches("X-Frame-Options").count() > 1
    }),
    answered("an empty value is not sent", |case| {
        let sent: Vec<&str> = case
            .theirs
            .lines()
            .filter(|line| !line.ends_with(": "))
            .collect();
        sent.join("\n") == case.ours
    }),
    answered("several stars", |case| {
        header_paths(case.file).any(|path| path.matches('*').count() > 1)
    }),
    answered("a comment behind a path", |case| {
        case.file.contains("/a # note")
    }),
    answered("a placeholder is a whole segment", |case| {
        case.file.contains("/a:b")
    }),
    answered("a slash at the end does not count", |case| {
        header_paths(case.file)
            .any(|path| !path.ends_with('*') && path.ends_with('/') != case.request.ends_with('/'))
    }),
    answered("a star may be no segment", |case| {
        let folder = |path: &str| case.request == path.replacen("/*", "", 1);
        header_paths(case.file).any(|path| path.contains("/*") && folder(&fill(path, case.request)))
    }),
    answered("a path may come twice", |case| {
        let paths: Vec<&str> = header_paths(case.file).collect();
        let distinct: BTreeSet<&&str> = paths.iter().collect();
        distinct.len() < paths.len()
    }),
];
