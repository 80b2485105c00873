//! Loading: which file, the order of the layers, and all faults at once.
//!
//! Reads the configuration file; [`sections`] reads the secret of a running server and follows
//! symlinks; nothing else of the disk is asked. A file that is not TOML ends the loading early, since its values are unknown.

use std::path::{Path, PathBuf};

use super::{
    AfterPublish, BuildConfig, Config, ConfigError, ControlConfig, FlagLayer, HooksConfig,
    LogConfig, NotifyConfig, PublishConfig, Setting, Source, TargetConfig, WatchConfig,
    fault::Fault,
    file::{self, FileContents},
    keys,
    layers::{self, Merged},
    raw::{Bases, Reading},
    sections,
};
use crate::surroundings::Surroundings;

/// The configuration, and what people should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key as resolved, and the source of the secret where one is used.
    pub settings: Vec<Setting>,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<String>,
    /// Secrets of hooks and deliveries that this process was not given, though it is said where they are: a
    /// variable or a credential of the daemon's alone.
    pub absent: Vec<Fault>,
}

/// What there is of a configuration, whatever is wrong with the rest.
#[derive(Debug)]
pub struct Examined {
    /// The parts without a fault.
    pub parts: Parts,
    /// The folder of the configuration file, or the working folder when there is none; absolute.
    pub root: PathBuf,
    /// Every key as far as it was resolved.
    pub settings: Vec<Setting>,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<String>,
    /// What is wrong; where there is nothing, every part is there.
    pub faults: Vec<Fault>,
    /// What a daemon lacks, and other commands do without.
    pub absent: Vec<Fault>,
}

/// The parts of a configuration; one with a fault is missing.
#[derive(Debug, Default)]
pub struct Parts {
    /// The site's name.
    pub app: Option<String>,
    /// The site folder.
    pub dir: Option<PathBuf>,
    /// What makes the site, where something does.
    pub build: Option<BuildConfig>,
    /// Where to publish to.
    pub target: Option<TargetConfig>,
    /// How the site folder is watched.
    pub watch: Option<WatchConfig>,
    /// How a publish is made.
    pub publish: Option<PublishConfig>,
    /// Where and for whom the daemon's API listens.
    pub control: Option<ControlConfig>,
    /// Who is told of troubles besides the log.
    pub notify: Option<NotifyConfig>,
    /// Who may tell of changes from outside.
    pub hooks: Option<HooksConfig>,
    /// What is told of a publish.
    pub after_publish: Option<Vec<AfterPublish>>,
    /// What is logged.
    pub log: Option<LogConfig>,
}

/// Loads the configuration: defaults < file < environment < flags.
///
/// # Errors
///
/// [`ConfigError`] with every fault.
pub fn load(surroundings: &Surroundings, flags: &FlagLayer) -> Result<Loaded, ConfigError> {
    let examined = examine(surroundings, flags);
    match examined.config() {
        Some(config) if examined.faults.is_empty() => Ok(Loaded {
            config,
            settings: examined.settings,
            file: examined.file,
            warnings: examined.warnings,
            absent: examined.absent,
        }),
        _ => Err(ConfigError {
            faults: examined.faults,
        }),
    }
}

/// Loads the configuration as [`load`] does, for a daemon, which needs every secret.
///
/// # Errors
///
/// [`ConfigError`] with every fault; what this process was not given is one.
pub fn load_for_daemon(
    surroundings: &Surroundings,
    flags: &FlagLayer,
) -> Result<Loaded, ConfigError> {
    let loaded = load(surroundings, flags)?;
    if loaded.absent.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError {
            faults: loaded.absent,
        })
    }
}

impl Examined {
    /// Returns the configuration, when no part of it is missing.
    #[must_use]
    pub fn config(&self) -> Option<Config> {
        let parts = &self.parts;
        Some(Config {
            app: parts.app.clone()?,
            root: self.root.clone(),
            file: self.file.clone(),
            dir: parts.dir.clone()?,
            build: parts.build.clone(),
            target: parts.target.clone()?,
            watch: parts.watch.clone()?,
            publish: parts.publish.clone()?,
            control: parts.control.clone()?,
            notify: parts.notify?,
            hooks: parts.hooks.clone()?,
            after_publish: parts.after_publish.clone()?,
            log: parts.log.clone()?,
        })
    }
}

