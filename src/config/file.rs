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
    keys::{self, Collection, CollectionShape},
    layers::{Entry, Layer},
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

/// What a configuration file holds.
#[derive(Debug, Default)]
pub(super) struct FileContents {
    /// The keys that there are once.
    pub(super) layer: Layer,
    /// The sections that there may be any number of; those of a list in their order.
    pub(super) entries: Vec<Entry>,
}

/// Returns what `text` holds, with the sections of `collections`; what is wrong with it is added to
/// `faults`.
pub(super) fn contents(
    (path, text): (&Path, &str),
    collections: &[&'static Collection],
    faults: &mut Vec<Fault>,
) -> FileContents {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading {
        path,
        text,
        collections,
        contents: FileContents::default(),
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
    reading.contents
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    collections: &'a [&'static Collection],
    contents: FileContents,
    faults: &'a mut Vec<Fault>,
}

impl Reading<'_> {
    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = below(section, name.get_ref());
            let source = self.source(name.span().start);
            if self.is_entries(section, &key, value.get_ref(), &source) {
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) if self.is_section(&key) => self.table(&key, inner),
                DeValue::Table(inner) if !inner.is_empty() && keys::named(&key).is_none() => {
                    self.table(&key, inner);
                }
                value => match (kind_of(value), keys::named(&key)) {
                    (Some(kind), Some(known)) => self.contents.layer.insert(known, kind, &source),
                    (_, known) => {
                        let problem = if known.is_some() {
                            "is a key and no section; it has one value".to_owned()
                        } else if self.is_section(&key) {
                            format!("is a section; its keys go below [{key}]")
                        } else {
                            unknown(keys::nearest(&key))
                        };
                        self.fault(key, source, problem);
                    }
                },
            }
        }
    }

    fn is_section(&self, name: &str) -> bool {
        keys::is_section(name) || self.collections.iter().any(|known| known.name == name)
    }

    /// Takes the value in where it is an entry of a collection, or a whole list of them.
    fn is_entries(&mut self, section: &str, key: &str, value: &DeValue<'_>, at: &Source) -> bool {
        let mut collections = self.collections.iter().copied();
        let found = collections.find(|collection| match collection.shape {
            CollectionShape::Named => collection.name == section,
            CollectionShape::Listed => collection.name == key,
        });
        match (found.map(|found| (found, found.shape)), value) {
            (Some((collection, CollectionShape::Named)), DeValue::Table(table))
                if keys::named(key).is_none() =>
            {
                let id = key.split_once('.').map_or(key, |(_, id)| id);
                self.entry(collection, id.to_owned(), (table, at.clone()));
            }
            (Some((collection, CollectionShape::Listed)), DeValue::Array(items)) => {
                for (number, item) in items.iter().enumerate() {
                    let source = self.source(item.span().start);
                    if let DeValue::Table(table) = item.get_ref() {
                        self.entry(collection, (number + 1).to_string(), (table, source));
                    } else {
                        let problem = format!("is a list of sections, each below [[{key}]]");
                        self.fault(key.to_owned(), source, problem);
                    }
                }
            }
            (Some((_, CollectionShape::Listed)), _) => {
                let problem = format!("is a list of sections, each below [[{key}]]");
                self.fault(key.to_owned(), at.clone(), problem);
            }
            _ => return false,
        }
        true
    }

    fn entry(
        &mut self,
        collection: &'static Collection,
        id: String,
        (table, source): (&DeTable<'_>, Source),
    ) {
        let mut entry = Entry {
            collection,
            id,
            source,
            layer: Layer::default(),
        };
        self.entry_table(&mut entry, "", table);
        self.contents.entries.push(entry);
    }

    fn entry_table(&mut self, entry: &mut Entry, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = below(section, name.get_ref());
            let source = self.source(name.span().start);
            match (value.get_ref(), entry.collection.named(&key)) {
                (DeValue::Table(inner), None) if entry.collection.is_section(&key) => {
                    self.entry_table(entry, &key, inner);
                }
                (value, Some(known)) if let Some(kind) = kind_of(value) => {
                    entry.layer.insert(known, kind, &source);
                }
                (_, known) => {
                    let problem = if known.is_some() {
                        "is a key and no section; it has one value".to_owned()
                    } else if entry.collection.is_section(&key) {
                        format!("is a section; its keys go below [{}.{key}]", entry.name())
                    } else {
                        unknown(entry.collection.nearest(&key))
                    };
                    self.fault(format!("{}.{key}", entry.name()), source, problem);
                }
            }
        }
    }

    fn fault(&mut self, key: String, source: Source, problem: String) {
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

fn below(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

fn unknown(nearest: &str) -> String {
    format!("unknown key; the nearest known one is {nearest}")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{keys::Key, layers::Merged};

    static VERIFY: Key = Key {
        name: "verify",
        default: Some("none"),
    };
    static QUERY: Key = Key {
        name: "fetch.query",
        default: None,
    };
    static NAMED: Collection = Collection {
        name: "things",
        shape: CollectionShape::Named,
        keys: &[&VERIFY, &QUERY],
    };
    static LISTED: Collection = Collection {
        name: "after_it",
        shape: CollectionShape::Listed,
        keys: &[&VERIFY],
    };

    fn read(text: &str) -> (FileContents, Vec<String>) {
        let mut faults = Vec::new();
        let path = Path::new("onsave.toml");
        let contents = contents((path, text), &[&NAMED, &LISTED], &mut faults);
        let faults = faults.iter().map(ToString::to_string).collect();
        (contents, faults)
    }

    fn value(merged: &Merged, key: &Key) -> Option<(String, Source)> {
        let (kind, source) = merged.get(key)?;
        Some((kind.to_string(), source))
    }

    #[test]
    fn a_collection_has_any_number_of_entries() {
        let text = "app = \"a\"\n[things.x]\nverify = \"v\"\nfetch.query = \"q\"\n[things.y]\n\
                    [[after_it]]\n[[after_it]]\nverify = \"w\"\n";
        let (contents, faults) = read(text);
        assert_eq!(faults, [""; 0]);
        assert!(contents.layer.sets(&keys::APP));
        let mut entries = contents.entries;
        entries.sort_by_key(Entry::name);
        let names: Vec<_> = entries.iter().map(Entry::name).collect();
        let expected = ["after_it[1]", "after_it[2]", "things.x", "things.y"];
        assert_eq!(names, expected);
        let merged: Vec<_> = entries.into_iter().map(Entry::merged).collect();
        let at = |line: u32| Source::File(format!("onsave.toml:{line}"));
        let default = Some(("none".to_owned(), Source::Default));
        assert_eq!(value(&merged[0], &VERIFY), default);
        assert_eq!(value(&merged[1], &VERIFY), Some(("w".to_owned(), at(8))));
        assert_eq!(value(&merged[2], &VERIFY), Some(("v".to_owned(), at(3))));
        assert_eq!(value(&merged[2], &QUERY), Some(("q".to_owned(), at(4))));
        assert_eq!(value(&merged[3], &VERIFY), default);
        assert_eq!(value(&merged[3], &QUERY), None);
    }

    #[test]
    fn what_is_no_entry_is_a_fault_with_its_line() {
        for (text, expected) in [
            (
                "[things.x]\nverfiy = 1\n",
                "things.x.verfiy (file onsave.toml:2): unknown key; the nearest known one is verify",
            ),
            (
                "[things.x.verify]\n",
                "things.x.verify (file onsave.toml:1): is a key and no section; it has one value",
            ),
            (
                "[things.x]\nfetch = 1\n",
                "things.x.fetch (file onsave.toml:2): is a section; its keys go below [things.x.fetch]",
            ),
            ("[things]\nx = 1\n", "things.x (file onsave.toml:2): "),
            (
                "things = 1\n",
                "things (file onsave.toml:1): is a section; its keys go below [things]",
            ),
            (
                "[after_it]\nverify = 1\n",
                "after_it (file onsave.toml:1): is a list of sections, each below [[after_it]]",
            ),
            (
                "after_it = [1]\n",
                "after_it (file onsave.toml:1): is a list of sections, each below [[after_it]]",
            ),
        ] {
            let (contents, faults) = read(text);
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
            assert!(faults[0].starts_with(expected), "{text}: {faults:?}");
            let of_entries = contents.entries.iter();
            assert_eq!(
                of_entries.filter(|entry| entry.layer.sets(&VERIFY)).count(),
                0
            );
        }
    }
}
