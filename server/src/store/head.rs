//! The head: the small sealed file that names the current deploy and the deploys that are kept.
//!
//! Replacing it is the commit. Because it lists the kept deploys, a manifest that was written by a
//! commit that never came to its end is told from one that belongs to a deploy.

use std::{fs, io, time::UNIX_EPOCH};

use onsave_protocol::DeployId;
use serde::{Deserialize, Serialize};

use super::{
    StoreError,
    sealed::{SealedReader, SealedWriter},
    volume::{Volume, sync_folder},
};

/// The only format so far.
const FORMAT: u32 = 1;

/// What the head says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    format: u32,
    /// The deploy that is served.
    pub(super) current: DeployId,
    /// The deploys that are kept, newest first; current is among them.
    pub(super) deploys: Vec<DeployId>,
}

impl Head {
    /// Returns a head.
    pub(super) fn new(current: DeployId, deploys: Vec<DeployId>) -> Self {
        Self {
            format: FORMAT,
            current,
            deploys,
        }
    }

    /// Reads the head; `None` before the first deploy.
    pub(super) fn read(volume: &Volume) -> Result<Option<Self>, StoreError> {
        let mut reader = match SealedReader::open(&volume.head_path()) {
            Ok(reader) => reader,
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let head: Self = reader.first()?;
        if reader.next::<Self>()?.is_some() {
            return Err(reader.corrupt("it has a line too many"));
        }
        if head.format != FORMAT {
            return Err(reader.corrupt(format!(
                "its format is {}, and this server knows {FORMAT}",
                head.format
            )));
        }
        if !head.deploys.contains(&head.current) {
            return Err(reader.corrupt("the current deploy is not among those that are kept"));
        }
        Ok(Some(head))
    }

    /// Returns when the head on the volume was written, in milliseconds of Unix time; 0 before the
    /// first deploy.
    pub(super) fn written_unix_ms(volume: &Volume) -> Result<u64, StoreError> {
        let path = volume.head_path();
        let modified = match fs::metadata(&path).and_then(|stat| stat.modified()) {
            Ok(modified) => modified,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(StoreError::io("inspect", path)(error)),
        };
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Replaces the head, durably: this is the moment at which a deploy becomes current.
    pub(super) fn write(&self, volume: &Volume) -> Result<(), StoreError> {
        volume.replace_file(&volume.head_path(), |out| {
            let mut sealed = SealedWriter::new(out);
            sealed.line(self)?;
            sealed.seal()
        })
    }

    /// Puts back what stood before a [`Head::write`] that failed, and says whether that worked.
    pub(super) fn restore(before: Option<&Self>, volume: &Volume) -> Result<(), StoreError> {
        if let Some(head) = before {
            return head.write(volume);
        }
        let path = volume.head_path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", path)(error))
            }
            _ => sync_folder(path.parent().unwrap_or(&path)),
        }
    }
}
