//! Which addresses a changed file means. Pure.
//!
//! The same policy of slashes as the server has: `a/index.html` is at `/a/` and `a.html` at `/a`, unless
//! `serve.trailing_slash` says otherwise. A file that is no page is at its own path.

use onsave_protocol::SitePath;
use onsave_server::config::TrailingSlash;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a path of a URL may hold unescaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// What a file is, by its name.
enum Page<'a> {
    /// `a/index.html`, by its folder: `a`; empty for the one at the root.
    Index(&'a str),
    /// `a.html`, without its ending.
    Named(&'a str),
    /// Anything else.
    No(&'a str),
}

fn page(path: &SitePath) -> Page<'_> {
    let path = path.as_str();
    if path == "index.html" {
        return Page::Index("");
    }
    if let Some(folder) = path.strip_suffix("/index.html") {
        return Page::Index(folder);
    }
    match path.strip_suffix(".html") {
        Some(name) if !name.is_empty() && !name.ends_with('/') => Page::Named(name),
        _ => Page::No(path),
    }
}

/// Returns whether a file is a page.
pub(super) fn is_page(path: &SitePath) -> bool {
    !matches!(page(path), Page::No(_))
}

/// Returns the address of a file: the path of its URL.
pub(super) fn route(path: &SitePath, slash: TrailingSlash) -> String {
    let (name, has_slash) = match page(path) {
        Page::Index("") => return "/".to_owned(),
        Page::Index(folder) => (folder, slash != TrailingSlash::Never),
        Page::Named(name) => (name, slash == TrailingSlash::Always),
        Page::No(path) => (path, false),
    };
    let slash = if has_slash { "/" } else { "" };
    format!("/{}{slash}", encoded(name))
}

/// Returns every address that a cache may hold a file under.
pub(super) fn cached_routes(path: &SitePath) -> Vec<String> {
    let whole = format!("/{}", encoded(path.as_str()));
    match page(path) {
        Page::Index("") => vec!["/".to_owned(), whole],
        Page::Index(name) | Page::Named(name) => {
            let name = encoded(name);
            vec![format!("/{name}/"), format!("/{name}"), whole]
        }
        Page::No(_) => vec![whole],
    }
}

/// Returns a path as it stands in a URL.
pub(super) fn encoded(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SitePath {
        SitePath::parse(text).unwrap()
    }

    #[test]
    fn routes_follow_the_policy_of_slashes() {
        use TrailingSlash::{Always, Auto, Never};
        for (file, auto, never, always) in [
            ("index.html", "/", "/", "/"),
            ("docs/index.html", "/docs/", "/docs", "/docs/"),
            ("about.html", "/about", "/about", "/about/"),
            ("a/b.html", "/a/b", "/a/b", "/a/b/"),
            (
                "a/ü 1.json",
                "/a/%C3%BC%201.json",
                "/a/%C3%BC%201.json",
                "/a/%C3%BC%201.json",
            ),
            ("app.css", "/app.css", "/app.css", "/app.css"),
            ("what?.html", "/what%3F", "/what%3F", "/what%3F/"),
        ] {
            let path = path(file);
            let routes = [Auto, Never, Always].map(|slash| route(&path, slash));
            assert_eq!(routes, [auto, never, always], "{file}");
        }
    }

    #[test]
    fn a_page_is_cached_under_each_of_its_addresses() {
        assert_eq!(cached_routes(&path("index.html")), ["/", "/index.html"]);
        assert_eq!(
            cached_routes(&path("a/index.html")),
            ["/a/", "/a", "/a/index.html"]
        );
        assert_eq!(cached_routes(&path("a.html")), ["/a/", "/a", "/a.html"]);
        assert_eq!(cached_routes(&path("a.json")), ["/a.json"]);
        assert!(is_page(&path("a.html")) && !is_page(&path("a.htm")));
    }
}
