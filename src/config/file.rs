//! Finding and parsing `onsave.toml`; only user of the `toml` crate.
//!
//! The text is parsed here and not by the `config` crate, since that one forgets the lines, and a
//! fault without its line is a fault to search for. A file that is not TOML gives every syntax
//! error and no values: half a file would cause faults that are not there.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use ::config::{Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::{
    fault::Fault,
    keys::{self, Key},
    layers::Layer,
    source::Source,
};

/// The name of the configuration file.
pub const FILE_NAME: &str = "onsave.toml";

/// Far above what every key with its comments needs; a larger file is something else.
const MAX_BYTES: u64 = 1024 * 1024;

/// Returns the nearest configuration file from `folder` upwards.
///
/// One that is there and cannot be examined counts as found: to pass it over would be to publish
/// with another configuration than the user's.
pub(super) fn find(folder: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .map(|folder| folder.join(FILE_NAME))
        .find(|path| !matches!(path.try_exists(), Ok(false)))
}

/// Reads a configuration file.
///
/// # Errors
///
/// The reason, for people.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let result =
        File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match result {
        Ok(length) if length as u64 > MAX_BYTES => Err(format!("is larger than {MAX_BYTES} bytes")),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err("must be UTF-8".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// Returns `text` as a string of TOML.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => {
                let code = u32::from(character);
                quoted.extend(format!("\\u{code:04X}").chars());
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// Returns the layer that `text` holds; what is wrong with it is added to `faults`.
pub(super) fn layer(path: &Path, text: &str, faults: &mut Vec<Fault>) -> Layer {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading {
        path,
        text,
        layer: Layer::default(),
        faults,
    };
    if errors.is_empty() {
        reading.table("", table.get_ref());
    }
    for error in errors {
        let source = reading.source(error.span().map_or(0, |span| span.start));
        reading.faults.push(Fault {
            key: None,
            value: None,
            source,
            problem: format!("is not TOML: {}", error.message()),
        });
    }
    reading.layer
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
    faults: &'a mut Vec<Fault>,
}

impl Reading<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let source = self.source(name.span().start);
            match value.get_ref() {
                DeValue::Table(inner) if keys::is_section(&key) => self.table(&key, inner),
                DeValue::Table(inner) if !inner.is_empty() && keys::named(&key).is_none() => {
                    self.table(&key, inner);
                }
                value => match (kind_of(value), keys::named(&key)) {
                    (Some(kind), Some(known)) => self.layer.insert(known, kind, &source),
                    (_, known) => self.fault(key, known, source),
                },
            }
        }
    }

    fn fault(&mut self, key: String, known: Option<&Key>, source: Source) {
        let problem = if known.is_some() {
            "is a key and no section; it has one value".to_owned()
        } else if keys::is_section(&key) {
            format!("is a section; its keys go below [{key}]")
        } else {
            format!(
                "unknown key; the nearest known one is {}",
                keys::nearest(&key)
            )
        };
        self.faults.push(Fault {
            key: Some(key),
            value: None,
            source,
            problem,
        });
    }

    fn source(&self, offset: usize) -> Source {
        let before = self.text.as_bytes().iter().take(offset);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Source::File(format!("{}:{line}", self.path.display()))
    }
}

/// Returns the value as the `config` crate holds it; none for a table, which is no value.
fn kind_of(value: &DeValue<'_>) -> Option<ValueKind> {
    Some(match value {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        // A number beyond 64 bits is beyond every range as well; as text, it is shown as typed.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| ValueKind::String(number.to_string()), ValueKind::I64),
        DeValue::Float(number) => ValueKind::String(number.as_str().to_owned()),
        DeValue::Boolean(value) => ValueKind::Boolean(*value),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Array(items) => {
            let kinds = items.iter().filter_map(|item| kind_of(item.get_ref()));
            ValueKind::Array(kinds.map(|kind| Value::new(None, kind)).collect())
        }
        DeValue::Table(_) => return None,
    })
}
