//! Writing changesets and packs down: reading, checking and compressing files, on blocking threads.
//!
//! A body is built in memory, bounded by what the plan puts into one; files are read one after the
//! other, so that no more than one of them is held beside it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use onsave_protocol::{
    Changeset, FileEntry, Sha256Digest, SitePath,
    digest::Hasher,
    wire::{
        frame,
        v2::{ChangesetHeader, PackHeader, PackRecord, PutRecord, Source},
    },
};
use serde::Serialize;
use zstd::bulk::Compressor;

use super::{
    delta::{self, Delta},
    error::PublishError,
    plan::Blob,
    report::Note,
    site_bytes::SiteBytes,
};
use crate::kept_versions::KeptVersions;

/// zstd level of a changeset: one page takes well under a millisecond, and every byte of it is
/// waited for.
const CHANGESET_LEVEL: i32 = 6;

/// zstd level of packs, where the processor is the bottleneck on all but slow uplinks.
const PACK_LEVEL: i32 = 1;

/// Below this size, in bytes, a zstd frame saves nothing.
const LEAST_COMPRESSED_BYTES: usize = 64;

/// Endings of names whose content is compressed already.
const COMPRESSED_ENDINGS: [&str; 22] = [
    "7z", "avif", "br", "bz2", "gif", "gz", "heic", "ico", "jpeg", "jpg", "jxl", "m4a", "mp3",
    "mp4", "ogg", "png", "webm", "webp", "woff", "woff2", "zip", "zst",
];

/// What a record says of a difference and not of a file, in bytes: the other object, and another word.
const DELTA_OVERHEAD_BYTES: usize = 85;

/// Files that were sent, each with its digest.
pub(crate) type Sent = Vec<(Sha256Digest, Bytes)>;

/// A body in parts, and the digest of the whole.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) parts: Vec<Bytes>,
    pub(crate) digest: Sha256Digest,
}

/// Whether packs are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// The server is on this machine: copying bytes costs less than compressing them.
    Off,
    /// Everything that gets smaller by it.
    On,
}

/// How the bytes of a changeset's puts travel, and what is noted with it.
#[derive(Debug)]
pub(crate) struct Inline<'a> {
    /// Puts whose bytes are in the body.
    pub(crate) paths: &'a HashSet<SitePath>,
    /// Large puts that are in the body as a difference.
    pub(crate) deltas: HashMap<SitePath, Delta>,
    /// What the other puts may be differences to.
    pub(crate) bases: &'a Bases,
    /// What is noted with the deploy.
    pub(crate) note: &'a Note,
}

/// The versions that the server has of a changeset's puts, as far as they are kept here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bases {
    pub(crate) versions: Option<Arc<KeptVersions>>,
    pub(crate) digests: HashMap<SitePath, Sha256Digest>,
}

impl Bases {
    /// Returns the digest and the bytes of the version that the server has of a file.
    fn read(&self, path: &SitePath) -> Option<(Sha256Digest, Vec<u8>)> {
        let digest = *self.digests.get(path)?;
        let bytes = self.versions.as_ref()?.read(&digest)?;
        Some((digest, bytes))
    }

    /// Returns `bytes` as a difference to the version that the server has, where there is one and it is
    /// smaller than `than` bytes with all that it says about itself.
    pub(crate) fn delta(&self, path: &SitePath, bytes: &[u8], than: usize) -> Option<Delta> {
        let most = than.checked_sub(DELTA_OVERHEAD_BYTES)?;
        let (base, old) = self.read(path)?;
        // What cannot be folded travels as it is.
        let frame = delta::frame(&old, bytes).ok()?;
        (frame.len() < most).then_some(Delta { base, frame })
    }
}

/// Returns the body of a changeset, and the bytes that are in it as they are on the disk.
pub(crate) fn changeset(
    changeset: &Changeset,
    inline: Inline<'_>,
    site: &dyn SiteBytes,
) -> Result<(Frame, Sent), PublishError> {
    let Inline {
        paths,
        mut deltas,
        bases,
        note,
    } = inline;
    let mut content = Content::new(site, Some(CHANGESET_LEVEL));
    let mut puts = Vec::with_capacity(changeset.puts.len());
    let mut sent = Vec::new();
    for (path, entry) in &changeset.puts {
        let source = if let Some(delta) = deltas.remove(path) {
            content.append_delta(delta)
        } else if paths.contains(path) {
            let (source, bytes) = content.append(path, entry, bases)?;
            if KeptVersions::is_wanted(path, entry) {
                sent.push((entry.digest, bytes));
            }
            source
        } else {
            Source::Stored
        };
        puts.push(PutRecord {
            path: path.clone(),
            sha256: entry.digest,
            size: entry.size,
            source,
        });
    }
    let frame = content.into_frame(&ChangesetHeader {
        puts,
        removes: changeset.removes.iter().cloned().collect(),
        published_by: note.published_by.clone(),
        message: note.message.clone(),
    })?;
    Ok((frame, sent))
}

