//! From what was typed to checked values: one reading of the merged layers.
//!
//! A value that fails gives a fault and the reading goes on, so that every fault is found in one
//! go. Each key that is read is also recorded as a [`Setting`], resolved, with its source.
//! A variable or a flag is always text; a file's value must have the right type.

use std::{
    fmt, mem,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use ::config::ValueKind;

use super::{
    fault::Fault,
    keys::Key,
    layers::{Entry, Merged},
    source::Source,
};

/// One key as resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key, with the entry before it where it is one of a collection (`hooks.sanity.verify`).
    pub key: String,
    /// Its value; paths are absolute.
    pub value: SettingValue,
    /// Where it came from.
    pub source: Source,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingValue {
    /// Neither set nor with a default.
    Unset,
    /// A text.
    Text(String),
    /// A whole number.
    Whole(u64),
    /// On or off.
    Switch(bool),
    /// Several texts.
    Texts(Vec<String>),
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("(not set)"),
            Self::Text(text) => f.write_str(text),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Switch(value) => write!(f, "{value}"),
            Self::Texts(texts) if texts.is_empty() => f.write_str("(none)"),
            Self::Texts(texts) => f.write_str(&texts.join(", ")),
        }
    }
}

/// A number, or the one word that may stand in its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum WholeOr {
    /// The number.
    Whole(u64),
    /// The word.
    Word,
}

/// Where relative paths start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bases<'a> {
    /// Those of the file and the defaults.
    pub(super) root: &'a Path,
    /// Those of variables and flags.
    pub(super) working_folder: &'a Path,
}

/// One reading of the merged layers.
///
/// Every method returns `None` for a value that is not set, or that is at fault.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// The entry of a collection that is read; none where it is the keys that there are once.
    pub(super) entry: Option<(String, Source)>,
    pub(super) merged: &'a Merged,
    pub(super) bases: Bases<'a>,
    pub(super) settings: Vec<Setting>,
    pub(super) faults: Vec<Fault>,
    /// Secrets that only a daemon is given.
    pub(super) absent: Vec<Fault>,
    pub(super) warnings: Vec<String>,
}

