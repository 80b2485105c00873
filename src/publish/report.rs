//! What a publish was, for a person, a log and a program.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use onsave_protocol::{Changeset, SitePath};

use super::remote::RemoteState;
use crate::http::Wire;

/// More paths than this are counted instead of named.
const NAMED_PATHS: usize = 3;

/// What is noted with a deploy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// Who publishes.
    pub published_by: Option<String>,
    /// What the publisher says of it.
    pub message: Option<String>,
}

/// How many files a changeset adds, changes and removes against a deploy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Paths that are new.
    pub added: usize,
    /// Paths with other bytes.
    pub changed: usize,
    /// Paths that go.
    pub removed: usize,
}

/// A publish that is done.
#[derive(Debug, Clone)]
pub struct PublishReport {
    /// The deploy that is current now.
    pub deploy_id: String,
    /// The deploy that it changed; nothing where it is the first.
    pub base: Option<String>,
    /// What it changed.
    pub changeset: Arc<Changeset>,
    /// Those of its puts whose paths are new.
    pub added: BTreeSet<SitePath>,
    /// How much it changed.
    pub counts: ChangeCounts,
    /// What went over the wire, retries included.
    pub wire: Wire,
    /// From the first byte read to the answer.
    pub send: Duration,
    /// What the server took from the last byte of the changeset to its answer; unknown for servers
    /// of the first generation.
    pub server: Option<Duration>,
}

/// How long the steps before a publish took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the first file event to the end of the burst.
    pub settle: Duration,
    /// From there to the changeset.
    pub scan: Duration,
}

impl ChangeCounts {
    /// Returns the counts of `changeset` against what the server has.
    #[must_use]
    pub fn of(changeset: &Changeset, remote: &RemoteState) -> Self {
        let known = |path: &&SitePath| remote.manifest().get(path.as_str()).is_some();
        let changed = changeset.puts.keys().filter(known).count();
        Self {
            added: changeset.puts.len() - changed,
            changed,
            removed: changeset.removes.len(),
        }
    }
}

impl fmt::Display for ChangeCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            added,
            changed,
            removed,
        } = self;
        write!(f, "{added} added, {changed} changed, {removed} removed")
    }
}

impl PublishReport {
    /// Returns what changed: the paths when they are few, the counts otherwise.
    #[must_use]
    pub fn what(&self) -> String {
        if self.changeset.len() > NAMED_PATHS {
            return self.counts.to_string();
        }
        let puts = self.changeset.puts.keys().map(ToString::to_string);
        let removes = self.changeset.removes.iter().map(|path| format!("-{path}"));
        puts.chain(removes).collect::<Vec<_>>().join(", ")
    }

    /// Writes the one line that a publish has in the log.
    pub fn log(&self, timings: Timings) {
        let ms = |duration: Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
        let server = self
            .server
            .map(|server| format!(", server {}", ms(server)))
            .unwrap_or_default();
        tracing::info!(
            deploy.id = self.deploy_id,
            files.added = self.counts.added,
            files.changed = self.counts.changed,
            files.removed = self.counts.removed,
            wire.sent_bytes = self.wire.sent,
            wire.received_bytes = self.wire.received,
            wire.exchanges = self.wire.exchanges,
            settle_ms = ms(timings.settle),
            scan_ms = ms(timings.scan),
            send_ms = ms(self.send),
            server_ms = self.server.map(ms),
            "published {}: {} bytes sent, settle {} ms, scan {}, send {}{server}",
            self.what(),
            self.wire.sent,
            ms(timings.settle),
            ms(timings.scan),
            ms(self.send),
        );
    }
}

#[cfg(test)]
mod tests {
    use onsave_protocol::{FileEntry, Sha256Digest};

    use super::*;

    fn report(puts: &[&str], removes: &[&str]) -> PublishReport {
        let path = |text: &&str| SitePath::parse(text).unwrap();
        let entry = FileEntry {
            digest: Sha256Digest::of(b""),
            size: 0,
        };
        let changeset = Changeset {
            puts: puts.iter().map(|text| (path(text), entry)).collect(),
            removes: removes.iter().map(path).collect(),
        };
        let mut remote = RemoteState::default();
        let before = Changeset {
            puts: [(path(&"old"), entry)].into(),
            ..Changeset::default()
        };
        remote.advance(&before, "1".into());
        PublishReport {
            deploy_id: "2".into(),
            base: Some("1".into()),
            counts: ChangeCounts::of(&changeset, &remote),
            added: BTreeSet::new(),
            changeset: Arc::new(changeset),
            wire: Wire::default(),
            send: Duration::ZERO,
            server: None,
        }
    }

    #[test]
    fn few_paths_are_named_and_many_counted() {
        assert_eq!(report(&["a", "old"], &["c"]).what(), "a, old, -c");
        assert_eq!(
            report(&["a", "old"], &["c", "d"]).what(),
            "1 added, 1 changed, 2 removed"
        );
    }
}
