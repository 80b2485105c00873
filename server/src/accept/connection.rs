//! One connection, from its first byte to its last, in the protocol that it turns out to speak.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    activity::Activity,
    answer_body::AnswerBody,
    ending::{Listening, Notice},
    http2::{Idleness, MOST_FRAME_BYTES, Progress, StreamTasks},
    protocol::{Protocol, recognise},
    timed_io::TimedIo,
};
use crate::{
    config::{Limits, ServerConfig, Timeouts},
    metrics::Metrics,
    reply::{Refusal, chain},
    service::Service,
};

/// Bytes read ahead of one connection: bounds its memory, and is no bound on a body.
const BUFFER_BYTES: usize = 128 * 1024;

/// What every connection shares.
#[derive(Debug)]
pub(super) struct Shared {
    service: Arc<Service>,
    http1: http1::Builder,
    http2: http2::Builder<StreamTasks>,
    timeouts: Timeouts,
    /// Requests of HTTP/2 that may be under way at once.
    requests: Arc<Semaphore>,
    /// The tasks of their streams.
    pub(super) streams: TaskTracker,
    /// Connections end after the requests that they are at.
    pub(super) draining: Notice,
    /// Connections end.
    pub(super) cut: CancellationToken,
}

impl Shared {
    /// Returns what the connections of a server share.
    pub(super) fn new(config: &ServerConfig, service: Arc<Service>) -> Self {
        let (limits, timeouts) = (&config.limits, &config.timeouts);
        let streams = TaskTracker::new();
        Self {
            service,
            http1: http1_builder(limits),
            http2: super::http2::builder(limits, timeouts, &streams),
            timeouts: timeouts.clone(),
            requests: Arc::new(Semaphore::new(limits.connections)),
            streams,
            draining: Notice::default(),
            cut: CancellationToken::new(),
        }
    }

    /// Serves one connection until it ends.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, peer: IpAddr) {
        // An answer of one segment must not wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY cannot be set: {error}");
        }
        let _counted = self.service.metrics().map(Metrics::connection);
        let activity = Activity::default();
        let mut io = TimedIo::new(stream, activity.clone(), self.timeouts.clone());
        let mut draining = self.draining.listen();
        let recognised = {
            let mut recognising = pin!(recognise(&mut io));
            poll_fn(|context| match recognising.as_mut().poll(context) {
                Poll::Ready(recognised) => Poll::Ready(Some(recognised)),
                // Nothing was asked for yet: nothing is lost.
                Poll::Pending => draining.poll(context).map(|()| None),
            })
            .await
        };
        let connection = Connection {
            shared: self,
            activity,
            draining,
            peer,
        };
        let ended = match recognised {
            Some(Ok(Protocol::Http1)) => connection.http1(io).await,
            Some(Ok(Protocol::Http2)) => connection.http2(io).await,
            Some(Err(error)) => {
                tracing::debug!(%peer, "connection: {error}");
                return;
            }
            None => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, "connection: {}", chain(&error));
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Time is the business of `TimedIo`.
        .header_read_timeout(None)
        .keep_alive(true)
        // A peer that has said everything may close its side, and is answered. Also saves a look at
        // the socket while an answer is made.
        .half_close(true)
        // `max_headers` is left at hyper's own bound of 100, several times what browsers and proxies
        // send: setting it costs an initialised table for each request. `pipeline_flush` is off: it
        // holds an answer back while a part of the next head is there.
        .max_header_size(limits.head_bytes)
        .max_buf_size(BUFFER_BYTES.max(limits.head_bytes));
    builder
}

/// One connection whose protocol is known.
struct Connection {
    shared: Arc<Shared>,
    activity: Activity,
    draining: Listening,
    peer: IpAddr,
}

impl Connection {
    async fn http1(mut self, io: TimedIo<TcpStream>) -> hyper::Result<()> {
        let (shared, peer) = (Arc::clone(&self.shared), self.peer);
        let activity = self.activity.clone();
        let answer = service_fn(|request| {
            let (service, under_way) = (&shared.service, activity.begin());
            async move {
                let response = service.answer(request, peer).await;
                Ok::<_, Infallible>(response.map(|body| AnswerBody::new(body, under_way)))
            }
        });
        let connection = self.shared.http1.serve_connection(TokioIo::new(io), answer);
        let mut connection = pin!(connection);
        let ended = until(connection.as_mut(), |context| self.draining.poll(context)).await;
        if let Some(ended) = ended {
            return ended;
        }
        connection.as_mut().graceful_shutdown();
        self.or_cut(connection).await
    }

    async fn http2(mut self, io: TimedIo<TcpStream>) -> hyper::Result<()> {
        let (shared, peer) = (Arc::clone(&self.shared), self.peer);
        let activity = self.activity.clone();
        let answer = service_fn(move |request| {
            let (shared, under_way) = (Arc::clone(&shared), activity.begin());
            async move {
                let permit = Arc::clone(&shared.requests).acquire_owned();
                let permit = tokio::time::timeout(shared.timeouts.head, permit).await;
                let (response, permit) = match permit {
                    Ok(Ok(permit)) => (shared.service.answer(request, peer).await, Some(permit)),
                    Ok(Err(_)) | Err(_) => (Refusal::Busy.reply(), None),
                };
                let progress = Progress::of_this_stream();
                progress.note();
                let answer = response.map(|body| {
                    let body =
                        AnswerBody::new(body, under_way).in_parts(MOST_FRAME_BYTES, progress);
                    match permit {
                        Some(permit) => body.holding(permit),
                        None => body,
                    }
                });
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = self.shared.http2.serve_connection(TokioIo::new(io), answer);
        let mut connection = pin!(connection);
        let keep_alive = self.shared.timeouts.keep_alive;
        let mut idleness = Idleness::new(self.activity.clone(), keep_alive);
        let mut is_idle = false;
        let ended = until(connection.as_mut(), |context| {
            is_idle = idleness.poll(context).is_ready();
            if is_idle {
                return Poll::Ready(());
            }
            self.draining.poll(context)
        })
        .await;
        if let Some(ended) = ended {
            return ended;
        }
        // Both ways the peer is told by GOAWAY, and what it began is answered.
        connection.as_mut().graceful_shutdown();
        let ending = self.or_cut(connection);
        if is_idle {
            let ended = tokio::time::timeout(self.shared.timeouts.head, ending).await;
            return ended.unwrap_or(Ok(()));
        }
        ending.await
    }

    /// Waits for the end of a connection that was told to end, or cuts it when its time is over.
    async fn or_cut(
        &self,
        connection: Pin<&mut impl Future<Output = hyper::Result<()>>>,
    ) -> hyper::Result<()> {
        tokio::select! {
            ended = connection => ended,
            () = self.shared.cut.cancelled() => Ok(()),
        }
    }
}

/// Waits for `connection` to end or for `told` to complete; nothing when `told` was first.
async fn until<C: Future>(
    mut connection: Pin<&mut C>,
    mut told: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Option<C::Output> {
    poll_fn(|context| match connection.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => told(context).map(|()| None),
    })
    .await
}
