//! onsave: save a file; it is live.

pub mod config;
