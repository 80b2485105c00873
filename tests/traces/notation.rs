//! How a trace is written: `milliseconds change path`, one change a line.
//!
//! `run` begins a run of the program, and the time starts from its first notice. Changes of one time came
//! in one notice, which may have merged several of a path: `created>written` is the first and the last.

use std::path::PathBuf;

use onsave::dirty::Change;

/// The names of changes in a trace.
pub(crate) const CHANGES: [(&str, Change); 8] = [
    ("touched", Change::Touched),
    ("created", Change::Created),
    ("writing", Change::Writing),
    ("written", Change::Written),
    ("folder", Change::Folder),
    ("removed", Change::Removed),
    ("folder-removed", Change::FolderRemoved),
    ("moved-away", Change::MovedAway),
];

/// Returns where the traces are.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces/recorded")
}
