//! What visitors are served, swapped whole at a commit or a rollback.
//!
//! A [`Current`] is one deploy's files, the rules that the deploy brings along, and the deploys before
//! it whose assets are still reachable. It never changes; a request takes one and uses it from start to
//! end, so that it sees one whole deploy. The store makes it; nothing here reads the volume.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use onsave_protocol::{
    FileEntry,
    rules::{Diagnostic, HEADERS_FILE, HeaderRules, REDIRECTS_FILE, Redirects},
};

use crate::snapshot::Snapshot;

/// How often something became current in this process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// What visitors are served.
#[derive(Debug, Default)]
pub struct Current {
    serial: u64,
    snapshot: Arc<Snapshot>,
    rules: Arc<SiteRules>,
    earlier: Vec<Earlier>,
}

/// A kept deploy that is not current.
#[derive(Debug, Clone)]
pub(crate) struct Earlier {
    /// Its files.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Until when it was current, in milliseconds of Unix time.
    pub(crate) until_unix_ms: u64,
}

impl Current {
    /// Returns what is served of a deploy with these files and rules; `earlier` is newest first.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        rules: Arc<SiteRules>,
        earlier: Vec<Earlier>,
    ) -> Self {
        Self {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed) + 1,
            snapshot,
            rules,
            earlier,
        }
    }

    /// Returns a number that tells this from everything else that was or will be current in this
    /// process: what was worked out for one is no good for another.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Returns the files.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Returns the rules.
    pub(crate) fn rules(&self) -> &Arc<SiteRules> {
        &self.rules
    }

    /// Returns a file that a kept deploy had at `path` and that was current until `not_before` or
    /// later (Unix time in milliseconds), and since when it stood there (in seconds).
    ///
    /// The newest one counts. Costs one look-up for each kept deploy.
    pub(crate) fn earlier_file(&self, path: &str, not_before: u64) -> Option<(FileEntry, u64)> {
        self.earlier
            .iter()
            .filter(|deploy| deploy.until_unix_ms >= not_before)
            .find_map(|deploy| deploy.snapshot.get_dated(path))
    }
}

/// The rules that a deploy brings along: its `_redirects` and `_headers`.
#[derive(Debug, Clone, Default)]
pub(crate) struct SiteRules {
    redirects: Redirects,
    headers: HeaderRules,
    has_forced_redirects: bool,
    files: [Option<FileEntry>; 2],
}

impl SiteRules {
    /// The files that rules are read from, at the root of the site; they are never served.
    pub(crate) const FILES: [&str; 2] = [REDIRECTS_FILE, HEADERS_FILE];

    /// Returns the files of `snapshot` that rules are read from, in the order of [`Self::FILES`].
    pub(crate) fn files_of(snapshot: &Snapshot) -> [Option<FileEntry>; 2] {
        Self::FILES.map(|name| snapshot.get(name).copied())
    }

    /// Returns the rules in these bytes and how many lines of each file are not in force.
    ///
    /// `files` says what the bytes are, for [`Self::are_of`].
    pub(crate) fn parse(
        files: [Option<FileEntry>; 2],
        redirects: &[u8],
        headers: &[u8],
    ) -> (Self, Vec<(&'static str, Diagnostic)>) {
        let (redirects, of_redirects) = Redirects::parse(redirects);
        let (headers, of_headers) = HeaderRules::parse(headers);
        let of_redirects = of_redirects
            .into_iter()
            .map(|fault| (REDIRECTS_FILE, fault));
        let of_headers = of_headers.into_iter().map(|fault| (HEADERS_FILE, fault));
        let rules = Self {
            has_forced_redirects: redirects.has_forced(),
            redirects,
            headers,
            files,
        };
        (rules, of_redirects.chain(of_headers).collect())
    }

    /// Returns whether these are the rules of `snapshot`.
    pub(crate) fn are_of(&self, snapshot: &Snapshot) -> bool {
        self.files == Self::files_of(snapshot)
    }

    /// Returns whether `path` is a file of rules.
    pub(crate) fn is_rule_file(path: &str) -> bool {
        Self::FILES.contains(&path)
    }

    /// Returns the redirects.
    pub(crate) const fn redirects(&self) -> &Redirects {
        &self.redirects
    }

    /// Returns whether a redirect may count where the site has a file.
    pub(crate) const fn has_forced_redirects(&self) -> bool {
        self.has_forced_redirects
    }

    /// Returns what is done to the headers of answers.
    pub(crate) const fn headers(&self) -> &HeaderRules {
        &self.headers
    }
}
