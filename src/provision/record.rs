//! What was made on Fly.io, remembered on this machine: with it, a publish asks the platform nothing.
//!
//! Owns the format of the state folder's `fly.json`. It is a memory, and the platform is the truth:
//! where the two differ, the next `onsave provision` finds out.

use std::{fs, io, path::Path};

use onsave_protocol::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::durable_file::{self, Readers};
/// The format that this build writes; another one is ignored.
const FORMAT: u32 = 1;

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    format: u32,
    /// The name that the configuration asked for, which may be another than the app's.
    pub asked_app: String,
    /// The app's name.
    pub app: String,
    /// Where it is reached: scheme and host.
    pub url: String,
    /// What the configuration was, as far as the platform has to follow it; nothing while something of
    /// it is still to be done.
    #[serde(default)]
    pub wanted: Option<Sha256Digest>,
    /// What the platform calls the secret's value.
    #[serde(default)]
    pub secret_digest: Option<String>,
    /// The domains that a certificate was requested for: those that leave the configuration are
    /// removed, and nobody else's.
    #[serde(default)]
    pub domains: Vec<String>,
}

impl Record {
    /// Returns a record of an app.
    #[must_use]
    pub const fn new(
        asked_app: String,
        app: String,
        url: String,
        wanted: Option<Sha256Digest>,
    ) -> Self {
        Self {
            format: FORMAT,
            asked_app,
            app,
            url,
            wanted,
            secret_digest: None,
            domains: Vec::new(),
        }
    }

    /// Returns what `path` remembers; nothing when there is no such memory, or no readable one.
    #[must_use]
    pub fn load(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(record) => (record.format == FORMAT).then_some(record),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "the record of the app is not readable");
                None
            }
        }
    }

    /// Replaces what `path` remembers, whole or not at all; its folder has to be there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        durable_file::replace(path, text.as_bytes(), Readers::Owner)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_is_stored_is_loaded_and_damage_is_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("fly.json");
        assert_eq!(Record::load(&path), None);
        let mut record = Record::new(
            "site".into(),
            "site-1a2b".into(),
            "https://site-1a2b.fly.dev".into(),
            Some(Sha256Digest::of(b"x")),
        );
        record.domains.push("example.org".into());
        record.store(&path).unwrap();
        assert_eq!(Record::load(&path), Some(record.clone()));
        let other = fs::read_to_string(&path).unwrap().replace(": 1,", ": 2,");
        fs::write(&path, other).unwrap();
        assert_eq!(Record::load(&path), None);
        fs::write(&path, "{").unwrap();
        assert_eq!(Record::load(&path), None);
    }
}
