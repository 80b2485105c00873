//! The commands: from a parsed command line to what it asks for.
//!
//! [`run`] alone decides what a command needs before it starts: some need nothing, `check` and
//! `doctor` need the configuration's faults, and the commands that talk to a target need a valid configuration,
//! logging and the site's state folder. Each module below is one command. They print to the
//! `out` that they are given, and turn failures into [`CommandError`].

mod check;
mod completions;
mod deliveries;
mod deploys;
mod destroy;
mod doctor;
mod domain;
mod failure;
mod init;
mod logs;
mod man;
mod man_page;
mod open;
mod provision;
mod publish;
mod rollback;
mod secret;
mod service;
mod status;
mod watch;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

#[cfg(test)]
pub(crate) use self::init::EXAMPLE;
pub use self::{init::InitError, man::ManError, open::OpenError, service::ServiceError};
use crate::{
    after_publish::{self, Letters, LettersError, QueueError, Setup},
    build::BuildError,
    cli::{Cli, Command, SecretArgs, SecretCommand, WatchArgs},
    config::{self, Config, ConfigError, FlagLayer, Loaded},
    control::client::ControlError,
    daemon::DaemonError,
    exit_code::ExitCode,
    hooks::HooksError,
    provision::ProvisionError,
    publish::{FailureKind, PublishError, RemoteState},
    scan::ScanError,
    shown::ShownPath,
    site_lock::LockError,
    state_folder::{SiteState, StateError},
    surroundings::Surroundings,
    target::TargetError,
    telemetry::{self, TelemetryError},
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration has faults.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `check` found faults; for who asks what is wrong, other words help than for who did not.
    #[error(transparent)]
    Faults(ConfigError),
    /// Logging could not be started.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The site is watched already.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The hooks cannot be offered.
    #[error(transparent)]
    Hooks(#[from] HooksError),
    /// The service could not be installed, removed or asked.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// `init` failed.
    #[error(transparent)]
    Init(#[from] InitError),
    /// `man` failed.
    #[error(transparent)]
    Man(#[from] ManError),
    /// The target cannot be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A call to the target failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The command is about an app on Fly.io, and the target is another.
    #[error("the target is not Fly.io")]
    NotFly,
    /// The daemon of the site cannot be asked.
    #[error(transparent)]
    Control(ControlError),
    /// The dashboard could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The app on Fly.io could not be made or kept.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// The app's name was not typed, and nothing was removed.
    #[error("nothing was removed: the name of the app {app} was not given")]
    NotConfirmed {
        /// The app.
        app: String,
    },
    /// There is no app yet, and the command is about one that is there.
    #[error("there is no app {app} on Fly.io")]
    NoApp {
        /// The name that it would have.
        app: String,
    },
    /// The app runs something else as well, and nothing was removed.
    #[error(
        "nothing was removed: the app {app} runs machines that onsave did not make ({})",
        machines.join(", ")
    )]
    OthersInApp {
        /// The app.
        app: String,
        /// The machines.
        machines: Vec<String>,
    },
    /// The secret is not made here, and so not replaced here.
    #[error("the secret is given by {origin}")]
    GivenSecret {
        /// Where it is read.
        origin: String,
    },
    /// The app has no such domain.
    #[error("the app {app} has no domain {domain}")]
    UnknownDomain {
        /// The domain.
        domain: String,
        /// The app.
        app: String,
    },
    /// The `fly.toml` could not be written.
    #[error("failed to write {}", ShownPath(path))]
    FlyToml {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// There is a `fly.toml` that onsave did not write.
    #[error("{} was not written by onsave; it was left alone", ShownPath(path))]
    ForeignFlyToml {
        /// The file.
        path: PathBuf,
    },
    /// The site folder cannot be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// There is no site folder.
    #[error("there is no site folder {}", ShownPath(path))]
    NoSiteFolder {
        /// Where it should be.
        path: PathBuf,
    },
    /// Files or rules would be skipped, and `strict` forbids that.
    #[error("{skipped} files, names or rules are doubtful, and strict forbids that")]
    Strict {
        /// How many warnings there are.
        skipped: usize,
    },
    /// `doctor` found something that is broken.
    #[error("{broken} {} broken", if *broken == 1 { "finding is" } else { "findings are" })]
    Unwell {
        /// How many findings there are of that kind.
        broken: usize,
    },
    /// The guard holds the publish.
    #[error("held: {removes} of {of} files would be removed")]
    Held {
        /// Files that would be removed.
        removes: usize,
        /// Files that the site has.
        of: usize,
    },
    /// The build command gave no site.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// What is told of publishes cannot be noted.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A delivery cannot be changed.
    #[error(transparent)]
    Letters(#[from] LettersError),
    /// The daemon cannot go on.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Signals to stop cannot be heard.
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    /// What was to be printed could not be.
    #[error("failed to write the output")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// Returns what the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Faults(_) | Self::Telemetry(_) | Self::NotFly => {
                ExitCode::Configuration
            }
            Self::Provision(error) | Self::Target(TargetError::Provision(error)) => {
                error.exit_code()
            }
            Self::Publish(error) => match error.kind() {
                FailureKind::Unreachable => ExitCode::Unreachable,
                FailureKind::Refused => ExitCode::Refused,
                FailureKind::SiteFolder => ExitCode::SiteFolder,
                FailureKind::Internal => ExitCode::Failure,
            },
            Self::Scan(_) | Self::NoSiteFolder { .. } => ExitCode::SiteFolder,
            Self::Strict { .. } => ExitCode::Strict,
            Self::Lock(LockError::Held { .. }) => ExitCode::AlreadyWatched,
            Self::Held { .. } => ExitCode::Held,
            Self::Unwell { .. } => ExitCode::Unwell,
            Self::Build(BuildError::Stopped) => ExitCode::Interrupted,
            Self::Build(_) => ExitCode::Build,
            Self::State(_)
            | Self::Lock(LockError::Lock { .. })
            | Self::Hooks(_)
            | Self::Service(_)
            | Self::Target(_)
            | Self::Daemon(_)
            | Self::Queue(_)
            | Self::Letters(_)
            | Self::Signals(_)
            | Self::Init(_)
            | Self::Man(_)
            | Self::FlyToml { .. }
            | Self::ForeignFlyToml { .. }
            | Self::NotConfirmed { .. }
            | Self::Control(_)
            | Self::Open(_)
            | Self::NoApp { .. }
            | Self::OthersInApp { .. }
            | Self::GivenSecret { .. }
            | Self::UnknownDomain { .. }
            | Self::Output(_) => ExitCode::Failure,
        }
    }

    /// Returns what the user can do about it, where there is more to say than the error does.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => Some(error.hint()),
            Self::Faults(_) => Some(
                "correct them where they are named; in an empty folder, `onsave init` writes a file \
                 that explains every key"
                    .to_owned(),
            ),
            Self::State(error) => Some(error.hint()),
            Self::Lock(error) => Some(error.hint()),
            Self::Hooks(error) => Some(error.hint()),
            Self::Service(error) => error.hint(),
            Self::Init(error) => error.hint(),
            Self::Target(error) => error.hint(),
            Self::Publish(error) => Some(error.hint()),
            Self::Build(error) => error.hint(),
            Self::Queue(error) => Some(error.hint()),
            Self::Letters(error) => Some(error.hint()),
            Self::Provision(error) => error.hint(),
            Self::Control(error) => error.hint(),
            Self::Open(error) => Some(error.hint()),
            Self::NotFly => {
                Some("set kind = \"fly\" below [target] in onsave.toml, or give --target fly".to_owned())
            }
            Self::NotConfirmed { app } => {
                Some(format!("type it when asked, or give it: --confirm {app}"))
            }
            Self::NoApp { .. } => Some("`onsave publish` or `onsave provision` makes it".to_owned()),
            Self::OthersInApp { app, .. } => Some(format!(
                "if all of it shall go, `fly apps destroy {app}` removes it"
            )),
            Self::GivenSecret { .. } => Some(
                "put another there, and run `onsave provision`: it sets that one in the app; or take it \
                 away there, and onsave makes one of its own"
                    .to_owned(),
            ),
            Self::UnknownDomain { domain, .. } => Some(format!(
                "`onsave domain list` shows those it has; `onsave domain add {domain}` adds it"
            )),
            Self::ForeignFlyToml { .. } => Some(
                "move it away first; what it says of the machine is lost with the next `fly deploy`"
                    .to_owned(),
            ),
            Self::Scan(ScanError::Folder { path, source })
                if source.kind() == io::ErrorKind::NotADirectory =>
            {
                Some(folder_hint(path))
            }
            Self::NoSiteFolder { .. } => Some(
                "build the site first, or name its folder: onsave publish DIR".to_owned(),
            ),
            Self::Strict { .. } => {
                Some("the warnings above name them; .onsaveignore leaves files out".to_owned())
            }
            Self::Held { .. } => Some(
                "if that is meant, run `onsave publish --allow-removals`; publish.max_removal_percent \
                 says how much passes unasked"
                    .to_owned(),
            ),
            Self::Unwell { .. } => {
                Some("what to do stands below each in the list".to_owned())
            }
            Self::Telemetry(_)
            | Self::Man(_)
            | Self::Daemon(_)
            | Self::Signals(_)
            | Self::Scan(_)
            | Self::FlyToml { .. }
            | Self::Output(_) => None,
        }
    }
}

