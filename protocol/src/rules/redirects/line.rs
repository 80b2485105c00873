//! One line of `_redirects` → a rule, or what is wrong with it.

use super::{
    CatchAll, ErrorStatus, Precedence, Redirect, RedirectStatus,
    condition::{Condition, Wanted, read_pair},
    target::{LocationTemplate, SitePathTemplate, Target, check_reserved, is_absolute},
};
use crate::rules::{
    MAX_QUERY_CONDITIONS,
    diagnostic::{DiagnosticCode, Fault, shown},
    lines::{Line, is_space},
    pattern::{Pattern, SPLAT, Stars},
};

/// A rule, and what it does not do that it seems to.
pub(super) struct Parsed {
    pub(super) rule: Redirect,
    pub(super) warnings: Vec<Fault>,
}

/// The conditions on the visitor that Netlify knows and no file can decide.
const VISITOR_CONDITIONS: [&str; 4] = ["country", "language", "role", "cookie"];

/// What a status asks for.
#[derive(Clone, Copy)]
enum Outcome {
    Redirect(RedirectStatus),
    Rewrite,
    Status(ErrorStatus),
}

/// The tokens of a line, by what they are.
struct Tokens<'l> {
    from: &'l str,
    conditions: Vec<&'l str>,
    /// Nothing, when a status follows `from` at once.
    to: Option<&'l str>,
    status: Option<&'l str>,
}

/// Returns the rule of a line.
pub(super) fn parse(line: Line<'_>) -> Result<Parsed, Fault> {
    let tokens = Tokens::of(line.text)?;
    let from = parse_from(tokens.from)?;
    let (outcome, precedence) = match tokens.status {
        Some(status) => parse_status(status)?,
        None => (
            Outcome::Redirect(RedirectStatus::MovedPermanently),
            Precedence::FilesFirst,
        ),
    };
    let conditions = parse_conditions(&tokens.conditions, &from)?;
    let mut names = from.names().to_vec();
    names.extend(
        conditions
            .iter()
            .filter_map(|condition| match &condition.wanted {
                Wanted::Capture(name) => Some(name.clone()),
                Wanted::Value(_) => None,
            }),
    );
    let to = match tokens.to {
        Some(to) => to.to_owned(),
        None => forwarded(tokens.from, &from, outcome)?,
    };
    let (target, mut warnings) = parse_target(&to, outcome, &from, &names)?;
    warnings.extend(conditions.iter().filter_map(misplaced));
    Ok(Parsed {
        rule: Redirect {
            line: line.number,
            from,
            conditions,
            target,
            precedence,
        },
        warnings,
    })
}

impl<'l> Tokens<'l> {
    fn of(text: &'l str) -> Result<Self, Fault> {
        let mut tokens = text
            .split(is_space)
            .filter(|token| !token.is_empty())
            // A token that starts with `#` is a comment up to the end of the line.
            .take_while(|token| !token.starts_with('#'));
        let from = tokens.next().unwrap_or_default();
        let rest: Vec<&str> = tokens.collect();
        let Some(first) = rest.first() else {
            return Err(missing_target());
        };
        if is_status(first) {
            check_after_status(&rest[1..])?;
            return Ok(Self {
                from,
                conditions: Vec::new(),
                to: None,
                status: Some(first),
            });
        }
        let is_target = |token: &&str| token.starts_with('/') || is_absolute(token);
        let Some(at) = rest.iter().position(is_target) else {
            return Err(no_target(&rest));
        };
        let status = rest.get(at + 1).copied();
        check_after_status(&rest[(at + 2).min(rest.len())..])?;
        if let Some(status) = status.filter(|status| !is_status(status)) {
            check_after_status(&[status])?;
        }
        Ok(Self {
            from,
            conditions: rest[..at].to_vec(),
            to: Some(rest[at]),
            status,
        })
    }
}

/// Returns whether a token stands for a status, if maybe a wrong one.
fn is_status(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_ascii_digit()) && !token.contains('=')
}

