//! The bytes after a frame's header → objects of the store.
//!
//! A [`ContentReader`] is told what comes and takes bytes in parts of any size, so that the same
//! code receives a small changeset from memory and a large file from the wire. It writes no more
//! than the announced size of each blob, whatever a compressed one unfolds to, and each blob is
//! hashed before it becomes an object. Blocking.

use std::{io::Read as _, vec};

use onsave_protocol::{FileEntry, Sha256Digest, wire::v2::Source};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use crate::{
    reply::{Refusal, chain},
    store::{BlobWriter, Store, StoreError},
};

/// Largest object that a compressed blob may refer to, in bytes; it is held in memory meanwhile.
const MAX_BASE_BYTES: u64 = 16 * 1024 * 1024;

/// Largest window that a compressed blob may ask for, as a power of two: 16 MiB. A decoder
/// allocates what the frame asks for, so that this bounds the memory of one upload.
const WINDOW_LOG: u32 = 24;

/// As [`WINDOW_LOG`], where the window has to span the object that is referred to: 32 MiB.
const DELTA_WINDOW_LOG: u32 = 25;

/// Bytes that are unfolded at once.
const UNFOLDED_BYTES: usize = 128 * 1024;

/// One blob that is announced.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    /// What the blob has to be.
    pub(super) entry: FileEntry,
    /// How it is written in the frame.
    pub(super) source: Source,
}

/// Takes the bytes of announced blobs.
#[derive(Debug)]
pub(super) struct ContentReader {
    store: Store,
    announced: vec::IntoIter<Announced>,
    current: Option<Incoming>,
}

/// A blob of which some bytes are still to come.
#[derive(Debug)]
struct Incoming {
    /// Encoded bytes to come.
    left: u64,
    entry: FileEntry,
    encoding: Encoding,
}

enum Encoding {
    Plain(BlobWriter),
    Zstd(BlobWriter, Unfolder<'static>),
    Delta { base: Sha256Digest, frame: Vec<u8> },
}

impl std::fmt::Debug for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Zstd(..) => "Zstd",
            Self::Delta { .. } => "Delta",
        })
    }
}

impl ContentReader {
    /// Returns a reader of these blobs, in this order.
    pub(super) fn new(store: Store, announced: Vec<Announced>) -> Self {
        Self {
            store,
            announced: announced.into_iter(),
            current: None,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`Refusal::BadRequest`] for bytes that nothing announced and for broken compression, and
    /// what the store refuses.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let mut incoming = match self.current.take() {
                Some(incoming) => incoming,
                None => self
                    .next_with_bytes()?
                    .ok_or_else(|| Refusal::bad_request("the body goes on after its last blob"))?,
            };
            let take =
                usize::try_from(incoming.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (now, later) = bytes.split_at(take);
            incoming.push(now)?;
            bytes = later;
            if incoming.left == 0 {
                incoming.finish(&self.store)?;
            } else {
                self.current = Some(incoming);
            }
        }
        Ok(())
    }

    /// Returns once every announced blob is an object.
    ///
    /// # Errors
    ///
    /// [`Refusal::BadRequest`] when bytes are missing.
    pub(super) fn finish(mut self) -> Result<(), Refusal> {
        if self.current.is_some() || self.next_with_bytes()?.is_some() {
            return Err(Refusal::bad_request("the body ends before its last blob"));
        }
        Ok(())
    }

    /// Starts the next blob that has bytes in the frame; those without are made on the way.
    fn next_with_bytes(&mut self) -> Result<Option<Incoming>, Refusal> {
        for Announced { entry, source } in self.announced.by_ref() {
            let left = source.encoded_length(entry.size);
            let encoding = match source {
                // The commit says so when it is not there.
                Source::Stored => continue,
                Source::Inline => Encoding::Plain(self.store.stage(entry)?),
                Source::Zstd { .. } => {
                    let decoder = Decoder::new().map_err(Refusal::internal)?;
                    let unfolder = Unfolder::new(decoder, WINDOW_LOG)?;
                    Encoding::Zstd(self.store.stage(entry)?, unfolder)
                }
                Source::ZstdAgainst { base, .. } => Encoding::Delta {
                    base,
                    frame: Vec::new(),
                },
            };
            let incoming = Incoming {
                left,
                entry,
                encoding,
            };
            if left > 0 {
                return Ok(Some(incoming));
            }
            incoming.finish(&self.store)?;
        }
        Ok(None)
    }
}

