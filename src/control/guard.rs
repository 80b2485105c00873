//! Who may do what on the listener that browsers reach. Pure: headers in, a verdict out.
//!
//! A web page anywhere can make its visitor's browser send requests to this machine's loopback. What
//! holds against that:
//!
//! | attack | why it does not work |
//! |---|---|
//! | a name of the page's own that resolves to 127.0.0.1 (DNS rebinding) | `Host` must be a loopback name with our port, or one that the configuration allows |
//! | a script of another origin | `Origin` must be our own or one that is allowed; no answer carries CORS headers for another |
//! | a form or an image, which sends no `Origin` | `Sec-Fetch-Site` says where it comes from; calls that act need a token besides |
//! | another user of this machine | calls that act need the token, which only the owner can read |
//!
//! The Unix socket has none of this: its folder is its owner's alone.

use std::net::{IpAddr, SocketAddr};

use hyper::{
    HeaderMap, Uri,
    header::{AUTHORIZATION, HOST, HeaderName, ORIGIN},
};

use super::{router::Route, token::Token};

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whom the listener answers.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Hosts besides the loopback's, without a port.
    pub(super) allow_hosts: Vec<String>,
    /// Origins besides its own.
    pub(super) allow_origins: Vec<String>,
    /// What a call that acts is asked for.
    pub(super) token: Token,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// It names no host, or several.
    #[error("a request needs exactly one Host header")]
    NoHost,
    /// It asks for another host.
    #[error("this is not the host that was asked for")]
    Host,
    /// A page of another origin asks.
    #[error("this origin may not use the API")]
    Origin,
    /// Another site makes a browser ask.
    #[error("another web site may not use the API")]
    CrossSite,
    /// A call that acts comes without the token.
    #[error("this call needs the token")]
    NoToken,
    /// It comes with another one.
    #[error("this is not the token")]
    WrongToken,
}

impl Denied {
    /// Returns the stable code.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::NoHost => "bad_host",
            Self::Host => "host_refused",
            Self::Origin => "origin_refused",
            Self::CrossSite => "cross_site",
            Self::NoToken => "token_missing",
            Self::WrongToken => "token_wrong",
        }
    }

    /// Returns what to do about it.
    pub(super) const fn hint(self) -> &'static str {
        match self {
            Self::NoHost => "send the host that the URL names",
            Self::Host => {
                "use the address that `onsave status` shows, or name the host in control.allow_hosts"
            }
            Self::Origin => "name the page's origin in control.allow_origins",
            Self::CrossSite => "open the dashboard itself: `onsave open`",
            Self::NoToken | Self::WrongToken => {
                "send the header `Authorization: Bearer TOKEN`; `onsave open` opens the dashboard with it"
            }
        }
    }
}

/// Who asks, once the guard let it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker<'a> {
    /// The dashboard, or no browser.
    Own,
    /// A page of an allowed origin, which has to be told so.
    Allowed(&'a str),
}

