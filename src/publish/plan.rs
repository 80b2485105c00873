//! Which bytes of a changeset travel how: a pure decision over sizes and what the server has.
//!
//! A save travels whole in the changeset, in one exchange. A bulk of files is staged first, in packs
//! and alone, so that a broken first publish goes on where it stopped; the changeset then only names
//! what was staged.

use std::collections::HashSet;

use onsave_protocol::{
    Changeset, FileEntry, Sha256Digest, SitePath,
    limits::{LARGE_FILE_BYTES, PACK_FILES},
};

/// The most bytes of files that travel in the changeset itself. A publish below it is not worth
/// resuming, and both sides hold it in memory without harm.
pub(crate) const INLINE_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of files in one pack: half of what the protocol allows, since several are in flight and
/// each is in memory on both sides.
const PACK_TARGET_BYTES: u64 = 4 * 1024 * 1024;

/// One file whose bytes have to reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    /// Where its bytes can be read.
    pub(crate) path: SitePath,
    pub(crate) entry: FileEntry,
}

/// How the bytes of a changeset travel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Paths whose bytes are in the changeset.
    pub(crate) inline: HashSet<SitePath>,
    /// Files that are staged before the changeset, each digest once.
    pub(crate) staged: Vec<Blob>,
}

/// One request that stages blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upload {
    /// A large file, streamed from the disk.
    Single(Blob),
    /// Many small files in one body.
    Pack(Vec<Blob>),
}

/// Returns how the puts of `changeset` travel to a server that has the bytes that `has` tells of.
///
/// Puts that are neither inline nor staged are on the server: a renamed file costs its name. Of
/// equal files the first is sent.
pub(crate) fn plan(changeset: &Changeset, has: impl Fn(&Sha256Digest) -> bool) -> Plan {
    let mut seen = HashSet::new();
    let wanted = changeset
        .puts
        .iter()
        .filter(|(_, entry)| !has(&entry.digest) && seen.insert(entry.digest));
    let mut plan = Plan::default();
    let mut small = Vec::new();
    for (path, entry) in wanted {
        let blob = Blob {
            path: path.clone(),
            entry: *entry,
        };
        if entry.size >= LARGE_FILE_BYTES {
            plan.staged.push(blob);
        } else {
            small.push(blob);
        }
    }
    let bytes: u64 = small.iter().map(|blob| blob.entry.size).sum();
    if bytes <= INLINE_BYTES && small.len() <= PACK_FILES {
        plan.inline = small.into_iter().map(|blob| blob.path).collect();
    } else {
        plan.staged.append(&mut small);
    }
    plan
}

/// Returns the requests that stage `blobs`: large ones first, which take longest, then packs of
/// files that stand beside each other on the disk.
pub(crate) fn uploads(blobs: Vec<Blob>) -> Vec<Upload> {
    let (large, small): (Vec<Blob>, Vec<Blob>) = blobs
        .into_iter()
        .partition(|blob| blob.entry.size >= LARGE_FILE_BYTES);
    let mut uploads: Vec<Upload> = large.into_iter().map(Upload::Single).collect();
    let mut pack = Vec::new();
    let mut bytes = 0;
    for blob in small {
        if bytes + blob.entry.size > PACK_TARGET_BYTES || pack.len() == PACK_FILES {
            uploads.push(Upload::Pack(std::mem::take(&mut pack)));
            bytes = 0;
        }
        bytes += blob.entry.size;
        pack.push(blob);
    }
    if !pack.is_empty() {
        uploads.push(Upload::Pack(pack));
    }
    uploads
}

#[cfg(test)]
mod tests {
    use onsave_protocol::limits::PACK_BYTES;
    use proptest::prelude::*;

    use super::*;

    fn changeset(files: &[(&str, u8, u64)]) -> Changeset {
        let puts = files.iter().map(|(path, content, size)| {
            let digest = Sha256Digest::of(&[*content]);
            let entry = FileEntry {
                digest,
                size: *size,
            };
            (SitePath::parse(path).unwrap(), entry)
        });
        Changeset {
            puts: puts.collect(),
            ..Changeset::default()
        }
    }

    fn inline(plan: &Plan) -> Vec<&str> {
        let mut paths: Vec<&str> = plan.inline.iter().map(SitePath::as_str).collect();
        paths.sort_unstable();
        paths
    }

    fn staged(plan: &Plan) -> Vec<&str> {
        plan.staged.iter().map(|blob| blob.path.as_str()).collect()
    }

    #[test]
    fn a_save_travels_in_the_changeset() {
        let plan = plan(&changeset(&[("a", 1, 10), ("b", 2, 0)]), |_| false);
        assert_eq!(inline(&plan), ["a", "b"]);
        assert_eq!(staged(&plan), [""; 0]);
    }

    #[test]
    fn bytes_that_the_server_has_do_not_travel() {
        let known = Sha256Digest::of(&[1]);
        let plan = plan(&changeset(&[("a", 1, 10), ("b", 2, 9)]), |digest| {
            *digest == known
        });
        assert_eq!(inline(&plan), ["b"]);
    }

    #[test]
    fn equal_files_travel_once() {
        let plan = plan(&changeset(&[("a", 1, 10), ("b", 1, 10)]), |_| false);
        assert_eq!(inline(&plan), ["a"]);
    }

    #[test]
    fn a_large_file_is_staged_and_the_small_ones_stay_inline() {
        let plan = plan(
            &changeset(&[("a", 1, LARGE_FILE_BYTES), ("b", 2, 5)]),
            |_| false,
        );
        assert_eq!(inline(&plan), ["b"]);
        assert_eq!(staged(&plan), ["a"]);
    }

    #[test]
    fn a_bulk_is_staged() {
        let half = LARGE_FILE_BYTES - 1;
        let files: Vec<(String, u8)> = (0..6).map(|n| (format!("f{n}"), n)).collect();
        let files: Vec<(&str, u8, u64)> = files
            .iter()
            .map(|(path, n)| (path.as_str(), *n, half))
            .collect();
        let plan = plan(&changeset(&files), |_| false);
        assert!(plan.inline.is_empty());
        assert_eq!(plan.staged.len(), 6);
    }

    proptest! {
        #[test]
        fn packs_hold_every_blob_once_and_stay_in_bounds(
            sizes in prop::collection::vec(0..LARGE_FILE_BYTES * 3 / 2, 0..200),
            tiny in 0_usize..9_000,
        ) {
            let sizes = sizes.into_iter().chain(std::iter::repeat_n(1, tiny));
            let blobs: Vec<Blob> = sizes
                .enumerate()
                .map(|(n, size)| Blob {
                    path: SitePath::parse(&format!("f{n}")).unwrap(),
                    entry: FileEntry { digest: Sha256Digest::of(&n.to_be_bytes()), size },
                })
                .collect();
            let mut sent = Vec::new();
            for upload in uploads(blobs.clone()) {
                match upload {
                    Upload::Single(blob) => {
                        prop_assert!(blob.entry.size >= LARGE_FILE_BYTES);
                        sent.push(blob);
                    }
                    Upload::Pack(pack) => {
                        let bytes: u64 = pack.iter().map(|blob| blob.entry.size).sum();
                        prop_assert!(bytes <= PACK_BYTES && pack.len() <= PACK_FILES);
                        prop_assert!(!pack.is_empty());
                        sent.extend(pack);
                    }
                }
            }
            let by_path = |list: &[Blob]| {
                let mut paths: Vec<String> =
                    list.iter().map(|blob| blob.path.to_string()).collect();
                paths.sort();
                paths
            };
            prop_assert_eq!(by_path(&sent), by_path(&blobs));
        }
    }
}
