//! The first generation's calls: a deploy is begun, filled file by file, and committed.
//!
//! They may be signed either way. What is staged is in the store's memory, by reference.

use std::borrow::Cow;

use http::{StatusCode, request::Parts};
use onsave_protocol::{
    DeployId, FileEntry, SitePath,
    wire::v1::{Begun, Committed as CommittedBody, Done},
};
use percent_encoding::percent_decode;
use tokio::time::Instant;

use super::{Answer, Endpoint, changesets::log_commit};
use crate::{
    reply::{Refusal, json},
    request_body::RequestBody,
    store::Committed,
};

impl Endpoint {
    /// Stages a deploy that starts as the current one.
    pub(super) async fn begin(&self) -> Answer {
        let id = self.blocking(|store| Ok(store.begin()?)).await?;
        let deploy_id = id.to_string();
        Ok(json(StatusCode::OK, &Begun { deploy_id }))
    }

    /// Puts a file into a staged deploy.
    pub(super) async fn put_file(
        &self,
        id: DeployId,
        parts: &Parts,
        body: &mut RequestBody,
    ) -> Answer {
        let path = path_of(parts.uri.query())?;
        let size = body.declared_length().ok_or(Refusal::LengthRequired)?;
        // The signature covers the file's digest, directly or as the body's.
        let digest = body
            .signed_digest()
            .ok_or_else(|| Refusal::internal("a verified body has no digest"))?;
        let entry = FileEntry { digest, size };
        self.take_file(entry, body).await?;
        self.blocking(move |store| Ok(store.staged_put(id, path, entry)?))
            .await?;
        Ok(json(StatusCode::OK, &Done { ok: true }))
    }

    /// Removes a file from a staged deploy, also when it is absent.
    pub(super) async fn remove_file(&self, id: DeployId, parts: &Parts) -> Answer {
        let path = path_of(parts.uri.query())?;
        self.blocking(move |store| Ok(store.staged_remove(id, path)?))
            .await?;
        Ok(json(StatusCode::OK, &Done { ok: true }))
    }

    /// Makes a staged deploy current.
    pub(super) async fn commit(&self, id: DeployId) -> Answer {
        let arrived = Instant::now();
        let committed = self
            .blocking(move |store| {
                let committed = store.staged_commit(id)?;
                let made = store.deploys().into_iter();
                let changes = made
                    .filter(|deploy| deploy.deploy_id == committed.deploy_id)
                    .map(|deploy| (deploy.puts, deploy.removes))
                    .next();
                log_commit(&committed, arrived, "staged", changes.unwrap_or_default());
                Ok(committed)
            })
            .await?;
        Ok(json(StatusCode::OK, &committed_body(&committed)))
    }

    /// Forgets a staged deploy.
    pub(super) async fn abort(&self, id: DeployId) -> Answer {
        self.blocking(move |store| Ok(store.staged_abort(id)?))
            .await?;
        Ok(json(StatusCode::OK, &Done { ok: true }))
    }
}

/// Returns the first generation's answer to whatever made a deploy current.
pub(super) fn committed_body(committed: &Committed) -> CommittedBody {
    CommittedBody {
        ok: true,
        deploy_id: committed.deploy_id.to_string(),
    }
}

/// Returns the site path in the query's `path`.
///
/// Clients encode it as `encodeURIComponent` or as a form does. Only the second leaves a `+` as it
/// is, for a space; the first writes a plus as `%2B`: decoding as a form reads both.
fn path_of(query: Option<&str>) -> Result<SitePath, Refusal> {
    let mut values = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.strip_prefix("path="));
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refusal::bad_request("the query needs one path"));
    };
    let spaced = value.replace('+', " ");
    let decoded: Cow<'_, [u8]> = percent_decode(spaced.as_bytes()).into();
    SitePath::from_bytes(&decoded).map_err(|source| Refusal::BadPath {
        path: String::from_utf8_lossy(&decoded).into_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_both_encodings() {
        for (query, expected) in [
            ("path=index.html", "index.html"),
            (
                "path=blog%2Fhello%20world%2Findex.html",
                "blog/hello world/index.html",
            ),
            (
                "path=blog%2Fhello+world%2Findex.html",
                "blog/hello world/index.html",
            ),
            ("path=a%2Bb", "a+b"),
            ("path=bl%C3%A5b%C3%A6r.png", "bl\u{e5}b\u{e6}r.png"),
            ("path=a/b", "a/b"),
            ("x=1&path=a&y=2", "a"),
            ("path=100%", "100%"),
            ("path=a=b", "a=b"),
        ] {
            assert_eq!(path_of(Some(query)).unwrap().as_str(), expected, "{query}");
        }
    }

    #[test]
    fn bad_paths_are_refused_not_repaired() {
        for query in [
            None,
            Some(""),
            Some("path"),
            Some("xpath=a"),
            Some("path=a&path=b"),
            Some("path="),
            Some("path=%2Fetc%2Fpasswd"),
            Some("path=..%2Fx"),
            Some("path=a%2F..%2Fx"),
            Some("path=a%2F%2Fb"),
            Some("path=a%00"),
            Some("path=a%5Cb"),
            Some("path=%FF"),
            Some("path=a%0A"),
        ] {
            let refused = path_of(query).map_err(|refusal| refusal.status().0);
            assert_eq!(refused, Err(StatusCode::BAD_REQUEST), "{query:?}");
        }
    }
}
