//! The other side of the control socket: what the commands ask a running daemon.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, task::JoinSet};

use super::{
    answers::LogLines,
    status::{Refusal, Status},
};
use crate::log_ring::LogLine;

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody watches the site.
    #[error("no onsave watches this site")]
    NoDaemon,
    /// The socket cannot be used.
    #[error("failed to reach the daemon at {}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The conversation broke.
    #[error("the daemon's answer broke off")]
    Broken(#[source] hyper::Error),
    /// The daemon says something that this program does not understand.
    #[error("the daemon's answer cannot be read; it may be another version")]
    BadAnswer(#[source] serde_json::Error),
    /// The daemon refuses.
    #[error("the daemon refuses: {error}")]
    Refused {
        /// Why.
        error: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl ControlError {
    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoDaemon => Some("`onsave watch` starts one".to_owned()),
            Self::BadAnswer(_) => Some("start the daemon again with this onsave".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Unreachable { .. } | Self::Broken(_) => None,
        }
    }
}

/// A connection to a running daemon.
#[derive(Debug)]
pub struct ControlClient {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Drives the connection; ends with it.
    _connection: JoinSet<()>,
}

impl ControlClient {
    /// Connects to the daemon whose socket is at `path`.
    ///
    /// # Errors
    ///
    /// [`ControlError::NoDaemon`] when nobody listens there.
    pub async fn connect(path: &Path) -> Result<Self, ControlError> {
        let stream = UnixStream::connect(path).await.map_err(|source| {
            match source.kind() {
                // A killed daemon leaves its socket.
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ControlError::NoDaemon
                }
                _ => ControlError::Unreachable {
                    path: path.to_owned(),
                    source,
                },
            }
        })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ControlError::Broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What breaks is met by the request under way.
            let _ended = connection.await;
        });
        Ok(Self {
            sender,
            _connection: driver,
        })
    }

    /// Returns how the site stands.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn status(&mut self) -> Result<Status, ControlError> {
        self.ask(Method::GET, "/v1/status", Vec::new()).await
    }

    /// Makes a call, and returns its answer.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ControlError> {
        let response = self.send(method, path, body).await?;
        let is_fine = response.status().is_success();
        let body = response.into_body().collect().await;
        let body = body.map_err(ControlError::Broken)?.to_bytes();
        if is_fine {
            return serde_json::from_slice(&body).map_err(ControlError::BadAnswer);
        }
        let refusal: Refusal = serde_json::from_slice(&body).map_err(ControlError::BadAnswer)?;
        Err(ControlError::Refused {
            error: refusal.error,
            hint: refusal.hint,
        })
    }

    /// Hands over how the site stands, at once and whenever it changes, until `seen` says that it is
    /// enough or the daemon ends.
    ///
    /// # Errors
    ///
    /// [`ControlError`], or what `seen` says.
    pub async fn follow<E: From<ControlError>>(
        &mut self,
        seen: impl FnMut(Status) -> Result<(), E>,
    ) -> Result<(), E> {
        self.events("/v1/events", seen).await
    }

    /// Returns the last `lines` lines of the daemon's log.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn logs(&mut self, lines: usize) -> Result<Vec<LogLine>, ControlError> {
        let path = format!("/v1/logs?lines={lines}");
        let logs: LogLines = self.ask(Method::GET, &path, Vec::new()).await?;
        Ok(logs.lines)
    }

    /// Hands over the last `lines` lines of the daemon's log, and those that come, until `seen` says
    /// that it is enough or the daemon ends.
    ///
    /// # Errors
    ///
    /// [`ControlError`], or what `seen` says.
    pub async fn follow_logs<E: From<ControlError>>(
        &mut self,
        lines: usize,
        seen: impl FnMut(LogLine) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = format!("/v1/logs?lines={lines}&follow");
        self.events(&path, seen).await
    }

    /// Hands over the data of each server-sent event; the events of one call are of one kind.
    async fn events<T: DeserializeOwned, E: From<ControlError>>(
        &mut self,
        path: &str,
        mut seen: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let response = self.send(Method::GET, path, Vec::new()).await?;
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(ControlError::Broken)?;
            text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = text.drain(..end + 2).collect();
                if let Some(data) = data_of(&event)? {
                    seen(data)?;
                }
            }
        }
        Ok(())
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, ControlError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "onsave")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("the path is one of this program's own");
        self.sender
            .send_request(request)
            .await
            .map_err(ControlError::Broken)
    }
}

/// Returns the data of one server-sent event; a heartbeat has none.
fn data_of<T: DeserializeOwned>(event: &[u8]) -> Result<Option<T>, ControlError> {
    let data = event
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"data: "));
    data.map(serde_json::from_slice)
        .transpose()
        .map_err(ControlError::BadAnswer)
}
