//! Why a registry could not be used, what to do about it, and whether the same may succeed later.
//!
//! Owns the mapping from refusals on the wire to errors. What a registry says is shown, on one line
//! and escaped, and never decides more than the specification's own codes do.

use std::{fmt, time::Duration};

use serde::Deserialize;

use crate::{
    http::{Answer, HttpError},
    image::BlobDigest,
    shown::ShownText,
};

/// Most characters of a refusal that are shown: a page of some proxy is longer than anybody reads.
const SHOWN_CHARACTERS: usize = 1_000;

/// Why a registry could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text names no registry.
    #[error("{host:?} is not the name of a registry")]
    BadHost {
        /// The text.
        host: String,
    },
    /// The text names no repository.
    #[error("{repository:?} is not the name of a repository")]
    BadRepository {
        /// The text.
        repository: String,
    },
    /// The text is neither tag nor digest.
    #[error("{tag:?} is neither a tag nor a digest")]
    BadTag {
        /// The text.
        tag: String,
    },
    /// There is no answer.
    #[error("no answer from the registry {host}")]
    NoAnswer {
        /// Who was asked.
        host: String,
        /// What failed.
        #[source]
        source: HttpError,
    },
    /// The credentials are not accepted.
    #[error("the registry {host} does not accept the token: {refusal}")]
    Unauthorised {
        /// Who was asked.
        host: String,
        /// Its words.
        refusal: Refusal,
    },
    /// The credentials are good, but not for this.
    #[error("the token may not push to {host}/{repository}: {refusal}")]
    Forbidden {
        /// Who was asked.
        host: String,
        /// What it was asked for.
        repository: String,
        /// Its words.
        refusal: Refusal,
    },
    /// There is no such repository for these credentials.
    #[error("the registry {host} knows no repository {repository}: {refusal}")]
    UnknownRepository {
        /// Who was asked.
        host: String,
        /// What it was asked for.
        repository: String,
        /// Its words.
        refusal: Refusal,
    },
    /// The registry does not see the blobs that it has just taken.
    #[error("the registry {host} lacks a blob that it took: {refusal}")]
    BlobsMissing {
        /// Who was asked.
        host: String,
        /// Its words.
        refusal: Refusal,
    },
    /// The image is larger than the registry takes.
    #[error("the image is too large for the registry {host}: {refusal}")]
    TooLarge {
        /// Who was asked.
        host: String,
        /// Its words.
        refusal: Refusal,
    },
    /// The registry asks to be left alone for a while.
    #[error("the registry {host} is busy: {refusal}")]
    Busy {
        /// Who was asked.
        host: String,
        /// Its words.
        refusal: Refusal,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The registry failed.
    #[error("the registry {host} failed: {refusal}")]
    Failed {
        /// Who was asked.
        host: String,
        /// Its words.
        refusal: Refusal,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The registry refuses for another reason.
    #[error("the registry {host} refuses: {refusal}")]
    Refused {
        /// Who was asked.
        host: String,
        /// Its words.
        refusal: Refusal,
    },
    /// The answer is not what the specification has.
    #[error("the answer of the registry {host} cannot be used: {problem}")]
    BadAnswer {
        /// Who was asked.
        host: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The registry keeps something else than it was sent.
    #[error("the registry {host} has {told} where {sent} was sent")]
    OtherDigest {
        /// Who was asked.
        host: String,
        /// What was sent.
        sent: BlobDigest,
        /// What it says it has.
        told: String,
    },
}

/// A registry's refusal, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What it said, on one line.
    pub message: String,
    /// What the platform calls the request, for its support.
    pub request_id: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {}", self.message, self.status)?;
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        f.write_str(")")
    }
}

/// What a failure asks for before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// Trying again changes nothing.
    Never,
    /// The same may succeed later, after the wait that was asked for at least.
    Backoff { asked: Option<Duration> },
    /// What is not there may be there in some seconds.
    Appearing,
}