/// Refuses everything that can stand at the end of a line on another platform.
fn check_after_status(tokens: &[&str]) -> Result<(), Fault> {
    let Some(token) = tokens.first() else {
        return Ok(());
    };
    let name = token
        .split('=')
        .next()
        .unwrap_or(token)
        .to_ascii_lowercase();
    if VISITOR_CONDITIONS.contains(&name.as_str()) && token.contains('=') {
        let message = format!(
            "{} depends on the visitor's {name}, which this server does not support; the whole rule is \
             left out, so that nobody is sent where only some should go",
            shown(token)
        );
        return Err(Fault::new(DiagnosticCode::UnsupportedCondition, message));
    }
    if matches!(name.as_str(), "sign" | "signed") && token.contains('=') {
        let message = format!(
            "{} signs requests to another host, and this server does not fetch from other hosts",
            shown(token)
        );
        return Err(Fault::new(DiagnosticCode::Proxy, message));
    }
    let message = if token.contains('=') {
        format!(
            "{} has no meaning here; query conditions stand between the two paths",
            shown(token)
        )
    } else {
        format!(
            "{} is not expected here; a line is `from to status`, and a space in a path is `%20`",
            shown(token)
        )
    };
    Err(Fault::new(DiagnosticCode::UnexpectedToken, message))
}

fn parse_from(from: &str) -> Result<Pattern, Fault> {
    if is_absolute(from) {
        let message = format!(
            "{} is for one host, and this server has one site whatever the host is; write the path \
             alone",
            shown(from)
        );
        return Err(Fault::new(DiagnosticCode::DomainRule, message));
    }
    let pattern = Pattern::parse(from, Stars::LastSegment)?;
    check_reserved(pattern.exact().unwrap_or_else(|| pattern.literal_prefix()))?;
    Ok(pattern)
}

fn parse_status(token: &str) -> Result<(Outcome, Precedence), Fault> {
    let digits = token.strip_suffix('!').unwrap_or(token);
    let outcome = match digits {
        "200" => Outcome::Rewrite,
        "301" => Outcome::Redirect(RedirectStatus::MovedPermanently),
        "302" => Outcome::Redirect(RedirectStatus::Found),
        "303" => Outcome::Redirect(RedirectStatus::SeeOther),
        "307" => Outcome::Redirect(RedirectStatus::TemporaryRedirect),
        "308" => Outcome::Redirect(RedirectStatus::PermanentRedirect),
        "404" => Outcome::Status(ErrorStatus::NotFound),
        "410" => Outcome::Status(ErrorStatus::Gone),
        _ => {
            let message = format!(
                "{} is no status of a rule; use 200, 301, 302, 303, 307, 308, 404 or 410",
                shown(token)
            );
            return Err(Fault::new(DiagnosticCode::BadStatus, message));
        }
    };
    let precedence = if token.ends_with('!') {
        Precedence::Forced
    } else {
        Precedence::FilesFirst
    };
    Ok((outcome, precedence))
}

fn parse_conditions(tokens: &[&str], from: &Pattern) -> Result<Vec<Condition>, Fault> {
    let fault = |message: String| Fault::new(DiagnosticCode::BadQueryCondition, message);
    if tokens.len() > MAX_QUERY_CONDITIONS {
        return Err(fault(format!(
            "a rule has at most {MAX_QUERY_CONDITIONS} query conditions; write several rules"
        )));
    }
    let mut conditions: Vec<Condition> = Vec::new();
    for token in tokens {
        let read = token.contains('=').then(|| read_pair(token)).flatten();
        let Some((name, value)) = read.filter(|(name, _)| !name.is_empty()) else {
            return Err(fault(format!(
                "{} is no query condition; write `name=value` or `name=:placeholder`, and a space in a \
                 path as `%20`",
                shown(token)
            )));
        };
        if conditions.iter().any(|known| known.name == name) {
            return Err(fault(format!(
                "there are two conditions for {}, and only the first value of a parameter counts",
                shown(&name)
            )));
        }
        // An encoded colon is no placeholder, so this is asked of the token as written.
        let written = token.split_once('=').map_or("", |(_, value)| value);
        let wanted = match written.strip_prefix(':') {
            Some(placeholder) => Wanted::Capture(capture_name(placeholder, from, &conditions)?),
            None => Wanted::Value(value),
        };
        conditions.push(Condition { name, wanted });
    }
    Ok(conditions)
}

