//! What stands before the machines: finds the app by its host name, and passes requests to a machine
//! that is started and well.
//!
//! Speaks no TLS: it stands for what the platform does behind port 443. An app without an address is
//! not there, so its connections end without an answer. It starts no machine, whatever `autostart` says, so
//! that a test decides what runs.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt;
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    header::{HOST, HeaderName, HeaderValue},
};
use tokio::net::TcpStream;

use super::{
    boot::Dialer,
    forward::{Forwarder, Http2, remove_hop_headers},
    listener::{Body, Cut, Handler, whole},
    simulation::{Simulation, lock},
};

/// Answers for `<app>.fly.dev`.
#[derive(Debug)]
pub(crate) struct Edge {
    simulation: Arc<Simulation>,
    forwarder: Forwarder,
    /// By machine and version.
    kept: Mutex<HashMap<String, Http2>>,
}

/// A machine that may be asked.
struct Backend {
    /// Machine and version.
    key: String,
    dialer: Dialer,
    port: u16,
    speaks_http2: bool,
}

impl Edge {
    /// An edge over a simulation.
    pub(crate) fn new(simulation: Arc<Simulation>) -> Self {
        Self {
            simulation,
            forwarder: Forwarder::default(),
            kept: Mutex::default(),
        }
    }

    /// Finds a machine for a host name; nothing when none is started and well.
    fn backend(&self, host: &str) -> Result<Option<Backend>, Cut> {
        let found = self.simulation.look(|platform, _| {
            let app = platform
                .app_of_host(host)
                .filter(|app| !app.addresses.is_empty())
                .ok_or(Cut)?;
            let machine = app
                .machines
                .values()
                .find(|machine| machine.takes_traffic());
            Ok(machine.and_then(|machine| {
                let (port, http2) = machine.config.http_backend()?;
                Some((machine.id.clone(), machine.instance_id.clone(), port, http2))
            }))
        })?;
        let Some((machine, version, port, speaks_http2)) = found else {
            return Ok(None);
        };
        let dialer = lock(&self.simulation.dialers).get(&machine).cloned();
        Ok(dialer.map(|dialer| Backend {
            key: format!("{machine} {version}"),
            dialer,
            port,
            speaks_http2,
        }))
    }

    async fn pass_on(&self, backend: &Backend, request: Request<Body>) -> Option<Response<Body>> {
        if !backend.speaks_http2 {
            let stream = dial(backend).await?;
            return self.forwarder.http1(stream, request).await.ok();
        }
        let kept = lock(&self.kept).get(&backend.key).cloned();
        let mut sender = if let Some(sender) = kept.filter(|sender| !sender.is_closed()) {
            sender
        } else {
            let stream = dial(backend).await?;
            let sender = self.forwarder.open_http2(stream).await.ok()?;
            lock(&self.kept).insert(backend.key.clone(), sender.clone());
            sender
        };
        let response = sender.send_request(request).await.ok()?;
        Some(super::forward::boxed(response))
    }
}

async fn dial(backend: &Backend) -> Option<TcpStream> {
    let (dialer, port) = (backend.dialer.clone(), backend.port);
    let stream = tokio::task::spawn_blocking(move || dialer.connect(port));
    let stream = stream.await.ok()?.ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_nonblocking(true).ok()?;
    TcpStream::from_std(stream).ok()
}

impl Handler for Edge {
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, Cut> {
        let authority = authority(&request).ok_or(Cut)?;
        let host = authority
            .rsplit_once(':')
            .map_or(authority.as_str(), |(host, port)| {
                if port.ends_with(']') {
                    authority.as_str()
                } else {
                    host
                }
            });
        let Some(backend) = self.backend(host)? else {
            return Ok(unavailable(
                "no machine of this app is started and passes its checks",
            ));
        };
        let request = rewritten(
            request.map(BodyExt::boxed),
            &authority,
            (peer, backend.speaks_http2),
        )
        .ok_or(Cut)?;
        let response = self.pass_on(&backend, request).await;
        let mut response = response.unwrap_or_else(|| unavailable("the machine does not answer"));
        let via = HeaderValue::from_static("2 fly.io");
        response
            .headers_mut()
            .append(HeaderName::from_static("via"), via);
        Ok(response)
    }
}

fn authority(request: &Request<Incoming>) -> Option<String> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.to_string());
    }
    let host = request.headers().get(HOST)?;
    host.to_str().ok().map(str::to_owned)
}

/// Makes the request that the machine gets. What a visitor says of itself in the edge's headers does not
/// reach it.
fn rewritten(
    mut request: Request<Body>,
    authority: &str,
    (peer, http2): (SocketAddr, bool),
) -> Option<Request<Body>> {
    remove_hop_headers(request.headers_mut());
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let uri: Uri = if http2 {
        format!("http://{authority}{path}").parse().ok()?
    } else {
        path.parse().ok()?
    };
    let headers = request.headers_mut();
    headers.remove(HOST);
    if !http2 {
        headers.insert(HOST, authority.parse().ok()?);
    }
    let client = peer.ip().to_string();
    for (name, value) in [
        ("fly-client-ip", client.as_str()),
        ("fly-forwarded-port", "443"),
        ("fly-region", "arn"),
        ("x-forwarded-for", client.as_str()),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-ssl", "on"),
        ("via", "2 fly.io"),
    ] {
        headers.insert(HeaderName::from_static(name), value.parse().ok()?);
    }
    *request.uri_mut() = uri;
    *request.version_mut() = if http2 {
        hyper::Version::HTTP_2
    } else {
        hyper::Version::HTTP_11
    };
    Some(request)
}

fn unavailable(why: &str) -> Response<Body> {
    let mut response = Response::new(whole(why.to_owned()));
    *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
    response
}
