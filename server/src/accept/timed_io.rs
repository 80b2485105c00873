//! A stream that gives up on a peer that is idle, sends a head too slowly, or takes no bytes.
//!
//! Hyper would arm a timer for each request, and has none for a peer that stops reading. Here one
//! timer serves the connection from its first byte to its last ([`LazyTimer`]): what bounds the wait
//! is worked out when there is a wait. [`Activity`] tells a head from a body.
//!
//! | waiting for | bound |
//! |---|---|
//! | the first byte of a head | `keep_alive`, from when the last answer was handed over |
//! | the rest of a head | `head`, from the first wait after its first byte |
//! | a body | none here: [`crate::request_body`] has its own |
//! | the peer to take bytes | `write_idle`, from when it took the last ones |
//! | the peer to close, in HTTP/2 | `head`, from when this side did |
//!
//! In HTTP/2 a peer goes on sending while it reads, and a socket that is closed with bytes unread is reset
//! by the system, which drops what was not sent yet: so this side says that it is done, and reads on
//! until the peer is.
//!
//! A head whose first bytes came along with the request before counts as not begun until a further
//! byte comes. In HTTP/2 only the last two rows hold: see [`super::http2`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    activity::{Activity, Moment},
    lazy_timer::LazyTimer,
};
use crate::config::Timeouts;

/// Bytes that are dropped at once of what a peer sends after the end.
const DROPPED_BYTES: usize = 4 * 1024;

/// Most bytes that are dropped: many times what a peer says while it takes all that the system holds for
/// it. Whoever says more is not worth waiting for.
const MOST_DROPPED_BYTES: usize = 64 * 1024;

/// The wrapped stream.
#[derive(Debug)]
pub(super) struct TimedIo<S> {
    stream: S,
    activity: Activity,
    timeouts: Timeouts,
    timer: LazyTimer,
    reading: Reading,
    /// When a write had to wait for the peer; nothing while none does.
    write_waits: Option<Instant>,
    /// What was read ahead of the protocol, and not yet given to it.
    ahead: BytesMut,
    /// When this side was done with sending; nothing while it is not.
    done: Option<Instant>,
    /// Bytes that were dropped since.
    dropped: usize,
}

/// What the stream knows of the bytes that it reads.
#[derive(Debug)]
enum Reading {
    /// Heads, bodies between them.
    Heads {
        /// What the connection was at when the fields below were set.
        at: Moment,
        /// Whether a byte of the next head came.
        begun: bool,
        /// Since when the connection waits, once it did.
        since: Option<Instant>,
    },
    /// Frames, whose protocol has its own bounds.
    Frames,
}

impl<S> TimedIo<S> {
    /// Returns `stream` with these timeouts.
    pub(super) fn new(stream: S, activity: Activity, timeouts: Timeouts) -> Self {
        Self {
            stream,
            reading: Reading::Heads {
                at: activity.now(),
                begun: false,
                since: None,
            },
            activity,
            timeouts,
            timer: LazyTimer::default(),
            write_waits: None,
            ahead: BytesMut::new(),
            done: None,
            dropped: 0,
        }
    }

    /// Takes it that what is read from now on are the frames of HTTP/2.
    pub(super) fn expect_frames(&mut self) {
        self.reading = Reading::Frames;
    }

    /// Gives bytes back that were read too early: they are read again first.
    pub(super) fn give_back(&mut self, bytes: BytesMut) {
        self.ahead = bytes;
    }

    /// Called when there is nothing to read; fails once that took too long.
    fn wait_for_bytes(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // While an answer is stuck, the peer is not asked for the next request.
        let (Reading::Heads { begun, since, .. }, None) = (&mut self.reading, self.write_waits)
        else {
            return Ok(());
        };
        let bound = if *begun {
            self.timeouts.head
        } else {
            self.timeouts.keep_alive
        };
        let deadline = *since.get_or_insert_with(Instant::now) + bound;
        out_of_time(self.timer.poll(deadline, context))
    }

