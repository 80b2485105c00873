//! Receiving a frame: a JSON header, checked before the first byte of content is taken, and then
//! the content.
//!
//! A small body, the usual save, is collected and handled in one step on the blocking pool: one
//! change of threads instead of one per part. A larger one streams: parts are gathered into batches,
//! and one batch is written while the next arrives. Either way the work that follows (a commit)
//! starts only after the whole body proved to be the one that was signed.

use bytes::{Buf as _, Bytes, BytesMut};
use onsave_protocol::wire::frame::{FrameError, PREFIX_BYTES, decode_header, header_length};
use serde::de::DeserializeOwned;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    Endpoint,
    content::{Announced, ContentReader},
};
use crate::{config::Limits, reply::Refusal, request_body::RequestBody, store::Store};

/// Bodies up to this size are collected.
const SMALL_BODY_BYTES: u64 = 1024 * 1024;

/// Bytes that are gathered before they are handed to the blocking pool.
const BATCH_BYTES: usize = 256 * 1024;

/// A header that announces content.
pub(super) trait FrameHeader: DeserializeOwned + Send + 'static {
    /// Refuses a header that breaks a rule or a limit; the content's length is checked apart.
    fn check(&self, limits: &Limits) -> Result<(), Refusal>;

    /// Returns the blobs whose bytes follow.
    fn announced(&self) -> Vec<Announced>;
}

impl Endpoint {
    /// Receives a frame, and then does `work` with its header, all content being objects by then.
    ///
    /// Also returns the instant at which the last byte was there.
    pub(super) async fn receive<H: FrameHeader, T: Send + 'static>(
        &self,
        body: &mut RequestBody,
        work: impl FnOnce(&Store, H) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<(T, Instant), Refusal> {
        let limit = self.frame_limit();
        body.check_length(limit)?;
        let small = body
            .declared_length()
            .is_some_and(|length| length <= SMALL_BODY_BYTES);
        if !small {
            return self.receive_streaming(body, work).await;
        }
        let whole = body.collect(limit).await?;
        let arrived = Instant::now();
        let limits = self.limits.clone();
        let done = self
            .blocking(move |store| {
                let mut content = whole;
                let header: H = split_header(&mut content, &limits)?.ok_or_else(cut_off)?;
                let mut reader = ContentReader::new(store.clone(), header.announced());
                reader.push(&content)?;
                reader.finish()?;
                work(store, header)
            })
            .await?;
        Ok((done, arrived))
    }

    async fn receive_streaming<H: FrameHeader, T: Send + 'static>(
        &self,
        body: &mut RequestBody,
        work: impl FnOnce(&Store, H) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<(T, Instant), Refusal> {
        let limit = self.frame_limit();
        let start = self.collect_header(body, limit).await?;
        let limits = self.limits.clone();
        // A first changeset may name a million files: too much to parse between two requests.
        let (header, reader, content) = self
            .blocking(move |store| {
                let mut content = start;
                let header: H = split_header(&mut content, &limits)?.ok_or_else(cut_off)?;
                let reader = ContentReader::new(store.clone(), header.announced());
                Ok((header, reader, content))
            })
            .await?;
        let (reader, arrived) = self.pump(body, limit, (reader, content)).await?;
        let done = self
            .blocking(move |store| {
                reader.finish()?;
                work(store, header)
            })
            .await?;
        Ok((done, arrived))
    }

    /// Returns the start of the body, with the whole header and perhaps some content.
    async fn collect_header(&self, body: &mut RequestBody, limit: u64) -> Result<Bytes, Refusal> {
        let mut start = BytesMut::new();
        while !is_header_whole(&start, &self.limits)? {
            let part = body.next(limit).await?.ok_or_else(cut_off)?;
            start.extend_from_slice(&part);
        }
        Ok(start.freeze())
    }

