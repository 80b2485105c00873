//! Where a rule leads: a `Location`, or a path of the site.
//!
//! The scheme and the host of a `Location` are what the file says, letter by letter: nothing that a visitor
//! sends is put into them, and a `Location` without them never starts with two slashes, which a browser
//! would read as another host.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{
    CatchAll, ErrorStatus, RedirectStatus,
    condition::{Condition, Parameters},
    is_dots,
};
use crate::{
    rules::{
        diagnostic::{DiagnosticCode, Fault, shown},
        template::{Place, Template},
    },
    wire::is_reserved,
};

/// Paths that Netlify keeps for its own services.
const NETLIFY_PREFIX: &str = "/.netlify";

/// What a rule answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    Redirect {
        status: RedirectStatus,
        to: LocationTemplate,
    },
    Rewrite {
        to: SitePathTemplate,
        catch_all: CatchAll,
    },
    Status {
        code: ErrorStatus,
        to: SitePathTemplate,
    },
}

/// An address to send a visitor to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LocationTemplate {
    /// Scheme and host; nothing for this site.
    origin: Option<String>,
    path: Template,
    query: Option<Template>,
    fragment: Option<Template>,
}

/// A path of the site.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SitePathTemplate {
    path: Template,
}

/// An address, its fragment apart.
pub(super) struct Location {
    pub(super) text: String,
    fragment: Option<String>,
}

impl Location {
    /// Returns the whole address.
    pub(super) fn with_fragment(self) -> String {
        let mut text = self.text;
        if let Some(fragment) = self.fragment {
            text.push('#');
            text.push_str(&fragment);
        }
        text
    }
}

impl LocationTemplate {
    /// Returns the address that `to` says, and what it does not do that it seems to.
    pub(super) fn parse(to: &str, names: &[String]) -> Result<(Self, Vec<Fault>), Fault> {
        let parts = Parts::of(to);
        let (origin, path) = match parts.address.find("://") {
            Some(_) => split_origin(parts.address, names)?,
            None => (None, parts.address),
        };
        if origin.is_none() {
            check_own_path(path)?;
        }
        check_dots(path)?;
        let path = if path.is_empty() { "/" } else { path };
        let mut unknown = Vec::new();
        let mut template = |text: &str, place| {
            let (template, names) =
                Template::parse(text, place, names).expect("it is encoded, so any text will do");
            unknown.extend(names.into_iter().map(unknown_placeholder));
            template
        };
        let location = Self {
            origin,
            path: template(path, Place::Path),
            query: parts.query.map(|query| template(query, Place::Query)),
            fragment: parts
                .fragment
                .map(|fragment| template(fragment, Place::Fragment)),
        };
        Ok((location, unknown))
    }

    /// Returns the address for what was captured. The request's query is passed on, without what
    /// `conditions` asked for, unless the target has a query of its own.
    pub(super) fn location(
        &self,
        captures: &[Cow<'_, str>],
        parameters: &Parameters<'_>,
        conditions: &[Condition],
    ) -> Location {
        let path = self.path.render(captures);
        let query = match &self.query {
            Some(query) => Some(query.render(captures)).filter(|query| !query.is_empty()),
            None => parameters.sent(conditions),
        };
        let text = match &self.origin {
            Some(origin) => format!("{origin}{}", address(&path, query.as_deref())),
            None => address(
                &format!("/{}", path.trim_start_matches('/')),
                query.as_deref(),
            ),
        };
        let fragment = self
            .fragment
            .as_ref()
            .map(|fragment| fragment.render(captures).into_owned());
        Location { text, fragment }
    }

    /// Returns whether the address is on this site.
    pub(super) fn is_own(&self) -> bool {
        self.origin.is_none()
    }
}

impl SitePathTemplate {
    /// Returns the path that `to` says, and what it does not do that it seems to.
    pub(super) fn parse(to: &str, names: &[String]) -> Result<(Self, Vec<Fault>), Fault> {
        let parts = Parts::of(to);
        check_own_path(parts.address)?;
        check_dots(parts.address)?;
        let bad_path = |why: &str| {
            let message = format!("{} is no path of the site: {why}", shown(to));
            Fault::new(DiagnosticCode::BadTarget, message)
        };
        let (path, unknown) = Template::parse(parts.address, Place::SitePath, names)
            .ok_or_else(|| bad_path("percent-decoded, it is not UTF-8"))?;
        if parts.address.to_ascii_lowercase().contains("%2f") {
            return Err(bad_path("no file has a `/` in its name"));
        }
        let no_path_has = |letter: char| letter.is_control() || letter == '\\';
        if percent_decode_str(parts.address)
            .decode_utf8_lossy()
            .contains(no_path_has)
        {
            return Err(bad_path(
                "no file has a backslash or a control character in its name",
            ));
        }
        let mut warnings: Vec<Fault> = unknown.into_iter().map(unknown_placeholder).collect();
        if parts.query.is_some() || parts.fragment.is_some() {
            let message = format!(
                "a file has no query and no fragment, so those of {} have no effect; leave them out",
                shown(to)
            );
            warnings.push(Fault::new(DiagnosticCode::IgnoredPart, message));
        }
        Ok((Self { path }, warnings))
    }

