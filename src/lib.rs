//! onsave: save a file; it is live.

pub mod config;
pub mod state_folder;
pub mod surroundings;
pub mod telemetry;
