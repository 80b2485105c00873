//! The older API (`api.fly.io`): organisations over REST, and over GraphQL, which answers 200 also when
//! it fails.

use std::{net::SocketAddr, sync::Arc};

use http_body_util::BodyExt as _;
use hyper::{Request, Response, body::Incoming, header::AUTHORIZATION};
use serde_json::{Value, json};

use super::{
    api::written,
    failures::{Consequence, Failure},
    listener::{Body, Cut, Handler},
    refusal::Refusal,
    route::Operation,
    simulation::{Recorded, Simulation, lock},
    state::{Organization, Outcome, Platform, Reply, Scope},
};

/// Answers for `api.fly.io`.
#[derive(Debug)]
pub(crate) struct OlderApi {
    simulation: Arc<Simulation>,
}

impl OlderApi {
    /// An API over a simulation.
    pub(crate) const fn new(simulation: Arc<Simulation>) -> Self {
        Self { simulation }
    }
}

impl Handler for OlderApi {
    async fn answer(
        &self,
        request: Request<Incoming>,
        _: SocketAddr,
    ) -> Result<Response<Body>, Cut> {
        let method = request.method().to_string();
        let path = request.uri().path().to_owned();
        let target = request.uri().path_and_query().map(ToString::to_string);
        let header = request.headers().get(AUTHORIZATION);
        let header = header
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let bytes = request
            .into_body()
            .collect()
            .await
            .map_err(|_| Cut)?
            .to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let outcome = self.outcome((&method, &path), &header, &body);
        let status = match &outcome {
            Ok(Ok(reply)) => reply.status,
            Ok(Err(refusal)) => refusal.status,
            Err(Cut) => 0,
        };
        self.simulation.record(Recorded {
            method,
            path: target.unwrap_or_default(),
            body,
            status,
        });
        outcome.map(written)
    }
}

impl OlderApi {
    fn outcome(
        &self,
        (method, path): (&str, &str),
        header: &str,
        body: &Value,
    ) -> Result<Outcome, Cut> {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (operation, slug) = match (method, segments.as_slice()) {
            ("GET", ["api", "v1", "organizations"]) => (Operation::Organizations, ""),
            ("GET", ["api", "v1", "organizations", slug]) => (Operation::OrganizationGet, *slug),
            ("POST", ["graphql"]) => (Operation::GraphQl, ""),
            _ => return Ok(Err(Refusal::text(404, "404 page not found"))),
        };
        let failure = lock(&self.simulation.failures).take(operation);
        match failure.map(Failure::consequence) {
            Some(Consequence::Refuse(refusal)) => return Ok(Err(refusal)),
            Some(Consequence::Cut { .. }) => return Err(Cut),
            _ => {}
        }
        Ok(self.simulation.look(|platform, _| {
            let scope = platform.scope_of_header(header);
            match (operation, scope) {
                (Operation::GraphQl, None) => {
                    Ok(Reply::ok(failed("You must be authenticated to view this.")))
                }
                (_, None) => Err(Refusal::machines(401, "unauthorized")),
                (Operation::GraphQl, Some(scope)) => Ok(Reply::ok(graphql(platform, &scope, body))),
                (Operation::Organizations, Some(scope)) => {
                    let all: Vec<Value> = visible(platform, &scope)
                        .map(Organization::to_json)
                        .collect();
                    Ok(Reply::ok(json!({"organizations": all})))
                }
                (_, Some(scope)) => visible(platform, &scope)
                    .find(|organization| organization.slug == slug)
                    .map(|organization| Reply::ok(organization.to_json()))
                    .ok_or_else(|| Refusal::machines(404, "organization not found")),
            }
        }))
    }
}

fn visible<'p>(platform: &'p Platform, scope: &Scope) -> impl Iterator<Item = &'p Organization> {
    let app = match scope {
        Scope::App(name) => platform.apps.get(name).map(|app| app.organization.clone()),
        _ => None,
    };
    platform.organizations.iter().filter(move |organization| {
        app.as_deref() == Some(organization.slug.as_str()) || scope.covers(&organization.slug, "")
    })
}

fn failed(message: &str) -> Value {
    json!({"data": null, "errors": [{"message": message, "extensions": {"code": "UNAUTHORIZED"}}]})
}

/// Answers the two questions that are asked of GraphQL here: which organisations, and who asks.
fn graphql(platform: &Platform, scope: &Scope, body: &Value) -> Value {
    let query = body["query"].as_str().unwrap_or_default();
    let mut data = json!({});
    if query.contains("organizations") {
        let nodes: Vec<Value> = visible(platform, scope)
            .map(|organization| {
                json!({
                    "id": organization.slug,
                    "slug": organization.slug,
                    "rawSlug": organization.slug,
                    "name": organization.slug,
                    "type": organization.kind(),
                    "paidPlan": false,
                    "billable": organization.is_billable(),
                    "viewerRole": "admin",
                })
            })
            .collect();
        data["organizations"] = json!({"nodes": nodes});
    }
    if query.contains("viewer") {
        data["viewer"] = json!({"id": "user1", "email": "me@example.com"});
    }
    if data == json!({}) {
        return failed("this simulator answers organizations and viewer");
    }
    json!({"data": data})
}

impl Organization {
    fn kind(&self) -> &'static str {
        if self.slug == "personal" {
            "PERSONAL"
        } else {
            "SHARED"
        }
    }

    fn is_billable(&self) -> bool {
        self.billing_status == "CURRENT"
    }

    fn to_json(&self) -> Value {
        json!({
            "id": self.slug,
            "slug": self.slug,
            "raw_slug": self.slug,
            "name": self.slug,
            "personal": self.slug == "personal",
            "paid_plan": false,
            "billable": self.is_billable(),
            "billing_status": self.billing_status,
        })
    }
}