fn capture_name(name: &str, from: &Pattern, before: &[Condition]) -> Result<String, Fault> {
    let fault = |message: String| Err(Fault::new(DiagnosticCode::BadPlaceholder, message));
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return fault(format!(
            "{} is no placeholder; its name has letters, digits and `_`, and a colon that is meant as \
             such is `%3A`",
            shown(&format!(":{name}"))
        ));
    }
    let in_query = before
        .iter()
        .any(|condition| condition.wanted == Wanted::Capture(name.to_owned()));
    if in_query || from.names().iter().any(|known| known == name) {
        return fault(format!(
            "`:{name}` would be captured twice; give the placeholders different names"
        ));
    }
    Ok(name.to_owned())
}

/// Returns the target of a line without one: a rewrite below a folder to the same path, which keeps the
/// rules after it from counting there.
fn forwarded(from: &str, pattern: &Pattern, outcome: Outcome) -> Result<String, Fault> {
    match outcome {
        Outcome::Rewrite if pattern.ends_in_splat() => {
            let folder = from.trim_end_matches('/').trim_end_matches('*');
            Ok(format!("{folder}:{SPLAT}"))
        }
        Outcome::Rewrite | Outcome::Redirect(_) | Outcome::Status(_) => Err(missing_target()),
    }
}

fn parse_target(
    to: &str,
    outcome: Outcome,
    from: &Pattern,
    names: &[String],
) -> Result<(Target, Vec<Fault>), Fault> {
    match outcome {
        Outcome::Redirect(status) => {
            let (to, warnings) = LocationTemplate::parse(to, names)?;
            Ok((Target::Redirect { status, to }, warnings))
        }
        Outcome::Rewrite if is_absolute(to) => {
            let message = format!(
                "a rewrite to {} would have to fetch from another host, which this server does not do; \
                 use 301 or 302 to send visitors there",
                shown(to)
            );
            Err(Fault::new(DiagnosticCode::Proxy, message))
        }
        Outcome::Rewrite => {
            let (to, warnings) = SitePathTemplate::parse(to, names)?;
            let catch_all = if from.ends_in_splat() && !to.has_captures() {
                CatchAll::Yes
            } else {
                CatchAll::No
            };
            Ok((Target::Rewrite { to, catch_all }, warnings))
        }
        Outcome::Status(code) if is_absolute(to) => {
            let message = format!(
                "{} is on another host, and the page for {} has to be a file of the site",
                shown(to),
                code.code()
            );
            Err(Fault::new(DiagnosticCode::Proxy, message))
        }
        Outcome::Status(code) => {
            let (to, warnings) = SitePathTemplate::parse(to, names)?;
            Ok((Target::Status { code, to }, warnings))
        }
    }
}

/// Warns of a condition on the visitor that stands where query conditions do, and is one.
fn misplaced(condition: &Condition) -> Option<Fault> {
    let name = condition.name.to_ascii_lowercase();
    VISITOR_CONDITIONS.contains(&name.as_str()).then(|| {
        let message = format!(
            "{} stands before the target, so it asks for a query parameter of that name; conditions on the \
             visitor are not supported anywhere",
            shown(&format!("{}=", condition.name))
        );
        Fault::new(DiagnosticCode::UnsupportedCondition, message)
    })
}

fn missing_target() -> Fault {
    Fault::new(
        DiagnosticCode::MissingTarget,
        "the line says where from, but not where to; write `from to status` (only `/folder/* 200` does \
         without)",
    )
}

fn no_target(tokens: &[&str]) -> Fault {
    match tokens.iter().find(|token| !token.contains('=')) {
        Some(token) => Fault::new(
            DiagnosticCode::BadTarget,
            format!(
                "{} is no target; it has to start with `/`, `http://` or `https://`",
                shown(token)
            ),
        ),
        None => missing_target(),
    }
}
