//! Which files of the site folder are not published: built-in rules and `.onsaveignore`.
//!
//! The only user of `ignore`, and of it only the pattern matcher: the walk is the scan's own, so
//! that `.gitignore`, which usually names the whole output folder, never applies.
//!
//! In order of precedence:
//!
//! 1. Version control folders, `.onsaveignore` and `onsave.toml` files are never published: where
//!    the site folder is the project's folder, the configuration would tell of the target.
//! 2. `.onsaveignore` in the site folder or any folder below: gitignore syntax, relative to its own
//!    folder, the innermost file first. `!pattern` includes again what the built-in rules leave
//!    out, such as a hidden file; a file in an ignored folder cannot be included again.
//! 3. Built in: hidden files and folders but `.well-known`, and what editors, browsers and desktops
//!    leave behind.
//!
//! [`IgnoreRules`] is immutable and built from the text of all rule files; [`SharedRules`] is where
//! the scan, which finds the files, hands them to the watcher, which must leave ignored names out
//! before they can start or stretch a settle window. That a file looks like a secret is not decided
//! here and cannot be overruled here.

mod patterns;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

pub use self::patterns::{Named, Patterns};
use crate::config;

/// The name of a rule file.
pub const RULE_FILE: &str = ".onsaveignore";

/// Folders of version control systems; publishing one would publish the site's history.
const VERSION_CONTROL: [&str; 8] = [
    ".git", ".hg", ".svn", ".bzr", ".jj", ".pijul", "_darcs", "CVS",
];

/// Names that editors and desktops leave behind, whole.
const DROPPINGS: [&str; 4] = ["4913", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"];

/// Endings of names that editors, IDEs and browsers write while they save.
const DROPPING_SUFFIXES: [&str; 8] = [
    "~",
    ".swp",
    ".swo",
    ".swx",
    ".part",
    ".crdownload",
    "___jb_tmp___",
    "___jb_old___",
];

/// What a path is, as far as patterns care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file, or unknown: patterns that end in `/` do not match it.
    File,
    /// A folder.
    Folder,
}

/// What the rules say of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is published.
    Publish,
    /// It is left out, because a pattern of a rule file says so.
    LeftOutByPattern,
    /// It is left out by a built-in rule.
    LeftOutByDefault,
}

/// A pattern that is not understood; the other patterns of its file apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern {
    /// The folder of the rule file, relative to the site folder; empty for the site folder.
    pub folder: String,
    /// The line, counted from one.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// The rules of one state of the site folder.
#[derive(Debug, Default)]
pub struct IgnoreRules {
    texts: BTreeMap<String, String>,
    matchers: BTreeMap<String, Gitignore>,
    bad_patterns: Vec<BadPattern>,
}

impl IgnoreRules {
    /// Returns the rules of these rule files: folder (empty for the site folder) → text.
    #[must_use]
    pub fn from_texts(texts: BTreeMap<String, String>) -> Self {
        let mut rules = Self::default();
        for (folder, text) in texts {
            rules.add(folder, text);
        }
        rules
    }

    /// Adds the text of the rule file of a folder that has none yet.
    pub fn add(&mut self, folder: String, text: String) {
        let mut builder = GitignoreBuilder::new("");
        for (line, pattern) in (1..).zip(text.lines()) {
            if let Err(error) = builder.add_line(None, pattern) {
                self.bad_patterns.push(BadPattern {
                    folder: folder.clone(),
                    line,
                    problem: error.to_string(),
                });
            }
        }
        match builder.build() {
            Ok(matcher) => {
                self.matchers.insert(folder.clone(), matcher);
            }
            Err(error) => self.bad_patterns.push(BadPattern {
                folder: folder.clone(),
                line: 1,
                problem: error.to_string(),
            }),
        }
        self.texts.insert(folder, text);
    }

    /// Returns the text of every rule file, by folder.
    #[must_use]
    pub const fn texts(&self) -> &BTreeMap<String, String> {
        &self.texts
    }

    /// Returns the patterns that are not understood.
    #[must_use]
    pub fn bad_patterns(&self) -> &[BadPattern] {
        &self.bad_patterns
    }

    /// Returns what the rules say of `path`, whose folders are known not to be left out.
    ///
    /// `path` is relative to the site folder, with `/` between its names.
    #[must_use]
    pub fn verdict(&self, path: &str, kind: EntryKind) -> Verdict {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if [RULE_FILE, config::FILE_NAME].contains(&name) || VERSION_CONTROL.contains(&name) {
            return Verdict::LeftOutByDefault;
        }
        match self.pattern(path, folder, kind) {
            Some(verdict) => verdict,
            None if is_left_behind(name) => Verdict::LeftOutByDefault,
            None => Verdict::Publish,
        }
    }

    /// Returns whether `path`, or a folder that it lies in, is left out.
    #[must_use]
    pub fn leaves_out(&self, path: &str, kind: EntryKind) -> bool {
        let in_one = path
            .match_indices('/')
            .any(|(at, _)| self.verdict(&path[..at], EntryKind::Folder) != Verdict::Publish);
        in_one || self.verdict(path, kind) != Verdict::Publish
    }

    /// Returns what the innermost rule file with a word on `path` says.
    fn pattern(&self, path: &str, folder: &str, kind: EntryKind) -> Option<Verdict> {
        if self.matchers.is_empty() {
            return None;
        }
        let mut folder = folder;
        loop {
            if let Some(matcher) = self.matchers.get(folder) {
                let below = path[folder.len()..].trim_start_matches('/');
                match matcher.matched(Path::new(below), kind == EntryKind::Folder) {
                    Match::None => {}
                    Match::Ignore(_) => return Some(Verdict::LeftOutByPattern),
                    Match::Whitelist(_) => return Some(Verdict::Publish),
                }
            }
            if folder.is_empty() {
                return None;
            }
            folder = folder.rsplit_once('/').map_or("", |(outer, _)| outer);
        }
    }
}

