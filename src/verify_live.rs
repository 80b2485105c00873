//! Proof that it is live: asks the public URL, as a visitor would, for one file that a publish changed.
//!
//! Only the validator is asked for (`HEAD`, `ETag`), off the publish's critical path. What another
//! server answers that names its files differently is unknown, not wrong: a warning here is only
//! worth something when it is right. It decides nothing, and a newer publish makes it void.

use std::fmt;

use onsave_protocol::{Changeset, Manifest, Sha256Digest, SitePath};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    config::PublishConfig,
    http::{HttpError, PublicHttp, Seen},
};

/// Hex digits of a file's digest that an entity tag of the server starts with.
const TAG_DIGITS: usize = 32;

/// What a path segment of a URL may hold unescaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Files that configure a site or answer for others, and are not served as themselves everywhere.
const NOT_PUBLIC: [&str; 3] = ["_headers", "_redirects", "404.html"];

/// One file to ask for, and what a visitor should get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveCheck {
    path: SitePath,
    expected: Expected,
}

/// What a visitor should get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A file with these bytes.
    File(Sha256Digest),
    /// Nothing: 404 or 410.
    Gone,
}

/// What a visitor gets.
#[derive(Debug)]
pub enum LiveVerdict {
    /// What was published.
    Live {
        /// Where.
        url: String,
    },
    /// What cannot be judged.
    Unknown {
        /// Where.
        url: String,
        /// Why not.
        why: String,
    },
    /// Something else.
    Mismatch {
        /// Where.
        url: String,
        /// What should be there.
        expected: Expected,
        /// What is there.
        got: String,
    },
    /// Nothing: no answer.
    NoAnswer {
        /// Where.
        url: String,
        /// Why.
        source: HttpError,
    },
}

/// Asks one public site.
#[derive(Debug, Clone)]
pub struct LiveVerifier {
    http: PublicHttp,
    base: String,
}

impl LiveCheck {
    /// Returns the file of `changeset` to ask for: a page if there is one, else any file; a removed
    /// one when nothing was put.
    #[must_use]
    pub fn of(changeset: &Changeset) -> Option<Self> {
        let pick = |paths: &mut dyn Iterator<Item = &SitePath>| -> Option<SitePath> {
            let mut first = None;
            for path in paths.filter(|path| !NOT_PUBLIC.contains(&path.file_name())) {
                if is_page(path) {
                    return Some(path.clone());
                }
                first = first.or_else(|| Some(path.clone()));
            }
            first
        };
        if let Some(path) = pick(&mut changeset.puts.keys()) {
            let expected = Expected::File(changeset.puts.get(&path)?.digest);
            return Some(Self { path, expected });
        }
        if !changeset.puts.is_empty() {
            return None;
        }
        Some(Self {
            path: pick(&mut changeset.removes.iter())?,
            expected: Expected::Gone,
        })
    }

    /// Returns whether `current` still has what this check expects: a newer publish voids it.
    #[must_use]
    pub fn holds_for(&self, current: &Manifest) -> bool {
        match (current.get(self.path.as_str()), self.expected) {
            (Some(entry), Expected::File(digest)) => entry.digest == digest,
            (None, Expected::Gone) => true,
            (Some(_), Expected::Gone) | (None, Expected::File(_)) => false,
        }
    }

    /// Returns the path of the URL under which visitors find the file.
    fn url_path(&self) -> String {
        let segments = self.path.segments().map(|segment| {
            if segment == "index.html" && self.expected != Expected::Gone {
                // Visitors and caches know a folder's page by the folder's address.
                String::new()
            } else {
                utf8_percent_encode(segment, ESCAPED).to_string()
            }
        });
        segments.fold(String::new(), |path, segment| path + "/" + &segment)
    }

