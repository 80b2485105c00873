//! `onsave service`: its commands and their options.

use clap::{Args, Subcommand};

use super::OUTPUT_HEADING;

/// `onsave service`.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ServiceCommand,
}

/// What `onsave service` can do.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Write the unit for this site, start it, and start it at each login or boot from now on.
    ///
    /// The service has the configuration file and nothing of this terminal's environment but
    /// `XDG_STATE_HOME`. Doing it again brings the unit up to date; settings of your own belong into
    /// `systemctl --user edit`.
    Install,
    /// Stop the service and remove what `install` wrote.
    Uninstall,
    /// Show whether it runs, since when, and how the site stands.
    Status(ServiceStatusArgs),
    /// Show what the service wrote to the journal.
    Logs(ServiceLogsArgs),
}

/// `onsave service status`.
#[derive(Debug, Default, Args)]
pub struct ServiceStatusArgs {
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave service logs`.
#[derive(Debug, Default, Args)]
pub struct ServiceLogsArgs {
    /// Go on with what is written from now on, until Ctrl-C.
    #[arg(short, long, help_heading = OUTPUT_HEADING)]
    pub follow: bool,
    /// How many lines to begin with.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50, help_heading = OUTPUT_HEADING)]
    pub lines: u32,
}
