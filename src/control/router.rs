//! Which call a request means: method and path → [`Route`]. Pure.
//!
//! Every call stands in [`CALLS`], which the description of the API is tested against. A part of a path
//! in braces stands for any one that is not empty.

use hyper::Method;

/// What a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// A file of the dashboard, which is a page of its own.
    Dashboard(&'static str),
    /// The description of all this.
    Description,
    /// How the site stands.
    Status,
    /// The same, as events.
    Events,
    /// What the server keeps.
    Deploys,
    /// What one of those changed.
    Deploy,
    /// What a publish would change now.
    Pending,
    /// The last lines of the log.
    Logs,
    /// The server's build and disk.
    Server,
    /// What is still to be told of publishes.
    Deliveries,
    /// One of those is made again.
    Resend,
    /// One of those is given up.
    Drop,
    /// Publishes now.
    Publish,
    /// Saves are not published.
    Pause,
    /// Saves are published again.
    Resume,
    /// An earlier deploy becomes current.
    Rollback,
    /// The server on Fly.io is replaced by this program's.
    Rebuild,
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// What it is asked with; `GET` stands for `HEAD` too.
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) route: Route,
}

const fn get(path: &'static str, route: Route) -> Call {
    Call {
        method: Method::GET,
        path,
        route,
    }
}

const fn post(path: &'static str, route: Route) -> Call {
    Call {
        method: Method::POST,
        path,
        route,
    }
}

/// Every call of the API.
pub(super) const CALLS: [Call; 18] = [
    get("/v1/status", Route::Status),
    get("/v1/events", Route::Events),
    get("/events", Route::Events),
    get("/v1/deploys", Route::Deploys),
    get("/v1/deploys/{deployId}", Route::Deploy),
    get("/v1/pending", Route::Pending),
    get("/v1/logs", Route::Logs),
    get("/v1/server", Route::Server),
    get("/v1/deliveries", Route::Deliveries),
    get("/openapi.json", Route::Description),
    get("/", Route::Dashboard("/")),
    post("/v1/publish", Route::Publish),
    post("/v1/pause", Route::Pause),
    post("/v1/resume", Route::Resume),
    post("/v1/rollback", Route::Rollback),
    post("/v1/rebuild", Route::Rebuild),
    post("/v1/deliveries/{deliveryId}/resend", Route::Resend),
    post("/v1/deliveries/{deliveryId}/drop", Route::Drop),
];

/// What the router has to say of a request that is no call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoCall {
    /// There is nothing at that path.
    UnknownPath,
    /// There is, for these methods.
    OtherMethod(Vec<Method>),
}

/// Returns the call that a request means.
pub(super) fn find(method: &Method, path: &str) -> Result<Route, NoCall> {
    let mut allowed = Vec::new();
    for call in CALLS.into_iter().filter(|call| matches(call.path, path)) {
        if call.method == *method || (call.method == Method::GET && method == Method::HEAD) {
            return Ok(call.route);
        }
        allowed.push(call.method);
    }
    if let Some(file) = super::dashboard::named(path) {
        if [Method::GET, Method::HEAD].contains(method) {
            return Ok(Route::Dashboard(file));
        }
        allowed.push(Method::GET);
    }
    if allowed.contains(&Method::GET) {
        allowed.push(Method::HEAD);
    }
    Err(if allowed.is_empty() {
        NoCall::UnknownPath
    } else {
        NoCall::OtherMethod(allowed)
    })
}

/// Returns whether a path is the one of a call.
fn matches(template: &str, path: &str) -> bool {
    let (parts, given) = (template.split('/'), path.split('/'));
    let is_alike =
        |(part, given): (&str, &str)| part == given || (part.starts_with('{') && !given.is_empty());
    parts.clone().count() == given.clone().count() && parts.zip(given).all(is_alike)
}

impl Route {
    /// Returns whether the call does something, and is for who has the token.
    pub(super) const fn acts(self) -> bool {
        match self {
            Self::Publish
            | Self::Pause
            | Self::Resume
            | Self::Rollback
            | Self::Rebuild
            | Self::Resend
            | Self::Drop => true,
            Self::Dashboard(_)
            | Self::Description
            | Self::Status
            | Self::Events
            | Self::Deploys
            | Self::Deploy
            | Self::Pending
            | Self::Deliveries
            | Self::Logs
            | Self::Server => false,
        }
    }

    /// Returns whether it is a page, which a link elsewhere may lead to.
    pub(super) const fn is_page(self) -> bool {
        matches!(self, Self::Dashboard(_))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_call_is_found_by_its_method_and_path() {
        for call in CALLS {
            assert_eq!(find(&call.method, call.path), Ok(call.route));
        }
        assert_eq!(find(&Method::HEAD, "/v1/status"), Ok(Route::Status));
        assert_eq!(find(&Method::GET, "/v1/deploys/1-a"), Ok(Route::Deploy));
        for path in [
            "/v1",
            "/v1/",
            "/v1/status/",
            "//v1/status",
            "/V1/status",
            "",
            "/v1/deploys/",
            "/v1/deploys/a/b",
        ] {
            assert_eq!(find(&Method::GET, path), Err(NoCall::UnknownPath), "{path}");
        }
    }

    #[test]
    fn another_method_hears_which_it_is() {
        let allowed = vec![Method::POST];
        assert_eq!(
            find(&Method::GET, "/v1/pause"),
            Err(NoCall::OtherMethod(allowed))
        );
        let allowed = vec![Method::GET, Method::HEAD];
        assert_eq!(
            find(&Method::POST, "/v1/status"),
            Err(NoCall::OtherMethod(allowed))
        );
    }

    #[test]
    fn only_what_is_posted_acts() {
        for call in CALLS {
            assert_eq!(call.route.acts(), call.method == Method::POST, "{call:?}");
        }
    }

    /// The description is written by hand, and says of every call that it is there, and of no other.
    #[test]
    fn every_call_is_described() {
        let text = include_str!("openapi.json");
        let description: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            description["info"]["version"],
            env!("CARGO_PKG_VERSION"),
            "the description is of this version"
        );
        let mut described = BTreeSet::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let calls = CALLS.map(|call| (call.method.to_string(), call.path.to_owned()));
        assert_eq!(described, BTreeSet::from(calls));
        for call in CALLS {
            let method = call.method.as_str().to_lowercase();
            let operation = &description["paths"][call.path][&method];
            let wants_token = operation["security"] == serde_json::json!([{"token": []}]);
            assert_eq!(wants_token, call.route.acts(), "{}", call.path);
        }
    }
}