    /// Returns the path for what was captured, which starts with one slash.
    pub(super) fn path(&self, captures: &[Cow<'_, str>]) -> String {
        let path = self.path.render(captures);
        format!("/{}", path.trim_start_matches('/'))
    }

    /// Returns whether the path depends on the request.
    pub(super) fn has_captures(&self) -> bool {
        self.path.has_captures()
    }
}

/// Joins a path and a query.
pub(super) fn address(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Returns whether a target is an address with a host.
pub(super) fn is_absolute(to: &str) -> bool {
    to.starts_with("http://") || to.starts_with("https://")
}

/// Refuses what the server, or a service that is not here, answers.
pub(super) fn check_reserved(path: &str) -> Result<(), Fault> {
    if path.strip_prefix('/').is_some_and(is_reserved) {
        let message = format!(
            "{} belongs to the server's own endpoint, where no rule counts; use another path",
            shown(path)
        );
        return Err(Fault::new(DiagnosticCode::ReservedPath, message));
    }
    if path.starts_with(NETLIFY_PREFIX) {
        let message = format!(
            "{} is a service of Netlify, which this server does not have; remove the line",
            shown(path)
        );
        return Err(Fault::new(DiagnosticCode::ReservedPath, message));
    }
    Ok(())
}

/// A target in its parts (RFC 3986, section 3).
struct Parts<'t> {
    address: &'t str,
    query: Option<&'t str>,
    fragment: Option<&'t str>,
}

impl<'t> Parts<'t> {
    fn of(to: &'t str) -> Self {
        let (rest, fragment) = match to.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (to, None),
        };
        let (address, query) = match rest.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (rest, None),
        };
        Self {
            address,
            query,
            fragment,
        }
    }
}

/// Returns scheme with host, and the path, of an absolute address.
fn split_origin<'t>(
    address: &'t str,
    names: &[String],
) -> Result<(Option<String>, &'t str), Fault> {
    let host_at = address.find("://").map_or(0, |at| at + 3);
    let end = address[host_at..]
        .find('/')
        .map_or(address.len(), |at| host_at + at);
    let host = &address[host_at..end];
    let bad_host = |why: &str| {
        let message = format!("{} is no host: {why}", shown(host));
        Err(Fault::new(DiagnosticCode::BadTarget, message))
    };
    if names.iter().any(|name| host.contains(&format!(":{name}"))) {
        return bad_host(
            "a visitor could choose the host with a placeholder; write one rule for each host",
        );
    }
    if !host.is_ascii() {
        return bad_host("write it in its ASCII form, which starts with `xn--`");
    }
    let (name, port) = match host.strip_prefix('[') {
        // An address of IPv6 in brackets (RFC 3986, section 3.2.2).
        Some(rest) => rest.split_once(']').unwrap_or(("", "?")),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_address = host.starts_with('[')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
    let port_is_right = port
        .strip_prefix(':')
        .map_or(port.is_empty(), |digits| digits.parse::<u16>().is_ok());
    if name.is_empty() || !port_is_right || !(is_address || name.bytes().all(is_letter)) {
        return bad_host("write a name, and a port after a `:` if it has one");
    }
    Ok((Some(address[..end].to_owned()), &address[end..]))
}

fn check_own_path(path: &str) -> Result<(), Fault> {
    if path.starts_with("//") {
        let message = format!(
            "{} starts with `//`, which is another host to a browser; write `https://` before a \
             host, or one `/` before a path",
            shown(path)
        );
        return Err(Fault::new(DiagnosticCode::BadTarget, message));
    }
    check_reserved(path)
}

fn check_dots(path: &str) -> Result<(), Fault> {
    let has_dots = path.split('/').any(|segment| {
        percent_decode_str(segment)
            .decode_utf8()
            .is_ok_and(|plain| is_dots(&plain))
    });
    if has_dots {
        let message = format!(
            "{} has `.` or `..` as a segment; write the path that is meant",
            shown(path)
        );
        return Err(Fault::new(DiagnosticCode::BadTarget, message));
    }
    Ok(())
}

fn unknown_placeholder(name: &str) -> Fault {
    Fault::new(
        DiagnosticCode::UnknownPlaceholder,
        format!(
            "nothing captures `:{name}`, so the target has it as it stands; name a segment or a query \
             condition so, or write a colon that is meant as `%3A`"
        ),
    )
}