/// Reads the configuration as [`load`] does, and returns what is right in it besides the faults.
#[must_use]
pub fn examine(surroundings: &Surroundings, flags: &FlagLayer) -> Examined {
    let mut faults = Vec::new();
    let file = chosen_file(surroundings, flags);
    let root = root_of(file.as_ref().map(|(path, _)| path.as_path()), surroundings);
    let from_file = file
        .as_ref()
        .map_or_else(FileContents::default, |(path, source)| {
            contents_of(path, source, &mut faults)
        });
    let file_unusable = faults.iter().any(|fault| fault.key.is_none());
    let environment = layers::environment(surroundings, &mut faults);
    let flags = flags.layer(&mut faults);
    let mut examined = Examined {
        parts: Parts::default(),
        root,
        settings: Vec::new(),
        file: file.map(|(path, _)| path),
        warnings: Vec::new(),
        faults,
        absent: Vec::new(),
    };
    if file_unusable {
        return examined;
    }
    // Who names a server means it, unless another kind is asked for.
    let url_given = [&from_file.layer, &environment, &flags]
        .iter()
        .any(|layer| layer.sets(&keys::TARGET_URL));
    let kind = if url_given { "url" } else { "local" };
    let defaults = layers::defaults(surroundings, &examined.root, kind);
    let merged = Merged::of([defaults, from_file.layer, environment, flags]);
    let mut reading = Reading {
        entry: None,
        merged: &merged,
        bases: Bases {
            root: &examined.root,
            working_folder: &surroundings.working_folder,
        },
        settings: Vec::new(),
        faults: examined.faults,
        absent: Vec::new(),
        warnings: Vec::new(),
    };
    examined.parts = sections::read_parts(&mut reading, surroundings, &from_file.entries);
    examined.settings = reading.settings;
    examined.warnings = reading.warnings;
    examined.faults = reading.faults;
    examined.absent = reading.absent;
    examined
}

/// Returns the folder that the configuration stands in; also where the configuration has faults.
#[must_use]
pub fn root(surroundings: &Surroundings, flags: &FlagLayer) -> PathBuf {
    let file = chosen_file(surroundings, flags);
    root_of(file.as_ref().map(|(path, _)| path.as_path()), surroundings)
}

fn contents_of(path: &Path, source: &Source, faults: &mut Vec<Fault>) -> FileContents {
    match file::read(path) {
        Ok(text) => file::contents((path, &text), &keys::COLLECTIONS, faults),
        Err(problem) => {
            let problem = match source {
                Source::File(_) => problem,
                // Who named the file may have meant another one.
                Source::Default | Source::Variable(_) | Source::Flag(_) => {
                    format!("{} {problem}", path.display())
                }
            };
            faults.push(Fault {
                key: None,
                value: None,
                source: source.clone(),
                problem,
            });
            FileContents::default()
        }
    }
}

/// Returns the configuration file, and who chose it.
fn chosen_file(surroundings: &Surroundings, flags: &FlagLayer) -> Option<(PathBuf, Source)> {
    let in_working_folder = |path: &Path| surroundings.working_folder.join(path);
    if let Some(path) = flags.config_file() {
        let source = Source::Flag("--config".to_owned());
        return Some((in_working_folder(path), source));
    }
    if let Some(path) = surroundings.variable(keys::CONFIG_VARIABLE) {
        let source = Source::Variable(keys::CONFIG_VARIABLE.to_owned());
        return Some((in_working_folder(Path::new(path)), source));
    }
    let path = file::find(&surroundings.working_folder)?;
    let source = Source::File(path.display().to_string());
    Some((path, source))
}

/// Canonical, so that one site has one state folder, whatever path leads to it.
fn root_of(file: Option<&Path>, surroundings: &Surroundings) -> PathBuf {
    let root = file
        .and_then(Path::parent)
        .unwrap_or(&surroundings.working_folder);
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
}
