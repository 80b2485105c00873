//! `_redirects`: which rule a request meets first, and what that rule answers.
//!
//! A line is `from [name=value …] to [status[!]]`. The first line that matches counts, whatever kind of
//! rule it is. A rule that would send a visitor to the very address that was asked for is passed over, so
//! that no single answer can be a loop; `/a /a/` is therefore a way to ask for the slash.

mod condition;
mod line;
mod loops;
mod target;

use std::{borrow::Cow, collections::HashMap};

use self::{
    condition::{Condition, Parameters},
    line::Parsed,
    target::Target,
};
use super::{
    MAX_REDIRECT_RULES, MAX_REDIRECTS_ALIKE, MAX_REDIRECTS_BYTES,
    diagnostic::{Diagnostic, DiagnosticCode, Diagnostics, Fault},
    index::Index,
    lines::{self, Line},
    pattern::Pattern,
    template::encoded_path,
};

/// The rules of one `_redirects` file.
#[derive(Debug, Clone, Default)]
pub struct Redirects {
    rules: Vec<Redirect>,
    index: Index,
    /// How many rules are forced, and how many ask for the query: every request wants to know.
    forced: usize,
    conditional: usize,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
struct Redirect {
    line: u32,
    from: Pattern,
    conditions: Vec<Condition>,
    target: Target,
    precedence: Precedence,
}

/// Whether a file of the site comes before the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precedence {
    /// The rule counts only where the site has nothing.
    FilesFirst,
    /// `!`: the rule counts even where the site has a file.
    Forced,
}

/// What a rule answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the visitor elsewhere.
    Redirect {
        /// The status of the answer.
        status: RedirectStatus,
        /// The value of `Location`: visible ASCII, with the query. Either it starts with one slash and
        /// a segment, or it is an address with the scheme and host that the file says.
        location: String,
    },
    /// Serve another path of the site, with 200.
    Rewrite {
        /// Starts with `/`; percent-decoded. Whether there is such a file is for the site to say.
        path: String,
        /// Whether the rule sends whatever there is to one page, as a single-page application does.
        catch_all: CatchAll,
    },
    /// Serve a path of the site with a status that says that nothing is here.
    Status {
        /// The status of the answer.
        code: ErrorStatus,
        /// Starts with `/`; percent-decoded.
        path: String,
    },
}

/// Whether a rewrite takes every path below its `from` to one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchAll {
    /// `from` ends in a splat, and `to` puts nothing of the path in.
    Yes,
    /// The rewrite is for one path, or the page depends on the path.
    No,
}

/// The statuses of a redirect (RFC 9110, section 15.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedirectStatus {
    /// 301, the default.
    MovedPermanently,
    /// 302.
    Found,
    /// 303.
    SeeOther,
    /// 307.
    TemporaryRedirect,
    /// 308.
    PermanentRedirect,
}

/// The statuses that say that nothing is here (RFC 9110, section 15.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorStatus {
    /// 404.
    NotFound,
    /// 410.
    Gone,
}

impl RedirectStatus {
    /// Returns the number.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

impl ErrorStatus {
    /// Returns the number.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Gone => 410,
        }
    }
}

/// The rule that a request met, and its answer.
#[derive(Debug, Clone)]
pub struct Match<'r> {
    rule: &'r Redirect,
    action: Action,
}

impl Match<'_> {
    /// Returns the rule's line in the file, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.rule.line
    }

    /// Returns whether the rule counts even where the site has a file.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.rule.precedence == Precedence::Forced
    }

    /// Returns what to answer.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Returns what to answer.
    #[must_use]
    pub fn into_action(self) -> Action {
        self.action
    }
}

