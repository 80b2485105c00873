//! The section `[build]`: a command that makes the site, and what makes it run.
//!
//! Where `build.output` is set, it is the site folder: two keys for one folder, so that who configures
//! a build finds it there, and a fault where they disagree.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ::config::ValueKind;

use super::{
    Source,
    fly::TOKEN_VARIABLES,
    keys,
    raw::{Reading, SettingValue},
    sections::{lexical, real},
};
use crate::ignore_rules::Patterns;

/// What a build command does not get of this program's environment: the secrets, which it could print,
/// and what a service manager says to this process alone.
pub(crate) const KEPT_FROM_BUILDS: [&str; 10] = [
    keys::SECRET_VARIABLE,
    TOKEN_VARIABLES[0],
    TOKEN_VARIABLES[1],
    "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// A command that makes the site from its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildConfig {
    /// What is run, in the configuration's folder.
    pub command: BuildCommand,
    /// Which files are sources, in gitignore syntax; all where there are none.
    pub watch: Vec<String>,
    /// What a save does to the run that is under way.
    pub on_change: OnChange,
    /// How long nothing may happen before saved sources are built.
    pub debounce: Duration,
    /// How long a run may take, where there is a limit.
    pub timeout: Option<Duration>,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildCommand {
    /// A line for the shell.
    Shell(String),
    /// A program and its arguments; never empty.
    Program(Vec<String>),
}

/// What a save of a source does to the run that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// The run ends, and one more follows.
    Queue,
    /// The run is ended, and another begins.
    Restart,
}

/// What the section says; every key of it is read, so that all faults are found.
pub(super) struct BuildSection {
    command: Option<BuildCommand>,
    watch: Option<Vec<String>>,
    output: Option<PathBuf>,
    on_change: Option<OnChange>,
    debounce_ms: Option<u64>,
    timeout_s: Option<u64>,
}

impl BuildSection {
    /// Reads every key.
    pub(super) fn read(reading: &mut Reading<'_>) -> Self {
        let command = reading.command(&keys::BUILD_COMMAND);
        let watch = reading.texts(&keys::BUILD_WATCH, pattern);
        let output = reading.path(&keys::BUILD_OUTPUT);
        let choices = [("queue", OnChange::Queue), ("restart", OnChange::Restart)];
        let on_change = reading.choice(&keys::BUILD_ON_CHANGE, &choices);
        let debounce_ms = reading.whole(&keys::BUILD_DEBOUNCE_MS, 1..=60_000);
        // A day: what takes longer is no build.
        let timeout_s = reading.whole(&keys::BUILD_TIMEOUT_S, 0..=86_400);
        let is_set = |key| !matches!(reading.merged.get(key), None | Some((_, Source::Default)));
        if command.is_none() && (is_set(&keys::BUILD_WATCH) || is_set(&keys::BUILD_OUTPUT)) {
            let text = "nothing is built: build.command is not set";
            reading.warnings.push(text.to_owned());
        }
        Self {
            command,
            watch,
            output,
            on_change,
            debounce_ms,
            timeout_s,
        }
    }

    /// Returns the site folder: the output, where that is set, or else `dir`.
    pub(super) fn site_folder(
        &self,
        reading: &mut Reading<'_>,
        dir: Option<PathBuf>,
    ) -> Option<PathBuf> {
        let Some(output) = &self.output else {
            return dir;
        };
        let (_, said) = reading.merged.get(&keys::DIR)?;
        if said == Source::Default {
            let (_, source) = reading.merged.get(&keys::BUILD_OUTPUT)?;
            let mut settings = reading.settings.iter_mut();
            if let Some(setting) = settings.find(|setting| setting.key == keys::DIR.name) {
                setting.value = SettingValue::Text(output.display().to_string());
                setting.source = source;
            }
        } else if dir.as_ref().is_some_and(|dir| dir != output) {
            let problem = format!("is the site folder, and dir ({said}) names another");
            reading.contradiction(&keys::BUILD_OUTPUT, problem);
        }
        Some(output.clone())
    }

    /// Returns the build, where one is configured and every key is right.
    pub(super) fn config(
        self,
        reading: &mut Reading<'_>,
        dir: Option<&Path>,
    ) -> Option<BuildConfig> {
        let command = self.command?;
        // Each was right by itself; all of them together may be too many.
        if let Some(Err(problem)) = self.watch.as_deref().map(Patterns::new) {
            reading.contradiction(&keys::BUILD_WATCH, format!("cannot be used: {problem}"));
        }
        let root = reading.bases.root;
        let holds_sources = |dir: &Path| {
            let resolved = [lexical, real];
            resolved
                .iter()
                .any(|resolved| resolved(root).starts_with(resolved(dir)))
        };
        if dir.is_some_and(holds_sources) {
            let key = if self.output.is_some() {
                &keys::BUILD_OUTPUT
            } else {
                &keys::DIR
            };
            let problem = "must lie below the folder of the configuration, or elsewhere: what is in \
                           it is no source, and nothing would be built";
            reading.contradiction(key, problem.to_owned());
        }
        Some(BuildConfig {
            command,
            watch: self.watch?,
            on_change: self.on_change?,
            debounce: Duration::from_millis(self.debounce_ms?),
            timeout: match self.timeout_s? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
        })
    }
}

impl Reading<'_> {
    /// Reads a line for the shell, or a list of a program and its arguments.
    pub(super) fn command(&mut self, key: &'static keys::Key) -> Option<BuildCommand> {
        let (kind, source) = self.found(key)?;
        let fits = |text: &str| !text.contains('\0');
        let (command, value) = match &kind {
            ValueKind::String(line) if fits(line) && !line.trim().is_empty() => {
                let value = SettingValue::Text(line.clone());
                (BuildCommand::Shell(line.clone()), value)
            }
            ValueKind::Array(items) => {
                let text = |item: &::config::Value| match &item.kind {
                    ValueKind::String(text) if fits(text) => Some(text.clone()),
                    _ => None,
                };
                let words: Option<Vec<String>> = items.iter().map(text).collect();
                match words {
                    Some(words) if words.first().is_some_and(|program| !program.is_empty()) => {
                        let value = SettingValue::Texts(words.clone());
                        (BuildCommand::Program(words), value)
                    }
                    _ => {
                        let allowed = "must be a list of a program and its arguments, all texts";
                        return self.fault(key, &kind, source, allowed.to_owned());
                    }
                }
            }
            _ => {
                let allowed = "must be a command, such as \"npm run build\"";
                return self.fault(key, &kind, source, allowed.to_owned());
            }
        };
        self.record(key, value, source);
        Some(command)
    }
}

/// Returns patterns that can be used.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    match Patterns::new(&[text.to_owned()]) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        Ok(_) => Err("must be patterns as in .gitignore".to_owned()),
        Err(problem) => Err(format!("must be patterns as in .gitignore: {problem}")),
    }
}
