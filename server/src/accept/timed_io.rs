//! A stream that gives up on a peer that sends a request's head too slowly, or takes no bytes.
//!
//! Hyper has one timer for the time between requests and for the head, and none for a peer that
//! stops reading. A warm connection may be idle for minutes, but a head that has begun must not
//! take as long: this wrapper sees the first byte, and [`Phase`] tells it when the head was whole.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use crate::config::Timeouts;

/// How often a request of the connection began or was answered; shared with the service.
///
/// The number is odd while a request is being answered. Every change makes a timer of before stale.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase(Arc<AtomicU64>);

impl Phase {
    /// The head is whole: what comes now is a body, which has its own limits.
    pub(super) fn request_begins(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer is made: the next byte begins a head.
    pub(super) fn request_ends(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn number(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The wrapped stream.
#[derive(Debug)]
pub(super) struct TimedIo<S> {
    stream: S,
    phase: Phase,
    head: Duration,
    write_idle: Duration,
    /// Runs from the first byte of a head.
    head_timer: Option<Pin<Box<Sleep>>>,
    /// The phase in which `head_timer` was started.
    head_phase: u64,
    /// Runs while the peer takes nothing.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedIo<S> {
    /// Returns `stream` with these timeouts.
    pub(super) const fn new(stream: S, phase: Phase, timeouts: &Timeouts) -> Self {
        Self {
            stream,
            phase,
            head: timeouts.head,
            write_idle: timeouts.write_idle,
            head_timer: None,
            head_phase: 0,
            write_timer: None,
        }
    }

    /// Fails once the time of `timer` is over; registers to be woken then.
    fn check(timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> io::Result<()> {
        let over = timer
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(context).is_ready());
        if over {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
        }
    }

    fn after_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let until = Instant::now() + self.write_idle;
        self.write_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        Self::check(&mut self.write_timer, context)?;
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.phase.number();
        if phase != this.head_phase {
            this.head_timer = None;
            this.head_phase = phase;
        }
        if phase % 2 == 1 {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        Self::check(&mut this.head_timer, context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && this.head_timer.is_none() {
            this.head_timer = Some(Box::pin(tokio::time::sleep(this.head)));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.after_write(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.after_write(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.stream).poll_shutdown(context);
        this.after_write(closed, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.after_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn pair() -> (TimedIo<DuplexStream>, DuplexStream, Phase) {
        let (near, far) = duplex(64);
        let timeouts = Timeouts {
            head: Duration::from_secs(10),
            write_idle: Duration::from_secs(20),
            ..Timeouts::default()
        };
        let phase = Phase::default();
        (TimedIo::new(near, phase.clone(), &timeouts), far, phase)
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_may_wait_but_a_begun_head_may_not() {
        let (mut io, mut far, _) = pair();
        let mut byte = [0; 1];
        let waiting = tokio::time::timeout(Duration::from_secs(100), io.read(&mut byte)).await;
        assert!(waiting.is_err(), "nothing was sent, and nothing failed");
        let began = Instant::now();
        // One byte every three seconds keeps the stream busy, and does not help.
        let error = loop {
            far.write_all(b"G").await.unwrap();
            tokio::time::advance(Duration::from_secs(3)).await;
            if let Err(error) = io.read(&mut byte).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(
            began.elapsed() < Duration::from_secs(16),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_a_head() {
        let (mut io, mut far, phase) = pair();
        let mut byte = [0; 1];
        for _ in 0..3 {
            far.write_all(b"head").await.unwrap();
            io.read_exact(&mut [0; 4]).await.unwrap();
            phase.request_begins();
            tokio::time::advance(Duration::from_mins(1)).await;
            far.write_all(b"body").await.unwrap();
            io.read_exact(&mut [0; 4]).await.unwrap();
            tokio::time::advance(Duration::from_mins(1)).await;
            phase.request_ends();
        }
        // The timer of the last head does not run on while the connection is idle.
        let waiting = tokio::time::timeout(Duration::from_secs(100), io.read(&mut byte)).await;
        assert!(waiting.is_err());
        far.write_all(b"G").await.unwrap();
        io.read_exact(&mut byte).await.unwrap();
        let error = io.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut io, far, _) = pair();
        let began = Instant::now();
        let error = io.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), Duration::from_secs(20));
        drop(far);
    }
}
