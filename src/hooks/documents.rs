//! The files of fetched documents: written whole, removed with their document, and never outside the
//! configuration's folder.
//!
//! Owns the memory of which document has which file, one file in the state folder for each hook: without
//! it, a document that is gone or renamed could not be told to have had one. The disk decides what is
//! outside: a folder that is a symlink out of the site's is refused, whatever it is called.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use super::{
    outcome::{DocumentChange, FileChange},
    path_template::{PathError, PathTemplate},
};
use crate::durable_file::{self, Readers};

/// Why a document has no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    /// Its path cannot be told.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Another document's file is there.
    #[error("{path} is the file of the document {owner} already: let fetch.path tell them apart")]
    Taken {
        /// The path.
        path: String,
        /// The other document.
        owner: String,
    },
    /// The path leads somewhere that is not for documents.
    #[error("{path} leads {to}, where no document is written")]
    Elsewhere {
        /// The path.
        path: String,
        /// Where it leads.
        to: &'static str,
    },
    /// The system refused.
    #[error("the file {path} cannot be changed")]
    Io {
        /// The path.
        path: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// The documents of one hook.
#[derive(Debug)]
pub(super) struct Documents {
    /// The configuration's folder, canonical.
    root: PathBuf,
    /// Folders and files that are never written to, canonical as far as they are there.
    refused: Vec<PathBuf>,
    memory: PathBuf,
    /// Document → path.
    paths: BTreeMap<String, String>,
}

impl Documents {
    /// Returns the documents that are remembered in the file `memory`; `refused` are paths that are not
    /// for them.
    pub(super) fn open(root: &Path, refused: &[PathBuf], memory: PathBuf) -> Self {
        let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let paths = match fs::read(&memory) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(
                    path = %memory.display(), %error,
                    "it is not known any more which document has which file: those of documents that are \
                     gone have to be removed by hand"
                );
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Self {
            root: root.canonicalize().unwrap_or_else(|_| root.to_owned()),
            refused: refused.iter().map(real).collect(),
            memory,
            paths,
        }
    }

    /// Writes a document's file, and removes the one that it had under another path.
    ///
    /// Can be repeated after a crash at any point.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]; the file that was there is as it was.
    pub(super) fn write(
        &mut self,
        id: &str,
        template: &PathTemplate,
        document: &Value,
    ) -> Result<DocumentChange, DocumentError> {
        let path = template.render(document)?;
        let owner = self.paths.iter().find(|(_, taken)| **taken == path);
        if let Some((owner, _)) = owner.filter(|(owner, _)| *owner != id) {
            let owner = owner.clone();
            return Err(DocumentError::Taken { path, owner });
        }
        let failed = |source| DocumentError::Io {
            path: path.clone(),
            source,
        };
        let place = self.place(&path)?;
        let mut bytes =
            serde_json::to_vec_pretty(document).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        let change = if fs::read(&place).is_ok_and(|there| there == bytes) {
            FileChange::Unchanged
        } else {
            if let Some(folder) = place.parent() {
                fs::create_dir_all(folder).map_err(failed)?;
            }
            // What somebody put there meanwhile is seen as well.
            self.place(&path)?;
            durable_file::replace(&place, &bytes, Readers::Usual).map_err(failed)?;
            FileChange::Written
        };
        let before = self.paths.get(id).cloned();
        if before.as_ref() != Some(&path) {
            if let Some(before) = &before {
                self.remove_file(before)?;
            }
            self.paths.insert(id.to_owned(), path.clone());
            if let Err(error) = self.remember() {
                // As on the disk, so that another try does it again.
                match before {
                    Some(before) => self.paths.insert(id.to_owned(), before),
                    None => self.paths.remove(id),
                };
                return Err(failed(error));
            }
        }
        let change = match (&before, change) {
            (Some(before), FileChange::Unchanged) if *before != path => FileChange::Written,
            (_, change) => change,
        };
        Ok(DocumentChange {
            id: id.to_owned(),
            path: Some(path),
            change,
        })
    }

    /// Removes the file of a document that is gone.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]; it is still remembered.
    pub(super) fn remove(&mut self, id: &str) -> Result<DocumentChange, DocumentError> {
        let Some(path) = self.paths.get(id).cloned() else {
            return Ok(DocumentChange {
                id: id.to_owned(),
                path: None,
                change: FileChange::Unchanged,
            });
        };
        self.remove_file(&path)?;
        self.paths.remove(id);
        if let Err(source) = self.remember() {
            self.paths.insert(id.to_owned(), path.clone());
            return Err(DocumentError::Io { path, source });
        }
        Ok(DocumentChange {
            id: id.to_owned(),
            path: Some(path),
            change: FileChange::Removed,
        })
    }

    fn remove_file(&self, path: &str) -> Result<(), DocumentError> {
        match fs::remove_file(self.place(path)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DocumentError::Io {
                path: path.to_owned(),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    fn remember(&self) -> io::Result<()> {
        durable_file::replace(
            &self.memory,
            &serde_json::to_vec(&self.paths)?,
            Readers::Owner,
        )
    }

    /// Returns where a path is on the disk, when that is a place for documents.
    fn place(&self, path: &str) -> Result<PathBuf, DocumentError> {
        let elsewhere = |to| DocumentError::Elsewhere {
            path: path.to_owned(),
            to,
        };
        let place = self.root.join(path);
        // A template makes none of these; what is remembered was written by nobody else, but may have been.
        let is_plain = |part| matches!(part, Component::Normal(_));
        if !Path::new(path).components().all(is_plain) {
            return Err(elsewhere("out of the folder of onsave.toml"));
        }
        let folders = place.ancestors().skip(1);
        let real = folders
            .filter_map(|folder| Some((folder.canonicalize().ok()?, folder)))
            .map(|(real, folder)| real.join(place.strip_prefix(folder).unwrap_or(Path::new(""))))
            .next()
            .ok_or_else(|| elsewhere("nowhere"))?;
        let Ok(inner) = real.strip_prefix(&self.root) else {
            return Err(elsewhere("out of the folder of onsave.toml"));
        };
        let is_hidden = |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
        if inner.components().any(is_hidden) {
            return Err(elsewhere("into a hidden folder"));
        }
        if self.refused.iter().any(|refused| real.starts_with(refused)) {
            return Err(elsewhere("to the configuration or the volume"));
        }
        Ok(real)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    struct Desk {
        home: TempDir,
        template: PathTemplate,
    }

    impl Desk {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir(home.path().join("site")).unwrap();
            Self {
                home,
                template: PathTemplate::parse("content/{_type}/{slug}.json").unwrap(),
            }
        }

        fn root(&self) -> PathBuf {
            self.home.path().join("site")
        }

        fn documents(&self) -> Documents {
            let refused = ["onsave.toml", "content/volume"].map(|name| self.root().join(name));
            Documents::open(&self.root(), &refused, self.home.path().join("memory.json"))
        }

        fn read(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.root().join(path)).ok()
        }
    }

    fn post(slug: &str, title: &str) -> Value {
        json!({"_type": "post", "slug": slug, "title": title})
    }

    #[test]
    fn a_document_has_one_file_wherever_it_goes() {
        let desk = Desk::new();
        let mut documents = desk.documents();
        let mut write = |document: &Value| documents.write("a", &desk.template, document).unwrap();
        let written = write(&post("one", "First"));
        assert_eq!(written.path.as_deref(), Some("content/post/one.json"));
        assert_eq!(written.change, FileChange::Written);
        assert!(
            desk.read("content/post/one.json")
                .unwrap()
                .contains("\"First\"")
        );
        assert_eq!(write(&post("one", "First")).change, FileChange::Unchanged);
        assert_eq!(write(&post("one", "Second")).change, FileChange::Written);
        write(&post("two", "Second"));
        assert_eq!(desk.read("content/post/one.json"), None);
        // What is remembered outlives the daemon.
        let mut documents = desk.documents();
        let removed = documents.remove("a").unwrap();
        assert_eq!(removed.path.as_deref(), Some("content/post/two.json"));
        assert_eq!(removed.change, FileChange::Removed);
        assert_eq!(desk.read("content/post/two.json"), None);
        assert_eq!(documents.remove("a").unwrap().path, None);
        assert_eq!(desk.documents().paths.len(), 0);
    }

    #[test]
    fn two_documents_never_share_a_file() {
        let desk = Desk::new();
        let mut documents = desk.documents();
        documents
            .write("a", &desk.template, &post("x/y", "A"))
            .unwrap();
        let error = documents
            .write("b", &desk.template, &post("x-y", "B"))
            .unwrap_err();
        assert!(error.to_string().contains("document a already"), "{error}");
        assert!(
            desk.read("content/post/x-y.json")
                .unwrap()
                .contains("\"A\"")
        );
    }

    #[test]
    fn no_symlink_leads_out_and_none_to_what_is_hidden() {
        let desk = Desk::new();
        let content = desk.root().join("content");
        fs::create_dir(&content).unwrap();
        fs::create_dir(desk.root().join(".git")).unwrap();
        fs::create_dir(desk.home.path().join("outside")).unwrap();
        symlink(desk.home.path().join("outside"), content.join("out")).unwrap();
        symlink(desk.root().join(".git"), content.join("git")).unwrap();
        symlink(content.join("real"), content.join("dangling")).unwrap();
        let mut documents = desk.documents();
        for (kind, part) in [
            ("out", "out of the folder"),
            ("git", "hidden"),
            ("volume", "volume"),
        ] {
            let document = json!({"_type": kind, "slug": "a"});
            let error = documents.write("a", &desk.template, &document).unwrap_err();
            assert!(error.to_string().contains(part), "{kind}: {error}");
        }
        assert_eq!(
            fs::read_dir(desk.home.path().join("outside"))
                .unwrap()
                .count(),
            0
        );
        assert_eq!(fs::read_dir(desk.root().join(".git")).unwrap().count(), 0);
        let dangling = json!({"_type": "dangling", "slug": "a"});
        assert!(documents.write("a", &desk.template, &dangling).is_err());
    }

    #[test]
    fn a_symlink_within_is_followed_and_a_file_that_is_one_is_replaced() {
        let desk = Desk::new();
        fs::create_dir_all(desk.root().join("real")).unwrap();
        fs::create_dir_all(desk.root().join("content")).unwrap();
        symlink(desk.root().join("real"), desk.root().join("content/post")).unwrap();
        let outside = desk.home.path().join("precious");
        fs::write(&outside, "precious").unwrap();
        symlink(&outside, desk.root().join("real/a.json")).unwrap();
        desk.documents()
            .write("a", &desk.template, &post("a", "A"))
            .unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
        assert!(desk.read("real/a.json").unwrap().contains("\"A\""));
    }

    #[test]
    fn a_memory_that_leads_out_removes_nothing() {
        let desk = Desk::new();
        let outside = desk.home.path().join("precious");
        fs::write(&outside, "precious").unwrap();
        fs::write(
            desk.home.path().join("memory.json"),
            "{\"a\": \"../precious\"}",
        )
        .unwrap();
        assert!(desk.documents().remove("a").is_err());
        assert!(outside.exists());
        fs::write(desk.home.path().join("memory.json"), "no JSON").unwrap();
        assert_eq!(desk.documents().remove("a").unwrap().path, None);
    }
}
