//! Request path → which file of the snapshot it means, by one policy of trailing slashes.
//!
//! The path is percent-decoded once, and then it is a site path or a refusal: nothing is repaired,
//! and what a dot-segment would mean is never asked. An encoded slash is no separator. Pure.

use std::borrow::Cow;

use onsave_protocol::{
    FileEntry, SitePath,
    site_path::{SitePathError, nfc},
    wire::is_reserved,
};
use percent_encoding::percent_decode_str;

use crate::{config::TrailingSlash, current::SiteRules, snapshot::Snapshot};

/// The file that a folder is served by.
pub(super) const INDEX: &str = "index.html";

/// The page for what is not there; the nearest one above the path counts.
const NOT_FOUND: &str = "404.html";

/// A request path, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'r> {
    /// It may name a file.
    Path(RequestPath<'r>),
    /// No file can have it, for whoever means well: a segment is empty or too long, a slash is encoded,
    /// or it is the sync endpoint's.
    Nowhere,
    /// It is sent by nobody who means well.
    Malformed,
}

/// A request path that may name a file: percent-decoded, without the slashes at its ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestPath<'r> {
    name: Cow<'r, str>,
    form: Form,
}

/// Whether a path ends in a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    File,
    Folder,
}

/// A file of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path, which gives the media type.
    pub(super) path: String,
    /// Its content.
    pub(super) entry: FileEntry,
    /// Since when it is there, in seconds of Unix time.
    pub(super) since: u64,
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A file.
    File(Found),
    /// A page whose address has a slash at the end.
    WithSlash(Found),
    /// A page whose address has none.
    WithoutSlash(Found),
}

impl Target {
    /// Returns the file, wherever its address is.
    pub(super) fn into_file(self) -> Found {
        match self {
            Self::File(found) | Self::WithSlash(found) | Self::WithoutSlash(found) => found,
        }
    }
}

impl<'r> Read<'r> {
    /// Reads the path of a request as it was sent.
    pub(super) fn request(raw: &'r str) -> Self {
        let Some(decoded) = decode(raw) else {
            return Self::Malformed;
        };
        if raw.to_ascii_lowercase().contains("%2f") {
            return match Self::site(decoded) {
                Self::Malformed => Self::Malformed,
                Self::Path(_) | Self::Nowhere => Self::Nowhere,
            };
        }
        Self::site(decoded)
    }

    /// Reads a path that is decoded already, without its first slash.
    pub(super) fn site(decoded: Cow<'r, str>) -> Self {
        let is_root = decoded.is_empty();
        let form = if is_root || decoded.ends_with('/') {
            Form::Folder
        } else {
            Form::File
        };
        let name = match decoded {
            Cow::Borrowed(decoded) => Cow::Borrowed(decoded.strip_suffix('/').unwrap_or(decoded)),
            Cow::Owned(mut decoded) => {
                if decoded.ends_with('/') {
                    decoded.pop();
                }
                Cow::Owned(decoded)
            }
        };
        match SitePath::check(&name) {
            Ok(()) => {}
            Err(SitePathError::Empty) if is_root => {}
            Err(
                SitePathError::DotSegment
                | SitePathError::Backslash
                | SitePathError::ControlCharacter
                | SitePathError::NotUtf8,
            ) => return Self::Malformed,
            Err(_) => return Self::Nowhere,
        }
        if is_reserved(&name) {
            return Self::Nowhere;
        }
        Self::Path(RequestPath { name, form })
    }
}

impl RequestPath<'_> {
    /// Returns the path without the slashes at its ends.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path as rules see it: with its first slash, and a last one where it was sent.
    pub(super) fn for_rules(&self) -> String {
        match self.form {
            Form::Folder if !self.name.is_empty() => format!("/{}/", self.name),
            Form::File | Form::Folder => format!("/{}", self.name),
        }
    }

    /// Returns whether the last segment has an extension, as assets have and addresses of pages do not.
    pub(super) fn has_extension(&self) -> bool {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        self.form == Form::File && name.trim_start_matches('.').contains('.')
    }

    /// Returns what the path means in a site.
    pub(super) fn target(&self, snapshot: &Snapshot, policy: TrailingSlash) -> Option<Target> {
        let target = look_up(snapshot, &self.name, self.form, policy);
        if target.is_some() || self.name.is_ascii() {
            return target;
        }
        // A link may be written in another normal form than the file's name.
        let normal = nfc(&self.name);
        if normal == self.name {
            return None;
        }
        look_up(snapshot, &normal, self.form, policy)
    }

    /// Returns the nearest page that says that nothing is here.
    pub(super) fn not_found_page(&self, snapshot: &Snapshot) -> Option<Found> {
        not_found_page(snapshot, &self.name)
    }
}

/// Returns the page at the root that says that nothing is here.
pub(super) fn root_not_found_page(snapshot: &Snapshot) -> Option<Found> {
    not_found_page(snapshot, "")
}

