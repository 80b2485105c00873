//! What was learned of a site's saves, kept across restarts in the state folder's `rhythm`.
//!
//! Owns the file's format. A file that is not there, cannot be read, or holds what nobody can have
//! learned means that nothing was learned, which is safe and costs a few slower saves.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::Rhythm;

/// The format that this build writes; another one is ignored.
const FORMAT: u32 = 1;

/// Far more than everything that is remembered takes.
const MAX_BYTES: u64 = 16 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    rhythm: Rhythm,
}

/// Returns what `path` holds; nothing learned when it holds nothing sound.
#[must_use]
pub fn load(path: &Path) -> Rhythm {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Rhythm::default(),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "the rhythm of saves cannot be read");
            return Rhythm::default();
        }
    }
    match serde_json::from_slice::<Kept>(&bytes) {
        Ok(kept) if kept.format == FORMAT && kept.rhythm.is_sound() => kept.rhythm,
        Ok(_) => Rhythm::default(),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "the rhythm of saves is not readable");
            Rhythm::default()
        }
    }
}

/// Replaces what `path` holds, whole or not at all; its folder has to be there.
///
/// # Errors
///
/// When the file cannot be written.
pub fn store(rhythm: &Rhythm, path: &Path) -> io::Result<()> {
    let kept = Kept {
        format: FORMAT,
        rhythm: rhythm.clone(),
    };
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(serde_json::to_string(&kept)?.as_bytes())?;
    // No fsync: after power loss, an older rhythm or none is learned from again.
    drop(file);
    fs::rename(&temporary, path)
}
