//! The URLs of the configuration; only user of the `url` crate.
//!
//! A user name or a password is refused: a URL is logged and printed, a secret is not.

use url::{Host, Url};

use super::CallUrl;

/// Returns the URL of a server: scheme, host and port; the protocol's paths are its own.
///
/// # Errors
///
/// What is allowed.
pub(super) fn of_server(text: &str) -> Result<String, String> {
    let allowed = "must be http:// or https:// with a host and no path, such as \
                   \"https://example.org\"";
    let url = parsed_url(text).filter(|url| url.path() == "/");
    url.map(|url| url.origin().ascii_serialization())
        .ok_or_else(|| allowed.to_owned())
}

/// Returns the URL of a site, without the slash at its end, so that site paths can be put behind it.
///
/// # Errors
///
/// What is allowed.
pub(super) fn of_site(text: &str) -> Result<String, String> {
    let allowed = "must be a URL that starts with http:// or https://, without a query";
    parsed_url(text)
        .map(|url| url.as_str().trim_end_matches('/').to_owned())
        .ok_or_else(|| allowed.to_owned())
}

/// Returns a host's name in small letters; nothing for what is none, or has a port or a pattern.
pub(super) fn host_name(text: &str) -> Option<String> {
    match Host::parse(text) {
        Ok(Host::Domain(name)) if !name.contains('*') => Some(name),
        _ => None,
    }
}

/// Returns the URL of a receiver; it may have a path and a query.
///
/// # Errors
///
/// What is allowed.
pub(super) fn of_call(text: &str) -> Result<CallUrl, String> {
    let allowed = "must be a URL that starts with http:// or https://, without a user name or a \
                   fragment";
    let mut url = Url::parse(text).map_err(|_| allowed.to_owned())?;
    let query = url.query().map(str::to_owned);
    url.set_query(None);
    // Two slashes at the start of a path would name another host.
    if !is_plain(&url) || url.path().starts_with("//") {
        return Err(allowed.to_owned());
    }
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    Ok(CallUrl {
        origin: url.origin().ascii_serialization(),
        target: format!("{}{query}", url.path()),
    })
}

/// A user name or a password in a URL would end in logs; what follows `?` or `#` has no meaning.
fn parsed_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    is_plain(&url).then_some(url)
}

fn is_plain(url: &Url) -> bool {
    ["http", "https"].contains(&url.scheme())
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_scheme_host_and_port() {
        for (text, url) in [
            ("https://example.org", "https://example.org"),
            ("https://Example.org:443/", "https://example.org"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:80/", "http://[::1]"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(of_server(text).as_deref(), Ok(url), "{text}");
        }
        for text in [
            "",
            "example.org",
            "example.org:8080",
            "ftp://example.org",
            "https://",
            "https://example.org/site",
            "https://example.org/?a",
            "https://example.org/#a",
            "https://ann@example.org",
            "https://:pw@example.org",
        ] {
            assert!(of_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_site_may_have_a_path() {
        for (text, url) in [
            ("https://example.org", "https://example.org"),
            ("https://example.org/blog/", "https://example.org/blog"),
        ] {
            assert_eq!(of_site(text).as_deref(), Ok(url), "{text}");
        }
        for text in [
            "",
            "blog",
            "https://ann:pw@example.org",
            "https://example.org/?a",
        ] {
            assert!(of_site(text).is_err(), "{text}");
        }
    }
}
