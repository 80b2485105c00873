//! The bytes of an answer: in memory, or streamed from an object in chunks.
//!
//! Reads run on the blocking pool, one at a time per answer, so that a slow disk holds up nobody
//! else. An object that turns out shorter than its entry says breaks the connection off: a client
//! must not take half a file for a whole one.

use std::{
    fs::File,
    io::{self, Read as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use onsave_protocol::FileEntry;
use tokio::task::JoinHandle;

use crate::store::{Store, StoreError};

/// Files up to this size are read in one go, together with opening them.
const WHOLE_BYTES: u64 = 256 * 1024;

/// Bytes read at once of a larger file.
const CHUNK_BYTES: usize = 128 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct ReplyBody(Content);

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    Object { reading: Reading, left: u64 },
}

#[derive(Debug)]
enum Reading {
    Idle(File),
    Busy(JoinHandle<io::Result<(File, Bytes)>>),
    Ended,
}

impl ReplyBody {
    /// Returns a body without bytes.
    pub(crate) const fn empty() -> Self {
        Self(Content::Memory(Bytes::new()))
    }

    /// Returns a body of these bytes.
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self(Content::Memory(bytes))
    }

    /// Returns a body of an object's bytes.
    ///
    /// # Errors
    ///
    /// What [`Store::open_object`] says, and a read that fails.
    pub(super) async fn of_object(store: &Store, entry: FileEntry) -> Result<Self, StoreError> {
        let store = store.clone();
        let opening = tokio::task::spawn_blocking(move || open(&store, entry));
        opening.await.unwrap_or_else(|error| {
            let path = format!("object {}", entry.digest);
            Err(StoreError::io("read", path)(io::Error::other(error)))
        })
    }
}

fn open(store: &Store, entry: FileEntry) -> Result<ReplyBody, StoreError> {
    let file = store.open_object(&entry.digest)?;
    if entry.size > WHOLE_BYTES {
        let reading = Reading::Idle(file);
        return Ok(ReplyBody(Content::Object {
            reading,
            left: entry.size,
        }));
    }
    // At most 256 KiB, so that it fits on every machine.
    let wanted = usize::try_from(entry.size).unwrap_or(usize::MAX);
    read_exactly(file, wanted)
        .map(|(_, bytes)| ReplyBody::full(bytes))
        .map_err(StoreError::io("read", format!("object {}", entry.digest)))
}

fn read_exactly(mut file: File, wanted: usize) -> io::Result<(File, Bytes)> {
    let mut bytes = vec![0; wanted];
    file.read_exact(&mut bytes)?;
    Ok((file, bytes.into()))
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let (reading, left) = match &mut self.0 {
            Content::Memory(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Content::Memory(bytes) => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
            Content::Object { reading, left } => (reading, left),
        };
        loop {
            match reading {
                Reading::Busy(task) => {
                    let read = ready!(Pin::new(task).poll(context));
                    *reading = Reading::Ended;
                    let (file, bytes) = read.map_err(io::Error::other)??;
                    *left -= bytes.len() as u64;
                    *reading = Reading::Idle(file);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Reading::Idle(_) if *left > 0 => {
                    let Reading::Idle(file) = std::mem::replace(reading, Reading::Ended) else {
                        return Poll::Ready(None);
                    };
                    let wanted =
                        usize::try_from(*left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
                    let task = tokio::task::spawn_blocking(move || read_exactly(file, wanted));
                    *reading = Reading::Busy(task);
                }
                Reading::Idle(_) | Reading::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Object { left, .. } => *left,
        })
    }
}