/// Who names a page means the site that it is in.
fn folder_hint(file: &Path) -> String {
    let folder = file.parent().unwrap_or(file);
    format!(
        "a whole folder is published, not one file; name the site folder, such as {}",
        ShownPath(folder)
    )
}

/// Runs what the command line asks for; watching, when it asks for nothing.
///
/// Starts logging for the whole process when the command talks to a target, so that it can run
/// once in a process.
///
/// # Errors
///
/// [`CommandError`].
pub async fn run(
    cli: Cli,
    surroundings: &Surroundings,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let flags = cli.flags();
    let command = cli
        .command
        .unwrap_or_else(|| Command::Watch(WatchArgs::default()));
    match command {
        Command::Init => init::run(&cli.options, surroundings, out),
        Command::Check(args) => check::run(&args, surroundings, &flags, out),
        Command::Doctor(args) => doctor::run(&args, surroundings, &flags, out).await,
        Command::Completions(args) => completions::run(&args, out),
        Command::Man(args) => man::run(&args, &surroundings.working_folder, out),
        Command::Watch(_) => {
            let loaded = config::load_for_daemon(surroundings, &flags)?;
            let logs = telemetry::start_kept(&loaded.config.log, surroundings)?;
            let state = state_of(&loaded, surroundings)?;
            Box::pin(watch::run(
                (loaded, logs),
                &state,
                (surroundings, &flags),
                out,
            ))
            .await
        }
        Command::Service(args) => service::run(&args.command, (surroundings, &flags), out),
        command => {
            let shape = Shape::asked(command.wants_json());
            let outcome = async {
                let (config, state) = start(surroundings, &flags)?;
                Box::pin(text_of(command, (config, &state), out)).await
            };
            let outcome = outcome.await;
            print(outcome, shape, out)
        }
    }
}

