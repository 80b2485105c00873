//! The build: a command that makes the site from its sources, when one of them is saved.
//!
//! ```text
//! sources ─► watch ─► settle ─► survey: what differs? ─► plan ─► run: sh -c … ─► success ─► publish
//! ```
//!
//! | module | does |
//! |---|---|
//! | `source_rules` | which files are sources; what the watcher leaves out |
//! | `survey` | walks the sources, and says which of them differ from the last look |
//! | `plan` | when the command runs, is ended, and lets the site be published; pure |
//! | `run` | one run: the processes, their output, their end |
//! | `last_lines`, `run_log` | what is kept of the output: the end for people, the whole in a file |
//!
//! As with the site, file events are hints and the disk is the truth: an event only leads to a look, and
//! what differs starts a run. Nothing here publishes; [`crate::daemon`] asks the plan whether it may.

pub(crate) mod last_lines;
pub(crate) mod plan;
mod run;
mod run_log;
pub(crate) mod source_rules;
pub(crate) mod survey;

pub use self::{
    run::{Build, BuildError, EVENT_FILE_VARIABLE},
    source_rules::SourceRules,
};
