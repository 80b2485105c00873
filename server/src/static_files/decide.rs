//! What a request is to be answered with: files, the site's own redirects, assets of earlier deploys, the
//! page for what is not there.
//!
//! Pure. The order is: a forced redirect that is the first rule to match; the site's file; the asset of an
//! earlier deploy; the first redirect that matches; the page of a single-page application; the nearest
//! `404.html`. So a file is never hidden by a rule that does not say so, and a catch-all rule does not take
//! the old pages' assets away.

use http::{HeaderMap, header};
use onsave_protocol::rules::{Action, CatchAll, ErrorStatus, Match, RedirectStatus};

use super::{
    fingerprint::is_fingerprinted,
    media_type::{self, is_html},
    resolve::{Found, INDEX, Read, RequestPath, Target, root_not_found_page},
};
use crate::{
    config::{Fallback, Serving},
    current::Current,
};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'r> {
    /// The path as it was sent.
    pub(super) path: &'r str,
    /// The query as it was sent, without `?`.
    pub(super) query: Option<&'r str>,
    /// The request's headers.
    pub(super) headers: &'r HeaderMap,
    /// Now, in milliseconds of Unix time.
    pub(super) now_unix_ms: u64,
}

/// What a request is to be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// A file, with 200.
    File(Found, Depends),
    /// Another address.
    Redirect {
        /// The status of the answer.
        status: RedirectStatus,
        /// The value of `Location`.
        location: String,
    },
    /// Nothing is there.
    Missing {
        /// The status of the answer.
        status: ErrorStatus,
        /// The page that says so, when the site has one.
        page: Option<Found>,
        /// What else was looked at.
        depends: Depends,
    },
    /// The path is sent by nobody who means well.
    Malformed,
}

/// What a decision depends on besides the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depends {
    /// Nothing: the same path gets the same answer as long as the deploy is current.
    Nothing,
    /// The query, or the time.
    Circumstances,
    /// `Accept`: a page that answers for another is sent to those who want a page.
    Accept,
}

/// Returns what a request is to be answered with.
pub(super) fn decide(current: &Current, serving: &Serving, asked: Asked<'_>) -> Decision {
    let path = match Read::request(asked.path) {
        Read::Path(path) => path,
        Read::Nowhere => {
            return Decision::Missing {
                status: ErrorStatus::NotFound,
                page: root_not_found_page(current.snapshot()),
                depends: Depends::Nothing,
            };
        }
        Read::Malformed => return Decision::Malformed,
    };
    Deciding {
        current,
        serving,
        asked,
        path,
    }
    .decide()
}

struct Deciding<'r> {
    current: &'r Current,
    serving: &'r Serving,
    asked: Asked<'r>,
    path: RequestPath<'r>,
}