impl RegistryError {
    pub(super) const fn retry(&self) -> Retry {
        match self {
            Self::NoAnswer { source, .. } => match source {
                // A handshake may break like any exchange; a certificate does not get better.
                HttpError::Tls(rustls::Error::InvalidCertificate(_))
                | HttpError::AnswerTooLong(_)
                | HttpError::BadCoding(_)
                | HttpError::FileChanged
                | HttpError::Invalid(_)
                | HttpError::BadUrl => Retry::Never,
                HttpError::Connect(_)
                | HttpError::Tls(_)
                | HttpError::Broken(_)
                | HttpError::Stalled(_) => Retry::Backoff { asked: None },
            },
            Self::Busy { retry_after, .. } | Self::Failed { retry_after, .. } => Retry::Backoff {
                asked: *retry_after,
            },
            Self::BlobsMissing { .. } => Retry::Backoff { asked: None },
            Self::UnknownRepository { .. } => Retry::Appearing,
            Self::BadHost { .. }
            | Self::BadRepository { .. }
            | Self::BadTag { .. }
            | Self::Unauthorised { .. }
            | Self::Forbidden { .. }
            | Self::TooLarge { .. }
            | Self::Refused { .. }
            | Self::BadAnswer { .. }
            | Self::OtherDigest { .. } => Retry::Never,
        }
    }

    /// Returns what to do next, in words.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::BadHost { .. } => {
                "write a host and perhaps a port, such as registry.fly.io".into()
            }
            Self::BadRepository { .. } => {
                "write small letters, digits, and single `-`, `_` or `.` between them".into()
            }
            Self::BadTag { .. } => {
                "write letters, digits, `-`, `_` and `.`, 128 at most".into()
            }
            Self::NoAnswer { host, source } => no_answer_hint(host, source),
            Self::Unauthorised { .. } => {
                "the token is wrong, expired, or for another organisation: make a new one with `fly tokens create org`".into()
            }
            Self::Forbidden { .. } => {
                "use a token that may write: one for reading only may not push".into()
            }
            Self::UnknownRepository { repository, .. } => format!(
                "check that the app {repository} exists and belongs to the organisation of the token"
            ),
            Self::BlobsMissing { .. } | Self::Busy { .. } | Self::Failed { .. } => {
                "wait a minute and try again; what was sent is not sent again".into()
            }
            Self::TooLarge { .. } => {
                "use a release build of onsave-server, without debug information".into()
            }
            Self::Refused { .. } => "the message above says what the registry wants".into(),
            Self::BadAnswer { host, .. } | Self::OtherDigest { host, .. } => format!(
                "check that {host} is a registry, and that nothing between it and this machine changes answers"
            ),
        }
    }
}

fn no_answer_hint(host: &str, source: &HttpError) -> String {
    match source {
        HttpError::Tls(_) => format!(
            "check the certificate of {host}; a proxy that opens TLS needs its certificate on this machine"
        ),
        HttpError::Connect(_) => format!("check the network, and that {host} is the right name"),
        _ => "check the network and try again; what was sent is not sent again".into(),
    }
}

/// Who was asked, for errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) host: &'a str,
    pub(super) repository: &'a str,
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Returns what an answer means that is not what the call answers.
pub(super) fn refusal(answer: &Answer, asked: Asked<'_>) -> RegistryError {
    let host = asked.host.to_owned();
    let repository = asked.repository.to_owned();
    let entries = serde_json::from_slice::<ErrorBody>(&answer.body)
        .map(|body| body.errors)
        .unwrap_or_default();
    let has = |code: &str| entries.iter().any(|entry| entry.code == code);
    let refusal = Refusal {
        status: answer.status,
        message: words(&entries, &answer.body),
        request_id: answer
            .header("fly-request-id")
            .map(|id| ShownText(id).to_string()),
    };
    let retry_after = answer
        .header("retry-after")
        .and_then(|seconds| seconds.trim().parse().ok())
        .map(Duration::from_secs);
    match answer.status {
        401 => RegistryError::Unauthorised { host, refusal },
        403 => RegistryError::Forbidden {
            host,
            repository,
            refusal,
        },
        404 if has("NAME_UNKNOWN") => RegistryError::UnknownRepository {
            host,
            repository,
            refusal,
        },
        400 | 404 if has("BLOB_UNKNOWN") || has("MANIFEST_BLOB_UNKNOWN") => {
            RegistryError::BlobsMissing { host, refusal }
        }
        413 => RegistryError::TooLarge { host, refusal },
        408 | 429 => RegistryError::Busy {
            host,
            refusal,
            retry_after,
        },
        500.. => RegistryError::Failed {
            host,
            refusal,
            retry_after,
        },
        _ => RegistryError::Refused { host, refusal },
    }
}