/// Returns the body of a pack of `blobs`.
pub(crate) fn pack(
    blobs: &[Blob],
    compression: Compression,
    site: &dyn SiteBytes,
) -> Result<Frame, PublishError> {
    let level = match compression {
        Compression::Off => None,
        Compression::On => Some(PACK_LEVEL),
    };
    let mut content = Content::new(site, level);
    let none = Bases::default();
    let mut records = Vec::with_capacity(blobs.len());
    for blob in blobs {
        records.push(PackRecord {
            sha256: blob.entry.digest,
            size: blob.entry.size,
            source: content.append(&blob.path, &blob.entry, &none)?.0,
        });
    }
    content.into_frame(&PackHeader { blobs: records })
}

/// Runs `work` on a blocking thread.
pub(crate) async fn on_blocking_thread<T: Send + 'static>(
    site: &Arc<dyn SiteBytes>,
    work: impl FnOnce(&dyn SiteBytes) -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    let site = Arc::clone(site);
    tokio::task::spawn_blocking(move || work(&*site))
        .await
        .map_err(PublishError::Worker)?
}

/// The bytes behind a frame's header, as they grow.
struct Content<'a> {
    site: &'a dyn SiteBytes,
    level: Option<i32>,
    /// Made for the first file that is compressed: its tables take a megabyte.
    compressor: Option<Compressor<'static>>,
    bytes: Vec<u8>,
}

impl<'a> Content<'a> {
    const fn new(site: &'a dyn SiteBytes, level: Option<i32>) -> Self {
        Self {
            site,
            level,
            compressor: None,
            bytes: Vec::new(),
        }
    }

    /// Appends a file in the smallest form, and returns which that is, and the file.
    fn append(
        &mut self,
        path: &SitePath,
        entry: &FileEntry,
        bases: &Bases,
    ) -> Result<(Source, Bytes), PublishError> {
        let bytes = self
            .site
            .read(path, entry)
            .map_err(|error| PublishError::reading(path, error))?;
        let level = self.level.filter(|_| is_worth_compressing(path, &bytes));
        let Some(level) = level else {
            self.bytes.extend_from_slice(&bytes);
            return Ok((Source::Inline, bytes));
        };
        let smaller = self
            .compress(&bytes, level)
            .map_err(|source| PublishError::Compress {
                path: path.clone(),
                source,
            })?;
        let least = smaller.len().min(bytes.len());
        let source = if let Some(delta) = bases.delta(path, &bytes, least) {
            self.append_delta(delta)
        } else if smaller.len() < bytes.len() {
            self.bytes.extend_from_slice(&smaller);
            Source::Zstd {
                length: smaller.len() as u64,
            }
        } else {
            self.bytes.extend_from_slice(&bytes);
            Source::Inline
        };
        Ok((source, bytes))
    }

    fn append_delta(&mut self, delta: Delta) -> Source {
        let Delta { base, frame } = delta;
        self.bytes.extend_from_slice(&frame);
        Source::ZstdAgainst {
            length: frame.len() as u64,
            base,
        }
    }

    fn compress(&mut self, bytes: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(level)?),
        };
        compressor.compress(bytes)
    }

    fn into_frame(self, header: &impl Serialize) -> Result<Frame, PublishError> {
        let header = frame::encode(header).map_err(PublishError::Encode)?;
        let mut hasher = Hasher::new();
        hasher.update(&header);
        hasher.update(&self.bytes);
        Ok(Frame {
            parts: vec![header.into(), self.bytes.into()],
            digest: hasher.finish(),
        })
    }
}

fn is_worth_compressing(path: &SitePath, bytes: &[u8]) -> bool {
    bytes.len() >= LEAST_COMPRESSED_BYTES && !is_compressed_already(path)
}

