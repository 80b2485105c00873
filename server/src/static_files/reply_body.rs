//! The bytes of an answer: in memory, or streamed from an object in chunks.
//!
//! Reads run on the blocking pool, one at a time per answer, so that a slow disk holds up nobody
//! else. An object that turns out shorter than its entry says breaks the connection off: a client
//! must not take half a file for a whole one.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use onsave_protocol::FileEntry;
use tokio::task::JoinHandle;

use super::range::{ByteRange, Piece};
use crate::{
    observer::Watch,
    store::{Store, StoreError},
};

/// Bytes read at once of a file.
const CHUNK_BYTES: u64 = 128 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    content: Content,
    /// Told of what is sent, and that it is over when the body goes.
    watch: Option<Box<Watch>>,
}

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    Pieces(Pieces),
}

/// Parts that are sent one after the other.
#[derive(Debug)]
struct Pieces {
    file: Arc<File>,
    ahead: VecDeque<Piece>,
    /// The chunk that is being read.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Bytes that are still to be sent.
    left: u64,
}

impl ReplyBody {
    const fn of(content: Content) -> Self {
        Self {
            content,
            watch: None,
        }
    }

    /// Has `watch` told of what is sent.
    pub(crate) fn watch(&mut self, watch: Watch) {
        self.watch = Some(Box::new(watch));
    }

    /// Returns a body without bytes.
    pub(crate) const fn empty() -> Self {
        Self::of(Content::Memory(Bytes::new()))
    }

    /// Returns a body of these bytes.
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self::of(Content::Memory(bytes))
    }

    /// Returns the parts of `whole` that `pieces` say, joined.
    pub(super) fn of_memory(whole: &Bytes, pieces: Vec<Piece>) -> Self {
        let part = |range: ByteRange| {
            // What is in memory has offsets that fit; the ranges are within it.
            let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
            whole.slice(at(range.first())..=at(range.last()))
        };
        if let [Piece::Range(range)] = pieces[..] {
            return Self::full(part(range));
        }
        let mut joined = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => joined.extend_from_slice(&text),
                Piece::Range(range) => joined.extend_from_slice(&part(range)),
            }
        }
        Self::full(joined.into())
    }

    /// Returns a body of an object's parts, which are read while it is sent.
    ///
    /// # Errors
    ///
    /// What [`Store::open_object`] says.
    pub(super) async fn of_object(
        store: &Store,
        entry: FileEntry,
        pieces: Vec<Piece>,
    ) -> Result<Self, StoreError> {
        let store = store.clone();
        let opening = tokio::task::spawn_blocking(move || store.open_object(&entry.digest));
        let opened = opening.await.unwrap_or_else(|error| {
            let path = format!("object {}", entry.digest);
            Err(StoreError::io("open", path)(io::Error::other(error)))
        });
        Ok(Self::of(Content::Pieces(Pieces {
            file: Arc::new(opened?),
            left: pieces.iter().map(Piece::byte_count).sum(),
            ahead: pieces.into(),
            reading: None,
        })))
    }
}

impl Pieces {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.reading.is_none() {
            match self.ahead.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Text(text)) => return self.send(Ok(text)),
                Some(Piece::Range(range)) => self.read(range),
            }
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        self.send(read.map_err(io::Error::other).and_then(|read| read))
    }

    fn send(&mut self, part: io::Result<Bytes>) -> Poll<Option<io::Result<Bytes>>> {
        match &part {
            Ok(bytes) => self.left -= bytes.len() as u64,
            // Nothing comes after a failure.
            Err(_) => self.ahead.clear(),
        }
        Poll::Ready(Some(part))
    }

    /// Starts reading the first chunk of `range`, and puts the rest back.
    fn read(&mut self, range: ByteRange) {
        let length = range.byte_count().min(CHUNK_BYTES);
        let (range, rest) = range.split(length);
        if let Some(rest) = rest {
            self.ahead.push_front(Piece::Range(rest));
        }
        let file = Arc::clone(&self.file);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut bytes, range.first())?;
            Ok(bytes.into())
        }));
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let part = match &mut this.content {
            Content::Memory(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Content::Memory(bytes) => Ok(std::mem::take(bytes)),
            Content::Pieces(pieces) => match ready!(pieces.poll_next(context)) {
                Some(part) => part,
                None => return Poll::Ready(None),
            },
        };
        if let (Some(watch), Ok(bytes)) = (&mut this.watch, &part) {
            watch.sent(bytes.len());
        }
        Poll::Ready(Some(part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Pieces(pieces) => pieces.left,
        })
    }
}