impl Deciding<'_> {
    fn decide(&self) -> Decision {
        let rules = self.current.rules();
        let target = self
            .path
            .target(self.current.snapshot(), self.serving.trailing_slash);
        if let Some(target) = target {
            let rule = if rules.has_forced_redirects() {
                self.rule().filter(Match::is_forced)
            } else {
                None
            };
            return match rule {
                Some(rule) => self.apply(rule.into_action()),
                None => self.there(target),
            };
        }
        if let Some(found) = self.earlier_asset() {
            return Decision::File(found, Depends::Circumstances);
        }
        if let Some(rule) = self.rule() {
            return self.apply(rule.into_action());
        }
        match self.serving.fallback {
            Fallback::SinglePage => self.page_for_all(INDEX),
            Fallback::NotFoundPage => self.missing(ErrorStatus::NotFound, None, Depends::Nothing),
        }
    }

    fn rule(&self) -> Option<Match<'_>> {
        let redirects = self.current.rules().redirects();
        if redirects.is_empty() {
            return None;
        }
        redirects.find(&self.path.for_rules(), self.asked.query)
    }

    /// Returns whether another query could meet a forced rule at this path.
    fn may_be_forced(&self) -> bool {
        let rules = self.current.rules();
        rules.has_forced_redirects() && rules.redirects().has_forced_for(&self.path.for_rules())
    }

    fn there(&self, target: Target) -> Decision {
        let raw = self.asked.path;
        let moved = |location: String| Decision::Redirect {
            status: RedirectStatus::PermanentRedirect,
            location: match self.asked.query {
                Some(query) => format!("{location}?{query}"),
                None => location,
            },
        };
        // The path is sent back as it came. It starts with one slash exactly, since a path with an
        // empty segment means nothing: the location cannot become another host.
        match target {
            Target::File(found) if self.may_be_forced() => {
                Decision::File(found, Depends::Circumstances)
            }
            Target::File(found) => Decision::File(found, Depends::Nothing),
            Target::WithSlash(_) => moved(format!("{raw}/")),
            Target::WithoutSlash(_) => moved(raw.trim_end_matches('/').to_owned()),
        }
    }

    /// Returns an asset that a page of an earlier deploy may still ask for.
    ///
    /// Only one whose name carries its content's hash: under any other name, old bytes would be wrong.
    fn earlier_asset(&self) -> Option<Found> {
        let path = self.path.name();
        if !self.path.has_extension() || !is_fingerprinted(path) {
            return None;
        }
        let grace = u64::try_from(self.serving.asset_grace.as_millis()).unwrap_or(u64::MAX);
        if grace == 0 {
            return None;
        }
        let not_before = self.asked.now_unix_ms.saturating_sub(grace);
        let (entry, since) = self.current.earlier_file(path, not_before)?;
        Some(Found {
            path: path.to_owned(),
            entry,
            since,
        })
    }

    fn apply(&self, action: Action) -> Decision {
        match action {
            Action::Redirect { status, location } => Decision::Redirect { status, location },
            Action::Rewrite { path, catch_all } => {
                let found = self.file_at(&path);
                match (catch_all, found) {
                    (CatchAll::Yes, Some(page)) if is_html(&media_type::of_path(&page.path)) => {
                        self.page_for_all(&page.path)
                    }
                    (_, Some(found)) => Decision::File(found, Depends::Circumstances),
                    (_, None) => self.missing(ErrorStatus::NotFound, None, Depends::Circumstances),
                }
            }
            Action::Status { code, path } => {
                self.missing(code, self.file_at(&path), Depends::Circumstances)
            }
        }
    }

    /// Returns `page` to whoever asks for a page: a missing asset stays missing.
    fn page_for_all(&self, page: &str) -> Decision {
        let wants_page = !self.path.has_extension() && accepts_html(self.asked.headers);
        match self.file_at(&format!("/{page}")).filter(|_| wants_page) {
            Some(found) => Decision::File(found, Depends::Accept),
            None => self.missing(ErrorStatus::NotFound, None, Depends::Accept),
        }
    }

    /// Returns the file at a path of the site, wherever its address is.
    fn file_at(&self, path: &str) -> Option<Found> {
        let Read::Path(path) = Read::site(path.strip_prefix('/')?.into()) else {
            return None;
        };
        path.target(self.current.snapshot(), self.serving.trailing_slash)
            .map(Target::into_file)
    }

    fn missing(&self, status: ErrorStatus, page: Option<Found>, depends: Depends) -> Decision {
        let nearest = || match status {
            ErrorStatus::NotFound => self.path.not_found_page(self.current.snapshot()),
            ErrorStatus::Gone => None,
        };
        Decision::Missing {
            status,
            page: page.or_else(nearest),
            depends,
        }
    }
}

