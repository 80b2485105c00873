//! Which files below the configuration's folder are sources of the build.
//!
//! In order of precedence:
//!
//! 1. The output and the local target's volume never are: a command that writes them would run for ever.
//! 2. Where `build.watch` has patterns, only what they name: what a pattern names itself, also when it
//!    is hidden or in `.gitignore`; what lies in a named folder, as far as 3 does not leave it out.
//! 3. By default everything but hidden names, what editors leave behind, version control,
//!    [`DEPENDENCIES`], `onsave.toml`, and what the `.gitignore` of the configuration's folder or of one
//!    below says. Those above it, and git's global ones, are not read.
//!
//! Folders behind symlinks are not followed; a file behind one is a source.

use std::path::{Path, PathBuf};

use super::survey;
use crate::{
    config::{BuildConfig, Config, TargetConfig},
    dirty::Change,
    ignore_rules::{EntryKind, IgnoreRules, Named, Patterns, SharedRules, Verdict},
    watch::WatchRules,
};

/// Folders of what tools install and compile, tens of thousands of files that no person saves.
const DEPENDENCIES: [&str; 3] = ["node_modules", "target", "__pycache__"];

/// The rules of one configuration.
#[derive(Debug)]
pub struct SourceRules {
    /// Paths that are never looked into, relative to the configuration's folder.
    never: Vec<String>,
    wanted: Option<Patterns>,
    /// What the `.gitignore` files say, as of the latest look.
    ignored: SharedRules,
}

impl SourceRules {
    /// Returns the rules of a build.
    ///
    /// # Panics
    ///
    /// With patterns that the configuration would have refused.
    #[must_use]
    pub fn new(config: &Config, build: &BuildConfig) -> Self {
        let mut never = vec![config.dir.as_path()];
        if let TargetConfig::Local(local) = &config.target {
            never.push(&local.volume);
        }
        let below = |path: &&Path| {
            let real = path.canonicalize();
            let inside =
                |path: &Path| Some(path.strip_prefix(&config.root).ok()?.to_str()?.to_owned());
            [Some((*path).to_owned()), real.ok()]
                .into_iter()
                .flatten()
                .filter_map(|path| inside(&path))
                .collect::<Vec<_>>()
        };
        Self {
            never: never.iter().flat_map(below).collect(),
            wanted: (!build.watch.is_empty()).then(|| {
                Patterns::new(&build.watch).expect("the configuration checked each of them")
            }),
            ignored: SharedRules::default(),
        }
    }

    /// Puts in force what the `.gitignore` files say now.
    pub(super) fn use_ignored(&self, ignored: IgnoreRules) {
        self.ignored.replace(ignored.into());
    }

    /// Returns whether an entry, whose folders are none, is no source, or a folder without any.
    pub(super) fn leaves_out(&self, ignored: &IgnoreRules, path: &str, kind: EntryKind) -> bool {
        if self.never.iter().any(|never| path == never) {
            return true;
        }
        let is_ignored = || is_ignored(ignored, path, kind);
        let Some(wanted) = &self.wanted else {
            return is_ignored();
        };
        match wanted.names(path, kind) {
            Named::Itself => false,
            Named::Above => is_ignored(),
            // Something in the folder may be named.
            Named::No if kind == EntryKind::Folder => !wanted.lead_through(path) && is_ignored(),
            Named::No => true,
        }
    }
}

fn is_ignored(ignored: &IgnoreRules, path: &str, kind: EntryKind) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    (kind == EntryKind::Folder && DEPENDENCIES.contains(&name))
        || ignored.verdict(path, kind) != Verdict::Publish
}

impl WatchRules for SourceRules {
    fn leaves_out(&self, path: &str, _change: Change) -> bool {
        let ignored = self.ignored.current();
        let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.any(|folder| self.leaves_out(&ignored, folder, EntryKind::Folder))
            // What was moved or removed may have been either; a look tells.
            || [EntryKind::File, EntryKind::Folder]
                .iter()
                .all(|kind| self.leaves_out(&ignored, path, *kind))
    }

    fn folders(&self, folder: &Path) -> Option<Vec<PathBuf>> {
        Some(survey::folders(folder, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EntryKind::{File, Folder};

    fn rules(watch: &[&str]) -> SourceRules {
        let watch: Vec<_> = watch.iter().map(|text| (*text).to_owned()).collect();
        SourceRules {
            never: vec!["deploy".to_owned(), "var/volume".to_owned()],
            wanted: (!watch.is_empty()).then(|| Patterns::new(&watch).unwrap()),
            ignored: SharedRules::default(),
        }
    }

    fn ignored() -> IgnoreRules {
        let text = "/generated/\n*.log\n".to_owned();
        IgnoreRules::from_texts([(String::new(), text)].into())
    }

    #[test]
    fn by_default_everything_is_a_source_that_a_person_saves() {
        let rules = rules(&[]);
        for (path, kind, out) in [
            ("index.md", File, false),
            ("content", Folder, false),
            ("content/post.md", File, false),
            ("deploy", Folder, true),
            ("content/deploy", Folder, false),
            ("var", Folder, false),
            ("var/volume", Folder, true),
            (".git", Folder, true),
            (".eleventy.js", File, true),
            ("a/node_modules", Folder, true),
            ("target", Folder, true),
            ("target", File, false),
            ("generated", Folder, true),
            ("a/debug.log", File, true),
            ("a.md~", File, true),
            ("onsave.toml", File, true),
        ] {
            assert_eq!(rules.leaves_out(&ignored(), path, kind), out, "{path}");
        }
    }

    #[test]
    fn patterns_name_what_is_a_source_also_what_is_hidden_or_ignored() {
        let rules = rules(&[
            "/src",
            "*.md",
            "!draft.md",
            ".eleventy.js",
            "/generated/x.css",
            "deploy",
        ]);
        for (path, kind, out) in [
            ("src", Folder, false),
            ("src/a.js", File, false),
            ("src/.a.swp", File, true),
            ("src/node_modules", Folder, true),
            ("a.js", File, true),
            ("a", Folder, false),
            ("a/b.md", File, false),
            ("a/draft.md", File, true),
            (".eleventy.js", File, false),
            (".git", Folder, true),
            ("generated", Folder, false),
            ("generated/x.css", File, false),
            ("generated/y.css", File, true),
            ("deploy", Folder, true),
        ] {
            assert_eq!(rules.leaves_out(&ignored(), path, kind), out, "{path}");
        }
    }

    #[test]
    fn events_below_a_folder_without_sources_are_no_news() {
        let rules = rules(&["*.md"]);
        rules.use_ignored(ignored());
        let is_news = |path: &str| !WatchRules::leaves_out(&rules, path, Change::Written);
        assert!(is_news("a/b.md"));
        assert!(is_news("a/b"), "it may be a folder that was moved in");
        assert!(!is_news("deploy/a/b.md"));
        assert!(!is_news("x/node_modules/y/readme.txt"));
        assert!(!is_news(".git/index"));
    }
}
