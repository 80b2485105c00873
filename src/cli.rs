//! The command line: its definition, and nothing that acts.
//!
//! Parsing gives a value; [`crate::commands`] acts on it. An option that sets a configuration key
//! is one entry of [`Cli::flags`], so that flags are one more layer of the configuration. Secrets
//! have no option: a command line is visible to every process of the machine. No option reads the
//! environment here; that layer belongs to [`crate::config`].

mod deliveries;
mod domain;
mod examples;
mod note;
mod service;
mod status;
mod unused;

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use onsave_protocol::DeployId;

pub use self::{
    deliveries::{DeliveriesArgs, DeliveriesCommand, DropArgs, ListDeliveriesArgs, ResendArgs},
    domain::{DomainArgs, DomainCommand, DomainName},
    service::{ServiceArgs, ServiceCommand, ServiceLogsArgs, ServiceStatusArgs},
    status::{LogsArgs, OpenArgs, StatusArgs, SwitchArgs},
};
use self::{
    examples::{
        COMPLETIONS_EXAMPLES, DELIVERIES_EXAMPLES, DEPLOYS_EXAMPLES, DOCTOR_EXAMPLES,
        DOMAIN_EXAMPLES, EXAMPLES, MAN_EXAMPLES, PROVISION_EXAMPLES, PUBLISH_EXAMPLES,
        ROLLBACK_EXAMPLES, SERVICE_EXAMPLES, WATCH_EXAMPLES,
    },
    note::NoteParser,
};
use crate::{
    config::{FlagLayer, keys},
    exit_code,
};

const PUBLISH_HEADING: &str = "Publishing";
const WATCH_HEADING: &str = "Watching";
const CONFIG_HEADING: &str = "Configuration";
const OUTPUT_HEADING: &str = "Output";

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
    /// Where to publish to: `local`, `fly`, or the URL of a running server.
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
    #[command(after_long_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Publish once.
    #[command(after_long_help = PUBLISH_EXAMPLES)]
    Publish(PublishArgs),
    /// Make the app on Fly.io what the configuration says.
    ///
    /// What is there is looked at first, and only what differs is done: a run that was stopped is
    /// finished by the next. `watch` and `publish` do the same where there is no app yet.
    #[command(after_long_help = PROVISION_EXAMPLES)]
    Provision(ProvisionArgs),
    /// Add, list, check and remove domains of your own.
    #[command(after_long_help = DOMAIN_EXAMPLES)]
    Domain(DomainArgs),
    /// Let this site's daemon run by itself, as a user service of systemd.
    #[command(after_long_help = SERVICE_EXAMPLES)]
    Service(ServiceArgs),
    /// Replace the secret of the app on Fly.io.
    Secret(SecretArgs),
    /// Remove the app on Fly.io with everything in it; asks for its name.
    Destroy(DestroyArgs),
    /// Show how a running watch stands: its state and its last publishes.
    Status(StatusArgs),
    /// Tell a running watch not to publish saves.
    Pause(SwitchArgs),
    /// Tell a running watch to publish saves again.
    Resume(SwitchArgs),
    /// Show the last lines of a running watch's log.
    Logs(LogsArgs),
    /// Open the dashboard of a running watch in a browser.
    Open(OpenArgs),
    /// List the deploys on the target, or show what one of them changed.
    #[command(after_long_help = DEPLOYS_EXAMPLES)]
    Deploys(DeploysArgs),
    /// Make an earlier deploy current again.
    ///
    /// A running watch does not publish again until the next save.
    #[command(after_long_help = ROLLBACK_EXAMPLES)]
    Rollback(RollbackArgs),
    /// List, send again and forget what is told of publishes (`[[after_publish]]`).
    #[command(after_long_help = DELIVERIES_EXAMPLES)]
    Deliveries(DeliveriesArgs),
    /// Write a commented onsave.toml into the working folder.
    ///
    /// With --config, that file is written; with --dir, it names that site folder. The name of the
    /// app is that of the file's folder. An existing file is never overwritten.
    Init,
    /// Check the configuration; show every value and where it comes from.
    Check(CheckArgs),
    /// Look at everything that a publish needs, and say what to do about what is wrong.
    ///
    /// Nothing is changed anywhere. Each line is ok, warning or broken. What Fly.io is to be asked
    /// about the app needs its token.
    #[command(after_long_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Print the completions of a shell.
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of every command.
    #[command(after_long_help = MAN_EXAMPLES)]
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
    /// Publish what is there, without running the configured build command first.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub no_build: bool,
    /// Show what would be added, changed and removed; send nothing.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub dry_run: bool,
    /// Publish even when most of the site would be removed.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub allow_removals: bool,
    /// A note that the list of deploys shows.
    #[arg(short, long, value_name = "TEXT", value_parser = NoteParser, help_heading = PUBLISH_HEADING)]
    pub message: Option<String>,
    /// Make a skipped file an error.
    ///
    /// Skipped are files that cannot be read or published, and those that look like secrets.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub strict: bool,
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave provision`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one option, named where it is read"
)]
#[derive(Debug, Default, Args)]
pub struct ProvisionArgs {
    /// Show what would be done; do nothing.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub plan: bool,
    /// Replace the server by the one that belongs to this onsave; the site stays.
    #[arg(long, help_heading = PUBLISH_HEADING)]
    pub rebuild: bool,
    /// Write a whole fly.toml beside the configuration, so that `fly deploy` changes nothing.
    #[arg(long, conflicts_with = "plan", help_heading = OUTPUT_HEADING)]
    pub write_fly_toml: bool,
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave secret`.
#[derive(Debug, Args)]
pub struct SecretArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SecretCommand,
}