/// Runs a command that needs a valid configuration, and returns what to print once it is all over.
async fn text_of(
    command: Command,
    (config, state): (Config, &SiteState),
    out: &mut dyn Write,
) -> Result<String, CommandError> {
    match command {
        Command::Publish(args) => Box::pin(publish::run(&args, config, state)).await,
        Command::Provision(args) => provision::run(&args, config, state).await,
        Command::Domain(args) => domain::run(&args.command, config, state).await,
        Command::Secret(SecretArgs {
            command: SecretCommand::Rotate(args),
        }) => secret::rotate(&args, config, state).await,
        Command::Destroy(args) => destroy::run(&args, config, state).await,
        Command::Status(args) => status::run(&args, state, out).await,
        Command::Pause(args) => status::switch("/v1/pause", args.json, state).await,
        Command::Resume(args) => status::switch("/v1/resume", args.json, state).await,
        Command::Logs(args) => logs::run(&args, state, out).await,
        Command::Open(args) => open::run(&args, state).await,
        Command::Deploys(args) => deploys::run(&args, config, state).await,
        Command::Rollback(args) => rollback::run(&args, config, state).await,
        Command::Deliveries(args) => deliveries::run(&args.command, config, state).await,
        // These print by themselves.
        Command::Init
        | Command::Check(_)
        | Command::Doctor(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Service(_)
        | Command::Watch(_) => Ok(String::new()),
    }
}

/// Who reads what a command prints.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A person.
    Text,
    /// A script: one object, also of a failure.
    Json,
}

impl Shape {
    const fn asked(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Prints what a command came to, once it is all over: a script never gets a second object.
fn print(
    outcome: Result<String, CommandError>,
    shape: Shape,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let printed = outcome.and_then(|text| {
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    });
    match shape {
        Shape::Text => printed,
        Shape::Json => failure::told(printed, out),
    }
}

/// Does what every command that talks to a target needs first.
fn start(
    surroundings: &Surroundings,
    flags: &FlagLayer,
) -> Result<(Config, SiteState), CommandError> {
    let loaded = config::load(surroundings, flags)?;
    telemetry::start(&loaded.config.log, surroundings)?;
    let state = state_of(&loaded, surroundings)?;
    Ok((loaded.config, state))
}

/// Tells the warnings, and returns the site's state folder.
fn state_of(loaded: &Loaded, surroundings: &Surroundings) -> Result<SiteState, CommandError> {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(SiteState::locate(surroundings, &loaded.config.root)?)
}

/// Tells others what is current now, for a while; what fails is said, and left to the next who tells.
async fn tell_others(setup: &Setup, remote: &RemoteState, instead_of: Option<String>) {
    let told = async {
        after_publish::record_once(setup, remote, instead_of).await?;
        Box::pin(after_publish::deliver_for(setup, deliveries::PATIENCE)).await?;
        Letters::in_folder(&setup.folder).list()
    };
    match told.await {
        Ok(left) if left.is_empty() => {}
        Ok(left) => tracing::warn!(
            "{} deliveries were not made: `onsave deliveries list` shows them; a running daemon, or the \
             next publish, makes those that wait",
            left.len()
        ),
        Err(error) => {
            let hint = error.hint();
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::error!(error, "others are not told of it for now: {hint}");
        }
    }
}

/// Returns `value` as one line of JSON.
fn json_line(value: &impl serde::Serialize) -> String {
    // Text, numbers and lists of them: nothing that is printed can fail to be written.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// Returns the line that says what happens to a path.
fn change_line(what: &str, path: &onsave_protocol::SitePath) -> String {
    format!("{what:<9}{path}\n")
}