impl Guard {
    /// Returns who asks, as far as host and origin tell; which call is asked for is not looked at.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub(super) fn asker<'a>(&self, uri: &Uri, headers: &'a HeaderMap) -> Result<Asker<'a>, Denied> {
        let host = only(headers, &HOST).ok_or(Denied::NoHost)?;
        // A request line with a whole URL names the host instead, and a peer that names two is
        // trying something.
        let named = uri.authority().map_or(host, |named| named.as_str());
        if !named.eq_ignore_ascii_case(host) || !self.answers_as(host) {
            return Err(Denied::Host);
        }
        if !headers.contains_key(ORIGIN) {
            return Ok(Asker::Own);
        }
        let origin = only(headers, &ORIGIN).ok_or(Denied::Origin)?;
        if is_own(origin, host) {
            return Ok(Asker::Own);
        }
        if self.allow_origins.iter().any(|allowed| allowed == origin) {
            return Ok(Asker::Allowed(origin));
        }
        Err(Denied::Origin)
    }

    /// Returns whether this asker may make that call.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub(super) fn may(
        &self,
        asker: Asker<'_>,
        route: Route,
        headers: &HeaderMap,
    ) -> Result<(), Denied> {
        // A link somewhere may lead to the page; nothing else is for other sites.
        let is_for_all = route.is_page() || matches!(asker, Asker::Allowed(_));
        let site = only(headers, &FETCH_SITE);
        if !is_for_all && site == Some("cross-site") {
            return Err(Denied::CrossSite);
        }
        if !route.acts() {
            return Ok(());
        }
        // A page on another port of this machine is of the same site.
        if !is_for_all && site == Some("same-site") {
            return Err(Denied::CrossSite);
        }
        if !headers.contains_key(AUTHORIZATION) {
            return Err(Denied::NoToken);
        }
        let given = only(headers, &AUTHORIZATION).and_then(bearer);
        if given.is_some_and(|given| self.token.is(given)) {
            Ok(())
        } else {
            Err(Denied::WrongToken)
        }
    }

    /// Returns whether requests for this host, with or without a port, are for us.
    fn answers_as(&self, host: &str) -> bool {
        let Some((name, port)) = split_port(host) else {
            return false;
        };
        if self
            .allow_hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(name))
        {
            return true;
        }
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = name.eq_ignore_ascii_case("localhost")
            || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        is_loopback && port == self.address.port()
    }
}

/// Returns whether a page that was got from this host has this origin.
fn is_own(origin: &str, host: &str) -> bool {
    let own = |scheme: &str| {
        let named = origin.strip_prefix(scheme);
        named.is_some_and(|named| named.eq_ignore_ascii_case(host))
    };
    // What stands in front of it may speak TLS, and only names that are allowed have that.
    own("http://") || own("https://")
}

/// Returns a header's value, where there is exactly one and it is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim_start_matches(' '))
}

