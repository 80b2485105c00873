//! The front of `registry.fly.io`: takes Basic with a token, knows only the apps that exist, and passes
//! everything else to a registry behind it.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    api::written,
    failures::{Consequence, Failure},
    forward::{Forwarder, remove_hop_headers},
    listener::{Body, Cut, Handler, whole},
    route::Operation,
    simulation::{Recorded, Simulation, lock},
    state::Scope,
};

/// Answers for `registry.fly.io`.
#[derive(Debug)]
pub(crate) struct RegistryFront {
    simulation: Arc<Simulation>,
    forwarder: Forwarder,
}

/// What a request to a registry is about.
struct Asked {
    operation: Operation,
    repository: String,
    /// The tag or digest of a manifest.
    reference: String,
}

fn asked(method: &Method, path: &str) -> Option<Asked> {
    use Operation as O;
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (operation, repository, reference) = match (method.as_str(), segments.as_slice()) {
        ("GET", ["v2"]) => (O::RegistryCheck, "", ""),
        ("HEAD", ["v2", repository, "blobs", digest]) => (O::BlobHead, *repository, *digest),
        ("GET", ["v2", repository, "blobs", digest]) => (O::BlobGet, *repository, *digest),
        ("POST", ["v2", repository, "blobs", "uploads"]) => (O::UploadStart, *repository, ""),
        ("PUT" | "PATCH", ["v2", repository, "blobs", "uploads", _]) => {
            (O::UploadPut, *repository, "")
        }
        ("HEAD", ["v2", repository, "manifests", reference]) => {
            (O::ManifestHead, *repository, *reference)
        }
        ("GET", ["v2", repository, "manifests", reference]) => {
            (O::ManifestGet, *repository, *reference)
        }
        ("PUT", ["v2", repository, "manifests", reference]) => {
            (O::ManifestPut, *repository, *reference)
        }
        _ => return None,
    };
    Some(Asked {
        operation,
        repository: repository.to_owned(),
        reference: reference.to_owned(),
    })
}

impl RegistryFront {
    /// A front over a simulation, which knows the registry behind it.
    pub(crate) fn new(simulation: Arc<Simulation>) -> Self {
        Self {
            simulation,
            forwarder: Forwarder::default(),
        }
    }

    async fn outcome(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let Some(asked) = asked(request.method(), request.uri().path()) else {
            return Ok(fault(404, "UNSUPPORTED", "404 page not found"));
        };
        let header = request.headers().get(AUTHORIZATION);
        let header = header
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if let Err(refused) = self.admitted(header, &asked) {
            return Ok(*refused);
        }
        let failure = lock(&self.simulation.failures).take(asked.operation);
        let consequence = failure.map(Failure::consequence);
        match &consequence {
            Some(Consequence::Refuse(refusal)) => return Ok(written(Err(refusal.clone()))),
            Some(Consequence::Cut { acts: false }) => return Err(Cut),
            _ => {}
        }
        let response = self.pass_on(request).await?;
        if asked.operation == Operation::ManifestPut && response.status().is_success() {
            let digest = response.headers().get("docker-content-digest");
            let digest = digest
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            self.simulation.with(|platform, now| {
                platform.delayed += platform.delays.image_visible;
                for reference in [asked.reference.as_str(), digest] {
                    platform.image_pushed(&asked.repository, reference, now);
                }
            });
        }
        match consequence {
            Some(Consequence::Cut { .. }) => Err(Cut),
            Some(Consequence::ActThenRefuse(refusal)) => Ok(written(Err(refusal))),
            _ => Ok(response),
        }
    }

    fn admitted(&self, header: &str, asked: &Asked) -> Result<(), Box<Response<Body>>> {
        let reads = matches!(
            asked.operation,
            Operation::RegistryCheck
                | Operation::BlobGet
                | Operation::BlobHead
                | Operation::ManifestGet
                | Operation::ManifestHead
        );
        self.simulation.look(|platform, now| {
            let scope = platform.scope_of_basic(header).ok_or_else(|| {
                let mut refused = fault(401, "UNAUTHORIZED", "authentication required");
                let challenge = "Basic realm=\"registry.fly.io\""
                    .parse()
                    .expect("plain letters");
                refused.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                Box::new(refused)
            })?;
            if asked.operation == Operation::RegistryCheck {
                return Ok(());
            }
            let app = platform.apps.get(&asked.repository);
            let app = app.filter(|app| {
                app.visible_from <= now && scope.covers(&app.organization, &app.name)
            });
            if app.is_none() {
                return Err(Box::new(fault(
                    404,
                    "NAME_UNKNOWN",
                    "name unknown: app repository not found",
                )));
            }
            if matches!(scope, Scope::ReadOnly(_)) && !reads {
                return Err(Box::new(fault(
                    403,
                    "DENIED",
                    "requested access to the resource is denied",
                )));
            }
            Ok(())
        })
    }

    async fn pass_on(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let stream = TcpStream::connect(self.simulation.registry.address)
            .await
            .map_err(|_| Cut)?;
        let mut request = request.map(BodyExt::boxed);
        remove_hop_headers(request.headers_mut());
        request.headers_mut().remove(AUTHORIZATION);
        if let Some(token) = self.simulation.registry.token {
            let value = basic(token).parse().map_err(|_| Cut)?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let path = request
            .uri()
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default();
        *request.uri_mut() = path.parse().map_err(|_| Cut)?;
        self.forwarder.http1(stream, request).await.map_err(|_| Cut)
    }
}

impl Handler for RegistryFront {
    async fn answer(
        &self,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Result<Response<Body>, Cut> {
        let method = request.method().to_string();
        let path = request.uri().path_and_query().map(ToString::to_string);
        let outcome = self.outcome(request).await;
        self.simulation.record(Recorded {
            method,
            path: path.unwrap_or_default(),
            body: Value::Null,
            status: outcome
                .as_ref()
                .map_or(0, |response| response.status().as_u16()),
        });
        outcome
    }
}

/// Returns a refusal in the registries' shape.
pub(crate) fn fault(status: u16, code: &str, message: &str) -> Response<Body> {
    let body = json!({"errors": [{"code": code, "message": message}]}).to_string();
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(whole(body))
        .expect("the parts are valid")
}

/// Returns the header that the registry takes a token in.
pub(crate) fn basic(token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("x:{token}")))
}