fn is_left_behind(name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".well-known";
    let emacs_autosave = name.len() > 2 && name.starts_with('#') && name.ends_with('#');
    hidden
        || emacs_autosave
        || name.starts_with("~$")
        || DROPPINGS.contains(&name)
        || DROPPING_SUFFIXES
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

/// The rules in force, as the latest scan found them.
#[derive(Debug, Default)]
pub struct SharedRules(RwLock<Arc<IgnoreRules>>);

impl SharedRules {
    /// Returns the rules in force.
    #[must_use]
    pub fn current(&self) -> Arc<IgnoreRules> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force.
    pub fn replace(&self, rules: Arc<IgnoreRules>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EntryKind::{File, Folder};

    fn rules(files: &[(&str, &str)]) -> IgnoreRules {
        let texts = files
            .iter()
            .map(|(folder, text)| ((*folder).to_owned(), (*text).to_owned()));
        IgnoreRules::from_texts(texts.collect())
    }

    #[test]
    fn built_in_rules() {
        let rules = IgnoreRules::default();
        for name in [
            ".index.html.swp",
            "index.html~",
            ".#index.html",
            "#index.html#",
            "4913",
            ".DS_Store",
            "Thumbs.db",
            "desktop.ini",
            "a.part",
            "a.crdownload",
            "x.swx",
            ".hidden",
            ".git",
            "CVS",
            "a/.env",
            ".stage/index.html",
            "a/.git/config",
            "~$a.docx",
            "index.html___jb_tmp___",
            ".onsaveignore",
            "onsave.toml",
            "a/onsave.toml",
            ".goutputstream-AB12CD",
            ".gitignore",
            ".well-known/.secret",
        ] {
            assert!(rules.leaves_out(name, File), "{name}");
        }
        for name in [
            "index.html",
            ".well-known/security.txt",
            "a/.well-known/x",
            "tmp",
            "a.tmp",
            "#",
            "##",
            "#1",
            "4913.html",
            "git",
            "a~b",
            "part",
            "parts/1.html",
            "...x/..y",
        ] {
            let expected = name.starts_with("...");
            assert_eq!(rules.leaves_out(name, File), expected, "{name}");
        }
    }

    #[test]
    fn patterns_are_gitignores() {
        let rules = rules(&[(
            "",
            "*.map\n!keep.map\n/top.txt\ndrafts/\n# comment\n\na/**/z\n",
        )]);
        for (path, kind, out) in [
            ("x.map", File, true),
            ("a/b/x.map", File, true),
            ("keep.map", File, false),
            ("a/keep.map", File, false),
            ("top.txt", File, true),
            ("a/top.txt", File, false),
            ("drafts", Folder, true),
            ("drafts", File, false),
            ("a/drafts/x.html", File, true),
            ("drafts/keep.map", File, true),
            ("a/b/c/z", File, true),
        ] {
            assert_eq!(rules.leaves_out(path, kind), out, "{path}");
        }
    }

    #[test]
    fn the_innermost_rule_file_wins() {
        let rules = rules(&[
            ("", "*.txt\n"),
            ("a", "!*.txt\n/b/no.txt\n"),
            ("a/b", "x.html\n"),
        ]);
        for (path, out) in [
            ("x.txt", true),
            ("a/x.txt", false),
            ("a/b/x.txt", false),
            ("a/b/no.txt", true),
            ("a/b/x.html", true),
            ("a/x.html", false),
            ("ab/x.txt", true),
        ] {
            assert_eq!(rules.leaves_out(path, File), out, "{path}");
        }
    }

    #[test]
    fn negation_includes_hidden_names_but_no_history() {
        let rules = rules(&[("", "!*\n!.*\n")]);
        assert!(!rules.leaves_out(".nojekyll", File));
        assert!(!rules.leaves_out(".assets/x.css", File));
        assert!(rules.leaves_out(".git/config", File));
        assert!(rules.leaves_out("a/.svn", Folder));
        assert!(rules.leaves_out(".onsaveignore", File));
        assert!(rules.leaves_out("onsave.toml", File));
    }

    #[test]
    fn verdicts_tell_patterns_from_defaults() {
        let rules = rules(&[("", ".env\n")]);
        assert_eq!(rules.verdict(".env", File), Verdict::LeftOutByPattern);
        assert_eq!(rules.verdict(".npmrc", File), Verdict::LeftOutByDefault);
        assert_eq!(rules.verdict("a", File), Verdict::Publish);
    }

    #[test]
    fn a_bad_pattern_is_named_and_the_others_apply() {
        let rules = rules(&[("a", "*.map\n{x\n*.txt\n")]);
        let bad = rules.bad_patterns();
        assert_eq!(bad.len(), 1, "{bad:?}");
        assert_eq!((bad[0].folder.as_str(), bad[0].line), ("a", 2));
        assert!(rules.leaves_out("a/x.map", File));
        assert!(rules.leaves_out("a/x.txt", File));
        assert!(!rules.leaves_out("x.map", File));
    }

    #[test]
    fn shared_rules_are_replaced_whole() {
        let shared = SharedRules::default();
        let before = shared.current();
        shared.replace(Arc::new(rules(&[("", "*.map")])));
        assert!(!before.leaves_out("x.map", File));
        assert!(shared.current().leaves_out("x.map", File));
    }
}