    /// Pushes the rest of the body, after the `first` bytes of it, into `reader`.
    ///
    /// Also returns the instant at which the last byte was there.
    ///
    /// When this is dropped, a batch that is being written is finished and then forgotten; nothing
    /// of it is part of a deploy.
    pub(super) async fn pump(
        &self,
        body: &mut RequestBody,
        limit: u64,
        (reader, first): (ContentReader, Bytes),
    ) -> Result<(ContentReader, Instant), Refusal> {
        let mut batch = vec![first];
        let mut writing = Writing::Idle(Box::new(reader));
        loop {
            let part = body.next(limit).await?;
            let arrived = Instant::now();
            let ended = part.is_none();
            batch.extend(part);
            if ended || batch.iter().map(Bytes::len).sum::<usize>() >= BATCH_BYTES {
                let mut reader = writing.wait().await?;
                let parts = std::mem::take(&mut batch);
                writing = Writing::Busy(tokio::task::spawn_blocking(move || {
                    parts.iter().try_for_each(|part| reader.push(part))?;
                    Ok(reader)
                }));
            }
            if ended {
                return Ok((*writing.wait().await?, arrived));
            }
        }
    }

    fn frame_limit(&self) -> u64 {
        let start = PREFIX_BYTES + self.limits.frame_header_bytes;
        self.limits.changeset_bytes.saturating_add(start as u64)
    }
}

enum Writing {
    Idle(Box<ContentReader>),
    Busy(JoinHandle<Result<Box<ContentReader>, Refusal>>),
}

impl Writing {
    async fn wait(self) -> Result<Box<ContentReader>, Refusal> {
        match self {
            Self::Idle(reader) => Ok(reader),
            Self::Busy(task) => task.await.map_err(Refusal::internal)?,
        }
    }
}

/// Returns whether `start` holds the prefix and all of the header.
fn is_header_whole(start: &[u8], limits: &Limits) -> Result<bool, Refusal> {
    let Some((prefix, rest)) = start.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(false);
    };
    Ok(rest.len() >= checked_length(*prefix, limits)?)
}

/// Takes the checked header off the front of `bytes`; nothing when it is not all there.
fn split_header<H: FrameHeader>(bytes: &mut Bytes, limits: &Limits) -> Result<Option<H>, Refusal> {
    if !is_header_whole(bytes, limits)? {
        return Ok(None);
    }
    let mut prefix = [0; PREFIX_BYTES];
    bytes.copy_to_slice(&mut prefix);
    let header = bytes.split_to(checked_length(prefix, limits)?);
    let header: H = decode_header(&header).map_err(|error| refuse(&error))?;
    header.check(limits)?;
    check_content(&header.announced(), limits)?;
    Ok(Some(header))
}

fn checked_length(prefix: [u8; PREFIX_BYTES], limits: &Limits) -> Result<usize, Refusal> {
    match header_length(prefix) {
        Ok(length) if length <= limits.frame_header_bytes => Ok(length),
        Ok(_) | Err(FrameError::HeaderTooLong(_)) => Err(Refusal::TooLarge {
            what: "the frame's header",
            limit: limits.frame_header_bytes as u64,
        }),
        Err(error) => Err(refuse(&error)),
    }
}

fn check_content(announced: &[Announced], limits: &Limits) -> Result<(), Refusal> {
    let mut content = 0_u64;
    for Announced { entry, source } in announced {
        if entry.size > limits.file_bytes {
            return Err(Refusal::TooLarge {
                what: "a file",
                limit: limits.file_bytes,
            });
        }
        content = content.saturating_add(source.encoded_length(entry.size));
    }
    if content > limits.changeset_bytes {
        return Err(Refusal::TooLarge {
            what: "the frame's content",
            limit: limits.changeset_bytes,
        });
    }
    Ok(())
}

fn cut_off() -> Refusal {
    Refusal::bad_request("the frame's header is cut off")
}

fn refuse(error: &FrameError) -> Refusal {
    Refusal::bad_request(crate::reply::chain(error))
}