impl Reading<'_> {
    /// Reads a text that `check` accepts; its error says what is allowed.
    pub(super) fn text<T>(
        &mut self,
        key: &'static Key,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (kind, source) = self.found(key)?;
        let ValueKind::String(text) = kind else {
            return self.fault(key, &kind, source, "must be text in quotes".to_owned());
        };
        match check(&text) {
            Ok(value) => {
                self.record(key, SettingValue::Text(text), source);
                Some(value)
            }
            Err(allowed) => self.fault(key, &ValueKind::String(text), source, allowed),
        }
    }

    /// Reads a list of texts that `check` accepts, each once; in one text, commas stand between them.
    pub(super) fn texts(
        &mut self,
        key: &'static Key,
        check: impl Fn(&str) -> Result<String, String>,
    ) -> Option<Vec<String>> {
        let (kind, source) = self.found(key)?;
        let typed: Option<Vec<String>> = match &kind {
            ValueKind::Array(items) => items
                .iter()
                .map(|item| match &item.kind {
                    ValueKind::String(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            ValueKind::String(text) => {
                let parts = text.split(',').map(str::trim);
                Some(
                    parts
                        .filter(|part| !part.is_empty())
                        .map(str::to_owned)
                        .collect(),
                )
            }
            _ => None,
        };
        let Some(typed) = typed else {
            let allowed = "must be a list of texts, such as [\"a\", \"b\"]".to_owned();
            return self.fault(key, &kind, source, allowed);
        };
        let mut texts = Vec::new();
        for text in typed {
            match check(&text) {
                Ok(text) if texts.contains(&text) => {
                    let problem = format!("has {text:?} twice");
                    return self.fault(key, &kind, source, problem);
                }
                Ok(text) => texts.push(text),
                Err(allowed) => return self.fault(key, &ValueKind::String(text), source, allowed),
            }
        }
        self.record(key, SettingValue::Texts(texts.clone()), source);
        Some(texts)
    }

    /// Reads one of the named choices.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static Key,
        choices: &[(&str, T)],
    ) -> Option<T> {
        self.text(key, |text| {
            let chosen = choices.iter().find(|(name, _)| *name == text);
            chosen.map(|(_, value)| *value).ok_or_else(|| {
                let names: Vec<_> = choices
                    .iter()
                    .map(|(name, _)| format!("\"{name}\""))
                    .collect();
                format!("must be {}", names.join(" or "))
            })
        })
    }

    /// Reads a path and makes it absolute.
    pub(super) fn path(&mut self, key: &'static Key) -> Option<PathBuf> {
        let (kind, source) = self.found(key)?;
        let ValueKind::String(text) = &kind else {
            return self.fault(key, &kind, source, "must be a path in quotes".to_owned());
        };
        if text.is_empty() || text.contains('\0') {
            return self.fault(key, &kind, source, "must be a path".to_owned());
        }
        let base = match source {
            Source::Default | Source::File(_) => self.bases.root,
            Source::Variable(_) | Source::Flag(_) => self.bases.working_folder,
        };
        // Drops `.` and doubled slashes; `..` stays, since a symlink may stand before it.
        let path: PathBuf = base.join(text).components().collect();
        self.record(key, SettingValue::Text(path.display().to_string()), source);
        Some(path)
    }

    /// Reads a whole number of that range.
    pub(super) fn whole(&mut self, key: &'static Key, range: RangeInclusive<u64>) -> Option<u64> {
        let (kind, source) = self.found(key)?;
        let number = whole_number(&kind, &source);
        let Some(number) = number.filter(|number| range.contains(number)) else {
            let (least, most) = (range.start(), range.end());
            let allowed = format!("must be a whole number from {least} to {most}");
            return self.fault(key, &kind, source, allowed);
        };
        self.record(key, SettingValue::Whole(number), source);
        Some(number)
    }

    /// Reads a whole number of that range, or that word.
    pub(super) fn whole_or(
        &mut self,
        key: &'static Key,
        word: &str,
        range: RangeInclusive<u64>,
    ) -> Option<WholeOr> {
        let (kind, source) = self.found(key)?;
        if matches!(&kind, ValueKind::String(text) if text == word) {
            self.record(key, SettingValue::Text(word.to_owned()), source);
            return Some(WholeOr::Word);
        }
        let Some(number) = whole_number(&kind, &source).filter(|number| range.contains(number))
        else {
            let (least, most) = (range.start(), range.end());
            let allowed = format!("must be \"{word}\" or a whole number from {least} to {most}");
            return self.fault(key, &kind, source, allowed);
        };
        self.record(key, SettingValue::Whole(number), source);
        Some(WholeOr::Whole(number))
    }

    /// Reads a switch.
    pub(super) fn switch(&mut self, key: &'static Key) -> Option<bool> {
        let (kind, source) = self.found(key)?;
        let value = match &kind {
            ValueKind::Boolean(value) => Some(*value),
            ValueKind::String(text) if is_text_layer(&source) => text.parse().ok(),
            _ => None,
        };
        let Some(value) = value else {
            return self.fault(key, &kind, source, "must be true or false".to_owned());
        };
        self.record(key, SettingValue::Switch(value), source);
        Some(value)
    }

    /// Adds a fault of a value that is right by itself, but not beside another one, or that is missing.
    pub(super) fn contradiction(&mut self, key: &'static Key, problem: String) {
        let (kind, source) = self.merged.get(key).map_or_else(
            || {
                let entry = self.entry.as_ref();
                let source = entry.map_or(Source::Default, |(_, source)| source.clone());
                (None, source)
            },
            |(kind, source)| (Some(kind), source),
        );
        self.faults.push(Fault {
            key: Some(self.name_of(key.name)),
            value: kind.map(shown),
            source,
            problem,
        });
    }

    /// Returns how people know a key.
    pub(super) fn name_of(&self, key: &str) -> String {
        match &self.entry {
            Some((entry, _)) => format!("{entry}.{key}"),
            None => key.to_owned(),
        }
    }

    /// Reads an entry of a collection, with what is found out going where the rest goes.
    pub(super) fn entry<T>(&mut self, entry: Entry, read: impl FnOnce(&mut Reading<'_>) -> T) -> T {
        let named = (entry.name(), entry.source.clone());
        let merged = entry.merged();
        let mut reading = Reading {
            entry: Some(named),
            merged: &merged,
            bases: self.bases,
            settings: mem::take(&mut self.settings),
            faults: mem::take(&mut self.faults),
            absent: mem::take(&mut self.absent),
            warnings: mem::take(&mut self.warnings),
        };
        let value = read(&mut reading);
        let Reading {
            settings,
            faults,
            absent,
            warnings,
            ..
        } = reading;
        self.absent = absent;
        (self.settings, self.faults, self.warnings) = (settings, faults, warnings);
        value
    }

    pub(super) fn found(&mut self, key: &'static Key) -> Option<(ValueKind, Source)> {
        let found = self.merged.get(key);
        if found.is_none() {
            self.record(key, SettingValue::Unset, Source::Default);
        }
        found.map(|(kind, source)| (kind.clone(), source))
    }

    pub(super) fn record(&mut self, key: &'static Key, value: SettingValue, source: Source) {
        self.settings.push(Setting {
            key: self.name_of(key.name),
            value,
            source,
        });
    }

    pub(super) fn fault<T>(
        &mut self,
        key: &'static Key,
        kind: &ValueKind,
        source: Source,
        problem: String,
    ) -> Option<T> {
        self.faults.push(Fault {
            key: Some(self.name_of(key.name)),
            value: Some(shown(kind)),
            source,
            problem,
        });
        None
    }
}

fn whole_number(kind: &ValueKind, source: &Source) -> Option<u64> {
    match kind {
        ValueKind::I64(number) => u64::try_from(*number).ok(),
        ValueKind::String(text) if is_text_layer(source) => text.parse().ok(),
        _ => None,
    }
}

const fn is_text_layer(source: &Source) -> bool {
    match source {
        Source::Default | Source::Variable(_) | Source::Flag(_) => true,
        Source::File(_) => false,
    }
}

/// How a fault shows a value; one that may hold a password is masked.
fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) if text.contains("://") && text.contains('@') => {
            "\"****\"".to_owned()
        }
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(_) => "[…]".to_owned(),
        scalar => scalar.to_string(),
    }
}