/// Returns a refusal's words on one line: the specification's `code: message`, or whatever was sent.
fn words(entries: &[ErrorEntry], body: &[u8]) -> String {
    let text = if entries.is_empty() {
        String::from_utf8_lossy(body).into_owned()
    } else {
        let entries = entries.iter().map(|entry| {
            let code = entry.code.to_ascii_lowercase().replace('_', " ");
            if entry.message.is_empty() || entry.message.starts_with(&code) {
                format!("{code}{}", entry.message.strip_prefix(&code).unwrap_or(""))
            } else {
                format!("{code}: {}", entry.message)
            }
        });
        entries.collect::<Vec<_>>().join("; ")
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        _ if text.is_empty() => "no reason given".into(),
        Some((end, _)) => format!("{} …", ShownText(&text[..end])),
        None => ShownText(&text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> RegistryError {
        let asked = Asked {
            host: "registry.fly.io",
            repository: "my-app",
        };
        refusal(&Answer::made_up(status, headers, body), asked)
    }

    const BACKOFF: Retry = Retry::Backoff { asked: None };

    #[test]
    fn refusals_become_what_they_mean() {
        let unknown =
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"app repository not found"}]}"#;
        let table = [
            (401, "", Retry::Never, "does not accept the token"),
            (
                403,
                "",
                Retry::Never,
                "may not push to registry.fly.io/my-app",
            ),
            (
                404,
                unknown,
                Retry::Appearing,
                "knows no repository my-app: name unknown: app repository not found (status 404)",
            ),
            (
                404,
                "404 page not found\n",
                Retry::Never,
                "refuses: 404 page not found (status 404)",
            ),
            (
                400,
                r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#,
                BACKOFF,
                "lacks a blob that it took: blob unknown to registry (status 400)",
            ),
            (
                400,
                r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#,
                Retry::Never,
                "refuses: manifest invalid (status 400)",
            ),
            (
                413,
                "<html>\n <b>Too  large</b>",
                Retry::Never,
                "too large for the registry registry.fly.io: <html> <b>Too large</b> (status 413)",
            ),
            (429, "", BACKOFF, "is busy: no reason given (status 429)"),
            (
                502,
                "bad gateway",
                BACKOFF,
                "failed: bad gateway (status 502)",
            ),
            (
                301,
                "",
                Retry::Never,
                "refuses: no reason given (status 301)",
            ),
        ];
        for (status, body, retry, words) in table {
            let error = refused(status, &[], body);
            assert_eq!(error.retry(), retry, "{status} {body}");
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.hint().is_empty());
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_what_it_is_called() {
        let headers = [("retry-after", "7"), ("fly-request-id", "01JABC-arn")];
        let error = refused(
            503,
            &headers,
            r#"{"errors":[{"code":"UNAVAILABLE","message":"later"}]}"#,
        );
        let asked = Some(Duration::from_secs(7));
        assert_eq!(error.retry(), Retry::Backoff { asked });
        assert_eq!(
            error.to_string(),
            "the registry registry.fly.io failed: unavailable: later (status 503, request 01JABC-arn)"
        );
    }

    #[test]
    fn what_is_shown_is_bounded_and_moves_no_cursor() {
        let long = refused(400, &[], &"å".repeat(5_000)).to_string();
        assert!(long.chars().count() < 1_100, "{long}");
        let forged = refused(400, &[], "a\u{1b}[2J\r\nerror: b").to_string();
        assert!(!forged.contains(['\u{1b}', '\n', '\r']), "{forged:?}");
    }

    #[test]
    fn connections_are_tried_again_and_wrong_requests_are_not() {
        let no_answer = |source| RegistryError::NoAnswer {
            host: "r".into(),
            source,
        };
        let io = || std::io::Error::other("x");
        for source in [
            HttpError::Connect(io()),
            HttpError::Broken(io()),
            HttpError::Stalled(Duration::from_secs(30)),
            HttpError::Tls(rustls::Error::DecryptError),
        ] {
            assert_eq!(no_answer(source).retry(), BACKOFF);
        }
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        for source in [HttpError::BadUrl, HttpError::Tls(expired)] {
            assert_eq!(no_answer(source).retry(), Retry::Never);
        }
    }
}
