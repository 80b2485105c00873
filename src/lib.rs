//! onsave: save a file; it is live.
//!
//! ```text
//! command line ─┐
//! environment  ─┼─ config ─→ commands ─→ watch, publish, deploys, rollback
//! onsave.toml  ─┘                     └→ init, check, doctor, completions, man
//! ```

pub mod after_publish;
pub mod build;
pub mod cli;
pub mod commands;
pub mod config;
pub mod config_watch;
pub mod control;
pub mod daemon;
pub mod desktop;
pub mod dirty;
pub mod doctor;
mod durable_file;
pub mod error_report;
pub mod exit_code;
pub mod fly;
pub mod flyctl;
mod free_port;
pub mod guard;
pub mod hooks;
pub mod http;
pub mod ignore_rules;
pub mod image;
pub mod kept_versions;
pub mod last_publish;
pub mod log_ring;
mod process_group;
pub mod progress;
pub mod provision;
pub mod publish;
pub mod registry;
pub mod rhythm;
pub mod scan;
pub mod service;
pub mod settle;
mod shown;
pub mod shutdown;
pub mod site_files;
pub mod site_folder;
pub mod site_lock;
pub mod site_names;
pub mod state_folder;
pub mod surroundings;
pub mod target;
pub mod telemetry;
pub mod verify_live;
pub mod wall_clock;
pub mod watch;
