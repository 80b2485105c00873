//! Prism between a client and the simulator: holds requests and answers to the published description.
//!
//! Prism answers a request or an answer that violates it with a problem of its own. A front before it
//! notes these, with what was asked. Starting takes some seconds, and each call about 20 ms more, so
//! nothing is timed through it.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt;
use hyper::{Request, Response, body::Incoming, header::CONTENT_TYPE};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    runtime::{self, Runtime},
};

use super::{
    description,
    forward::{Forwarder, remove_hop_headers},
    listener::{self, Body, Cut, Handler, whole},
    simulation::lock,
};
use crate::harness::{installed::installed, process::Process, wait_for};

/// What Prism says when it listens; the address follows.
const READY: &str = "Prism is listening on http://";

/// Where the types of Prism's own problems start.
const OWN_PROBLEMS: &str = "https://stoplight.io/prism/errors#";

/// A request, or its answer, that is not as described.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Violation {
    /// `METHOD /path?query`.
    pub(crate) request: String,
    /// What Prism says of it.
    pub(crate) problem: Value,
}

/// A running Prism; ended when dropped.
#[derive(Debug)]
pub(crate) struct Prism {
    front: SocketAddr,
    violations: Arc<Mutex<Vec<Violation>>>,
    // Declared in the order of dropping: the front first, the folder last.
    _runtime: Runtime,
    _process: Process,
    _folder: TempDir,
}

impl Prism {
    /// Starts Prism on a free port before `upstream`, which is a simulator's `api_url`.
    pub(crate) fn start(upstream: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("onsave-prism-")
            .tempdir()
            .expect("a temporary folder can be made");
        let document = folder.path().join("description.json");
        fs::write(&document, description::corrected().to_string())
            .expect("the folder can be written");
        let program = installed("node-judges").join("node_modules/.bin/prism");
        let mut command = Command::new(&program);
        command
            .args(["proxy", "--errors", "--host", "127.0.0.1", "--port", "0"])
            .arg(&document)
            .arg(upstream)
            .env("NO_COLOR", "1");
        let mut process = Process::start("prism", &mut command, folder.path());
        let address = wait_for("Prism to listen", || {
            process.assert_running();
            let text = process.stdout();
            let address = text.split(READY).nth(1)?.lines().next()?;
            address.trim().parse::<SocketAddr>().ok()
        });
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let violations = Arc::default();
        let front = listener::listen(
            &runtime,
            Front {
                prism: address,
                forwarder: Forwarder::default(),
                violations: Arc::clone(&violations),
            },
        );
        Self {
            front,
            violations,
            _runtime: runtime,
            _process: process,
            _folder: folder,
        }
    }

    /// Returns what takes the place of the simulator's `api_url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.front)
    }

    /// Returns everything so far that was not as described.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        lock(&self.violations).clone()
    }

    /// Fails the test with all of them when anything was not as described.
    pub(crate) fn assert_no_violation(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "not as described: {violations:#?}");
    }
}

/// Passes requests on to Prism, and notes its problems.
#[derive(Debug)]
struct Front {
    prism: SocketAddr,
    forwarder: Forwarder,
    violations: Arc<Mutex<Vec<Violation>>>,
}

impl Handler for Front {
    async fn answer(
        &self,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Result<Response<Body>, Cut> {
        let target = request.uri().path_and_query().map(ToString::to_string);
        let target = target.unwrap_or_default();
        let described = format!("{} {target}", request.method());
        let stream = TcpStream::connect(self.prism).await.map_err(|_| Cut)?;
        let mut request = request.map(BodyExt::boxed);
        remove_hop_headers(request.headers_mut());
        *request.uri_mut() = target.parse().map_err(|_| Cut)?;
        let answer = self.forwarder.http1(stream, request).await;
        let (parts, body) = answer.map_err(|_| Cut)?.into_parts();
        let bytes = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let kind = parts.headers.get(CONTENT_TYPE);
        if kind.is_some_and(|kind| kind == "application/problem+json") {
            let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let own = problem["type"].as_str().unwrap_or_default();
            if own.starts_with(OWN_PROBLEMS) {
                lock(&self.violations).push(Violation {
                    request: described,
                    problem,
                });
            }
        }
        Ok(Response::from_parts(parts, whole(bytes)))
    }
}
