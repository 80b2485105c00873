//! The bytes that the server has of the site's files, kept on this disk: what the next version of a file
//! is sent as a difference to.
//!
//! Owns one folder of compressed files, each named by the digest of its content. A cache and nothing
//! more: what is missing, cut off or altered costs bytes on the wire, and what is returned was checked
//! against its digest. Only files are kept that a difference helps, up to a sum of bytes; the oldest go
//! first. Every call blocks.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use onsave_protocol::{FileEntry, Sha256Digest, SitePath};

use crate::publish::is_compressed_already;

/// Largest file that is kept, in bytes: what the server reads as the other side of a difference.
pub(crate) const MAX_VERSION_BYTES: u64 = 16 * 1024 * 1024;

/// Below this size, in bytes, a file costs less than what a difference says about itself.
const LEAST_VERSION_BYTES: u64 = 512;

/// Bytes on the disk at most, compressed.
const BUDGET_BYTES: u64 = 256 * 1024 * 1024;

/// What is left after the oldest went, so that they do not go one by one.
const TRIMMED_BYTES: u64 = BUDGET_BYTES / 10 * 9;

/// Fast, and small enough: text becomes a third.
const LEVEL: i32 = 1;

/// The sum of bytes is not known yet.
const UNKNOWN: u64 = u64::MAX;

/// Versions of files that the server has.
#[derive(Debug)]
pub struct KeptVersions {
    folder: PathBuf,
    budget: u64,
    /// Bytes on the disk, about: another process may keep versions in the same folder.
    held: AtomicU64,
}

impl KeptVersions {
    /// Returns those in `folder`, which is made when the first one is kept.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            budget: BUDGET_BYTES,
            held: AtomicU64::new(UNKNOWN),
        }
    }

    /// Returns whether a difference could help a file.
    #[must_use]
    pub fn is_wanted(path: &SitePath, entry: &FileEntry) -> bool {
        (LEAST_VERSION_BYTES..=MAX_VERSION_BYTES).contains(&entry.size)
            && !is_compressed_already(path)
    }

    /// Returns whether a version of these bytes is kept, for all that its name tells.
    #[must_use]
    pub fn has(&self, digest: &Sha256Digest) -> bool {
        self.place(digest).exists()
    }

    /// Returns the bytes of that digest, where they are kept.
    #[must_use]
    pub fn read(&self, digest: &Sha256Digest) -> Option<Vec<u8>> {
        let path = self.place(digest);
        let bytes = unfolded(&path).ok()?;
        if Sha256Digest::of(&bytes) == *digest {
            return Some(bytes);
        }
        tracing::debug!(path = %path.display(), "a kept version is not what it was, and goes");
        // Gone or not, it is never used.
        let _gone = fs::remove_file(&path);
        None
    }

    /// Keeps the bytes of that digest; one that cannot be kept is only sent whole the next time.
    pub fn keep(&self, digest: &Sha256Digest, bytes: &[u8]) {
        let path = self.place(digest);
        if path.exists() {
            return;
        }
        match write(&path, bytes) {
            Ok(length) => self.trim(length),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a version cannot be kept");
                let _gone = fs::remove_file(&path);
            }
        }
    }

    /// Two letters of the digest make a folder, so that none of them gets large.
    fn place(&self, digest: &Sha256Digest) -> PathBuf {
        let name = digest.to_string();
        let (folder, _) = name.split_at(2);
        self.folder.join(folder).join(&name)
    }

    /// Counts what was added, and removes the oldest where it is too much.
    fn trim(&self, added: u64) {
        let held = self.held.load(Ordering::Relaxed);
        if held != UNKNOWN && held + added <= self.budget {
            self.held.fetch_add(added, Ordering::Relaxed);
            return;
        }
        let mut versions = self.listed();
        let mut sum: u64 = versions.iter().map(|version| version.length).sum();
        if sum > self.budget {
            versions.sort_by_key(|version| version.kept);
            let most = self.budget.min(TRIMMED_BYTES);
            for version in versions {
                if sum <= most {
                    break;
                }
                if fs::remove_file(&version.path).is_ok() {
                    sum -= version.length;
                }
            }
        }
        self.held.store(sum, Ordering::Relaxed);
    }

    fn listed(&self) -> Vec<Listed> {
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        let files = entries(&self.folder).flat_map(|folder| entries(&folder.path()));
        files
            .filter_map(|file| {
                let metadata = file.metadata().ok()?;
                Some(Listed {
                    path: file.path(),
                    length: metadata.len(),
                    kept: metadata.modified().ok()?,
                })
            })
            .collect()
    }
}

