//! The Machines API over HTTP: who asks, how often, what fails on demand, and else what the state says.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    failures::{Consequence, Failure, Fate, too_many_requests},
    listener::{Body, Cut, Handler, whole},
    refusal::Refusal,
    route::{Operation, Routed, machines_api},
    simulation::{Recorded, Simulation, lock},
    state::{Call, Outcome, Reply, Scope},
};

const NONCE: &str = "fly-machine-lease-nonce";

/// Answers for `api.machines.dev`.
#[derive(Debug)]
pub(crate) struct MachinesApi {
    simulation: Arc<Simulation>,
    answered: AtomicU64,
}

/// A request, read to its end.
struct Asked {
    method: Method,
    path: String,
    query: BTreeMap<String, String>,
    authorization: String,
    nonce: Option<String>,
    /// Nothing when it is no JSON.
    body: Option<Value>,
}

impl Asked {
    async fn read(request: Request<Incoming>) -> Result<Self, Cut> {
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let authorization = header(AUTHORIZATION.as_str()).unwrap_or_default();
        let nonce = header(NONCE);
        let query = request.uri().query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let bytes = request
            .into_body()
            .collect()
            .await
            .map_err(|_| Cut)?
            .to_bytes();
        let body = if bytes.is_empty() {
            Some(Value::Null)
        } else {
            serde_json::from_slice(&bytes).ok()
        };
        Ok(Self {
            method,
            path,
            query,
            authorization,
            nonce,
            body,
        })
    }
}

impl MachinesApi {
    /// An API over a simulation.
    pub(crate) const fn new(simulation: Arc<Simulation>) -> Self {
        Self {
            simulation,
            answered: AtomicU64::new(0),
        }
    }

    async fn outcome(&self, asked: &Asked) -> Result<Outcome, Cut> {
        let routed = match machines_api(asked.method.as_str(), &asked.path) {
            Ok(routed) => routed,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let scope = match self.admitted(asked, &routed) {
            Ok(scope) => scope,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let consequence = lock(&self.simulation.failures)
            .take(routed.operation)
            .map(Failure::consequence);
        let fate = match &consequence {
            Some(Consequence::Refuse(refusal)) => return Ok(Err(refusal.clone())),
            Some(Consequence::Cut { acts: false }) => return Err(Cut),
            Some(Consequence::Doom(fate)) => *fate,
            _ => Fate::Runs,
        };
        let outcome = self.act(asked, &routed, (&scope, fate)).await;
        match consequence {
            Some(Consequence::Cut { .. }) => Err(Cut),
            Some(Consequence::ActThenRefuse(refusal)) => Ok(outcome.and(Err(refusal))),
            _ => Ok(outcome),
        }
    }

    /// Returns what the caller may do, when it may do this.
    fn admitted(&self, asked: &Asked, routed: &Routed) -> Result<Scope, Refusal> {
        let operation = routed.operation;
        if operation == Operation::Regions {
            // Everybody may ask for these.
            return Ok(Scope::User);
        }
        let scope = self
            .simulation
            .look(|platform, _| platform.scope_of_header(&asked.authorization));
        let Some(scope) = scope else {
            return Err(if operation.is_of_apps() {
                Refusal::apps(401, "Unauthorized")
            } else {
                Refusal::machines(401, "Authenticate: token validation error")
            });
        };
        let reads = asked.method == Method::GET || operation == Operation::Placements;
        if matches!(scope, Scope::ReadOnly(_)) && !reads
            || matches!(scope, Scope::App(_)) && operation == Operation::AppCreate
        {
            return Err(if operation.is_of_apps() {
                Refusal::apps(403, "Forbidden")
            } else {
                Refusal::machines(403, "Authorize: token is not allowed to do this")
            });
        }
        if self.simulation.has_limits {
            let id = if routed.id.is_empty() {
                &routed.app
            } else {
                &routed.id
            };
            let now = self.simulation.elapsed();
            if !lock(&self.simulation.limits).admit(operation, id, now) {
                return Err(too_many_requests());
            }
        }
        Ok(scope)
    }

    async fn act(&self, asked: &Asked, routed: &Routed, (scope, fate): (&Scope, Fate)) -> Outcome {
        let Some(body) = &asked.body else {
            return Err(Refusal::machines(
                400,
                "invalid character in the body: it is no JSON",
            ));
        };
        let call = |now| Call {
            app: &routed.app,
            id: &routed.id,
            key: &routed.key,
            query: &asked.query,
            body,
            nonce: asked.nonce.as_deref(),
            scope,
            fate,
            now,
        };
        if routed.operation == Operation::MachineWait {
            return self.wait(call).await;
        }
        let reply = self
            .simulation
            .with(|platform, now| platform.answer(routed.operation, &call(now)))?;
        for effect in &reply.effects {
            self.simulation.perform(effect.clone());
        }
        Ok(reply)
    }

    async fn wait<'a>(&self, call: impl Fn(jiff::Timestamp) -> Call<'a>) -> Outcome {
        let mut changes = self.simulation.changes();
        let wait = self
            .simulation
            .look(|platform, now| platform.wait_asked(&call(now)))?;
        let end = Instant::now() + wait.timeout;
        loop {
            changes.borrow_and_update();
            let over = self
                .simulation
                .look(|platform, now| platform.wait_over(&call(now), &wait))?;
            if let Some(reply) = over {
                return Ok(reply);
            }
            if timeout_at(end, changes.changed()).await.is_err() {
                return Err(self
                    .simulation
                    .look(|platform, now| platform.wait_in_vain(&call(now), &wait)));
            }
        }
    }

    fn response(&self, outcome: Outcome) -> Response<Body> {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        let mut response = written(outcome);
        let id = format!("01SIMULATED{number:015}-arn");
        let id = id.parse().expect("letters and digits make a header");
        response.headers_mut().insert("fly-request-id", id);
        response
    }
}

impl Handler for MachinesApi {
    async fn answer(
        &self,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Result<Response<Body>, Cut> {
        let target = request.uri().path_and_query().map(ToString::to_string);
        let asked = Asked::read(request).await?;
        let outcome = self.outcome(&asked).await;
        let status = match &outcome {
            Ok(Ok(reply)) => reply.status,
            Ok(Err(refusal)) => refusal.status,
            Err(Cut) => 0,
        };
        self.simulation.record(Recorded {
            method: asked.method.to_string(),
            path: target.unwrap_or_default(),
            body: asked.body.unwrap_or_default(),
            status,
        });
        outcome.map(|outcome| self.response(outcome))
    }
}

/// Returns an outcome as a response.
pub(crate) fn written(outcome: Outcome) -> Response<Body> {
    let (status, kind, body, retry_after) = match outcome {
        Ok(Reply { status, body, .. }) => {
            let body = body.map(|body| body.to_string()).unwrap_or_default();
            (status, "application/json", body, None)
        }
        Err(refusal) => {
            let (kind, body) = refusal.body();
            (refusal.status, kind, body, refusal.retry_after)
        }
    };
    let mut builder = Response::builder().status(status);
    if !body.is_empty() {
        builder = builder.header(CONTENT_TYPE, kind);
    }
    if let Some(seconds) = retry_after {
        builder = builder.header(RETRY_AFTER, seconds);
    }
    builder.body(whole(body)).expect("the parts are valid")
}