    fn after_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.write_waits.take().is_some()
                && let Reading::Heads { since, .. } = &mut self.reading
            {
                // The peer was busy with the answer: only now it can be idle.
                *since = None;
            }
            return written;
        }
        let since = *self.write_waits.get_or_insert_with(Instant::now);
        out_of_time(self.timer.poll(since + self.timeouts.write_idle, context))?;
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> TimedIo<S> {
    /// Reads and drops what the peer still sends, until it closes its side, fails, takes
    /// too long or says too much.
    fn poll_peer_done(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.done.get_or_insert_with(Instant::now) + self.timeouts.head;
        let mut bytes = [0; DROPPED_BYTES];
        while self.dropped < MOST_DROPPED_BYTES && self.timer.poll(deadline, context).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.dropped += buffer.filled().len(),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

fn out_of_time(timer: Poll<()>) -> io::Result<()> {
    match timer {
        Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        Poll::Pending => Ok(()),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let length = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        let now = this.activity.now();
        if let Reading::Heads { at, begun, since } = &mut this.reading
            && *at != now
        {
            (*at, *begun, *since) = (now, false, None);
        }
        let before = buffer.filled().len();
        if Pin::new(&mut this.stream)
            .poll_read(context, buffer)?
            .is_pending()
        {
            if now.is_quiet() {
                this.wait_for_bytes(context)?;
            }
            return Poll::Pending;
        }
        if let Reading::Heads { begun, since, .. } = &mut this.reading
            && !*begun
            && buffer.filled().len() > before
        {
            // The clock is read when the head turns out not to be whole.
            (*begun, *since) = (true, None);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimedIo<S> {
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
        if this.done.is_none() {
            let closed = Pin::new(&mut this.stream).poll_shutdown(context);
            ready!(this.after_write(closed, context))?;
        }
        if let Reading::Heads { .. } = this.reading {
            return Poll::Ready(Ok(()));
        }
        this.poll_peer_done(context).map(Ok)
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
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const WRITE_IDLE: Duration = Duration::from_secs(20);
    const KEEP_ALIVE: Duration = Duration::from_secs(200);

    fn pair() -> (TimedIo<DuplexStream>, DuplexStream, Activity) {
        let (near, far) = duplex(64);
        let timeouts = Timeouts {
            head: HEAD,
            write_idle: WRITE_IDLE,
            keep_alive: KEEP_ALIVE,
            ..Timeouts::default()
        };
        let activity = Activity::default();
        (
            TimedIo::new(near, activity.clone(), timeouts),
            far,
            activity,
        )
    }

    /// Reads until the time is over, and returns how long that took.
    async fn time_to_give_up(io: &mut TimedIo<DuplexStream>) -> Duration {
        let began = Instant::now();
        let error = io.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        began.elapsed()
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
            io.read_exact(&mut byte).await.unwrap();
            let next = tokio::time::timeout(Duration::from_secs(3), io.read(&mut byte)).await;
            if let Ok(read) = next {
                break read.unwrap_err();
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), HEAD.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_for_so_long_after_each_answer() {
        let (mut io, mut far, activity) = pair();
        for _ in 0..3 {
            let almost = KEEP_ALIVE * 9 / 10;
            let idle = tokio::time::timeout(almost, io.read(&mut [0; 1])).await;
            assert!(idle.is_err(), "the time is not over");
            far.write_all(b"head").await.unwrap();
            io.read_exact(&mut [0; 4]).await.unwrap();
            drop(activity.begin());
        }
        assert_eq!(
            time_to_give_up(&mut io).await.as_secs(),
            KEEP_ALIVE.as_secs()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_a_head() {
        let (mut io, mut far, activity) = pair();
        for _ in 0..3 {
            far.write_all(b"head").await.unwrap();
            io.read_exact(&mut [0; 4]).await.unwrap();
            let request = activity.begin();
            let stalled = tokio::time::timeout(KEEP_ALIVE * 2, io.read(&mut [0; 1])).await;
            assert!(stalled.is_err(), "a body is bounded elsewhere");
            far.write_all(b"body").await.unwrap();
            io.read_exact(&mut [0; 4]).await.unwrap();
            drop(request);
        }
        // The time of the last head does not run on while the connection is idle.
        let waiting = tokio::time::timeout(HEAD * 2, io.read(&mut [0; 1])).await;
        assert!(waiting.is_err());
        far.write_all(b"G").await.unwrap();
        io.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(time_to_give_up(&mut io).await.as_secs(), HEAD.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut io, far, _) = pair();
        let began = Instant::now();
        let error = io.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), WRITE_IDLE.as_secs());
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_slowly_is_served() {
        let (mut io, mut far, _) = pair();
        let began = Instant::now();
        let taking = async {
            let mut taken = [0; 64];
            for _ in 0..16 {
                tokio::time::sleep(WRITE_IDLE * 9 / 10).await;
                far.read_exact(&mut taken).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(io.write_all(&[0; 1024]), taking);
        written.unwrap();
        assert!(began.elapsed() > WRITE_IDLE * 10);
        // The connection is idle from its last byte on.
        assert_eq!(
            time_to_give_up(&mut io).await.as_secs(),
            KEEP_ALIVE.as_secs()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_bounded_by_their_own_protocol() {
        let (mut io, mut far, _) = pair();
        io.expect_frames();
        io.give_back(BytesMut::from("PRI"));
        far.write_all(b" *").await.unwrap();
        let mut read = [0; 5];
        io.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"PRI *");
        let waiting = tokio::time::timeout(KEEP_ALIVE * 2, io.read(&mut read)).await;
        assert!(waiting.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_read_on_until_the_peer_is_done() {
        let (mut io, mut far, _) = pair();
        io.expect_frames();
        io.write_all(b"the end of an answer").await.unwrap();
        let began = Instant::now();
        let peer = async {
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                far.write_all(&[0; 40]).await.unwrap();
            }
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            drop(far);
            got
        };
        let (closed, got) = tokio::join!(io.shutdown(), peer);
        closed.unwrap();
        assert_eq!(got, b"the end of an answer");
        assert_eq!(began.elapsed(), Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_close_is_not_waited_for_long() {
        let (mut io, mut far, _) = pair();
        io.expect_frames();
        let began = Instant::now();
        let talking = async {
            // It talks on, and nobody listens any more in the end.
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if far.write_all(b"x").await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            closed = io.shutdown() => closed.unwrap(),
            () = talking => panic!("the stream is still open"),
        }
        assert_eq!(began.elapsed(), HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_floods_is_not_waited_for() {
        let (mut io, mut far, _) = pair();
        io.expect_frames();
        let flooding = async { while far.write_all(&[0; 64]).await.is_ok() {} };
        let began = Instant::now();
        let closing = async {
            io.shutdown().await.unwrap();
            drop(io);
        };
        tokio::join!(closing, flooding);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn http_1_ends_at_once() {
        let (mut io, far, _) = pair();
        io.shutdown().await.unwrap();
        drop(far);
    }
}
