//! Connections, of the socket and of the address alike: how many, for how long, how patient.
//!
//! At most [`MOST_CONNECTIONS`] of a listener are served at once, the rest wait in the system's queue.
//! A peer that sends a request's head or body too slowly, or takes nothing of an answer for
//! [`STALL`], loses its connection; an idle one is closed as the head of its next request would be.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, Sleep, sleep},
};

use super::{
    calls::{self, Shared},
    guard::Guard,
};
use crate::hooks;

/// Connections at once: a person's terminals and tabs, and a few tools.
const MOST_CONNECTIONS: usize = 64;

/// Pause after the system refused a connection, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the head of a request may take, and so how long a connection may be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// The longest head of a request, in bytes.
const MOST_HEAD: usize = 16 * 1024;

/// How long a peer may take nothing of an answer.
const STALL: Duration = Duration::from_secs(30);

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Listener {
    /// The owner's socket.
    Socket(UnixListener),
    /// An address, and who may come from there.
    Address(TcpListener, Arc<Guard>),
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: Listener, shared: Shared) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let shared = shared.clone();
        let accepted = match &listener {
            Listener::Socket(socket) => socket.accept().await.map(|(stream, _)| {
                connections.spawn(async move {
                    let _permit = permit;
                    serve_one(stream, shared, (None, None)).await;
                });
            }),
            Listener::Address(address, guard) => address.accept().await.map(|(stream, peer)| {
                let guard = Arc::clone(guard);
                connections.spawn(async move {
                    let _permit = permit;
                    serve_one(stream, shared, (Some(guard), Some(peer.ip()))).await;
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::debug!(%error, "a connection to the control API failed");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn serve_one<S>(
    stream: S,
    shared: Shared,
    (guard, peer): (Option<Arc<Guard>>, Option<IpAddr>),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, guard) = (shared.clone(), guard.clone());
        async move {
            Ok::<_, Infallible>(match &shared.hooks {
                // Before the guard: a sender has its proof, and may come through a tunnel under any name.
                Some(hooks) if request.uri().path().starts_with(hooks::PREFIX) => {
                    hooks.answer(request, peer).await.map(BodyExt::boxed)
                }
                _ => calls::answer(request, &shared, guard.as_deref()).await,
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(Impatient::over(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the control API broke");
    }
}

/// A stream whose writes fail once the peer has taken nothing for [`STALL`].
struct Impatient<S> {
    stream: S,
    /// When the write that waits is given up; unused while none waits.
    give_up: Pin<Box<Sleep>>,
    waits: bool,
}

impl<S> Impatient<S> {
    fn over(stream: S) -> Self {
        Self {
            stream,
            give_up: Box::pin(sleep(STALL)),
            waits: false,
        }
    }

    /// Returns `polled`, or an error where that has been pending for too long.
    fn judged<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waits = false;
            return polled;
        }
        if !self.waits {
            self.waits = true;
            self.give_up.as_mut().reset(Instant::now() + STALL);
        }
        match self.give_up.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judged(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.judged(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judged(polled, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_left_and_a_slow_one_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut ours = Impatient::over(ours);
        let slow = async {
            for _ in 0..4 {
                sleep(STALL.mul_f32(0.9)).await;
                let mut taken = [0; 8];
                tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut taken)
                    .await
                    .unwrap();
            }
        };
        let (written, ()) = tokio::join!(ours.write_all(&[0; 40]), slow);
        written.unwrap();
        let began = Instant::now();
        let error = ours.write_all(&[0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), STALL.as_secs());
    }
}