/// Returns whether the peer takes a page (RFC 9110, section 12.5.1): without a say, it does.
fn accepts_html(headers: &HeaderMap) -> bool {
    let mut said = false;
    let mut best: Option<(u8, bool)> = None;
    for value in headers.get_all(header::ACCEPT) {
        said = true;
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let specificity = match parts
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
                .as_str()
            {
                "text/html" | "application/xhtml+xml" => 2,
                "text/*" => 1,
                "*/*" => 0,
                _ => continue,
            };
            let refused = parts.any(|part| {
                let weight = part.strip_prefix("q=").and_then(|text| text.parse().ok());
                weight == Some(0.0_f32)
            });
            // The most specific range counts.
            if best.is_none_or(|(before, _)| specificity > before) {
                best = Some((specificity, !refused));
            }
        }
    }
    best.map_or(!said, |(_, accepted)| accepted)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use http::HeaderValue;
    use onsave_protocol::{Changeset, DeployId, FileEntry, Sha256Digest, SitePath};

    use super::*;
    use crate::{
        current::{Earlier, SiteRules},
        snapshot::Snapshot,
    };

    const OLD: &str = "app.3f9c2b1a.js";

    fn snapshot(paths: &[&str]) -> Arc<Snapshot> {
        let entry = |path: &str| FileEntry {
            digest: Sha256Digest::of(path.as_bytes()),
            size: 1,
        };
        let puts = paths
            .iter()
            .map(|path| (SitePath::parse(path).unwrap(), entry(path)));
        let changeset = Changeset {
            puts: puts.collect(),
            ..Changeset::default()
        };
        let id = DeployId::after(None, 1_000, 0);
        Arc::new(Snapshot::default().changed(id, &changeset).unwrap().0)
    }

    fn current(paths: &[&str], redirects: &str, earlier: Vec<Earlier>) -> Current {
        let rules = SiteRules::parse([None, None], redirects.as_bytes(), b"").0;
        Current::new(snapshot(paths), Arc::new(rules), earlier)
    }

    fn decided(current: &Current, path: &str, now_unix_ms: u64) -> String {
        let serving = Serving {
            asset_grace: Duration::from_mins(1),
            ..Serving::default()
        };
        let asked = Asked {
            path,
            query: None,
            headers: &HeaderMap::new(),
            now_unix_ms,
        };
        match decide(current, &serving, asked) {
            Decision::File(found, _) => found.path,
            Decision::Redirect { status, location } => format!("{} {location}", status.code()),
            Decision::Missing { status, .. } => status.code().to_string(),
            Decision::Malformed => "400".into(),
        }
    }

    #[test]
    fn a_file_depends_on_more_than_its_path_where_a_forced_rule_could_be_met() {
        let rules = "/a q=1 /x 301!\n/b /x 301\n/folder/* q=:v /y 302!\n";
        let site = current(
            &["a.html", "b.html", "c.html", "folder/d.html"],
            rules,
            vec![],
        );
        for (path, expected) in [
            ("/a", Depends::Circumstances),
            ("/a.html", Depends::Nothing),
            ("/b", Depends::Nothing),
            ("/c", Depends::Nothing),
            ("/folder/d", Depends::Circumstances),
        ] {
            let asked = Asked {
                path,
                query: None,
                headers: &HeaderMap::new(),
                now_unix_ms: 100_000,
            };
            match decide(&site, &Serving::default(), asked) {
                Decision::File(_, depends) => assert_eq!(depends, expected, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_earlier_asset_is_there_for_the_grace() {
        let earlier = |until_unix_ms| Earlier {
            snapshot: snapshot(&[OLD, "old.html", "old.js"]),
            until_unix_ms,
        };
        let path = format!("/{OLD}");
        let site = current(&["index.html"], "", vec![earlier(100_000), earlier(50_000)]);
        for (now, expected) in [(100_000, OLD), (160_000, OLD), (160_001, "404")] {
            assert_eq!(decided(&site, &path, now), expected, "{now}");
        }
        for path in ["/old", "/old.html", "/old.js"] {
            assert_eq!(decided(&site, path, 100_000), "404", "{path}");
        }
        // Only a rule that says so comes before it.
        let rules = "/app.* /x 301\n/* /elsewhere 301\n";
        let site = current(&["index.html"], rules, vec![earlier(100_000)]);
        assert_eq!(decided(&site, &path, 100_000), OLD);
        assert_eq!(decided(&site, &path, 170_000), "301 /elsewhere");
    }

    #[test]
    fn the_first_rule_decides_whether_a_file_is_hidden() {
        let files = &["a.html", "b.html", "index.html"];
        let site = current(files, "/a /x\n/a /y 302!\n/b /z 301!\n", Vec::new());
        assert_eq!(decided(&site, "/a", 0), "a.html");
        assert_eq!(decided(&site, "/b", 0), "301 /z");
        assert_eq!(decided(&site, "/", 0), "index.html");
    }

    #[test]
    fn who_wants_a_page() {
        for (accept, wants) in [
            (None, true),
            (Some("text/html"), true),
            (Some("TEXT/HTML;charset=utf-8"), true),
            (Some("application/json, */*;q=0.1"), true),
            (Some("text/*"), true),
            (Some("application/json"), false),
            (Some("*/*;q=0"), false),
            (Some("text/html;q=0, */*"), false),
            (Some("*/*;q=0, text/html"), true),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(accepts_html(&headers), wants, "{accept:?}");
        }
    }
}
