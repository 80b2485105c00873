//! The control socket of a daemon: how its site stands, for whoever asks, and a few things to ask for.
//!
//! ```text
//! onsave status, pause, resume ──► control.sock ──► server ──► Asked ──► daemon
//!                                                     ▲                    │
//!                                                     └──── Status ◄───────┘
//! ```
//!
//! HTTP and JSON over a Unix socket in the site's state folder, which only its owner can open: there
//! is no password, and nothing listens on a network. Owns the socket and what is told; the daemon
//! alone decides what is done. A daemon whose socket cannot be made works without one.
//!
//! | call | does |
//! |---|---|
//! | `GET /v1/status` | how the site stands |
//! | `GET /v1/events` | the same as server-sent events, at once and whenever it changes |
//! | `POST /v1/publish` | publishes now, and answers when that is over |
//! | `POST /v1/pause`, `POST /v1/resume` | saves are not published, or are again |

pub mod client;
mod server;
pub mod status;

use std::{io, path::PathBuf};

use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use self::status::{PublishNow, Published, Status};

/// Requests that wait for the daemon at most; more are refused.
const MOST_WAITING: usize = 16;

/// What the daemon is asked for.
#[derive(Debug)]
pub enum Asked {
    /// To publish now, whatever would be waited for.
    Publish {
        /// How.
        how: PublishNow,
        /// Gets what became of it.
        done: oneshot::Sender<Published>,
    },
    /// Not to publish saves.
    Pause {
        /// Gets how the site stands then.
        done: oneshot::Sender<()>,
    },
    /// To publish saves again.
    Resume {
        /// As above.
        done: oneshot::Sender<()>,
    },
}

/// The daemon's end of the control socket; dropping it ends the socket.
#[derive(Debug)]
pub struct Control {
    asked: mpsc::Receiver<Asked>,
    status: watch::Sender<Status>,
    /// Ends with this value.
    _server: JoinSet<()>,
    /// Removed with this value.
    _socket: Option<Socket>,
}

/// The socket's file.
#[derive(Debug)]
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that stays is in nobody's way: the next daemon replaces it.
        let _gone = std::fs::remove_file(&self.0);
    }
}

impl Control {
    /// Listens at `path`, where no other daemon of the site does: the caller holds the site's lock.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made: the path is longer than the system takes (107 bytes), or the
    /// folder cannot be written.
    pub fn listen(path: PathBuf, status: Status) -> io::Result<Self> {
        // What a killed daemon left.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The folder is its owner's alone.
        let listener = UnixListener::bind(&path)?;
        let (ask, asked) = mpsc::channel(MOST_WAITING);
        let (status, told) = watch::channel(status);
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, server::Shared { ask, told }));
        Ok(Self {
            asked,
            status,
            _server: tasks,
            _socket: Some(Socket(path)),
        })
    }

    /// Returns one that nobody can reach.
    #[must_use]
    pub fn unreachable(status: Status) -> Self {
        // Its sender is gone, so that nothing is ever asked.
        let (_, asked) = mpsc::channel(1);
        Self {
            asked,
            status: watch::channel(status).0,
            _server: JoinSet::new(),
            _socket: None,
        }
    }

    /// Returns what is asked for next; waits for ever where nobody can ask. Cancel-safe.
    pub async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }

    /// Tells how the site stands, when that is news.
    pub fn tell(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}

#[cfg(test)]
mod tests;