    fn judge(&self, url: &str, seen: &Seen) -> LiveVerdict {
        let url = url.to_owned();
        let unknown = |why: String| LiveVerdict::Unknown {
            url: url.clone(),
            why,
        };
        let mismatch = |got: String| LiveVerdict::Mismatch {
            url: url.clone(),
            expected: self.expected,
            got,
        };
        if seen.path != self.url_path() {
            return unknown(format!("it redirects to {}", seen.path));
        }
        match (self.expected, seen.status) {
            (Expected::Gone, 404 | 410) => LiveVerdict::Live { url },
            (Expected::File(digest), 200..=299) => match seen.etag.as_deref().map(opaque_tag) {
                None => unknown("there is no entity tag".into()),
                Some(tag) if tag.starts_with(&digest.to_hex()[..TAG_DIGITS]) => {
                    LiveVerdict::Live { url }
                }
                Some(tag) if is_of_our_kind(tag) => mismatch(format!("entity tag {tag}")),
                Some(tag) => unknown(format!("its entity tag is of another kind: {tag}")),
            },
            (Expected::File(_), status @ (404 | 410)) => mismatch(format!("status {status}")),
            // A rule of the site, the page of a single-page application, or an asset that is kept for
            // pages that were loaded before.
            (Expected::Gone, 200..=299) => unknown("something else answers there".into()),
            (_, status) => unknown(format!("it answers with status {status}")),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(digest) => write!(f, "entity tag {}", &digest.to_hex()[..TAG_DIGITS]),
            Self::Gone => write!(f, "status 404"),
        }
    }
}

impl LiveVerdict {
    /// Says it in the log, as loudly as it deserves.
    pub fn log(&self) {
        match self {
            Self::Live { url } => tracing::debug!(url, "the publish is live"),
            Self::Unknown { url, why } => {
                tracing::debug!(url, why, "whether the publish is live cannot be told");
            }
            Self::Mismatch { url, expected, got } => tracing::warn!(
                url,
                %expected,
                got,
                "visitors do not see the publish: a cache or another server is in between"
            ),
            Self::NoAnswer { url, source } => tracing::warn!(
                url,
                error = source as &(dyn std::error::Error + 'static),
                "the public URL does not answer"
            ),
        }
    }
}

impl LiveVerifier {
    /// Returns what asks the site at `base`: scheme and host, and a path where the site is below one.
    ///
    /// # Errors
    ///
    /// [`HttpError`] when `base` is no URL.
    pub fn new(base: &str) -> Result<Self, HttpError> {
        Ok(Self {
            http: PublicHttp::new(base)?,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    /// Returns what asks the site that is published to `target_url`; nothing where that is not wanted.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn of_site(config: &PublishConfig, target_url: &str) -> Result<Option<Self>, HttpError> {
        let url = config.site_url(target_url);
        config.verify_live.then(|| Self::new(url)).transpose()
    }

    /// Returns what a visitor gets. Nothing waits for it, and dropping it is harmless.
    pub async fn verify(&self, check: &LiveCheck) -> LiveVerdict {
        let url = format!("{}{}", self.base, check.url_path());
        match self.http.head(&url).await {
            Ok(mut seen) => {
                // Where the site stands below a path, that path is no part of the site's own.
                if let Some(own) = seen.path.strip_prefix(base_path(&self.base)) {
                    seen.path = own.to_owned();
                }
                check.judge(&url, &seen)
            }
            Err(source) => LiveVerdict::NoAnswer { url, source },
        }
    }
}

/// Returns the path of a URL without a trailing slash: nothing for a bare host.
fn base_path(base: &str) -> &str {
    base.split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]))
        .unwrap_or_default()
}

fn is_page(path: &SitePath) -> bool {
    let ending = path.file_name().rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| {
        ending.eq_ignore_ascii_case("html") || ending.eq_ignore_ascii_case("htm")
    })
}

