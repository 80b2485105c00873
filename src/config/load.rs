//! Loading: which file, the order of the layers, and all faults at once.
//!
//! Reads the configuration file; [`sections`] reads the secret of a running server and follows
//! symlinks; nothing else of the disk is asked. A file that is not TOML ends the loading early, since its values are unknown.

use std::path::{Path, PathBuf};

use super::{
    Config, ConfigError, FlagLayer, Setting, Source,
    fault::Fault,
    file, keys,
    layers::{self, Layer, Merged},
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
}

/// Loads the configuration: defaults < file < environment < flags.
///
/// # Errors
///
/// [`ConfigError`] with every fault.
pub fn load(surroundings: &Surroundings, flags: &FlagLayer) -> Result<Loaded, ConfigError> {
    let mut faults = Vec::new();
    let file = chosen_file(surroundings, flags);
    let root = root_of(file.as_ref().map(|(path, _)| path.as_path()), surroundings);
    let from_file = file.as_ref().map_or_else(Layer::default, |(path, source)| {
        file_layer(path, source, &mut faults)
    });
    let file_unusable = faults.iter().any(|fault| fault.key.is_none());
    let environment = layers::environment(surroundings, &mut faults);
    let flags = flags.layer(&mut faults);
    if file_unusable {
        return Err(ConfigError { faults });
    }
    // Who names a server means it, unless another kind is asked for.
    let url_given = [&from_file, &environment, &flags]
        .iter()
        .any(|layer| layer.sets(&keys::TARGET_URL));
    let kind = if url_given { "url" } else { "local" };
    let defaults = layers::defaults(surroundings, &root, kind);
    let merged = Merged::of([defaults, from_file, environment, flags]);
    let mut reading = Reading {
        merged: &merged,
        bases: Bases {
            root: &root,
            working_folder: &surroundings.working_folder,
        },
        settings: Vec::new(),
        faults,
        warnings: Vec::new(),
    };
    let config = sections::read_config(&mut reading, surroundings);
    match config {
        Some(config) if reading.faults.is_empty() => Ok(Loaded {
            config: Config {
                file: file.as_ref().map(|(path, _)| path.clone()),
                ..config
            },
            settings: reading.settings,
            file: file.map(|(path, _)| path),
            warnings: reading.warnings,
        }),
        _ => Err(ConfigError {
            faults: reading.faults,
        }),
    }
}

fn file_layer(path: &Path, source: &Source, faults: &mut Vec<Fault>) -> Layer {
    match file::read(path) {
        Ok(text) => file::layer(path, &text, faults),
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
            Layer::default()
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