/// Returns whether a file's name says that its content is compressed.
pub(crate) fn is_compressed_already(path: &SitePath) -> bool {
    let ending = path.file_name().rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| {
        COMPRESSED_ENDINGS
            .iter()
            .any(|compressed| ending.eq_ignore_ascii_case(compressed))
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs::File};

    use super::*;
    use crate::publish::site_bytes::ReadError;

    struct Memory(BTreeMap<&'static str, Vec<u8>>);

    impl SiteBytes for Memory {
        fn read(&self, path: &SitePath, expected: &FileEntry) -> Result<Bytes, ReadError> {
            match self.0.get(path.as_str()) {
                Some(bytes) if Sha256Digest::of(bytes) == expected.digest => {
                    Ok(bytes.clone().into())
                }
                _ => Err(ReadError::ChangedSinceScan),
            }
        }

        fn open(&self, _: &SitePath, _: &FileEntry) -> Result<File, ReadError> {
            Err(ReadError::ChangedSinceScan)
        }
    }

    fn site() -> Memory {
        let page = b"<p>save it; it is live</p>".repeat(40);
        Memory(BTreeMap::from([
            ("a.html", page.clone()),
            ("b.PNG", page),
            ("c.txt", b"short".to_vec()),
            ("empty", Vec::new()),
        ]))
    }

    fn changeset_of(site: &Memory) -> Changeset {
        let entry = |bytes: &Vec<u8>| FileEntry {
            digest: Sha256Digest::of(bytes),
            size: bytes.len() as u64,
        };
        Changeset {
            puts: site
                .0
                .iter()
                .map(|(path, bytes)| (SitePath::parse(path).unwrap(), entry(bytes)))
                .collect(),
            removes: [SitePath::parse("gone").unwrap()].into(),
        }
    }

    fn header_and_content<H: serde::de::DeserializeOwned>(frame: &Frame) -> (H, Vec<u8>) {
        let body = frame.parts.concat();
        assert_eq!(frame.digest, Sha256Digest::of(&body));
        let (prefix, rest) = body.split_first_chunk().unwrap();
        let (header, content) = rest.split_at(frame::header_length(*prefix).unwrap());
        (frame::decode_header(header).unwrap(), content.to_vec())
    }

    fn decoded(source: &Source, encoded: &[u8]) -> Vec<u8> {
        match source {
            Source::Zstd { .. } => zstd::decode_all(encoded).unwrap(),
            _ => encoded.to_vec(),
        }
    }

    #[test]
    fn a_changeset_holds_what_is_inline_and_names_the_rest() {
        let site = site();
        let changes = changeset_of(&site);
        let inline = changes
            .puts
            .keys()
            .filter(|path| path.as_str() != "c.txt")
            .cloned();
        let note = Note {
            published_by: Some("ann@desk".into()),
            message: None,
        };
        let inline = Inline {
            paths: &inline.collect(),
            deltas: HashMap::new(),
            bases: &Bases::default(),
            note: &note,
        };
        let (frame, sent) = changeset(&changes, inline, &site).unwrap();
        assert_eq!(
            sent,
            [(
                Sha256Digest::of(&site.0["a.html"]),
                site.0["a.html"].clone().into()
            )]
        );
        let (header, mut content) = header_and_content::<ChangesetHeader>(&frame);
        assert_eq!(header.published_by.as_deref(), Some("ann@desk"));
        assert_eq!(header.removes, [SitePath::parse("gone").unwrap()]);
        let sources: Vec<&Source> = header.puts.iter().map(|put| &put.source).collect();
        assert!(matches!(
            sources[..],
            [
                Source::Zstd { length: ..200 },
                Source::Inline,
                Source::Stored,
                Source::Inline
            ]
        ));
        for put in header
            .puts
            .iter()
            .filter(|put| put.source != Source::Stored)
        {
            let length = usize::try_from(put.source.encoded_length(put.size)).unwrap();
            let encoded: Vec<u8> = content.drain(..length).collect();
            assert_eq!(
                Sha256Digest::of(&decoded(&put.source, &encoded)),
                put.sha256
            );
        }
        assert!(content.is_empty());
    }

    #[test]
    fn a_pack_to_this_machine_is_not_compressed() {
        let site = site();
        let blobs: Vec<Blob> = changeset_of(&site)
            .puts
            .into_iter()
            .map(|(path, entry)| Blob { path, entry })
            .collect();
        let plain = pack(&blobs, Compression::Off, &site).unwrap();
        let (header, content) = header_and_content::<PackHeader>(&plain);
        assert!(
            header
                .blobs
                .iter()
                .all(|blob| blob.source == Source::Inline)
        );
        assert_eq!(
            content,
            site.0.values().flatten().copied().collect::<Vec<u8>>()
        );
        let small = pack(&blobs, Compression::On, &site).unwrap();
        assert!(header_and_content::<PackHeader>(&small).1.len() < content.len());
    }

    #[test]
    fn a_changed_file_is_named() {
        let mut site = site();
        let changes = changeset_of(&site);
        site.0.insert("a.html", b"other".to_vec());
        let inline = Inline {
            paths: &changes.puts.keys().cloned().collect(),
            deltas: HashMap::new(),
            bases: &Bases::default(),
            note: &Note::default(),
        };
        let error = changeset(&changes, inline, &site).unwrap_err();
        assert_eq!(error.to_string(), "a.html changed since it was scanned");
    }
}