/// Returns an entity tag without its weakness and quotes.
fn opaque_tag(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// Returns whether a tag starts like those of this project's server.
fn is_of_our_kind(tag: &str) -> bool {
    let digits = tag.bytes().take_while(u8::is_ascii_hexdigit).count();
    digits == TAG_DIGITS
}

#[cfg(test)]
mod tests {
    use onsave_protocol::FileEntry;

    use super::*;

    fn path(text: &str) -> SitePath {
        SitePath::parse(text).unwrap()
    }

    fn changeset(puts: &[&str], removes: &[&str]) -> Changeset {
        let entry = |text: &str| FileEntry {
            digest: Sha256Digest::of(text.as_bytes()),
            size: 1,
        };
        Changeset {
            puts: puts.iter().map(|text| (path(text), entry(text))).collect(),
            removes: removes.iter().map(|text| path(text)).collect(),
        }
    }

    fn check(puts: &[&str], removes: &[&str]) -> LiveCheck {
        LiveCheck::of(&changeset(puts, removes)).unwrap()
    }

    fn seen(path: &str, status: u16, etag: Option<&str>) -> Seen {
        Seen {
            status,
            etag: etag.map(str::to_owned),
            path: path.to_owned(),
        }
    }

    #[test]
    fn a_page_is_asked_for_before_other_files() {
        for (puts, removes, asked) in [
            (&["a.css", "b/c.HTML"][..], &[][..], "b/c.HTML"),
            (&["404.html", "a.css"], &["z.html"], "a.css"),
            (&[], &["a.css", "z.html"], "z.html"),
        ] {
            assert_eq!(check(puts, removes).path.as_str(), asked);
        }
        assert_eq!(LiveCheck::of(&changeset(&["404.html"], &["a"])), None);
        assert_eq!(LiveCheck::of(&changeset(&[], &[])), None);
    }

    #[test]
    fn visitors_know_a_page_by_its_folder() {
        for (file, url) in [
            ("index.html", "/"),
            ("blog/index.html", "/blog/"),
            ("a b/ü.html", "/a%20b/%C3%BC.html"),
        ] {
            assert_eq!(check(&[file], &[]).url_path(), url);
        }
        assert_eq!(
            check(&[], &["blog/index.html"]).url_path(),
            "/blog/index.html"
        );
    }

    #[test]
    fn verdicts() {
        let hex = Sha256Digest::of(b"a.html").to_hex();
        let tag = &hex[..TAG_DIGITS];
        let other = "0".repeat(TAG_DIGITS);
        let judge = |seen: &Seen| match check(&["a.html"], &[]).judge("u", seen) {
            LiveVerdict::Live { .. } => "live",
            LiveVerdict::Unknown { .. } => "unknown",
            LiveVerdict::Mismatch { .. } => "mismatch",
            LiveVerdict::NoAnswer { .. } => "no answer",
        };
        for (status, etag, verdict) in [
            (200, Some(format!("\"{tag}\"")), "live"),
            (200, Some(format!("W/\"{tag}-br\"")), "live"),
            (200, Some(format!("\"{other}\"")), "mismatch"),
            (200, Some(format!("W/\"{other}-gz\"")), "mismatch"),
            (200, Some("\"65a1-1f\"".into()), "unknown"),
            (200, Some(format!("\"{hex}\"")), "live"),
            (200, None, "unknown"),
            (404, None, "mismatch"),
            (403, None, "unknown"),
            (503, None, "unknown"),
        ] {
            let seen = seen("/a.html", status, etag.as_deref());
            assert_eq!(judge(&seen), verdict, "{seen:?}");
        }
        assert_eq!(judge(&seen("/login", 200, None)), "unknown");
    }

    #[test]
    fn a_removed_file_is_gone() {
        let check = check(&[], &["a.html"]);
        let verdict = |status| check.judge("u", &seen("/a.html", status, None));
        assert!(matches!(verdict(404), LiveVerdict::Live { .. }));
        assert!(matches!(verdict(200), LiveVerdict::Unknown { .. }));
        assert!(matches!(verdict(500), LiveVerdict::Unknown { .. }));
    }

    #[test]
    fn a_newer_publish_voids_the_check() {
        let mut manifest = Manifest::new();
        changeset(&["a.html"], &[]).apply(&mut manifest);
        assert!(check(&["a.html"], &[]).holds_for(&manifest));
        assert!(!check(&[], &["a.html"]).holds_for(&manifest));
        let newer = FileEntry {
            digest: Sha256Digest::of(b"newer"),
            size: 5,
        };
        manifest.insert(path("a.html"), newer);
        assert!(!check(&["a.html"], &[]).holds_for(&manifest));
    }

    #[test]
    fn a_site_below_a_path_keeps_it() {
        assert_eq!(base_path("https://example.org"), "");
        assert_eq!(base_path("https://example.org/docs"), "/docs");
    }
}