impl Redirects {
    /// Returns the rules of a file, and what is wrong with its other lines, by line.
    ///
    /// Never fails: a bad line is left out. At most [`MAX_REDIRECTS_BYTES`] and [`MAX_REDIRECT_RULES`]
    /// are taken.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = Diagnostics::default();
        let lines = lines::read(bytes, MAX_REDIRECTS_BYTES, &mut diagnostics);
        let mut redirects = Self::default();
        let mut first_lines = HashMap::new();
        for line in lines {
            if redirects.rules.len() >= MAX_REDIRECT_RULES {
                diagnostics.refuse(line.number, too_many());
                break;
            }
            redirects.take(line, &mut first_lines, &mut diagnostics);
        }
        for (line, fault) in loops::circles(&redirects) {
            diagnostics.warn(line, fault);
        }
        (redirects, diagnostics.finish())
    }

    fn take(
        &mut self,
        line: Line<'_>,
        first_lines: &mut HashMap<String, u32>,
        diagnostics: &mut Diagnostics,
    ) {
        let Parsed { rule, warnings } = match line::parse(line) {
            Ok(parsed) => parsed,
            Err(fault) => return diagnostics.refuse(line.number, fault),
        };
        if let Some(fault) = loops::of_one_rule(&rule) {
            return diagnostics.refuse(line.number, fault);
        }
        if let Some(first) = first_lines.get(&rule.key()) {
            return diagnostics.warn(line.number, duplicate(*first));
        }
        if self.index.count_alike(&rule.from) >= MAX_REDIRECTS_ALIKE {
            return diagnostics.refuse(line.number, too_many_alike());
        }
        for warning in warnings {
            diagnostics.warn(line.number, warning);
        }
        first_lines.insert(rule.key(), line.number);
        let number = u32::try_from(self.rules.len()).expect("the count of rules is bounded");
        self.index.insert(&rule.from, number);
        self.forced += usize::from(rule.precedence == Precedence::Forced);
        self.conditional += usize::from(!rule.conditions.is_empty());
        self.rules.push(rule);
    }

    /// Returns whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns how many rules are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns whether any rule counts even where the site has a file. When none does, only a path
    /// without a file has to be looked up.
    #[must_use]
    pub fn has_forced(&self) -> bool {
        self.forced > 0
    }

    /// Returns whether a rule that counts even where the site has a file matches `path`, whatever the query
    /// is. Where none does, no query changes what is served at the path of a file.
    ///
    /// `path` is as for [`Redirects::find`].
    #[must_use]
    pub fn has_forced_for(&self, path: &str) -> bool {
        let path = normal(path);
        path.starts_with('/')
            && self.index.candidates(&path).any(|number| {
                let rule = &self.rules[number as usize];
                rule.precedence == Precedence::Forced && rule.from.captures(&path).is_some()
            })
    }

    /// Returns whether any rule depends on the query.
    #[must_use]
    pub fn has_query_conditions(&self) -> bool {
        self.conditional > 0
    }

    /// Returns the first rule that matches and its answer.
    ///
    /// `path` is percent-decoded and starts with `/`; `query` is as it was sent, without the `?`. A path
    /// with a `.` or `..` segment matches nothing. A redirect to the very path and query that were asked
    /// for is passed over.
    #[must_use]
    pub fn find(&self, path: &str, query: Option<&str>) -> Option<Match<'_>> {
        self.find_and_count(path, query, &mut 0)
    }

    /// Does what [`Redirects::find`] does, and adds the rules that were looked at to `tried`.
    fn find_and_count(
        &self,
        path: &str,
        query: Option<&str>,
        tried: &mut usize,
    ) -> Option<Match<'_>> {
        if !path.starts_with('/') || path.split('/').any(is_dots) {
            return None;
        }
        let path = normal(path);
        let parameters = Parameters::new(query);
        self.index.candidates(&path).find_map(|number| {
            *tried += 1;
            let rule = &self.rules[number as usize];
            let action = rule.answer(&path, &parameters)?;
            Some(Match { rule, action })
        })
    }
}

impl Redirect {
    /// Returns what the rule answers a path in normal form C, when it matches.
    fn answer(&self, path: &str, parameters: &Parameters<'_>) -> Option<Action> {
        let mut captures: Vec<Cow<'_, str>> = self
            .from
            .captures(path)?
            .into_iter()
            .map(Cow::Borrowed)
            .collect();
        for condition in &self.conditions {
            condition.check(parameters, &mut captures)?;
        }
        match &self.target {
            Target::Redirect { status, to } => {
                let location = to.location(&captures, parameters, &self.conditions);
                let is_elsewhere = location.text != own_address(path, parameters);
                is_elsewhere.then(|| Action::Redirect {
                    status: *status,
                    location: location.with_fragment(),
                })
            }
            Target::Rewrite { to, catch_all } => Some(Action::Rewrite {
                path: to.path(&captures),
                catch_all: *catch_all,
            }),
            Target::Status { code, to } => Some(Action::Status {
                code: *code,
                path: to.path(&captures),
            }),
        }
    }

    /// Returns a text that is the same for rules that match the same requests.
    fn key(&self) -> String {
        let mut key = self.from.shape();
        let mut conditions: Vec<String> = self.conditions.iter().map(Condition::key).collect();
        conditions.sort();
        for condition in conditions {
            key.push('\n');
            key.push_str(&condition);
        }
        key
    }
}

/// Returns the address of a request as a `Location` would have it.
fn own_address(path: &str, parameters: &Parameters<'_>) -> String {
    target::address(&encoded_path(path), parameters.sent(&[]).as_deref())
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Returns a path in normal form C.
fn normal(path: &str) -> Cow<'_, str> {
    if path.is_ascii() {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(crate::site_path::nfc(path))
    }
}

fn too_many() -> Fault {
    let message = format!(
        "the file has more than {MAX_REDIRECT_RULES} rules; this line and those after it are not in \
         force, so use fewer rules with wildcards"
    );
    Fault::new(DiagnosticCode::TooManyRules, message)
}

fn too_many_alike() -> Fault {
    let message = format!(
        "more than {MAX_REDIRECTS_ALIKE} rules begin alike, and a request would have to try each; put what \
         differs before the first placeholder, or use fewer rules with wildcards"
    );
    Fault::new(DiagnosticCode::TooManyRules, message)
}

fn duplicate(first: u32) -> Fault {
    let message = format!(
        "line {first} answers the same requests first, so this rule never counts; remove one of them"
    );
    Fault::new(DiagnosticCode::DuplicateRule, message)
}

#[cfg(test)]
mod tests;
