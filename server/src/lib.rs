//! The onsave server.

pub mod current;
pub mod store;
