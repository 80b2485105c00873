//! The control API of a daemon: how its site stands, for whoever asks, and a few things to ask for.
//!
//! ```text
//! onsave status, pause, … ──► control.sock ─┐                             ┌─► Asked ──► daemon
//!                                           ├─► guard ─► router ─► calls ─┤               │
//! dashboard, a CMS ──► 127.0.0.1:4747 ──────┘     ▲                       └─► errands     │
//!                                                 └───── Status, log lines ◄──────────────┘
//! ```
//!
//! HTTP and JSON over a Unix socket in the site's state folder, which only its owner can open, and
//! over an address, which browsers reach and `guard` protects. Both have the same calls. Owns the
//! listeners and what is told; the daemon alone decides what its rounds do. A daemon whose listeners
//! cannot be made works without them.
//!
//! | module | holds |
//! |---|---|
//! | `connections`, `loopback` | the listeners, their limits and patience |
//! | `guard`, `token` | who may do what; pure |
//! | `router`, `query` | which call a request means; pure |
//! | `calls`, `reply`, `events` | requests in, answers out |
//! | `errands` | what is asked of the server, the folder and the platform, beside the daemon's rounds |
//! | `status`, `answers` | the JSON |
//! | `dashboard` | the page |
//! | `client` | the other side of the socket |
//!
//! `openapi.json` describes the calls, docs/API.md tells them to people.

pub mod answers;
mod calls;
pub mod client;
mod connections;
mod dashboard;
pub mod errands;
mod events;
mod guard;
mod loopback;
mod query;
mod reply;
mod router;
pub mod status;
mod token;

use std::{io, path::PathBuf, sync::Arc};

use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use self::{
    calls::Shared,
    connections::Listener,
    errands::Errands,
    status::{PublishNow, Published, Status},
};
pub use self::{loopback::Loopback, token::Token};
use crate::{hooks::Hooks, log_ring::LogRing};

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
    /// Nothing; the server went back to an earlier deploy, as somebody asked.
    WentBack {
        /// The deploy that is current now.
        deploy_id: String,
    },
}

/// The daemon's end of the control API; dropping it ends the listeners.
#[derive(Debug)]
pub struct Control {
    asked: mpsc::Receiver<Asked>,
    status: watch::Sender<Status>,
    shared: Shared,
    /// End with this value.
    listeners: JoinSet<()>,
    /// Removed with this value.
    socket: Option<Socket>,
}

/// What answers are made from, besides the status.
#[derive(Debug, Default)]
pub struct Means {
    /// Asks the server and looks at the folder; without, such calls are refused.
    pub errands: Option<Errands>,
    /// The last lines of the log.
    pub logs: LogRing,
    /// Answers below `/hooks/`, before any guard: the proof is in the request.
    pub hooks: Option<Arc<Hooks>>,
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
    /// Returns one that nobody reaches yet.
    #[must_use]
    pub fn new(status: Status, means: Means) -> Self {
        let (ask, asked) = mpsc::channel(MOST_WAITING);
        let (status, told) = watch::channel(status);
        let shared = Shared {
            ask,
            told,
            errands: means.errands.map(Arc::new),
            logs: means.logs,
            hooks: means.hooks,
            under_way: Arc::default(),
        };
        Self {
            asked,
            status,
            shared,
            listeners: JoinSet::new(),
            socket: None,
        }
    }

    /// Listens at `path`, where no other daemon of the site does: the caller holds the site's lock.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made: the path is longer than the system takes (107 bytes), or the
    /// folder cannot be written.
    pub fn listen_at(&mut self, path: PathBuf) -> io::Result<()> {
        // What a killed daemon left.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The folder is its owner's alone.
        let listener = UnixListener::bind(&path)?;
        self.socket = Some(Socket(path));
        self.serve(Listener::Socket(listener));
        Ok(())
    }

    /// Listens on an address, and tells where.
    pub fn listen_on(&mut self, loopback: Loopback) {
        let url = loopback.url();
        self.tell(|status| status.address = Some(url));
        self.serve(loopback.into_listener());
    }

    fn serve(&mut self, listener: Listener) {
        let served = connections::serve(listener, self.shared.clone());
        self.listeners.spawn(served);
    }

    /// Returns what is asked for next; waits for ever where nobody asks. Cancel-safe.
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