/// What `onsave secret` can do.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Make another secret and set it; the server takes the one before it as well.
    Rotate(RotateArgs),
}

/// `onsave secret rotate`.
#[derive(Debug, Default, Args)]
pub struct RotateArgs {
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave destroy`.
#[derive(Debug, Default, Args)]
pub struct DestroyArgs {
    /// The app's name, in place of typing it when asked.
    #[arg(long, value_name = "APP", help_heading = PUBLISH_HEADING)]
    pub confirm: Option<String>,
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave deploys`.
#[derive(Debug, Default, Args)]
pub struct DeploysArgs {
    /// Show what this deploy changed.
    #[arg(value_name = "ID")]
    pub id: Option<DeployId>,
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave rollback`.
#[derive(Debug, Default, Args)]
pub struct RollbackArgs {
    /// The deploy to go back to; by default the one before the current.
    #[arg(value_name = "ID")]
    pub id: Option<DeployId>,
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave check`.
#[derive(Debug, Default, Args)]
pub struct CheckArgs {
    /// Print one JSON object, also when it fails.
    #[arg(long, help_heading = OUTPUT_HEADING)]
    pub json: bool,
}

/// `onsave doctor`.
#[derive(Debug, Default, Args)]
pub struct DoctorArgs {
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
                Command::Provision(_)
                | Command::Domain(_)
                | Command::Service(_)
                | Command::Secret(_)
                | Command::Destroy(_)
                | Command::Status(_)
                | Command::Pause(_)
                | Command::Resume(_)
                | Command::Logs(_)
                | Command::Open(_)
                | Command::Deploys(_)
                | Command::Rollback(_)
                | Command::Deliveries(_)
                | Command::Init
                | Command::Check(_)
                | Command::Doctor(_)
                | Command::Completions(_)
                | Command::Man(_),
            )
            | None => {}
        }
        layer
    }
}

impl Command {
    /// Returns whether one object is asked for in place of text.
    #[must_use]
    pub const fn wants_json(&self) -> bool {
        match self {
            Self::Publish(args) => args.json,
            Self::Provision(args) => args.json,
            Self::Domain(args) => args.command.json(),
            Self::Secret(SecretArgs {
                command: SecretCommand::Rotate(args),
            }) => args.json,
            Self::Destroy(args) => args.json,
            Self::Status(args) => args.json,
            Self::Pause(args) | Self::Resume(args) => args.json,
            Self::Logs(args) => args.json,
            Self::Deploys(args) => args.json,
            Self::Rollback(args) => args.json,
            Self::Deliveries(args) => args.command.json(),
            Self::Check(args) => args.json,
            Self::Doctor(args) => args.json,
            Self::Init
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Service(_)
            | Self::Open(_)
            | Self::Watch(_) => false,
        }
    }
}

