//! Looking at the sources: which files there are, and which of them differ from the last look.
//!
//! Owns what was seen. A file differs when its size does, or when its times do and its bytes too, so that
//! a command that writes a source anew with the same bytes changes nothing. Blocks for as long as the
//! walk takes, some microseconds a file; reads only files whose times moved.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use onsave_protocol::Sha256Digest;

use super::source_rules::SourceRules;
use crate::ignore_rules::{EntryKind, IgnoreRules};

/// Most files that are looked at; more are no sources that people save, and `build.watch` narrows them.
pub(crate) const MAX_SOURCES: usize = 100_000;

/// A larger file is taken to differ when its times do.
const MAX_READ_BYTES: u64 = 16 * 1024 * 1024;

/// A `.gitignore` that is larger is none.
const MAX_RULES_BYTES: u64 = 1024 * 1024;

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Paths that appeared, went or differ, relative to the configuration's folder.
    pub(crate) changed: BTreeSet<String>,
    /// There are more than [`MAX_SOURCES`], and the rest was not looked at.
    pub(crate) too_many: bool,
}

/// The sources as last seen.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    seen: Option<BTreeMap<String, Seen>>,
}

/// One file as last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    stamp: Stamp,
    /// Not known of a file that has not changed since the first look.
    digest: Option<Sha256Digest>,
}

/// What tells without reading that a file may be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Survey {
    /// Looks at the sources below `root`; the first look finds no change.
    ///
    /// A root that is not there, as while it is unmounted, has not changed either.
    pub(crate) fn look(&mut self, root: &Path, rules: &SourceRules) -> Found {
        let walk = walk(root, rules);
        if !walk.is_there {
            return Found::default();
        }
        let mut changed = BTreeSet::new();
        let mut now = BTreeMap::new();
        for (path, stamp) in walk.files {
            let before = self.seen.as_ref().map(|seen| seen.get(&path));
            let seen = match before {
                None => Seen {
                    stamp,
                    digest: None,
                },
                Some(Some(seen)) if seen.stamp == stamp => *seen,
                Some(before) => {
                    let digest = digest(&root.join(&path), stamp);
                    let same = |seen: &Seen| seen.stamp.size == stamp.size && seen.digest == digest;
                    if digest.is_none() || !before.is_some_and(same) {
                        changed.insert(path.clone());
                    }
                    Seen { stamp, digest }
                }
            };
            now.insert(path, seen);
        }
        let gone = |path: &&String| !now.contains_key(*path);
        changed.extend(
            self.seen
                .iter()
                .flat_map(BTreeMap::keys)
                .filter(gone)
                .cloned(),
        );
        self.seen = Some(now);
        Found {
            changed,
            too_many: walk.too_many,
        }
    }
}

fn digest(path: &Path, stamp: Stamp) -> Option<Sha256Digest> {
    if stamp.size > MAX_READ_BYTES {
        return None;
    }
    fs::read(path).ok().map(|bytes| Sha256Digest::of(&bytes))
}

/// Returns the folders that may hold sources, with `root` itself.
pub(super) fn folders(root: &Path, rules: &SourceRules) -> Vec<PathBuf> {
    let folders = walk(root, rules).folders;
    folders.iter().map(|folder| root.join(folder)).collect()
}

#[derive(Default)]
struct Walk {
    files: BTreeMap<String, Stamp>,
    folders: Vec<String>,
    is_there: bool,
    too_many: bool,
}

/// Walks top-down, so that each folder's `.gitignore` holds for what is below it.
fn walk(root: &Path, rules: &SourceRules) -> Walk {
    let mut walk = Walk::default();
    let mut ignored = IgnoreRules::default();
    let mut ahead = vec![String::new()];
    while let Some(folder) = ahead.pop() {
        let here = root.join(&folder);
        let entries = match fs::read_dir(&here) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(folder = %here.display(), %error, "sources cannot be looked at");
                }
                continue;
            }
        };
        walk.is_there |= folder.is_empty();
        if let Some(text) = gitignore(&here) {
            ignored.add(folder.clone(), text);
        }
        for entry in entries.flatten() {
            let Some(path) = below(&folder, &entry) else {
                continue;
            };
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                if !rules.leaves_out(&ignored, &path, EntryKind::Folder) {
                    ahead.push(path);
                }
            } else if !rules.leaves_out(&ignored, &path, EntryKind::File)
                && let Some(stamp) = stamp(&entry.path())
            {
                if walk.files.len() == MAX_SOURCES {
                    walk.too_many = true;
                    break;
                }
                walk.files.insert(path, stamp);
            }
        }
        walk.folders.push(folder);
    }
    rules.use_ignored(ignored);
    walk
}

/// A name that is not UTF-8 is none that a pattern could name.
fn below(folder: &str, entry: &fs::DirEntry) -> Option<String> {
    let name = entry.file_name().into_string().ok()?;
    Some(if folder.is_empty() {
        name
    } else {
        format!("{folder}/{name}")
    })
}

