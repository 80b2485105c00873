//! Why a publish failed, what to do about it, and when to try again.
//!
//! Owns the mapping from refusals on the wire to errors here; texts of the server are shown, never
//! interpreted, except the first generation's 401 texts, which are part of the protocol.

use std::{io, time::Duration};

use onsave_protocol::{
    Sha256Digest, SitePath,
    signature::v1::SignatureError,
    wire::{
        error::{ErrorBody, ErrorCode},
        frame::FrameError,
    },
};

use super::{retry::RetryClass, session::LOCAL_TARGET, sign::NoRandomness, site_bytes::ReadError};
use crate::http::{Answer, HttpError};

/// Why a call to the server, or a whole publish, failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no answer.
    #[error("no answer from {url}")]
    NoAnswer {
        /// The target.
        url: String,
        /// What failed.
        #[source]
        source: HttpError,
    },
    /// Something answers, but it is no sync server.
    #[error("{url} answers, but not as an onsave server (status {status})")]
    NotOnsave {
        /// The target.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The clocks differ too much for signatures to hold.
    #[error("the clocks differ too much: the server {url} has {server}, this machine {local}")]
    ClockSkew {
        /// The target.
        url: String,
        /// The server's `Date`, as sent.
        server: String,
        /// This machine's time.
        local: String,
    },
    /// The server knows another secret.
    #[error("{url} refuses the secret of {secret_origin}")]
    WrongSecret {
        /// The target.
        url: String,
        /// Where the secret was read: a variable's name or a file.
        secret_origin: String,
    },
    /// The server asks to be left alone for a while.
    #[error("{url} is busy: {message}")]
    Busy {
        /// The target.
        url: String,
        /// The server's words.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server failed.
    #[error("{url} failed with status {status}: {message}")]
    ServerFailed {
        /// The target.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The server's volume is full; the site stays as it was.
    #[error("the volume of {url} is full: {message}")]
    VolumeFull {
        /// The target.
        url: String,
        /// The server's words.
        message: String,
    },
    /// The server refuses the request as it is.
    #[error("{url} refuses with status {status}: {message}")]
    Refused {
        /// The target.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// A rollback has nothing to go back to.
    #[error("there is no earlier deploy to go back to")]
    NoEarlierDeploy,
    /// The deploy that the changeset was made against is not current any more.
    #[error("the server's deploy changed meanwhile")]
    BaseNotCurrent {
        /// What is current now, as far as the server says.
        current: Option<String>,
    },
    /// The server lacks bytes that it was thought to have.
    #[error("the server lacks the bytes of {} files", .0.len())]
    MissingBlobs(Vec<Sha256Digest>),
    /// Others publish so often that no base stays current.
    #[error("others publish to {url} at the same time: gave up after {tries} tries")]
    Contended {
        /// The target.
        url: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The call needs a server of the second generation.
    #[error("{url} cannot {what}: it speaks the first protocol generation only")]
    NeedsSecondGeneration {
        /// The target.
        url: String,
        /// What was asked of it.
        what: &'static str,
    },
    /// The answer is not what the call answers.
    #[error("the answer of {url} cannot be read")]
    BadAnswer {
        /// The target.
        url: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A file is not what was scanned; which one is known where the client saw it first.
    #[error("{} changed since it was scanned", path.as_ref().map_or("a file", SitePath::as_str))]
    ChangedSinceScan {
        /// The file.
        path: Option<SitePath>,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: SitePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The changeset cannot be written down.
    #[error("the changeset cannot be encoded")]
    Encode(#[source] FrameError),
    /// A file cannot be compressed.
    #[error("{path} cannot be compressed")]
    Compress {
        /// The file.
        path: SitePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A request cannot be signed.
    #[error("a request cannot be signed")]
    Sign(#[from] NoRandomness),
    /// A worker thread died.
    #[error("a worker thread failed")]
    Worker(#[source] tokio::task::JoinError),
}

/// What a person has to look at after a failure; the command line maps it to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The server cannot be reached, or failed.
    Unreachable,
    /// The server refused: secret, clock, limits.
    Refused,
    /// The site folder.
    SiteFolder,
    /// This program.
    Internal,
}

impl PublishError {
    /// Returns the error of a file whose bytes cannot be had.
    pub(crate) fn reading(path: &SitePath, error: ReadError) -> Self {
        match error {
            ReadError::ChangedSinceScan => Self::ChangedSinceScan {
                path: Some(path.clone()),
            },
            ReadError::Io(source) => Self::Unreadable {
                path: path.clone(),
                source,
            },
        }
    }

    /// Returns what this failure asks for before the next try.
    #[must_use]
    pub const fn retry(&self) -> RetryClass {
        match self {
            Self::NoAnswer { source, .. } => match source {
                HttpError::Connect(_)
                | HttpError::Tls(_)
                | HttpError::Broken(_)
                | HttpError::Stalled(_)
                | HttpError::AnswerTooLong(_)
                | HttpError::BadCoding(_) => RetryClass::Backoff,
                HttpError::FileChanged => RetryClass::Rescan,
                HttpError::Invalid(_) | HttpError::BadUrl => RetryClass::Never,
            },
            Self::BaseNotCurrent { .. } => RetryClass::FreshManifest,
            Self::ChangedSinceScan { .. } | Self::Unreadable { .. } => RetryClass::Rescan,
            // A daemon goes on with these as well: a clock is set, a secret is deployed, a disk is
            // cleaned, and the save that waits should then go live by itself.
            Self::NotOnsave { .. }
            | Self::ClockSkew { .. }
            | Self::WrongSecret { .. }
            | Self::Busy { .. }
            | Self::ServerFailed { .. }
            | Self::VolumeFull { .. }
            | Self::MissingBlobs(_)
            | Self::Contended { .. }
            | Self::BadAnswer { .. }
            // Said by what stands in for the server while it is replaced, or of another generation.
            | Self::Refused {
                status: 401 | 403 | 404 | 405,
                ..
            } => RetryClass::Backoff,
            Self::Refused { .. }
            | Self::NoEarlierDeploy
            | Self::NeedsSecondGeneration { .. }
            | Self::Encode(_)
            | Self::Compress { .. }
            | Self::Sign(_)
            | Self::Worker(_) => RetryClass::Never,
        }
    }

    /// Returns whether the same publish may succeed a moment later without anybody doing anything.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer {
                source: HttpError::Broken(_) | HttpError::Stalled(_),
                ..
            } | Self::Busy { .. }
                | Self::MissingBlobs(_)
        )
    }

    /// Returns the least time to wait that the server asked for.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns what a person has to look at.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::NoAnswer { .. }
            | Self::NotOnsave { .. }
            | Self::Busy { .. }
            | Self::ServerFailed { .. }
            | Self::BadAnswer { .. } => FailureKind::Unreachable,
            Self::ClockSkew { .. }
            | Self::WrongSecret { .. }
            | Self::VolumeFull { .. }
            | Self::Refused { .. }
            | Self::NoEarlierDeploy
            | Self::BaseNotCurrent { .. }
            | Self::MissingBlobs(_)
            | Self::Contended { .. }
            | Self::NeedsSecondGeneration { .. } => FailureKind::Refused,
            Self::ChangedSinceScan { .. } | Self::Unreadable { .. } => FailureKind::SiteFolder,
            Self::Encode(_) | Self::Compress { .. } | Self::Sign(_) | Self::Worker(_) => {
                FailureKind::Internal
            }
        }
    }

    /// Returns what to do next, in words.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoAnswer { url, source } => no_answer_hint(url, source),
            Self::NotOnsave { url, .. } if url == LOCAL_TARGET => LOCAL_HINT.into(),
            Self::NotOnsave { url, .. } => {
                format!(
                    "check that {url} is the server's address; `curl {url}/_icd/health` answers {{\"ok\":true,…}} there"
                )
            }
            Self::ClockSkew { .. } => {
                "set the clock of the machine that is wrong (timedatectl set-ntp true)".into()
            }
            Self::WrongSecret { secret_origin, .. } => {
                format!("{secret_origin} must hold the same text as SYNC_SECRET of the server")
            }
            Self::Busy { retry_after, .. } => match retry_after.as_ref().map(Duration::as_secs) {
                Some(1) => "wait a second and try again".into(),
                Some(seconds @ 2..) => format!("wait {seconds} seconds and try again"),
                Some(0) | None => "wait a moment and try again".into(),
            },
            Self::NoEarlierDeploy => {
                "`onsave deploys` lists what the target keeps; `*` marks the current one".into()
            }
            Self::ServerFailed { .. } => "the server's log says what failed".into(),
            Self::VolumeFull { .. } => {
                "free space on the server's volume or enlarge it; the site stays as it was".into()
            }
            Self::Refused { status: 413, .. } => {
                "make the file smaller, or raise the limit of the server".into()
            }
            Self::Refused { .. } => "the message above says what the server wants".into(),
            Self::BaseNotCurrent { .. } | Self::Contended { .. } => {
                "publish again; let one machine publish this site at a time".into()
            }
            Self::MissingBlobs(_) => {
                "publish again; if it stays, run `onsave-server --verify` on the volume".into()
            }
            Self::NeedsSecondGeneration { .. } => "run onsave-server on the other side".into(),
            Self::BadAnswer { url, .. } => {
                format!("check whether something between this machine and {url} changes answers")
            }
            Self::ChangedSinceScan { .. } => "publish again when the build is over".into(),
            Self::Unreadable { .. } => "check the file's permissions".into(),
            Self::Encode(_) | Self::Compress { .. } | Self::Sign(_) | Self::Worker(_) => {
                "this is a fault of onsave or of the machine: please report it".into()
            }
        }
    }
}

/// The server of the local target is this process or a `watch`: nobody can be sent to its port.
const LOCAL_HINT: &str = "run the command again; the `onsave watch` that served it may have ended";

fn no_answer_hint(url: &str, source: &HttpError) -> String {
    match source {
        HttpError::Connect(_) if url == LOCAL_TARGET => LOCAL_HINT.into(),
        HttpError::Connect(_) => format!("check that the server runs: curl {url}/_icd/health"),
        HttpError::Tls(_) => format!(
            "check the certificate of {url}, and that the address really speaks TLS (https, not http)"
        ),
        HttpError::Broken(_) | HttpError::Stalled(_) => {
            "check the network; nothing is lost: publish again".into()
        }
        HttpError::AnswerTooLong(_) | HttpError::BadCoding(_) => {
            format!("check whether something between this machine and {url} changes answers")
        }
        HttpError::FileChanged => "publish again when the build is over".into(),
        HttpError::Invalid(_) | HttpError::BadUrl => {
            format!("{url} must look like https://example.org, without a path")
        }
    }
}

/// What an error needs to know of who was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) url: &'a str,
    pub(crate) secret_origin: &'a str,
    /// This machine's time, for a person.
    pub(crate) local_time: &'a str,
}

/// Returns what a refusal (status 400 and above) means.
pub(crate) fn refusal(answer: &Answer, asked: Asked<'_>) -> PublishError {
    let body = serde_json::from_slice::<ErrorBody>(&answer.body).unwrap_or_else(|_| ErrorBody {
        error: "no reason given".into(),
        code: None,
        current_deploy_id: None,
        missing: Vec::new(),
    });
    let url = asked.url.to_owned();
    let status = answer.status;
    let message = body.error;
    let retry_after = answer
        .header("retry-after")
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    match (status, body.code) {
        (_, Some(ErrorCode::NoEarlierDeploy)) => PublishError::NoEarlierDeploy,
        (401, _) => unauthorised(answer, body.code, &message, asked),
        (_, Some(ErrorCode::DigestMismatch)) => PublishError::ChangedSinceScan { path: None },
        (409 | 412, _) => PublishError::BaseNotCurrent {
            current: body.current_deploy_id.map(|id| id.to_string()),
        },
        (422, _) if !body.missing.is_empty() => PublishError::MissingBlobs(body.missing),
        (507, _) => PublishError::VolumeFull { url, message },
        (408 | 429 | 503, _) => PublishError::Busy {
            url,
            message,
            retry_after,
        },
        (500.., _) => PublishError::ServerFailed {
            url,
            status,
            message,
        },
        _ => PublishError::Refused {
            url,
            status,
            message,
        },
    }
}

fn unauthorised(
    answer: &Answer,
    code: Option<ErrorCode>,
    message: &str,
    asked: Asked<'_>,
) -> PublishError {
    let url = asked.url.to_owned();
    let is = |text: SignatureError| message == text.to_string();
    if code == Some(ErrorCode::TimestampSkew) || is(SignatureError::Skew) {
        PublishError::ClockSkew {
            url,
            server: answer.header("date").unwrap_or("no date").to_owned(),
            local: asked.local_time.to_owned(),
        }
    } else if code == Some(ErrorCode::InvalidSignature) || is(SignatureError::Invalid) {
        PublishError::WrongSecret {
            url,
            secret_origin: asked.secret_origin.to_owned(),
        }
    } else {
        PublishError::Refused {
            url,
            status: answer.status,
            message: message.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> PublishError {
        let asked = Asked {
            url: "https://example.org",
            secret_origin: "file /etc/secret",
            local_time: "2026-11-22T10:00:00Z",
        };
        refusal(&Answer::made_up(status, headers, body), asked)
    }

    #[test]
    fn refusals_become_what_they_mean() {
        use FailureKind::{Refused, SiteFolder, Unreachable};
        let table = [
            (
                400,
                r#"{"error":"x","code":"bad_request"}"#,
                RetryClass::Never,
                Refused,
            ),
            (
                400,
                r#"{"error":"x","code":"digest_mismatch"}"#,
                RetryClass::Rescan,
                SiteFolder,
            ),
            (
                401,
                r#"{"error":"missing auth headers"}"#,
                RetryClass::Backoff,
                Refused,
            ),
            (
                401,
                r#"{"error":"invalid signature"}"#,
                RetryClass::Backoff,
                Refused,
            ),
            (
                401,
                r#"{"error":"timestamp skew too large"}"#,
                RetryClass::Backoff,
                Refused,
            ),
            (
                409,
                r#"{"error":"x","code":"staging_conflict"}"#,
                RetryClass::FreshManifest,
                Refused,
            ),
            (412, r#"{"error":"x"}"#, RetryClass::FreshManifest, Refused),
            (
                413,
                r#"{"error":"x","code":"too_large"}"#,
                RetryClass::Never,
                Refused,
            ),
            (422, r#"{"error":"x"}"#, RetryClass::Never, Refused),
            (429, r#"{"error":"x"}"#, RetryClass::Backoff, Unreachable),
            (500, "<html>", RetryClass::Backoff, Unreachable),
            (
                503,
                r#"{"error":"x","code":"a code of tomorrow"}"#,
                RetryClass::Backoff,
                Unreachable,
            ),
            (
                507,
                r#"{"error":"x","code":"volume_full"}"#,
                RetryClass::Backoff,
                Refused,
            ),
        ];
        for (status, body, retry, kind) in table {
            let error = refused(status, &[], body);
            assert_eq!(
                (error.retry(), error.kind()),
                (retry, kind),
                "{status} {body}"
            );
            assert!(!error.hint().is_empty());
        }
    }

    #[test]
    fn a_rollback_without_an_earlier_deploy_points_to_the_list() {
        let body = r#"{"error":"x","code":"no_earlier_deploy"}"#;
        let error = refused(400, &[], body);
        assert_eq!(
            error.to_string(),
            "there is no earlier deploy to go back to"
        );
        assert!(error.hint().contains("`onsave deploys`"));
        let came_to = (error.retry(), error.kind());
        assert_eq!(came_to, (RetryClass::Never, FailureKind::Refused));
    }

    /// Its port means nothing to anybody, and is gone with the command.
    #[test]
    fn nobody_is_sent_to_the_port_of_the_local_target() {
        let error = PublishError::NotOnsave {
            url: LOCAL_TARGET.into(),
            status: 404,
        };
        assert!(error.to_string().starts_with("the local target answers"));
        assert!(!error.hint().contains("curl"), "{}", error.hint());
    }

    #[test]
    fn a_busy_server_says_how_long() {
        let error = refused(503, &[("retry-after", "7")], r#"{"error":"busy"}"#);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert!(error.is_passing());
        assert_eq!(error.to_string(), "https://example.org is busy: busy");
        assert_eq!(error.hint(), "wait 7 seconds and try again");
        let banned = refused(429, &[("retry-after", "61")], r#"{"error":"no"}"#);
        assert_eq!(banned.hint(), "wait 61 seconds and try again");
        let silent = refused(429, &[], r#"{"error":"no"}"#);
        assert_eq!(silent.hint(), "wait a moment and try again");
    }

    #[test]
    fn the_current_deploy_and_what_is_missing_are_kept() {
        let id = "1777000001000-a1b2c3d4";
        let error = refused(
            412,
            &[],
            &format!(r#"{{"error":"x","currentDeployId":"{id}"}}"#),
        );
        assert!(
            matches!(&error, PublishError::BaseNotCurrent { current: Some(current) } if current == id)
        );
        let digest = Sha256Digest::of(b"x");
        let error = refused(
            422,
            &[],
            &format!(r#"{{"error":"x","missing":["{digest}"]}}"#),
        );
        assert!(matches!(&error, PublishError::MissingBlobs(missing) if missing[..] == [digest]));
    }

    #[test]
    fn both_clocks_are_named() {
        let date = "Sun, 22 Nov 2026 09:00:00 GMT";
        let error = refused(
            401,
            &[("date", date)],
            r#"{"error":"x","code":"timestamp_skew"}"#,
        );
        let text = error.to_string();
        assert!(
            text.contains(date) && text.contains("2026-11-22T10:00:00Z"),
            "{text}"
        );
    }
}