impl GlobalOptions {
    fn add_to(&self, layer: &mut FlagLayer) {
        match self.target.as_deref() {
            None => {}
            Some(kind @ ("local" | "fly")) => layer.set(&keys::TARGET_KIND, "--target", kind),
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

fn after_long_help() -> String {
    format!("{EXAMPLES}{}", exit_code::help_section())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;
    use crate::config::keys::Key;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_set_keys() {
        type Set = (&'static Key, &'static str, &'static str);
        let cases: [(&str, &[Set]); 11] = [
            ("onsave", &[]),
            (
                "onsave --target local",
                &[(&keys::TARGET_KIND, "--target", "local")],
            ),
            (
                "onsave publish --target https://a.example",
                &[
                    (&keys::TARGET_KIND, "--target", "url"),
                    (&keys::TARGET_URL, "--target", "https://a.example"),
                ],
            ),
            ("onsave --dir x", &[(&keys::DIR, "--dir", "x")]),
            ("onsave check --dir x", &[(&keys::DIR, "--dir", "x")]),
            ("onsave watch x", &[(&keys::DIR, "DIR", "x")]),
            (
                "onsave publish x --strict",
                &[
                    (&keys::DIR, "DIR", "x"),
                    (&keys::PUBLISH_STRICT, "--strict", "true"),
                ],
            ),
            (
                "onsave watch --strict --poll always --address [::1]:0",
                &[
                    (&keys::PUBLISH_STRICT, "--strict", "true"),
                    (&keys::WATCH_POLL, "--poll", "always"),
                    (&keys::LOCAL_ADDRESS, "--address", "[::1]:0"),
                ],
            ),
            (
                "onsave --log-format json",
                &[(&keys::LOG_FORMAT, "--log-format", "json")],
            ),
            ("onsave -q", &[(&keys::LOG_FILTER, "--quiet", "warn")]),
            (
                "onsave deploys -vv",
                &[(&keys::LOG_FILTER, "--verbose", "trace")],
            ),
        ];
        for (line, set) in cases {
            let mut expected = FlagLayer::default();
            for (key, flag, value) in set {
                expected.set(key, flag, value);
            }
            assert_eq!(parse(line).unwrap().flags(), expected, "{line}");
        }
    }

    /// The parser does not see that options on both sides of a command contradict each other.
    #[test]
    fn what_is_said_nearer_to_the_command_wins() {
        let flags = parse("onsave --dir far publish near").unwrap().flags();
        let mut expected = FlagLayer::default();
        expected.set(&keys::DIR, "--dir", "far");
        expected.set(&keys::DIR, "DIR", "near");
        assert_eq!(flags, expected, "the later one is merged over the earlier");
    }

    #[test]
    fn the_named_file_is_no_key() {
        let flags = parse("onsave check --config x.toml").unwrap().flags();
        assert_eq!(flags, FlagLayer::new(Some("x.toml".into())));
    }

    #[test]
    fn the_verbose_filter_is_one() {
        crate::telemetry::check_filter(VERBOSE_FILTER).unwrap();
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "onsave watch a --dir b",
            "onsave -q -v",
            "onsave check -q -v",
        ] {
            assert_eq!(
                parse(line).unwrap_err().kind(),
                ErrorKind::ArgumentConflict,
                "{line}"
            );
        }
    }

    #[test]
    fn an_id_is_checked_before_anything_is_asked() {
        assert!(parse("onsave rollback 1777000001000-a1b2c3d4").is_ok());
        assert!(parse("onsave deploys latest").is_err());
    }

    /// A secret on a command line is visible to every process of the machine.
    #[test]
    fn no_option_takes_a_secret() {
        for command in Cli::command().get_subcommands().chain([&Cli::command()]) {
            for argument in command.get_arguments() {
                assert!(!argument.get_id().as_str().contains("secret"));
            }
        }
    }
}