struct Listed {
    path: PathBuf,
    length: u64,
    kept: SystemTime,
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<u64> {
    let folded = zstd::bulk::compress(bytes, LEVEL)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Not durable, and not whole at once: a file that a crash cut off is found out by its digest.
    fs::write(path, &folded)?;
    Ok(folded.len() as u64)
}

fn unfolded(path: &Path) -> io::Result<Vec<u8>> {
    let decoder = zstd::Decoder::new(File::open(path)?)?;
    let mut bytes = Vec::new();
    decoder.take(MAX_VERSION_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn versions(folder: &TempDir) -> KeptVersions {
        KeptVersions::new(folder.path().join("versions"))
    }

    fn keep(versions: &KeptVersions, bytes: &[u8]) -> Sha256Digest {
        let digest = Sha256Digest::of(bytes);
        versions.keep(&digest, bytes);
        digest
    }

    #[test]
    fn what_is_kept_comes_back() {
        let folder = TempDir::new().unwrap();
        let digest = keep(&versions(&folder), b"<h1>page</h1>");
        // Also after a start.
        let again = versions(&folder);
        assert!(again.has(&digest));
        assert_eq!(again.read(&digest).unwrap(), b"<h1>page</h1>");
        assert_eq!(again.read(&Sha256Digest::of(b"other")), None);
    }

    #[test]
    fn what_was_altered_is_not_there() {
        let folder = TempDir::new().unwrap();
        let versions = versions(&folder);
        for damage in [
            &b"cut"[..],
            b"",
            &zstd::bulk::compress(b"other", 1).unwrap(),
        ] {
            let digest = keep(&versions, b"<h1>page</h1>");
            fs::write(versions.place(&digest), damage).unwrap();
            assert_eq!(versions.read(&digest), None, "{damage:?}");
        }
        assert!(versions.has(&keep(&versions, b"<h1>page</h1>")));
    }

    #[test]
    fn the_oldest_go_first() {
        let folder = TempDir::new().unwrap();
        let mut versions = versions(&folder);
        // Letters by chance, so that a length is a length.
        let bytes = |number: u8| {
            let digests = (0..8_u8).map(|part| Sha256Digest::of(&[number, part]));
            digests
                .flat_map(|digest| *digest.as_bytes())
                .collect::<Vec<u8>>()
        };
        versions.budget = 4 * 300;
        let kept: Vec<_> = (0..8)
            .map(|number| keep(&versions, &bytes(number)))
            .collect();
        let there: Vec<_> = kept.iter().map(|digest| versions.has(digest)).collect();
        let gone = there.iter().filter(|is_there| !**is_there).count();
        assert!((4..8).contains(&gone), "{there:?}");
        assert!(versions.has(&kept[7]), "the newest stays: {there:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_matter() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("versions"), "a file").unwrap();
        let versions = versions(&folder);
        let digest = keep(&versions, b"<h1>page</h1>");
        assert!(!versions.has(&digest));
        assert_eq!(versions.read(&digest), None);
    }

    #[test]
    fn only_what_a_difference_helps_is_wanted() {
        let wanted = |path: &str, size| {
            let digest = Sha256Digest::of(b"");
            let path = SitePath::parse(path).unwrap();
            KeptVersions::is_wanted(&path, &FileEntry { digest, size })
        };
        assert!(wanted("a.html", 10_000));
        assert!(wanted("data.json", MAX_VERSION_BYTES));
        assert!(!wanted("a.html", 100));
        assert!(!wanted("photo.jpg", 10_000));
        assert!(!wanted("data.json", MAX_VERSION_BYTES + 1));
    }
}
