//! HTTP/2: its limits, the end of an idle connection, and the end of a stream that takes nothing.
//!
//! One connection carries many requests, so what bounds a connection of HTTP/1 does not do here:
//!
//! | what | bound |
//! |---|---|
//! | requests of one connection at once | `streams`; a stream over it is refused (RFC 9113, 5.1.2) |
//! | requests of all connections at once | `connections`, as in HTTP/1; more of them wait |
//! | the head of a request | `head_bytes`, field names and values; over it the answer is 431 |
//! | a peer that is gone, or stuck within a frame | `write_idle`, by pings it does not answer |
//! | a stream whose answer the peer does not take | `write_idle` for each 16 KiB; the stream is reset |
//! | what is held of an answer meanwhile | [`MOST_FRAME_BYTES`] a stream, besides the file |
//! | streams that are begun and reset | [`MOST_RESETS`]; over it the connection ends |
//! | a connection without a request | `keep_alive`, at most twice that; it is told to go away |

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{rt::Executor, server::conn::http2};
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{
    activity::{Activity, Moment},
    lazy_timer::LazyTimer,
};
use crate::config::{Limits, Timeouts};

/// Streams that a peer may begin and reset, and streams that it may break the rules of, before its
/// connection ends: a browser that is navigated away resets a few.
const MOST_RESETS: usize = 64;

/// Bytes of one part of an answer, so that a stream that waits for its peer has handed over this much
/// and not a whole file. Also what one frame holds at most, unless a peer wants more.
pub(super) const MOST_FRAME_BYTES: usize = 16 * 1024;

/// Returns what serves connections of HTTP/2 within these limits.
pub(super) fn builder(
    limits: &Limits,
    timeouts: &Timeouts,
    streams: &TaskTracker,
) -> http2::Builder<StreamTasks> {
    let executor = StreamTasks {
        tasks: streams.clone(),
        write_idle: timeouts.write_idle,
    };
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_RESETS)
        .max_send_buf_size(MOST_FRAME_BYTES * 4)
        // One ping after half the time, the other half to answer it.
        .keep_alive_interval(timeouts.write_idle / 2)
        .keep_alive_timeout(timeouts.write_idle / 2);
    builder
}

/// Tells when a connection had no request for a while.
///
/// It looks once in that while, so that requests cost nothing.
#[derive(Debug)]
pub(super) struct Idleness {
    activity: Activity,
    keep_alive: Duration,
    seen: Moment,
    look_at: Instant,
    timer: LazyTimer,
}

impl Idleness {
    /// Returns the idleness of a connection that has just begun.
    pub(super) fn new(activity: Activity, keep_alive: Duration) -> Self {
        Self {
            seen: activity.now(),
            activity,
            keep_alive,
            look_at: Instant::now() + keep_alive,
            timer: LazyTimer::default(),
        }
    }

    /// Completes when there was no request for `keep_alive`, and for less than twice that.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.timer.poll(self.look_at, context).is_ready() {
            let now = self.activity.now();
            if now.is_quiet() && now == self.seen {
                return Poll::Ready(());
            }
            self.seen = now;
            self.look_at = Instant::now() + self.keep_alive;
        }
        Poll::Pending
    }
}

/// How far the answer on one stream is: nothing until it is made, and more with each part of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU32>);

tokio::task_local! {
    /// The progress of the stream whose task this is.
    static PROGRESS: Progress;
}

impl Progress {
    /// Returns the progress of the stream that this is called in; of none, outside of one.
    pub(super) fn of_this_stream() -> Self {
        PROGRESS.try_with(Clone::clone).unwrap_or_default()
    }

    /// Notes that the answer is made, or that the peer had room for a part of it.
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs each stream as a task that ends when its peer takes nothing of the answer.
#[derive(Debug, Clone)]
pub(super) struct StreamTasks {
    tasks: TaskTracker,
    write_idle: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        let progress = Progress::default();
        self.tasks.spawn(BoundStream {
            stream: Box::pin(PROGRESS.scope(progress.clone(), stream)),
            progress,
            write_idle: self.write_idle,
            seen: 0,
            moved: Instant::now(),
            timer: LazyTimer::default(),
        });
    }
}

/// A stream, which is dropped and thereby reset when it stands still after its answer was made.
struct BoundStream<F> {
    stream: Pin<Box<F>>,
    progress: Progress,
    write_idle: Duration,
    /// The progress when it was last looked at.
    seen: u32,
    /// When it last grew.
    moved: Instant,
    timer: LazyTimer,
}

impl<F: Future<Output = ()>> Future for BoundStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let progress = this.progress.0.load(Ordering::Relaxed);
        if progress == 0 {
            return Poll::Pending;
        }
        if progress != this.seen {
            this.seen = progress;
            this.moved = Instant::now();
        }
        this.timer.poll(this.moved + this.write_idle, context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::sync::mpsc;

    use super::*;

    const WHILE: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_is_idle_and_others_are_not() {
        let activity = Activity::default();
        let start = Instant::now();
        let mut idleness = Idleness::new(activity.clone(), WHILE);
        poll_fn(|context| idleness.poll(context)).await;
        assert_eq!(start.elapsed(), WHILE);

        let mut idleness = Idleness::new(activity.clone(), WHILE);
        let request = activity.begin();
        let busy = tokio::time::timeout(WHILE * 10, poll_fn(|context| idleness.poll(context)));
        assert!(busy.await.is_err());
        drop(request);
        let start = Instant::now();
        poll_fn(|context| idleness.poll(context)).await;
        assert!((WHILE..=WHILE * 2).contains(&start.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_bound_from_its_answer_on() {
        let tasks = TaskTracker::new();
        let streams = StreamTasks {
            tasks: tasks.clone(),
            write_idle: WHILE,
        };
        tasks.close();
        let start = Instant::now();
        let (room, mut window) = mpsc::channel::<()>(1);
        streams.execute(async move {
            // A call that takes long, an answer that goes on slowly, and then not at all.
            tokio::time::sleep(WHILE * 5).await;
            let progress = Progress::of_this_stream();
            progress.note();
            while window.recv().await.is_some() {
                progress.note();
            }
            pending::<()>().await;
        });
        tokio::time::sleep(WHILE * 5).await;
        for _ in 0..5 {
            tokio::time::sleep(WHILE / 2).await;
            room.send(()).await.unwrap();
        }
        let last = Instant::now();
        assert!(!tasks.is_empty());
        tasks.wait().await;
        assert_eq!(last.elapsed(), WHILE);
        assert!(start.elapsed() > WHILE * 8);
        drop(room);
    }
}
