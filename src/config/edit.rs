//! Writing keys back into `onsave.toml`; only user of the `toml_edit` crate.
//!
//! What the file says besides, comments and order too, stays as it is. The file is replaced whole or
//! not at all; one that is no TOML is left alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml_edit::{Array, DocumentMut, Item, Table, Value};

use crate::durable_file::{self, Readers};
/// A value to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyValue {
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
}

/// The configuration file could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It cannot be read or written.
    #[error("failed to write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It is no TOML, or a key's place holds something else.
    #[error("{} cannot be changed: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Sets `keys` (`section.name`, or the name alone) in the file, which is made where it is not there.
///
/// # Errors
///
/// [`EditError`]; the file is as it was.
pub fn set_keys(path: &Path, keys: &[(&str, KeyValue)]) -> Result<(), EditError> {
    let io_error = |source| EditError::Io {
        path: path.to_owned(),
        source,
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io_error(error)),
    };
    let edited = edited(&text, keys).map_err(|problem| EditError::Unreadable {
        path: path.to_owned(),
        problem,
    })?;
    // Where a link leads is replaced, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    durable_file::replace(&path, edited.as_bytes(), Readers::Usual).map_err(io_error)
}

/// Returns the text with the keys set.
fn edited(text: &str, keys: &[(&str, KeyValue)]) -> Result<String, String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
    for (key, value) in keys {
        let (section, name) = match key.split_once('.') {
            Some((section, name)) => (Some(section), name),
            None => (None, *key),
        };
        let table: &mut dyn toml_edit::TableLike = match section {
            None => document.as_table_mut(),
            Some(section) => document
                .entry(section)
                .or_insert_with(|| Item::Table(Table::new()))
                .as_table_like_mut()
                .ok_or_else(|| format!("{section} is no section"))?,
        };
        set(table, name, value);
    }
    Ok(document.to_string())
}

/// Keeps what stands around the old value: spaces and a comment at the line's end.
fn set(table: &mut dyn toml_edit::TableLike, name: &str, value: &KeyValue) {
    let mut value = match value {
        KeyValue::Text(text) => Value::from(text.as_str()),
        KeyValue::Texts(texts) => Value::Array(texts.iter().map(String::as_str).collect::<Array>()),
    };
    if let Some(old) = table.get(name).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    }
    match table.get_mut(name) {
        // The key keeps what stands before it.
        Some(item) => *item = Item::Value(value),
        None => {
            table.insert(name, Item::Value(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn text(text: &str) -> KeyValue {
        KeyValue::Text(text.to_owned())
    }

    #[test]
    fn a_key_is_set_and_the_rest_stays() {
        let before = "# my site\napp = \"a\" # its name\n\n[target]\nkind = \"fly\"\n\n[fly]\n# near\nregion = \"fra\"\n";
        let after = edited(
            before,
            &[
                ("app", text("a-1f2e")),
                ("fly.org", text("mine")),
                (
                    "fly.domains",
                    KeyValue::Texts(vec!["a.org".into(), "b.org".into()]),
                ),
            ],
        )
        .unwrap();
        let expected = "# my site\napp = \"a-1f2e\" # its name\n\n[target]\nkind = \"fly\"\n\n[fly]\n# near\nregion = \"fra\"\norg = \"mine\"\ndomains = [\"a.org\", \"b.org\"]\n";
        assert_eq!(after, expected);
    }

    #[test]
    fn dotted_keys_and_new_files_work_too() {
        assert_eq!(
            edited("fly.region = \"fra\"\n", &[("fly.org", text("x"))]).unwrap(),
            "fly.region = \"fra\"\nfly.org = \"x\"\n"
        );
        assert_eq!(
            edited("", &[("app", text("a")), ("target.kind", text("fly"))]).unwrap(),
            "app = \"a\"\n\n[target]\nkind = \"fly\"\n"
        );
    }

    #[test]
    fn what_cannot_be_changed_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("onsave.toml");
        for broken in ["app = ", "fly = 1\n"] {
            fs::write(&path, broken).unwrap();
            let error = set_keys(&path, &[("fly.org", text("x"))]).unwrap_err();
            assert!(matches!(error, EditError::Unreadable { .. }));
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
        fs::remove_file(&path).unwrap();
        set_keys(&path, &[("app", text("x"))]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "app = \"x\"\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