/// Returns the path without its first slash, percent-decoded once; nothing when it cannot be.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let rest = raw.strip_prefix('/')?;
    let bytes = rest.as_bytes();
    let well_formed = bytes.iter().enumerate().all(|(at, byte)| {
        *byte != b'%'
            || bytes
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !well_formed {
        return None;
    }
    percent_decode_str(rest).decode_utf8().ok()
}

fn look_up(snapshot: &Snapshot, name: &str, form: Form, policy: TrailingSlash) -> Option<Target> {
    let file = |path: String| find(snapshot, path);
    let exact = || file(name.to_owned()).map(Target::File);
    let page = || file(format!("{name}.html"));
    let index = || file(join(name, INDEX));
    if name.is_empty() {
        return index().map(Target::File);
    }
    match (policy, form) {
        (TrailingSlash::Auto, Form::File) => exact()
            .or_else(|| page().map(Target::File))
            .or_else(|| index().map(Target::WithSlash)),
        (TrailingSlash::Auto, Form::Folder) => index()
            .map(Target::File)
            .or_else(|| page().map(Target::WithoutSlash)),
        (TrailingSlash::Never, Form::File) => exact()
            .or_else(|| page().map(Target::File))
            .or_else(|| index().map(Target::File)),
        (TrailingSlash::Never, Form::Folder) => page().or_else(index).map(Target::WithoutSlash),
        (TrailingSlash::Always, Form::File) => {
            exact().or_else(|| index().or_else(page).map(Target::WithSlash))
        }
        (TrailingSlash::Always, Form::Folder) => index().or_else(page).map(Target::File),
    }
}

fn find(snapshot: &Snapshot, path: String) -> Option<Found> {
    // The rules are the site's own business.
    if SiteRules::is_rule_file(&path) {
        return None;
    }
    let (entry, since) = snapshot.get_dated(&path)?;
    Some(Found { path, entry, since })
}

fn not_found_page(snapshot: &Snapshot, path: &str) -> Option<Found> {
    let mut folder = path;
    loop {
        folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        let page = find(snapshot, join(folder, NOT_FOUND));
        if page.is_some() || folder.is_empty() {
            return page;
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use onsave_protocol::{Changeset, DeployId, Sha256Digest};
    use proptest::prelude::*;

    use super::*;

    fn snapshot(paths: &[&str]) -> Snapshot {
        let mut changeset = Changeset::default();
        for path in paths {
            let entry = FileEntry {
                digest: Sha256Digest::of(path.as_bytes()),
                size: 1,
            };
            changeset.puts.insert(SitePath::parse(path).unwrap(), entry);
        }
        let id = DeployId::after(None, 1, 0);
        Snapshot::default().changed(id, &changeset).unwrap().0
    }

    /// What a path resolves to, in one word.
    fn shown(snapshot: &Snapshot, raw: &str) -> String {
        shown_by(snapshot, raw, TrailingSlash::Auto)
    }

    fn shown_by(snapshot: &Snapshot, raw: &str, policy: TrailingSlash) -> String {
        let missing = |page: Option<Found>| match page {
            Some(page) => format!("404 {}", page.path),
            None => "404".into(),
        };
        match Read::request(raw) {
            Read::Malformed => "400".into(),
            Read::Nowhere => missing(root_not_found_page(snapshot)),
            Read::Path(path) => match path.target(snapshot, policy) {
                Some(Target::File(found)) => {
                    assert_eq!(found.entry.digest, Sha256Digest::of(found.path.as_bytes()));
                    found.path
                }
                Some(Target::WithSlash(_)) => "add slash".into(),
                Some(Target::WithoutSlash(_)) => "drop slash".into(),
                None => missing(path.not_found_page(snapshot)),
            },
        }
    }

    #[test]
    fn pages_and_folders() {
        let site = snapshot(&[
            "index.html",
            "about.html",
            "both.html",
            "both/index.html",
            "blog/index.html",
            "blog/404.html",
            "blog/a b.txt",
            "docs/x.html",
            "bl\u{e5}.html",
            "old/bla\u{30a}.txt",
            ".well-known/x",
        ]);
        for (raw, expected) in [
            ("/", "index.html"),
            ("/index.html", "index.html"),
            ("/about", "about.html"),
            ("/about.html", "about.html"),
            ("/about/", "drop slash"),
            ("/both", "both.html"),
            ("/both/", "both/index.html"),
            ("/blog", "add slash"),
            ("/blog/", "blog/index.html"),
            ("/blog/index", "blog/index.html"),
            ("/blog/a%20b.txt", "blog/a b.txt"),
            ("/blog/a%2520b.txt", "404 blog/404.html"),
            ("/blog/none", "404 blog/404.html"),
            ("/blog/none/deeper/", "404 blog/404.html"),
            ("/docs", "404"),
            ("/docs/", "404"),
            ("/bl%C3%A5", "bl\u{e5}.html"),
            ("/bla%CC%8A", "bl\u{e5}.html"),
            ("/old/bla%CC%8A.txt", "old/bla\u{30a}.txt"),
            ("/.well-known/x", ".well-known/x"),
            ("/About", "404"),
        ] {
            assert_eq!(shown(&site, raw), expected, "{raw}");
        }
    }

    #[test]
    fn policies_of_trailing_slashes() {
        let site = snapshot(&[
            "index.html",
            "about.html",
            "both.html",
            "both/index.html",
            "blog/index.html",
            "app.js",
            "_redirects",
            "_headers",
            "sub/_headers",
        ]);
        for (raw, auto, never, always) in [
            ("/", "index.html", "index.html", "index.html"),
            ("/about", "about.html", "about.html", "add slash"),
            ("/about/", "drop slash", "drop slash", "about.html"),
            ("/about.html", "about.html", "about.html", "about.html"),
            ("/about.html/", "404", "404", "404"),
            ("/blog", "add slash", "blog/index.html", "add slash"),
            ("/blog/", "blog/index.html", "drop slash", "blog/index.html"),
            ("/both", "both.html", "both.html", "add slash"),
            ("/both/", "both/index.html", "drop slash", "both/index.html"),
            ("/app.js", "app.js", "app.js", "app.js"),
            ("/app.js/", "404", "404", "404"),
            ("/_redirects", "404", "404", "404"),
            ("/_headers", "404", "404", "404"),
            ("/%5Fheaders", "404", "404", "404"),
            (
                "/sub/_headers",
                "sub/_headers",
                "sub/_headers",
                "sub/_headers",
            ),
        ] {
            for (policy, expected) in [
                (TrailingSlash::Auto, auto),
                (TrailingSlash::Never, never),
                (TrailingSlash::Always, always),
            ] {
                assert_eq!(shown_by(&site, raw, policy), expected, "{raw} {policy:?}");
            }
        }
    }

    #[test]
    fn what_rules_see_of_a_path() {
        for (raw, seen, has_extension) in [
            ("/", "/", false),
            ("/a", "/a", false),
            ("/a/", "/a/", false),
            ("/a%20b/c.js", "/a b/c.js", true),
            ("/c.js/", "/c.js/", false),
            ("/.well-known", "/.well-known", false),
        ] {
            let Read::Path(path) = Read::request(raw) else {
                panic!("{raw}");
            };
            assert_eq!(
                (path.for_rules().as_str(), path.has_extension()),
                (seen, has_extension)
            );
        }
    }

    #[test]
    fn attack_table() {
        let site = snapshot(&["index.html", "404.html", "a/b.html", "_icd/health"]);
        let long = format!("/{}", "x".repeat(300));
        let longer = format!("/{}", "abc/".repeat(2_000));
        for (raw, expected) in [
            ("/../etc/passwd", "400"),
            ("/a/../a/b.html", "400"),
            ("/a/./b.html", "400"),
            ("/..", "400"),
            ("/%2e%2e/etc/passwd", "400"),
            ("/%2E%2E/%2e%2e/", "400"),
            ("/.%2e/x", "400"),
            ("/%252e%252e/x", "404 404.html"),
            ("/..%2f..%2fetc/passwd", "400"),
            ("/a%2fb.html", "404 404.html"),
            ("/a%2Fb", "404 404.html"),
            ("/a%5cb.html", "400"),
            ("/a\\..\\b", "400"),
            ("/a%00", "400"),
            ("/index.html%00.png", "400"),
            ("/a%0ab", "400"),
            ("//etc/passwd", "404 404.html"),
            ("//", "404 404.html"),
            ("/a//b.html", "404 404.html"),
            ("/%c0%ae%c0%ae/x", "400"),
            ("/%ff", "400"),
            ("/%", "400"),
            ("/%4", "400"),
            ("/%zz", "400"),
            ("*", "400"),
            ("", "400"),
            ("/_icd/health", "404 404.html"),
            ("/%5ficd/health", "404 404.html"),
            (long.as_str(), "404 404.html"),
            (longer.as_str(), "404 404.html"),
        ] {
            assert_eq!(shown(&site, raw), expected, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn every_file_is_found_under_its_encoded_path(path in "[a-c./ %#?\u{e5}]{1,12}") {
            if SitePath::parse(&path).is_ok() {
                let site = snapshot(&[&path]);
                let raw: String = path.bytes().map(|byte| match byte {
                    b'/' => "/".to_owned(),
                    byte => format!("%{byte:02X}"),
                }).collect();
                prop_assert_eq!(shown(&site, &format!("/{raw}")), path);
            }
        }

        #[test]
        fn no_path_makes_it_panic(raw in any::<String>()) {
            let site = snapshot(&["index.html", "a/index.html"]);
            let outcome = shown(&site, &raw);
            prop_assert!(raw.starts_with('/') || outcome == "400");
        }
    }
}
