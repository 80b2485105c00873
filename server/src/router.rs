//! Method and path → [`Route`]: a pure function, without a query, a header or a body.
//!
//! Everything below `/_icd` belongs to the sync endpoint and never reaches the site, also when no
//! route is there. Fixed segments are compared as sent: a percent-encoded spelling of a route is
//! not that route, since signatures cover the path exactly as sent.

use http::Method;
use onsave_protocol::{DeployId, Sha256Digest, wire::ROUTE_PREFIX};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Everything that is not the sync endpoint.
    Site,
    /// `GET /_icd/health`, and `HEAD`, with which some load balancers ask
    Health,
    /// `GET /_icd/manifest`
    Manifest,
    /// `GET /_icd/deploys`
    ListDeploys,
    /// `GET /_icd/deploys/{id}`
    ShowDeploy(DeployId),
    /// `POST /_icd/deploys`
    Begin,
    /// `PUT /_icd/deploys/{id}/files?path=P`
    PutFile(DeployId),
    /// `DELETE /_icd/deploys/{id}/files?path=P`
    RemoveFile(DeployId),
    /// `POST /_icd/deploys/{id}/commit`
    Commit(DeployId),
    /// `DELETE /_icd/deploys/{id}`
    Abort(DeployId),
    /// `POST /_icd/rollback`
    Rollback,
    /// `POST /_icd/changesets`
    PublishChangeset,
    /// `POST /_icd/blobs/missing`
    MissingBlobs,
    /// `POST /_icd/blobs`
    PutPack,
    /// `PUT /_icd/blobs/{sha256}`
    PutBlob(Sha256Digest),
}

/// Why a request below `/_icd` has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// Nothing is there.
    NotFound,
    /// Something is there, for the methods in `allow`.
    MethodNotAllowed {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
}

impl Route {
    /// Returns the route's pattern, for the log.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Health => "/_icd/health",
            Self::Manifest => "/_icd/manifest",
            Self::ListDeploys | Self::Begin => "/_icd/deploys",
            Self::ShowDeploy(_) | Self::Abort(_) => "/_icd/deploys/{id}",
            Self::PutFile(_) | Self::RemoveFile(_) => "/_icd/deploys/{id}/files",
            Self::Commit(_) => "/_icd/deploys/{id}/commit",
            Self::Rollback => "/_icd/rollback",
            Self::PublishChangeset => "/_icd/changesets",
            Self::MissingBlobs => "/_icd/blobs/missing",
            Self::PutPack => "/_icd/blobs",
            Self::PutBlob(_) => "/_icd/blobs/{sha256}",
        }
    }
}

/// Returns the route of a request.
///
/// # Errors
///
/// [`NoRoute`], only below `/_icd`.
pub(crate) fn route(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let Some(rest) = path.strip_prefix(ROUTE_PREFIX) else {
        return if path == ROUTE_PREFIX.trim_end_matches('/') {
            Err(NoRoute::NotFound)
        } else {
            Ok(Route::Site)
        };
    };
    let segments: Vec<&str> = rest.split('/').collect();
    match segments[..] {
        ["health"] => {
            let table = [(Method::GET, Route::Health), (Method::HEAD, Route::Health)];
            pick(method, &table, "GET, HEAD")
        }
        ["manifest"] => pick(method, &[(Method::GET, Route::Manifest)], "GET"),
        ["deploys"] => pick(
            method,
            &[
                (Method::GET, Route::ListDeploys),
                (Method::POST, Route::Begin),
            ],
            "GET, POST",
        ),
        ["deploys", id] => {
            let id = deploy_id(id)?;
            let table = [
                (Method::GET, Route::ShowDeploy(id)),
                (Method::DELETE, Route::Abort(id)),
            ];
            pick(method, &table, "GET, DELETE")
        }
        ["deploys", id, "files"] => {
            let id = deploy_id(id)?;
            let table = [
                (Method::PUT, Route::PutFile(id)),
                (Method::DELETE, Route::RemoveFile(id)),
            ];
            pick(method, &table, "PUT, DELETE")
        }
        ["deploys", id, "commit"] => {
            let commit = Route::Commit(deploy_id(id)?);
            pick(method, &[(Method::POST, commit)], "POST")
        }
        ["rollback"] => pick(method, &[(Method::POST, Route::Rollback)], "POST"),
        ["changesets"] => pick(method, &[(Method::POST, Route::PublishChangeset)], "POST"),
        ["blobs"] => pick(method, &[(Method::POST, Route::PutPack)], "POST"),
        ["blobs", "missing"] => pick(method, &[(Method::POST, Route::MissingBlobs)], "POST"),
        ["blobs", digest] => {
            let digest = Sha256Digest::from_hex(digest).map_err(|_| NoRoute::NotFound)?;
            pick(method, &[(Method::PUT, Route::PutBlob(digest))], "PUT")
        }
        _ => Err(NoRoute::NotFound),
    }
}