impl Incoming {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.left -= bytes.len() as u64;
        match &mut self.encoding {
            Encoding::Plain(blob) => blob.write(bytes)?,
            Encoding::Zstd(blob, unfolder) => unfolder.push(bytes, blob, &self.entry)?,
            // The sum of all encoded lengths is bounded, and so is this.
            Encoding::Delta { frame, .. } => frame.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finish(self, store: &Store) -> Result<(), Refusal> {
        match self.encoding {
            Encoding::Plain(blob) => blob.finish()?,
            Encoding::Zstd(blob, unfolder) => {
                unfolder.finish(&self.entry)?;
                blob.finish()?;
            }
            Encoding::Delta { base, frame } => {
                let base = read_base(store, base)?;
                let decoder = Decoder::with_ref_prefix(&base).map_err(Refusal::internal)?;
                let mut unfolder = Unfolder::new(decoder, DELTA_WINDOW_LOG)?;
                let mut blob = store.stage(self.entry)?;
                unfolder.push(&frame, &mut blob, &self.entry)?;
                unfolder.finish(&self.entry)?;
                blob.finish()?;
            }
        }
        Ok(())
    }
}

/// Reads the object that a compressed blob refers to; one that is absent is asked for by name.
fn read_base(store: &Store, base: Sha256Digest) -> Result<Vec<u8>, Refusal> {
    if !store.missing(&[base])?.is_empty() {
        return Err(StoreError::MissingBlobs(vec![base]).into());
    }
    let mut bytes = Vec::new();
    store
        .open_object(&base)?
        .take(MAX_BASE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Refusal::internal)?;
    if bytes.len() as u64 > MAX_BASE_BYTES {
        return Err(Refusal::TooLarge {
            what: "the object that a blob refers to",
            limit: MAX_BASE_BYTES,
        });
    }
    Ok(bytes)
}

/// Unfolds one zstd frame.
struct Unfolder<'base> {
    decoder: Decoder<'base>,
    unfolded: Vec<u8>,
    /// Whether the frame's end was seen.
    complete: bool,
}

impl<'base> Unfolder<'base> {
    fn new(mut decoder: Decoder<'base>, window_log: u32) -> Result<Self, Refusal> {
        decoder
            .set_parameter(DParameter::WindowLogMax(window_log))
            .map_err(Refusal::internal)?;
        Ok(Self {
            decoder,
            unfolded: vec![0; UNFOLDED_BYTES],
            complete: false,
        })
    }

    fn push(
        &mut self,
        bytes: &[u8],
        blob: &mut BlobWriter,
        entry: &FileEntry,
    ) -> Result<(), Refusal> {
        let mut input = InBuffer::around(bytes);
        loop {
            if self.complete {
                return if input.pos() == bytes.len() {
                    Ok(())
                } else {
                    Err(broken(entry, "bytes follow the end of the frame"))
                };
            }
            let capacity = self.unfolded.len();
            let mut output = OutBuffer::around(&mut self.unfolded[..]);
            let more = self
                .decoder
                .run(&mut input, &mut output)
                .map_err(|error| broken(entry, &chain(&error)))?;
            let filled = output.pos();
            blob.write(&self.unfolded[..filled])?;
            self.complete = more == 0;
            if input.pos() == bytes.len() && filled < capacity && !self.complete {
                return Ok(());
            }
        }
    }

    fn finish(&self, entry: &FileEntry) -> Result<(), Refusal> {
        if self.complete {
            Ok(())
        } else {
            Err(broken(entry, "the frame is cut off"))
        }
    }
}

fn broken(entry: &FileEntry, what: &str) -> Refusal {
    let digest = entry.digest;
    Refusal::bad_request(format!("blob {digest} is no proper zstd frame: {what}"))
}