/// Returns the stamp of a file, symlinks followed; nothing for what is no file.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Stamp {
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        inode: metadata.ino(),
    })
}

fn gitignore(folder: &Path) -> Option<String> {
    let path = folder.join(".gitignore");
    let metadata = fs::metadata(&path).ok()?;
    (metadata.is_file() && metadata.len() <= MAX_RULES_BYTES)
        .then(|| fs::read_to_string(&path).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        BuildCommand, BuildConfig, Config, FlagLayer, OnChange, load as load_config,
    };
    use crate::surroundings::{Stream, Surroundings};

    struct Desk {
        home: tempfile::TempDir,
        rules: SourceRules,
        survey: Survey,
    }

    impl Desk {
        fn new(files: &[(&str, &str)]) -> Self {
            let home = tempfile::tempdir().unwrap();
            let desk = Self {
                rules: SourceRules::new(&config(home.path()), &build()),
                survey: Survey::default(),
                home,
            };
            for (path, text) in files {
                desk.write(path, text);
            }
            desk
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn look(&mut self) -> Vec<String> {
            let root = self.home.path().canonicalize().unwrap();
            self.survey
                .look(&root, &self.rules)
                .changed
                .into_iter()
                .collect()
        }
    }

    fn build() -> BuildConfig {
        BuildConfig {
            command: BuildCommand::Shell("true".into()),
            watch: Vec::new(),
            on_change: OnChange::Queue,
            debounce: std::time::Duration::ZERO,
            timeout: None,
        }
    }

    fn config(root: &Path) -> Config {
        let surroundings = Surroundings {
            variables: [("USER".into(), "ann".into())].into(),
            working_folder: root.to_owned(),
            home: None,
            host: "desk".to_owned(),
            stderr: Stream::Other,
            program: None,
        };
        load_config(&surroundings, &FlagLayer::default())
            .unwrap()
            .config
    }

    #[test]
    fn what_appears_goes_or_differs_is_found() {
        let mut desk = Desk::new(&[("a.md", "a"), ("b/c.md", "c"), ("b/d.md", "d")]);
        assert!(desk.look().is_empty(), "the first look is what is there");
        assert!(desk.look().is_empty());
        desk.write("a.md", "another");
        desk.write("new/e.md", "e");
        fs::remove_file(desk.home.path().join("b/d.md")).unwrap();
        desk.write("deploy/index.html", "the output");
        desk.write("node_modules/x/index.js", "a dependency");
        assert_eq!(desk.look(), ["a.md", "b/d.md", "new/e.md"]);
        assert!(desk.look().is_empty());
    }

    #[test]
    fn a_source_written_anew_with_the_same_bytes_has_not_changed() {
        let mut desk = Desk::new(&[("a.json", "{}")]);
        desk.look();
        let rewrite = |desk: &Desk, text: &str| {
            fs::remove_file(desk.home.path().join("a.json")).unwrap();
            desk.write("a.json", text);
            // Another inode is not certain, another time is.
            let file = fs::File::options()
                .write(true)
                .open(desk.home.path().join("a.json"));
            let modified = fs::metadata(desk.home.path().join("a.json"))
                .unwrap()
                .modified()
                .unwrap();
            file.unwrap()
                .set_modified(modified + std::time::Duration::from_secs(1))
                .unwrap();
        };
        rewrite(&desk, "[]");
        assert_eq!(desk.look(), ["a.json"]);
        rewrite(&desk, "[]");
        assert!(desk.look().is_empty());
        rewrite(&desk, "{}");
        assert_eq!(desk.look(), ["a.json"]);
    }

    #[test]
    fn what_gitignore_names_is_none_also_once_it_says_so() {
        let mut desk = Desk::new(&[
            ("a.md", "a"),
            (".gitignore", "*.tmp\n"),
            ("b/.gitignore", "!keep.tmp\n/cache/\n"),
        ]);
        desk.look();
        for path in ["x.tmp", "b/y.tmp", "b/cache/z.md", "b/keep.tmp"] {
            desk.write(path, "x");
        }
        assert_eq!(desk.look(), ["b/keep.tmp"]);
        desk.write(".gitignore", "*.md\n");
        assert!(
            desk.look().contains(&"a.md".to_owned()),
            "it is no source any more"
        );
    }

    #[test]
    fn a_root_that_is_away_has_not_changed() {
        let mut desk = Desk::new(&[("a.md", "a")]);
        desk.look();
        let root = desk.home.path().join("away");
        assert!(desk.survey.look(&root, &desk.rules).changed.is_empty());
        assert!(desk.look().is_empty());
    }

    #[test]
    fn a_loop_of_links_ends_and_a_linked_file_is_a_source() {
        let mut desk = Desk::new(&[("a.md", "a")]);
        std::os::unix::fs::symlink(".", desk.home.path().join("loop")).unwrap();
        desk.look();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), desk.home.path().join("b.md")).unwrap();
        assert_eq!(desk.look(), ["b.md"]);
    }
}
