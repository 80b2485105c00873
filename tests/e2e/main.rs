//! The programs as a user runs them: a real daemon, a real server, a real folder that is edited.
//!
//! One file per story; `harness` holds what they stand on. A story says what somebody does and what
//! is live afterwards; what is inside is tested beside the code.

mod after_publish;
mod build;
mod commands;
mod control_api;
mod crash;
mod desktop;
mod doctor;
mod fly;
mod fly_simulator;
mod flyctl;
mod harness;
mod hooks;
mod judges;
mod local_target;
mod logs;
mod missed_events;
mod one_exchange;
mod proof;
mod random_edits;
mod registry;
mod restarts;
mod rollback;
mod saves;
mod secrets;
mod server_program;
mod service;
mod sidecar;
mod site_folder;
mod status;
mod survival;
mod two_writers;
mod v1_client;
