//! Requests that are passed on, with their bodies as streams.

use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
    header::{CONNECTION, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::listener::Body;

/// A kept HTTP/2 connection.
pub(crate) type Http2 = http2::SendRequest<Body>;

/// Passes requests on; its connections live as long as the runtime.
#[derive(Debug, Default)]
pub(crate) struct Forwarder {
    connections: TaskTracker,
}

impl Forwarder {
    /// Passes a request on over a new connection in HTTP/1.1.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub(crate) async fn http1(
        &self,
        stream: TcpStream,
        request: Request<Body>,
    ) -> hyper::Result<Response<Body>> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.connections.spawn(async move {
            // The sender has the fault, too.
            connection.await.ok();
        });
        sender.send_request(request).await.map(boxed)
    }

    /// Opens a connection in HTTP/2, without asking the other side whether it speaks it.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub(crate) async fn open_http2(&self, stream: TcpStream) -> hyper::Result<Http2> {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        self.connections.spawn(async move {
            connection.await.ok();
        });
        Ok(sender)
    }
}

/// Returns an answer whose body is passed on.
pub(crate) fn boxed(response: Response<Incoming>) -> Response<Body> {
    let mut response = response.map(BodyExt::boxed);
    remove_hop_headers(response.headers_mut());
    response
}

/// Removes what is about one connection alone.
pub(crate) fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ] {
        headers.remove(name);
    }
}
