//! `onsave status`, `onsave pause`, `onsave resume`.

use clap::Args;

use super::OUTPUT_HEADING;

/// `onsave status`.
#[derive(Debug, Default, Args)]
pub struct StatusArgs {
    /// Print a line whenever something changes, until the daemon ends.
    #[arg(short, long, help_heading = OUTPUT_HEADING)]
    pub watch: bool,
    /// Print one JSON object; with --watch, one for each change.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave pause` and `onsave resume`.
#[derive(Debug, Default, Args)]
pub struct SwitchArgs {
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}