/// An id that is none names no deploy: not found, as for an id that was pruned.
fn deploy_id(text: &str) -> Result<DeployId, NoRoute> {
    DeployId::parse(text).map_err(|_| NoRoute::NotFound)
}

fn pick(method: &Method, table: &[(Method, Route)], allow: &'static str) -> Result<Route, NoRoute> {
    table
        .iter()
        .find(|(candidate, _)| candidate == method)
        .map(|(_, route)| *route)
        .ok_or(NoRoute::MethodNotAllowed { allow })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1777000001000-a1b2c3d4";

    #[test]
    fn every_route() {
        let id = DeployId::parse(ID).unwrap();
        let digest = Sha256Digest::of(b"");
        for (method, path, expected) in [
            (Method::GET, "/_icd/health".to_owned(), Route::Health),
            (Method::HEAD, "/_icd/health".to_owned(), Route::Health),
            (Method::GET, "/_icd/manifest".to_owned(), Route::Manifest),
            (Method::GET, "/_icd/deploys".to_owned(), Route::ListDeploys),
            (Method::POST, "/_icd/deploys".to_owned(), Route::Begin),
            (
                Method::GET,
                format!("/_icd/deploys/{ID}"),
                Route::ShowDeploy(id),
            ),
            (
                Method::DELETE,
                format!("/_icd/deploys/{ID}"),
                Route::Abort(id),
            ),
            (
                Method::PUT,
                format!("/_icd/deploys/{ID}/files"),
                Route::PutFile(id),
            ),
            (
                Method::DELETE,
                format!("/_icd/deploys/{ID}/files"),
                Route::RemoveFile(id),
            ),
            (
                Method::POST,
                format!("/_icd/deploys/{ID}/commit"),
                Route::Commit(id),
            ),
            (Method::POST, "/_icd/rollback".to_owned(), Route::Rollback),
            (
                Method::POST,
                "/_icd/changesets".to_owned(),
                Route::PublishChangeset,
            ),
            (Method::POST, "/_icd/blobs".to_owned(), Route::PutPack),
            (
                Method::POST,
                "/_icd/blobs/missing".to_owned(),
                Route::MissingBlobs,
            ),
            (
                Method::PUT,
                format!("/_icd/blobs/{digest}"),
                Route::PutBlob(digest),
            ),
            (Method::GET, "/".to_owned(), Route::Site),
            (Method::POST, "/index.html".to_owned(), Route::Site),
            (Method::GET, "/_icdx".to_owned(), Route::Site),
        ] {
            assert_eq!(route(&method, &path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn nothing_below_the_endpoint_falls_through_to_the_site() {
        for path in [
            "/_icd",
            "/_icd/",
            "/_icd/health/",
            "/_icd//health",
            "/_icd/nothing",
            "/_icd/deploys/../health",
            "/_icd/deploys/1-2",
            "/_icd/deploys/1777000001000-a1b2c3d4/other",
            "/_icd/blobs/abc",
            "/_icd/%68ealth",
        ] {
            assert_eq!(route(&Method::GET, path), Err(NoRoute::NotFound), "{path}");
        }
    }

    #[test]
    fn other_methods_are_told_what_is_allowed() {
        for (method, path, allow) in [
            (Method::POST, "/_icd/health".to_owned(), "GET, HEAD"),
            (Method::PUT, "/_icd/deploys".to_owned(), "GET, POST"),
            (Method::POST, format!("/_icd/deploys/{ID}"), "GET, DELETE"),
            (
                Method::GET,
                format!("/_icd/deploys/{ID}/files"),
                "PUT, DELETE",
            ),
            (Method::GET, "/_icd/changesets".to_owned(), "POST"),
        ] {
            let refused = route(&method, &path);
            assert_eq!(refused, Err(NoRoute::MethodNotAllowed { allow }), "{path}");
        }
    }
}
