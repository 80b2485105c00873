//! What travels between client and server: routes, JSON shapes, framing and error codes.

pub mod error;
pub mod frame;
pub mod v1;
pub mod v2;

/// The prefix of every route of the sync endpoint.
pub const ROUTE_PREFIX: &str = "/_icd/";

/// Returns whether a path of the site, or of a folder in it, is the sync endpoint's, so that no visitor
/// could ever see what stands there.
#[must_use]
pub fn is_reserved(path: &str) -> bool {
    let reserved = ROUTE_PREFIX.trim_matches('/');
    path.strip_prefix(reserved)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The protocol version that health answers, of the first generation on the wire.
pub const PROTOCOL_VERSION: &str = "1.0.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_endpoint_itself_is_reserved() {
        for path in ["_icd", "_icd/", "_icd/health", "_icd/a/b"] {
            assert!(is_reserved(path), "{path}");
        }
        for path in ["", "icd", "_icdx", "_icd.html", "a/_icd", "_ICD/x"] {
            assert!(!is_reserved(path), "{path}");
        }
    }
}
