//! The deploy store through its public interface, on a real file system.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;
mod recovery;
mod refusals;
mod retention;
mod site;
mod staged;
mod verify;
mod volume_full;