/// Returns a host's name and port; 80 where none is named.
fn split_port(host: &str) -> Option<(&str, u16)> {
    let after_name = host.rfind(']').unwrap_or(0);
    let Some(colon) = host[after_name..].find(':') else {
        return Some((host, 80));
    };
    let (name, port) = host.split_at(after_name + colon);
    let digits = port.trim_start_matches(':');
    // A sign would be parsed too.
    let is_port = port.len() == digits.len() + 1 && digits.bytes().all(|b| b.is_ascii_digit());
    let port = digits.parse().ok().filter(|_| is_port)?;
    Some((name, port))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const RIGHT: &str = "Bearer 0123456789abcdef";

    fn guard() -> Guard {
        Guard {
            address: ([127, 0, 0, 1], 4747).into(),
            allow_hosts: vec!["sidecar".into(), "192.168.1.4".into()],
            allow_origins: vec!["https://cms.example.org".into()],
            token: Token::of("0123456789abcdef"),
        }
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::try_from(*name).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn asked(route: Route, lines: &[(&str, &str)]) -> Result<(), Denied> {
        let headers = headers(lines);
        let guard = guard();
        let asker = guard.asker(&Uri::from_static("/v1/status"), &headers)?;
        guard.may(asker, route, &headers)
    }

    #[test]
    fn a_host_is_ours_or_allowed() {
        for host in [
            "127.0.0.1:4747",
            "localhost:4747",
            "LocalHost:4747",
            "[::1]:4747",
            "127.0.0.2:4747",
            "sidecar",
            "sidecar:80",
            "SIDECAR:5000",
            "192.168.1.4:4747",
        ] {
            assert_eq!(asked(Route::Status, &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example:4747",
            "127.0.0.1.evil.example:4747",
            "localhost.evil.example:4747",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "192.168.1.5:4747",
            "0.0.0.0:4747",
            "2130706433:4747",
            "127.0.0.1:4747:4747",
            "127.0.0.1:+4747",
            "127.0.0.1:",
            "[::1]",
            "::1:4747",
            "a@127.0.0.1:4747",
            "sidecar.evil.example",
            "",
        ] {
            let denied = asked(Route::Status, &[("host", host)]);
            assert_eq!(denied, Err(Denied::Host), "{host}");
        }
        assert_eq!(asked(Route::Status, &[]), Err(Denied::NoHost));
        let twice = [("host", "127.0.0.1:4747"), ("host", "127.0.0.1:4747")];
        assert_eq!(asked(Route::Status, &twice), Err(Denied::NoHost));
    }

    #[test]
    fn a_whole_url_names_the_same_host() {
        let headers = headers(&[("host", "127.0.0.1:4747")]);
        let asker = |uri| guard().asker(&Uri::from_static(uri), &headers).map(drop);
        assert_eq!(asker("http://127.0.0.1:4747/v1/status"), Ok(()));
        assert_eq!(asker("http://evil.example/v1/status"), Err(Denied::Host));
        assert_eq!(asker("http://a@127.0.0.1:4747/"), Err(Denied::Host));
    }

    #[test]
    fn an_origin_is_our_own_or_allowed() {
        let with = |host, origin| asked(Route::Status, &[("host", host), ("origin", origin)]);
        let here = "127.0.0.1:4747";
        assert_eq!(with(here, "http://127.0.0.1:4747"), Ok(()));
        assert_eq!(with(here, "https://cms.example.org"), Ok(()));
        assert_eq!(with("sidecar", "https://sidecar"), Ok(()));
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://localhost:4747",
            "http://127.0.0.1:3000",
            "http://cms.example.org",
            "https://cms.example.org.evil.example",
            "https://cms.example.org:8443",
            "http://127.0.0.1:4747/",
        ] {
            assert_eq!(with(here, origin), Err(Denied::Origin), "{origin}");
        }
    }

    #[test]
    fn what_acts_needs_the_token() {
        let with = |token| {
            asked(
                Route::Publish,
                &[("host", "localhost:4747"), ("authorization", token)],
            )
        };
        assert_eq!(with(RIGHT), Ok(()));
        assert_eq!(with("bearer  0123456789abcdef"), Ok(()));
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert_eq!(with(wrong), Err(Denied::WrongToken), "{wrong}");
        }
        let twice = [
            ("host", "localhost:4747"),
            ("authorization", RIGHT),
            ("authorization", RIGHT),
        ];
        assert_eq!(asked(Route::Publish, &twice), Err(Denied::WrongToken));
        let without = [("host", "localhost:4747")];
        assert_eq!(asked(Route::Rollback, &without), Err(Denied::NoToken));
        assert_eq!(asked(Route::Deploys, &without), Ok(()));
    }

    #[test]
    fn another_site_gets_the_page_alone() {
        let with = |route, site, origin: Option<&str>| {
            let mut lines = vec![
                ("host", "localhost:4747"),
                ("authorization", RIGHT),
                ("sec-fetch-site", site),
            ];
            lines.extend(origin.map(|origin| ("origin", origin)));
            asked(route, &lines)
        };
        for site in ["none", "same-origin"] {
            assert_eq!(with(Route::Publish, site, None), Ok(()), "{site}");
        }
        let denied = Err(Denied::CrossSite);
        assert_eq!(with(Route::Publish, "cross-site", None), denied);
        assert_eq!(with(Route::Publish, "same-site", None), denied);
        assert_eq!(with(Route::Pending, "cross-site", None), denied);
        assert_eq!(with(Route::Pending, "same-site", None), Ok(()));
        assert_eq!(with(Route::Dashboard("/"), "cross-site", None), Ok(()));
        let cms = Some("https://cms.example.org");
        assert_eq!(with(Route::Publish, "cross-site", cms), Ok(()));
    }

    #[test]
    fn each_refusal_has_a_code_of_its_own() {
        let all = [
            Denied::NoHost,
            Denied::Host,
            Denied::Origin,
            Denied::CrossSite,
            Denied::NoToken,
            Denied::WrongToken,
        ];
        let codes: std::collections::BTreeSet<_> = all.map(Denied::code).into();
        assert_eq!(codes.len(), all.len());
    }
}
