//! The base that a request names: `If-Match: "<id>"`, or `If-None-Match: *` for the first deploy.

use http::{HeaderMap, HeaderValue, header};
use onsave_protocol::DeployId;

use crate::reply::Refusal;

/// Returns the base of a changeset; nothing for the first deploy of all.
///
/// # Errors
///
/// [`Refusal::PreconditionRequired`] when the request names no base; [`Refusal::BadRequest`] when
/// it names one that is no single deploy.
pub(super) fn base(headers: &HeaderMap) -> Result<Option<DeployId>, Refusal> {
    match (if_match(headers)?, headers.get(header::IF_NONE_MATCH)) {
        (Some(base), None) => Ok(Some(base)),
        (None, Some(value)) if value == "*" => Ok(None),
        (None, None) => Err(Refusal::PreconditionRequired),
        (None, Some(_)) => Err(Refusal::bad_request("If-None-Match can only be *")),
        (Some(_), Some(_)) => Err(Refusal::bad_request(
            "If-Match and If-None-Match exclude each other",
        )),
    }
}

/// Returns the deploy that `If-Match` names, if the request has one.
///
/// # Errors
///
/// [`Refusal::BadRequest`] when it is not one strong tag with a deploy id.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<DeployId>, Refusal> {
    headers.get(header::IF_MATCH).map(deploy_tag).transpose()
}

fn deploy_tag(value: &HeaderValue) -> Result<DeployId, Refusal> {
    value
        .to_str()
        .ok()
        .and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"'))
        .and_then(|id| DeployId::parse(id).ok())
        .ok_or_else(|| Refusal::bad_request("If-Match has to be one deploy id in quotes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn status(pairs: &[(&'static str, &'static str)]) -> Result<Option<DeployId>, StatusCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        base(&headers).map_err(|refusal| refusal.status().0)
    }

    #[test]
    fn a_base_or_the_first() {
        let id = DeployId::parse("1777000001000-a1b2c3d4").unwrap();
        let tag = ("if-match", "\"1777000001000-a1b2c3d4\"");
        let first = ("if-none-match", "*");
        assert_eq!(status(&[tag]), Ok(Some(id)));
        assert_eq!(status(&[first]), Ok(None));
        assert_eq!(status(&[]), Err(StatusCode::PRECONDITION_REQUIRED));
        for bad in [
            &[tag, first][..],
            &[("if-none-match", "\"x\"")],
            &[("if-match", "*")],
            &[("if-match", "W/\"1777000001000-a1b2c3d4\"")],
            &[("if-match", "1777000001000-a1b2c3d4")],
            &[("if-match", "\"1777000001000-a1b2c3d4\", \"1-a1b2c3d4\"")],
        ] {
            assert_eq!(status(bad), Err(StatusCode::BAD_REQUEST), "{bad:?}");
        }
    }
}
