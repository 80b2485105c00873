//! `onsave status`, `onsave pause`, `onsave resume`, `onsave logs`, `onsave open`.

use clap::Args;

use super::OUTPUT_HEADING;
use crate::log_ring::KEPT_LINES;

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

/// `onsave logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on with the lines that come, until the daemon ends.
    #[arg(short, long, help_heading = OUTPUT_HEADING)]
    pub follow: bool,
    /// How many of the last lines to show, up to 1000.
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u16).range(0..=KEPT_LINES as i64),
        help_heading = OUTPUT_HEADING
    )]
    pub lines: u16,
    /// Print one JSON object for each line.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave open`.
#[derive(Debug, Default, Args)]
pub struct OpenArgs {
    /// Print the address instead of opening it; it lets whoever has it act.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub print: bool,
}
