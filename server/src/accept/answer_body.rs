//! The body of an answer on its way to the protocol: what lasts as long as it is held here.
//!
//! It does not change a byte; for HTTP/2 it hands them over in small parts, since what was handed
//! over to a stream waits in memory for the peer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{activity::UnderWay, http2::Progress};
use crate::static_files::ReplyBody;

/// An answer's body, and what is released with it.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: ReplyBody,
    /// Most bytes of one part.
    most: usize,
    /// What is left of a part that was larger.
    left: Bytes,
    /// Where it is noted that a part was asked for.
    progress: Option<Progress>,
    _request: UnderWay,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AnswerBody {
    /// Returns the body of an answer to `request`, in the parts that it comes in.
    pub(super) const fn new(body: ReplyBody, request: UnderWay) -> Self {
        Self {
            body,
            most: usize::MAX,
            left: Bytes::new(),
            progress: None,
            _request: request,
            _permit: None,
        }
    }

    /// Returns the body in parts of at most `most` bytes, noting `progress` with each.
    pub(super) fn in_parts(self, most: usize, progress: Progress) -> Self {
        Self {
            most,
            progress: Some(progress),
            ..self
        }
    }

    /// Returns the body with a permit that it holds as long as it lasts.
    pub(super) fn holding(self, permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: Some(permit),
            ..self
        }
    }

    fn next_part(&mut self, mut whole: Bytes) -> Frame<Bytes> {
        if whole.len() > self.most {
            self.left = whole.split_off(self.most);
        }
        Frame::data(whole)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if let Some(progress) = &this.progress {
            progress.note();
        }
        if !this.left.is_empty() {
            let left = std::mem::take(&mut this.left);
            return Poll::Ready(Some(Ok(this.next_part(left))));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context)?);
        Poll::Ready(frame.map(|frame| {
            Ok(match frame.into_data() {
                Ok(bytes) => this.next_part(bytes),
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let left = self.left.len() as u64;
        if left > 0 {
            // In this order: a lower bound may never pass the upper one.
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper + left);
            }
            hint.set_lower(hint.lower() + left);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::accept::activity::Activity;

    #[tokio::test]
    async fn parts_are_small_and_make_the_whole() {
        let whole: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let (activity, permits) = (Activity::default(), Arc::new(Semaphore::new(1)));
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let body = ReplyBody::full(Bytes::from(whole.clone()));
        let mut body = AnswerBody::new(body, activity.begin())
            .in_parts(300, Progress::default())
            .holding(permit);
        let mut got = Vec::new();
        let mut sizes = Vec::new();
        while !body.is_end_stream() {
            assert_eq!(body.size_hint().exact(), Some((1_000 - got.len()) as u64));
            let part = body.frame().await.unwrap().unwrap().into_data().unwrap();
            sizes.push(part.len());
            got.extend_from_slice(&part);
        }
        assert_eq!(sizes, [300, 300, 300, 100]);
        assert_eq!(got, whole);
        assert!(body.frame().await.is_none());
        assert!(!activity.now().is_quiet());
        drop(body);
        assert!(activity.now().is_quiet());
        assert_eq!(permits.available_permits(), 1);
    }
}
