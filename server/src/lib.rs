//! The onsave server: a signed sync endpoint, a deploy store, and static serving, over one volume.
//!
//! ```text
//! connection → limits → route ─ /_icd/* → verify signature → call → deploy store → volume
//!   accept      accept   router            auth              deploys    store
//!                           └─ everything else → what is current → answer
//!                                                static_files, current
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | the checked configuration, with its defaults |
//! | [`cli`] | the command's flags and environment → configuration |
//! | `accept` | the accept loop, connection permits, HTTP/1 and HTTP/2, time limits, drain |
//! | `service` | one request: span, route, answer |
//! | `router` | method and path → route; pure |
//! | `auth` | signatures; the only maker of verified requests |
//! | `request_body` | a body while it arrives: limits, time, digest |
//! | `deploys` | the calls below `/_icd/` |
//! | `static_files` | the site |
//! | `reply` | outcome → status, code, words |
//! | [`store`] | the only writer of the volume |
//! | [`snapshot`] | the files of one deploy |
//! | [`observer`], [`metrics`] | what is told of each request: access log, counters |
//! | [`current`] | what visitors are served |
//! | [`health`] | `--health`: asks the server that runs here |
//! | [`service_manager`] | what systemd is told |
//! | [`telemetry`], [`shutdown`] | what a process sets up once |
//!
//! The client embeds this library for its `local` target: [`ServerConfig::new`], [`Store::open`],
//! [`serve`].

mod accept;
mod auth;
pub mod cli;
pub mod config;
pub mod current;
mod deploys;
pub mod health;
pub mod metrics;
pub mod observer;
mod reply;
mod request_body;
mod router;
mod service;
pub mod service_manager;
pub mod shutdown;
pub mod snapshot;
mod static_files;
pub mod store;
pub mod telemetry;

pub use self::{
    accept::{ServeError, serve},
    auth::NonceError,
    config::ServerConfig,
    store::{Store, StoreOptions},
};
