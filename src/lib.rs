//! onsave: save a file; it is live.

pub mod config;
pub mod dirty;
pub mod guard;
pub mod last_publish;
pub mod progress;
pub mod publish;
pub mod settle;
pub mod verify_live;
pub mod ignore_rules;
pub mod settle;
pub mod site_names;
