//! onsave: save a file; it is live.

pub mod config;
pub mod dirty;
pub mod guard;
pub mod ignore_rules;
pub mod scan;
pub mod settle;
pub mod site_folder;
pub mod site_names;
pub mod watch;
