//! A request's body on its way: handed over in pieces, so that a stall can be told from slowness.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::{RequestBuilder, Response, header::CONTENT_LENGTH};
use tokio::io::AsyncReadExt as _;

use super::{Body, HttpError, Patience, broken, join};
use crate::progress::Progress;

/// Size of the pieces, in bytes: the grain of progress.
const CHUNK_BYTES: usize = 256 * 1024;

/// How far the body of one exchange has been handed to the connection.
#[derive(Debug)]
pub(super) struct Pulse {
    moved: AtomicU64,
    length: u64,
    file_changed: AtomicBool,
}

impl Pulse {
    pub(super) const fn new(length: u64) -> Self {
        Self {
            moved: AtomicU64::new(0),
            length,
            file_changed: AtomicBool::new(false),
        }
    }

    fn advance(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for `sending`, as long as something moves.
    pub(super) async fn guard(
        &self,
        mut sending: Pin<&mut impl Future<Output = reqwest::Result<Response>>>,
        patience: Patience,
    ) -> Result<Response, HttpError> {
        loop {
            let before = self.moved.load(Ordering::Relaxed);
            let limit = if before >= self.length {
                patience.answer
            } else {
                patience.stall
            };
            // The future is polled on where it was: a time-out of one round takes nothing from it.
            match tokio::time::timeout(limit, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(_)) if self.file_changed.load(Ordering::Relaxed) => {
                    return Err(HttpError::FileChanged);
                }
                Ok(Err(error)) => return Err(broken(error)),
                Err(_) if self.moved.load(Ordering::Relaxed) > before => {}
                Err(_) => return Err(HttpError::Stalled(limit)),
            }
        }
    }
}

/// Returns the request with `body`, which tells `pulse` how far it is.
pub(super) fn attach(building: RequestBuilder, body: Body, pulse: &Arc<Pulse>) -> RequestBuilder {
    let length = body.len();
    match body {
        Body::Parts(parts) if length <= CHUNK_BYTES as u64 => {
            // Small enough to leave in one write, together with the headers.
            pulse.moved.store(length, Ordering::Relaxed);
            match length {
                0 => building,
                _ => building.body(join(parts)),
            }
        }
        Body::Parts(parts) => {
            let pulse = Arc::clone(pulse);
            let chunks = stream::iter(parts).flat_map(|part| stream::iter(chunks(part)));
            let counted = chunks.map(move |chunk| {
                pulse.advance(chunk.len());
                Ok::<_, std::io::Error>(chunk)
            });
            building
                .header(CONTENT_LENGTH, length)
                .body(reqwest::Body::wrap_stream(counted))
        }
        Body::File {
            file,
            size,
            progress,
        } => building
            .header(CONTENT_LENGTH, size)
            .body(reqwest::Body::wrap_stream(file_chunks(
                file,
                progress,
                Arc::clone(pulse),
            ))),
    }
}

fn chunks(mut part: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let next = part.split_to(part.len().min(CHUNK_BYTES));
        (!next.is_empty()).then_some(next)
    })
}

fn file_chunks(
    file: std::fs::File,
    progress: Progress,
    pulse: Arc<Pulse>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let size = pulse.length;
    let start = (tokio::fs::File::from_std(file), size);
    stream::try_unfold(start, move |(mut file, left)| {
        let (progress, pulse) = (progress.clone(), Arc::clone(&pulse));
        async move {
            if left == 0 {
                return Ok(None);
            }
            let want = left.min(CHUNK_BYTES as u64);
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let got = (&mut file).take(want).read_to_end(&mut chunk).await;
            // A file that got shorter is told apart from a connection that broke.
            if !matches!(got, Ok(length) if length as u64 == want) {
                pulse.file_changed.store(true, Ordering::Relaxed);
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            pulse.advance(chunk.len());
            progress.advance(0, want);
            Ok(Some((Bytes::from(chunk), (file, left - want))))
        }
    })
}
