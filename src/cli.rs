//! The command line: its definition, and nothing that acts.
//!
//! Parsing gives a value; [`crate::commands`] acts on it. An option that sets a configuration key
//! is one entry of [`Cli::flags`], so that flags are one more layer of the configuration. Secrets
//! have no option: a command line is visible to every process of the machine. No option reads the
//! environment here; that layer belongs to [`crate::config`].

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use onsave_protocol::DeployId;

use crate::{
    config::{FlagLayer, keys},
    exit_code,
};

const PUBLISH_HEADING: &str = "Publishing";
const WATCH_HEADING: &str = "Watching";
const CONFIG_HEADING: &str = "Configuration";
const OUTPUT_HEADING: &str = "Output";

const EXAMPLES: &str = "\
Examples:
  onsave                                  watch deploy/ and serve it on this machine
  onsave watch public                     the same for the folder public/
  onsave publish --dry-run                show what a publish would change
  onsave --target https://example.org publish
                                          publish once to a running server
  onsave deploys                          list the deploys that can be gone back to
  onsave rollback                         make the deploy before the current one current
  onsave check                            show the configuration and where it comes from

Environment:
  ONSAVE_SYNC_SECRET   the secret that the target shares; never an option
  ONSAVE_CONFIG        the configuration file, where --config is not given
  ONSAVE_<KEY>         any configuration key: ONSAVE_WATCH_QUIET_MS sets watch.quiet_ms
  RUST_LOG             the log filter; wins over every other setting of it
  NO_COLOR             when set, nothing is coloured

";

/// Save a file; it is live.
///
/// Watches a site's output folder and publishes each save. Without a command it watches. Without
/// any configuration it serves the site on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "onsave",
    version,
    max_term_width = 100,
    after_help = "Run `onsave help COMMAND` or `onsave --help` for more.",
    after_long_help = after_long_help(),
    propagate_version = true
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub options: GlobalOptions,
    /// What to do; watching when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command takes.
#[derive(Debug, Default, Args)]
pub struct GlobalOptions {
    /// The configuration file; by default the nearest onsave.toml from the working folder upwards.
    #[arg(long, global = true, value_name = "FILE", help_heading = CONFIG_HEADING)]
    pub config: Option<PathBuf>,
    /// Where to publish to: `local`, or the URL of a running server.
    ///
    /// The secret of a server comes from `ONSAVE_SYNC_SECRET` or from the file that
    /// `target.secret_file` names.
    #[arg(long, global = true, value_name = "TARGET", help_heading = CONFIG_HEADING)]
    pub target: Option<String>,
    /// The site folder.
    #[arg(long, global = true, value_name = "DIR", help_heading = CONFIG_HEADING)]
    pub dir: Option<PathBuf>,
    /// The shape of log lines on standard error.
    #[arg(long, global = true, value_name = "FORMAT", help_heading = OUTPUT_HEADING)]
    pub log_format: Option<LogFormatChoice>,
    /// Log warnings and errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = OUTPUT_HEADING)]
    pub quiet: bool,
    /// Log more; twice for everything.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = OUTPUT_HEADING)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the site folder and publish each save, until Ctrl-C.
    Watch(WatchArgs),
    /// Publish once.
    Publish(PublishArgs),
    /// List the deploys on the target.
    Deploys(DeploysArgs),
    /// Make an earlier deploy current again.
    ///
    /// A running watch does not publish again until the next save.
    Rollback(RollbackArgs),
    /// Write a commented onsave.toml into the working folder.
    ///
    /// The name of the app is the folder's. An existing file is never overwritten.
    Init,
    /// Check the configuration; show every value and where it comes from.
    Check(CheckArgs),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of every command.
    Man(ManArgs),
}

/// `onsave watch`.
#[derive(Debug, Default, Args)]
pub struct WatchArgs {
    /// The site folder; by default deploy/, or what the configuration says.
    #[arg(value_name = "DIR", conflicts_with = "dir")]
    pub folder: Option<PathBuf>,
    /// Make a skipped file an error.
    ///
    /// Skipped are files that cannot be read or published, and those that look like secrets.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub strict: bool,
    /// Poll the folder instead of waiting for file events.
    #[arg(long, value_name = "WHEN", help_heading = WATCH_HEADING)]
    pub poll: Option<PollChoice>,
    /// First address that the local target tries; a port of 0 lets the system choose.
    #[arg(long, value_name = "IP:PORT", help_heading = PUBLISH_HEADING)]
    pub address: Option<String>,
}

