//! Request path → what of the snapshot it means.
//!
//! The path is percent-decoded once, and then it is a site path or a refusal: nothing is repaired,
//! and what a dot-segment would mean is never asked. An encoded slash is no separator.

use onsave_protocol::{
    FileEntry, SitePath,
    site_path::{SitePathError, nfc},
    wire::is_reserved,
};
use percent_encoding::percent_decode_str;

use crate::snapshot::Snapshot;

/// The file that a folder is served by.
const INDEX: &str = "index.html";

/// The page for what is not there; the nearest one above the path counts.
const NOT_FOUND: &str = "404.html";

/// What a request path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A file; its path gives the content type.
    File { path: String, entry: FileEntry },
    /// A folder with an index, asked for without a slash at the end.
    Folder,
    /// Nothing, and the page that says so, when the site has one.
    NotFound { page: Option<(String, FileEntry)> },
    /// A path that no file can have, sent by nobody who means well.
    Malformed,
}

/// Returns what `raw`, the path of a request as sent, means.
pub(super) fn resolve(snapshot: &Snapshot, raw: &str) -> Outcome {
    let Some(decoded) = decode(raw) else {
        return Outcome::Malformed;
    };
    let trimmed = decoded.strip_suffix('/').unwrap_or(&decoded);
    let is_folder = decoded.is_empty() || trimmed.len() < decoded.len();
    match SitePath::parse(trimmed) {
        Ok(_) => {}
        Err(SitePathError::Empty) if decoded.is_empty() => {}
        Err(
            SitePathError::DotSegment
            | SitePathError::Backslash
            | SitePathError::ControlCharacter
            | SitePathError::NotUtf8,
        ) => return Outcome::Malformed,
        Err(_) => {
            return Outcome::NotFound {
                page: not_found_page(snapshot, ""),
            };
        }
    }
    // Below the endpoint's prefix there is no site, in whatever spelling.
    if raw.to_ascii_lowercase().contains("%2f") || is_reserved(trimmed) {
        return Outcome::NotFound {
            page: not_found_page(snapshot, ""),
        };
    }
    if let Some(outcome) = look_up(snapshot, trimmed, is_folder) {
        return outcome;
    }
    // A link may be written in another normal form than the file's name.
    let normal = nfc(trimmed);
    if normal != trimmed
        && let Some(outcome) = look_up(snapshot, &normal, is_folder)
    {
        return outcome;
    }
    Outcome::NotFound {
        page: not_found_page(snapshot, trimmed),
    }
}

/// Returns the path without its first slash, percent-decoded once; nothing when it cannot be.
fn decode(raw: &str) -> Option<String> {
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
    let decoded = percent_decode_str(rest).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

fn look_up(snapshot: &Snapshot, path: &str, is_folder: bool) -> Option<Outcome> {
    let file = |path: String| {
        let entry = *snapshot.get(&path)?;
        Some(Outcome::File { path, entry })
    };
    let index = join(path, INDEX);
    if is_folder {
        return file(index);
    }
    file(path.to_owned())
        .or_else(|| file(format!("{path}.html")))
        .or_else(|| snapshot.get(&index).map(|_| Outcome::Folder))
}

fn not_found_page(snapshot: &Snapshot, path: &str) -> Option<(String, FileEntry)> {
    let mut folder = path;
    loop {
        folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        let page = join(folder, NOT_FOUND);
        if let Some(entry) = snapshot.get(&page) {
            return Some((page, *entry));
        }
        if folder.is_empty() {
            return None;
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
        match resolve(snapshot, raw) {
            Outcome::File { path, entry } => {
                assert_eq!(entry.digest, Sha256Digest::of(path.as_bytes()));
                path
            }
            Outcome::Folder => "redirect".into(),
            Outcome::NotFound { page: None } => "404".into(),
            Outcome::NotFound {
                page: Some((path, _)),
            } => format!("404 {path}"),
            Outcome::Malformed => "400".into(),
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
            ("/about/", "404"),
            ("/both", "both.html"),
            ("/both/", "both/index.html"),
            ("/blog", "redirect"),
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
            let outcome = resolve(&site, &raw);
            prop_assert!(raw.starts_with('/') || outcome == Outcome::Malformed);
        }
    }
}
