//! The stat index on disk, so that a restart hashes only what changed meanwhile.
//!
//! One file per site folder under the state folder, never in the site folder. Binary, so that any
//! name fits: magic, version, the site folder's path, then each file's path, digest, size and
//! stamp, and a SHA-256 of all that. A file of another version, of another folder, or that is
//! damaged in any bit is ignored: it is a cache, and a full hash makes it anew. It cannot make a
//! publish wrong, because each entry still has to match its file's metadata.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use onsave_protocol::{FileEntry, Sha256Digest, SitePath};

use super::stat_index::{Indexed, Stamp, StatIndex};
use crate::durable_file::{self, Readers};

/// Raised whenever the layout or the meaning of a digest's presence (the secrets that are never
/// indexed) changes.
const MAGIC: &[u8] = b"onsave stat index 1\n";

const DIGEST_BYTES: usize = 32;

/// Returns where the index of the site folder `root` is kept.
pub(super) fn path(state: &Path, root: &Path) -> PathBuf {
    let name = Sha256Digest::of(root.as_os_str().as_bytes()).to_hex();
    state.join(format!("stat-index-{}", &name[..16]))
}

/// Reads the index of the site folder `root`; empty when there is none that can be used.
pub(super) fn load(file: &Path, root: &Path) -> StatIndex {
    match fs::read(file) {
        Ok(bytes) => decode(&bytes, root).unwrap_or_else(|| {
            tracing::debug!(file = %file.display(), "the stat index is of another version or site folder, or damaged: hashing everything");
            StatIndex::default()
        }),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::debug!(file = %file.display(), %error, "the stat index cannot be read: hashing everything");
            }
            StatIndex::default()
        }
    }
}

/// Replaces the index on disk in one step; makes its folder when there is none.
///
/// # Errors
///
/// What the file system answers.
pub(super) fn save(file: &Path, root: &Path, index: &StatIndex) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    durable_file::replace(file, &encode(index, root), Readers::Owner)
}

fn encode(index: &StatIndex, root: &Path) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256 + index.len() * 128);
    bytes.extend_from_slice(MAGIC);
    put_text(&mut bytes, root.as_os_str().as_bytes());
    bytes.extend_from_slice(&(index.len() as u64).to_le_bytes());
    for (path, indexed) in index.iter() {
        put_text(&mut bytes, path.as_str().as_bytes());
        bytes.extend_from_slice(indexed.entry.digest.as_bytes());
        bytes.extend_from_slice(&indexed.entry.size.to_le_bytes());
        bytes.extend_from_slice(&indexed.stamp.modified.to_le_bytes());
        bytes.extend_from_slice(&indexed.stamp.changed.to_le_bytes());
        bytes.extend_from_slice(&indexed.stamp.inode.to_le_bytes());
        bytes.extend_from_slice(&indexed.stamp.device.to_le_bytes());
    }
    let digest = Sha256Digest::of(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

fn decode(bytes: &[u8], root: &Path) -> Option<StatIndex> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
    if Sha256Digest::of(body).as_bytes() != digest {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    if take_text(&mut rest)? != root.as_os_str().as_bytes() {
        return None;
    }
    let count = u64::from_le_bytes(take(&mut rest)?);
    let mut files = Vec::new();
    for _ in 0..count {
        let path = SitePath::from_bytes(take_text(&mut rest)?).ok()?;
        let digest = Sha256Digest::from_bytes(take(&mut rest)?);
        let size = u64::from_le_bytes(take(&mut rest)?);
        let stamp = Stamp {
            modified: i64::from_le_bytes(take(&mut rest)?),
            changed: i64::from_le_bytes(take(&mut rest)?),
            inode: u64::from_le_bytes(take(&mut rest)?),
            device: u64::from_le_bytes(take(&mut rest)?),
        };
        let entry = FileEntry { digest, size };
        files.push((path, Indexed { stamp, entry }));
    }
    rest.is_empty().then(|| files.into_iter().collect())
}

fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u64::from_le_bytes(take(rest)?)).ok()?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StatIndex {
        ["a,b.html", "c/\u{e5} \".html", "d"]
            .iter()
            .zip(1_u64..)
            .map(|(name, n)| {
                let stamp = Stamp {
                    modified: -5,
                    changed: 1_700_000_000_123_456_789,
                    inode: n,
                    device: u64::MAX,
                };
                let entry = FileEntry {
                    digest: Sha256Digest::of(name.as_bytes()),
                    size: n << 40,
                };
                (SitePath::parse(name).unwrap(), Indexed { stamp, entry })
            })
            .collect()
    }

    #[test]
    fn saved_and_loaded_it_is_the_same() {
        let home = tempfile::tempdir().unwrap();
        let root = Path::new("/site");
        let file = path(&home.path().join("state"), root);
        assert_eq!(load(&file, root), StatIndex::default());
        save(&file, root, &sample()).unwrap();
        save(&file, root, &sample()).unwrap();
        assert_eq!(load(&file, root), sample());
        assert_eq!(load(&file, Path::new("/other")), StatIndex::default());
        assert_ne!(file, path(&home.path().join("state"), Path::new("/other")));
        let left: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary file stays");
    }

    #[test]
    fn any_damage_makes_it_unusable() {
        let root = Path::new("/site");
        let bytes = encode(&sample(), root);
        assert_eq!(decode(&bytes, root), Some(sample()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(decode(&damaged, root), None, "byte {at}");
            assert_eq!(decode(&bytes[..at], root), None, "cut at {at}");
        }
    }
}