/// `onsave publish`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one option, named where it is read"
)]
#[derive(Debug, Default, Args)]
pub struct PublishArgs {
    /// The site folder; by default deploy/, or what the configuration says.
    #[arg(value_name = "DIR", conflicts_with = "dir")]
    pub folder: Option<PathBuf>,
    /// Show what would be added, changed and removed; send nothing.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub dry_run: bool,
    /// Publish even when most of the site would be removed.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub allow_removals: bool,
    /// A note that the list of deploys shows.
    #[arg(short, long, value_name = "TEXT", value_parser = parse_note, help_heading = PUBLISH_HEADING)]
    pub message: Option<String>,
    /// Make a skipped file an error.
    ///
    /// Skipped are files that cannot be read or published, and those that look like secrets.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub strict: bool,
    /// Print one JSON object.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave deploys`.
#[derive(Debug, Default, Args)]
pub struct DeploysArgs {
    /// Show what this deploy changed.
    #[arg(value_name = "ID")]
    pub id: Option<DeployId>,
    /// Print one JSON object.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave rollback`.
#[derive(Debug, Default, Args)]
pub struct RollbackArgs {
    /// The deploy to go back to; by default the one before the current.
    #[arg(value_name = "ID")]
    pub id: Option<DeployId>,
    /// Print one JSON object.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave check`.
#[derive(Debug, Default, Args)]
pub struct CheckArgs {
    /// Print one JSON object.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// `onsave man`.
#[derive(Debug, Default, Args)]
pub struct ManArgs {
    /// Write the pages of every command into this folder.
    #[arg(long, value_name = "DIR", help_heading = OUTPUT_HEADING)]
    pub out: Option<PathBuf>,
}

/// The values of `--log-format`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormatChoice {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The values of `--poll`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PollChoice {
    /// Where file events are known not to arrive.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Cli {
    /// Returns the options that set configuration keys, as the uppermost layer.
    #[must_use]
    pub fn flags(&self) -> FlagLayer {
        let mut layer = FlagLayer::new(self.options.config.clone());
        self.options.add_to(&mut layer);
        match &self.command {
            Some(Command::Watch(args)) => args.add_to(&mut layer),
            Some(Command::Publish(args)) => args.add_to(&mut layer),
            Some(
                Command::Deploys(_)
                | Command::Rollback(_)
                | Command::Init
                | Command::Check(_)
                | Command::Completions(_)
                | Command::Man(_),
            )
            | None => {}
        }
        layer
    }
}

impl GlobalOptions {
    fn add_to(&self, layer: &mut FlagLayer) {
        match self.target.as_deref() {
            None => {}
            Some("local") => layer.set(&keys::TARGET_KIND, "--target", "local"),
            Some(url) => {
                layer.set(&keys::TARGET_KIND, "--target", "url");
                layer.set(&keys::TARGET_URL, "--target", url);
            }
        }
        if let Some(dir) = &self.dir {
            layer.set(&keys::DIR, "--dir", dir);
        }
        if let Some(format) = self.log_format {
            layer.set(&keys::LOG_FORMAT, "--log-format", choice_name(&format));
        }
        match (self.quiet, self.verbose) {
            (true, _) => layer.set(&keys::LOG_FILTER, "--quiet", "warn"),
            (false, 0) => {}
            (false, 1) => layer.set(&keys::LOG_FILTER, "--verbose", VERBOSE_FILTER),
            (false, _) => layer.set(&keys::LOG_FILTER, "--verbose", "trace"),
        }
    }
}

/// Own crates in detail, foreign ones as usual: a library's debug lines drown what was asked for.
const VERBOSE_FILTER: &str = "info,onsave=debug,onsave_server=debug,onsave_protocol=debug";

impl WatchArgs {
    fn add_to(&self, layer: &mut FlagLayer) {
        if let Some(folder) = &self.folder {
            layer.set(&keys::DIR, "DIR", folder);
        }
        if self.strict {
            layer.set(&keys::PUBLISH_STRICT, "--strict", "true");
        }
        if let Some(poll) = self.poll {
            layer.set(&keys::WATCH_POLL, "--poll", choice_name(&poll));
        }
        if let Some(address) = &self.address {
            layer.set(&keys::LOCAL_ADDRESS, "--address", address);
        }
    }
}

impl PublishArgs {
    fn add_to(&self, layer: &mut FlagLayer) {
        if let Some(folder) = &self.folder {
            layer.set(&keys::DIR, "DIR", folder);
        }
        if self.strict {
            layer.set(&keys::PUBLISH_STRICT, "--strict", "true");
        }
    }
}

fn choice_name(choice: &impl ValueEnum) -> OsString {
    choice
        .to_possible_value()
        .map(|value| value.get_name().into())
        .expect("no choice is hidden from the command line")
}

/// Refuses what the list of deploys could not show on one line, or the server would not take.
fn parse_note(text: &str) -> Result<String, String> {
    let most = onsave_protocol::limits::MAX_NOTE_BYTES;
    if text.len() > most {
        return Err(format!("{} bytes long; {most} are allowed", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("control characters and line breaks are not allowed".to_owned());
    }
    Ok(text.to_owned())
}

fn after_long_help() -> String {
    format!("{EXAMPLES}{}", exit_code::help_section())
}
