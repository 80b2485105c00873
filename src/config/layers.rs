//! The layers of the configuration as they were typed, and their merging.
//!
//! Only user of the `config` crate. A layer holds known keys alone: what it does not know is a
//! fault before merging, so that a typing error in a lower layer is never hidden by an upper one.
//! Nothing here judges a value; [`super::raw`] does that for the ones that win.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use ::config::{Config, ConfigError, Map, Value, ValueKind};

use super::{
    app_name_of,
    fault::Fault,
    keys::{self, Collection, CollectionShape, Key},
    source::Source,
};
use crate::surroundings::Surroundings;

/// The values of one layer, as typed.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    values: BTreeMap<&'static str, Value>,
}

/// One section of a collection, as typed.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The collection that it belongs to.
    pub(super) collection: &'static Collection,
    /// Its name in `[hooks.<id>]`, or its place in the list, from 1.
    pub(super) id: String,
    /// Where it begins.
    pub(super) source: Source,
    /// Its keys.
    pub(super) layer: Layer,
}

impl Entry {
    /// Returns how people know it: `hooks.sanity`, or `after_publish[1]`.
    pub(super) fn name(&self) -> String {
        let name = self.collection.name;
        match self.collection.shape {
            CollectionShape::Named => format!("{name}.{}", self.id),
            CollectionShape::Listed => format!("{name}[{}]", self.id),
        }
    }

    /// Returns its keys, with the defaults of its collection below them.
    pub(super) fn merged(self) -> Merged {
        let mut defaults = Layer::default();
        for key in self.collection.keys {
            if let Some(default) = key.default {
                defaults.insert(key, default, &Source::Default);
            }
        }
        Merged::of([defaults, self.layer])
    }
}

/// What the command line sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlagLayer {
    config_file: Option<PathBuf>,
    values: Vec<(&'static Key, &'static str, OsString)>,
}

impl FlagLayer {
    /// Returns a layer that sets nothing, and the configuration file that `--config` names.
    #[must_use]
    pub const fn new(config_file: Option<PathBuf>) -> Self {
        Self {
            config_file,
            values: Vec::new(),
        }
    }

    /// Sets a key to the value of `flag`.
    pub(crate) fn set(&mut self, key: &'static Key, flag: &'static str, value: impl AsRef<OsStr>) {
        self.values.push((key, flag, value.as_ref().to_owned()));
    }

    /// Returns the file that `--config` names.
    pub(super) fn config_file(&self) -> Option<&Path> {
        self.config_file.as_deref()
    }

    /// Returns the layer; what cannot be one is added to `faults`.
    pub(super) fn layer(&self, faults: &mut Vec<Fault>) -> Layer {
        let mut layer = Layer::default();
        for (key, flag, value) in &self.values {
            layer.insert_text(key, value, &Source::Flag((*flag).to_owned()), faults);
        }
        layer
    }
}

impl Layer {
    /// Sets a key.
    pub(super) fn insert(
        &mut self,
        key: &'static Key,
        value: impl Into<ValueKind>,
        source: &Source,
    ) {
        let value = Value::new(Some(&source.to_string()), value);
        self.values.insert(key.name, value);
    }

    /// Returns whether the layer sets the key.
    pub(super) fn sets(&self, key: &Key) -> bool {
        self.values.contains_key(key.name)
    }

    fn insert_text(
        &mut self,
        key: &'static Key,
        value: &OsStr,
        source: &Source,
        faults: &mut Vec<Fault>,
    ) {
        if let Some(text) = value.to_str() {
            self.insert(key, text, source);
        } else {
            faults.push(Fault {
                key: Some(key.name.to_owned()),
                value: Some(format!("\"{}\"", value.display())),
                source: source.clone(),
                problem: "must be UTF-8".to_owned(),
            });
        }
    }
}

impl ::config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn ::config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self
            .values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect())
    }
}

/// Returns what holds when nobody says anything; `target_kind` depends on what is said.
pub(super) fn defaults(surroundings: &Surroundings, root: &Path, target_kind: &str) -> Layer {
    let mut layer = Layer::default();
    let source = Source::Default;
    for key in keys::ALL {
        if let Some(default) = key.default {
            layer.insert(key, default, &source);
        }
    }
    let by = format!("{}@{}", surroundings.user(), surroundings.host);
    layer.insert(&keys::APP, app_name_of(root), &source);
    layer.insert(&keys::PUBLISH_BY, by, &source);
    layer.insert(&keys::TARGET_KIND, target_kind, &source);
    layer
}

/// Returns the layer of the `ONSAVE_…` variables; unknown ones are added to `faults`.
pub(super) fn environment(surroundings: &Surroundings, faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::default();
    for name in surroundings.variables.keys() {
        let name = name.to_string_lossy();
        if !name.starts_with(keys::VARIABLE_PREFIX) {
            continue;
        }
        if [keys::SECRET_VARIABLE, keys::CONFIG_VARIABLE].contains(&&*name) {
            continue;
        }
        let source = Source::Variable(name.to_string());
        let Some(key) = keys::of_variable(&name) else {
            faults.push(Fault {
                key: Some(name.to_string()),
                value: None,
                source: Source::Default,
                problem: format!(
                    "unknown variable; the nearest known one is {}",
                    keys::nearest_variable(&name)
                ),
            });
            continue;
        };
        if let Some(value) = surroundings.variable(&name) {
            layer.insert_text(key, value, &source, faults);
        }
    }
    layer
}

/// The merged layers.
#[derive(Debug)]
pub(super) struct Merged(Value);

impl Merged {
    /// Merges `layers`, the uppermost last.
    pub(super) fn of(layers: impl IntoIterator<Item = Layer>) -> Self {
        let merged = layers
            .into_iter()
            .fold(Config::builder(), |builder, layer| {
                builder.add_source(layer)
            })
            .build()
            .expect("layers are in memory, and their keys are paths");
        Self(merged.cache)
    }

    /// Returns the value that wins, and where it came from; none where no layer sets the key.
    pub(super) fn get(&self, key: &Key) -> Option<(&ValueKind, Source)> {
        let value = key
            .name
            .split('.')
            .try_fold(&self.0, |value, part| match &value.kind {
                ValueKind::Table(table) => table.get(part),
                _ => None,
            })?;
        Some((&value.kind, Source::of_origin(value.origin())))
    }
}
