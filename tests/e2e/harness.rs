//! What every story stands on: real processes in a home of their own, a site folder, an HTTP client
//! and a deadline for every wait.
//!
//! Nothing here sleeps for a fixed time or knows a fixed port. Everything that is started is ended
//! when its handle is dropped, and what it wrote is shown when a test fails.

pub(crate) mod deadline;
pub(crate) mod http;
pub(crate) mod installed;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod receiver;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod sync_client;
pub(crate) mod user_manager;
pub(crate) mod world;

pub(crate) use deadline::{eventually, wait_for};
pub(crate) use server::Server;
pub(crate) use site::SiteFolder;
pub(crate) use world::World;
