//! The files below `manifests/`: one deploy each.
//!
//! A sealed text file: a header, then a line for each path that the deploy changed against its
//! base, then, when it is a full listing, a line for each file of the deploy. A commit writes a
//! changeset, which costs what changed; the background worker replaces it by a full listing when
//! the chain of bases grows long. The full listing keeps the change lines, so that what a deploy
//! changed can be told for as long as it is kept, also when its base is gone. A changeset without
//! base lists everything already.

use std::io::{self, Write};

use onsave_protocol::{DeployId, FileEntry, Sha256Digest, SitePath, wire::v2::DeploySummary};
use serde::{Deserialize, Serialize};

use super::{
    StoreError,
    sealed::{SealedReader, SealedWriter},
    volume::Volume,
};
use crate::snapshot::{Changes, Snapshot};

/// The only format so far.
const FORMAT: u32 = 1;

/// What the lines of a manifest add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The changes against the base.
    Changeset,
    /// The changes against the base, and every file.
    Full,
}

/// The first line of a manifest: everything about a deploy but its paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    /// The version of the format.
    pub(super) format: u32,
    /// What the lines add up to.
    pub(super) kind: Kind,
    /// The deploy.
    pub(super) id: DeployId,
    /// The deploy that it was made from.
    pub(super) base: Option<DeployId>,
    /// Unix time of the commit, in milliseconds.
    pub(super) committed_unix_ms: u64,
    /// Files in the deploy.
    pub(super) files: u64,
    /// Bytes of all files in the deploy.
    pub(super) bytes: u64,
    /// Files that were put against the base.
    pub(super) puts: u64,
    /// Files that were removed against the base.
    pub(super) removes: u64,
    /// Whether somebody went back to the base before: files may have had other bytes in between.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) after_return: bool,
    /// Who published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) published_by: Option<String>,
    /// What the publisher said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// One line after the first, such as `{"add":["index.html","ba78…",3]}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// A file that the base did not have.
    Add(SitePath, Sha256Digest, u64),
    /// A file that has other bytes in the base.
    Change(SitePath, Sha256Digest, u64),
    /// A file that the base had.
    Remove(SitePath),
    /// A file of the deploy, in a full listing.
    File(SitePath, Sha256Digest, u64),
}

/// A manifest, read.
#[derive(Debug)]
pub(super) struct ManifestFile {
    /// The first line.
    pub(super) header: Header,
    /// What the deploy changed against its base.
    pub(super) changes: Changes,
    /// Every file, in a full listing.
    listing: Vec<(SitePath, FileEntry)>,
}

impl Header {
    /// Returns the header of deploy `id`, which is `snapshot` and was made by `changes`.
    ///
    /// Whoever commits it fills in the rest.
    pub(super) fn new(id: DeployId, snapshot: &Snapshot, changes: &Changes) -> Self {
        Self {
            format: FORMAT,
            kind: Kind::Changeset,
            id,
            base: None,
            committed_unix_ms: 0,
            files: snapshot.len() as u64,
            bytes: snapshot.total_bytes(),
            puts: changes.puts().count() as u64,
            removes: changes.removed.len() as u64,
            after_return: false,
            published_by: None,
            message: None,
        }
    }

    /// Returns the deploy whose files these lines start from; `None` when they need none.
    pub(super) fn needed_base(&self) -> Option<DeployId> {
        match self.kind {
            Kind::Changeset => self.base,
            Kind::Full => None,
        }
    }

    /// Returns what the list of deploys says of this one.
    pub(super) fn summary(&self, current: Option<DeployId>) -> DeploySummary {
        DeploySummary {
            deploy_id: self.id,
            base_deploy_id: self.base,
            committed_unix_ms: self.committed_unix_ms,
            files: self.files,
            bytes: self.bytes,
            puts: self.puts,
            removes: self.removes,
            published_by: self.published_by.clone(),
            message: self.message.clone(),
            current: current == Some(self.id),
        }
    }
}

impl ManifestFile {
    /// Reads the manifest of deploy `id`.
    pub(super) fn read(volume: &Volume, id: DeployId) -> Result<Self, StoreError> {
        let mut reader = SealedReader::open(&volume.manifest_path(id))?;
        let header: Header = reader.first()?;
        if header.format != FORMAT {
            return Err(reader.corrupt(format!(
                "its format is {}, and this server knows {FORMAT}",
                header.format
            )));
        }
        if header.id != id || header.base.is_some_and(|base| base >= id) {
            return Err(reader.corrupt("it is the manifest of another deploy"));
        }
        let mut file = Self {
            header,
            changes: Changes::default(),
            listing: Vec::new(),
        };
        while let Some(line) = reader.next()? {
            file.take(line);
        }
        let counted = (
            file.changes.puts().count() as u64,
            file.changes.removed.len() as u64,
        );
        if counted != (file.header.puts, file.header.removes) {
            return Err(reader.corrupt("its header counts other changes than its lines"));
        }
        Ok(file)
    }

    /// Returns the deploy as a snapshot; `base` is the snapshot of [`Header::needed_base`].
    pub(super) fn snapshot(self, base: &Snapshot) -> Result<Snapshot, &'static str> {
        let snapshot = match self.header.kind {
            Kind::Changeset => base.replayed(self.header.id, &self.changes),
            Kind::Full => {
                let all = Changes {
                    added: self.listing,
                    ..Changes::default()
                };
                Snapshot::default().replayed(self.header.id, &all)
            }
        };
        let snapshot = if self.header.after_return {
            snapshot.all_changed()
        } else {
            snapshot
        };
        let counted = (snapshot.len() as u64, snapshot.total_bytes());
        if counted == (self.header.files, self.header.bytes) {
            Ok(snapshot)
        } else {
            Err("its header counts other files than its lines give")
        }
    }

    fn take(&mut self, line: Line) {
        let entry = |digest, size| FileEntry { digest, size };
        match line {
            Line::Add(path, digest, size) => self.changes.added.push((path, entry(digest, size))),
            Line::Change(path, digest, size) => {
                self.changes.changed.push((path, entry(digest, size)));
            }
            Line::Remove(path) => self.changes.removed.push(path),
            Line::File(path, digest, size) => self.listing.push((path, entry(digest, size))),
        }
    }
}

/// Writes a manifest; `snapshot` is read when the header's kind is a full listing.
pub(super) fn write(
    out: &mut dyn Write,
    header: &Header,
    changes: &Changes,
    snapshot: &Snapshot,
) -> io::Result<()> {
    let mut sealed = SealedWriter::new(out);
    sealed.line(header)?;
    for (path, entry) in &changes.added {
        sealed.line(&Line::Add(path.clone(), entry.digest, entry.size))?;
    }
    for (path, entry) in &changes.changed {
        sealed.line(&Line::Change(path.clone(), entry.digest, entry.size))?;
    }
    for path in &changes.removed {
        sealed.line(&Line::Remove(path.clone()))?;
    }
    if header.kind == Kind::Full {
        for (path, entry) in snapshot.iter() {
            sealed.line(&Line::File(path.clone(), entry.digest, entry.size))?;
        }
    }
    sealed.seal()
}
