//! A loopback port with HTTP/1.1 and HTTP/2 behind it, and connections that end when they are told to.

use std::{convert::Infallible, fmt, future::Future, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};

/// What an answer carries.
pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Ends a connection without an answer.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// Who answers the requests of a port.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request of `peer`.
    ///
    /// # Errors
    ///
    /// When the connection shall end instead.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Response<Body>, Cut>> + Send;
}

/// Returns a body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed()
}

/// Lets `handler` answer on a free loopback port, until the runtime ends; returns the address.
pub(crate) fn listen(runtime: &Runtime, handler: impl Handler) -> SocketAddr {
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    runtime.spawn(accept(listener, Arc::new(handler)));
    address
}

async fn accept(listener: TcpListener, handler: Arc<impl Handler>) {
    let mut connections = JoinSet::new();
    loop {
        // What has ended is collected on the way.
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else {
            continue;
        };
        // Small answers are not held back; a peer that is gone already is no fault.
        stream.set_nodelay(true).ok();
        let handler = Arc::clone(&handler);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let handler = Arc::clone(&handler);
                async move { handler.answer(request, peer).await }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            // Cut connections end in an error, as they shall.
            server
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}
