//! Patterns that name paths instead of leaving them out: gitignore syntax, the other way round.
//!
//! A path is named when the last pattern that matches it, or else the nearest folder that it lies in,
//! is no `!pattern`. Pure.

use std::{collections::BTreeSet, path::Path};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::EntryKind;

/// Patterns of paths.
#[derive(Debug, Clone)]
pub struct Patterns {
    matcher: Gitignore,
    /// Folders that a pattern goes through by name.
    ways: BTreeSet<String>,
}

/// What the patterns say of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A pattern names this very path.
    Itself,
    /// A pattern names a folder that it lies in.
    Above,
    /// No pattern does, or a later one takes it back.
    No,
}

impl Patterns {
    /// Returns these patterns, the later ones over the earlier.
    ///
    /// # Errors
    ///
    /// What is wrong with the first one that is not understood.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            builder
                .add_line(None, pattern)
                .map_err(|error| error.to_string())?;
        }
        Ok(Self {
            matcher: builder.build().map_err(|error| error.to_string())?,
            ways: patterns.iter().flat_map(|pattern| ways(pattern)).collect(),
        })
    }

    /// Returns what they say of `path`, which has `/` between its names and none before the first.
    #[must_use]
    pub fn names(&self, path: &str, kind: EntryKind) -> Named {
        let mut path = path;
        let mut is_folder = kind == EntryKind::Folder;
        let mut named = Named::Itself;
        loop {
            match self.matcher.matched(Path::new(path), is_folder) {
                Match::Ignore(_) => return named,
                Match::Whitelist(_) => return Named::No,
                Match::None => {}
            }
            let Some((folder, _)) = path.rsplit_once('/') else {
                return Named::No;
            };
            (path, is_folder, named) = (folder, true, Named::Above);
        }
    }

    /// Returns whether some pattern names this folder on the way to what it matches.
    #[must_use]
    pub fn lead_through(&self, folder: &str) -> bool {
        self.ways.contains(folder)
    }
}

/// Returns the folders that a pattern goes through before its first wildcard.
fn ways(pattern: &str) -> Vec<String> {
    if pattern.starts_with(['!', '#']) {
        return Vec::new();
    }
    let path = pattern.trim_matches('/');
    let is_wild = |name: &str| name.contains(['*', '?', '[', '{', '\\']);
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.map(|at| &path[..at])
        .take_while(|way| !is_wild(way))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use EntryKind::{File, Folder};

    fn patterns(texts: &[&str]) -> Patterns {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        Patterns::new(&texts).unwrap()
    }

    #[test]
    fn a_path_is_named_by_itself_or_by_a_folder() {
        let patterns = patterns(&["/src", "*.md", "!draft.md", "a/**/x.css"]);
        for (path, kind, named) in [
            ("src", Folder, Named::Itself),
            ("src/a.js", File, Named::Above),
            ("lib/src/a.js", File, Named::No),
            ("lib/a.md", File, Named::Itself),
            ("lib/draft.md", File, Named::No),
            ("src/draft.md", File, Named::No),
            ("a/b/c/x.css", File, Named::Itself),
            ("a/b", Folder, Named::No),
        ] {
            assert_eq!(patterns.names(path, kind), named, "{path}");
        }
    }

    #[test]
    fn the_way_to_a_pattern_is_known_up_to_its_first_wildcard() {
        let patterns = patterns(&["/.storybook/a/*.js", "a/*/b", "!c/d", "*.md"]);
        let ways = [".storybook", ".storybook/a", "a"];
        assert!(ways.iter().all(|way| patterns.lead_through(way)));
        for way in ["c", "a/*", "b", ""] {
            assert!(!patterns.lead_through(way), "{way}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert!(Patterns::new(&["a".into(), "{b".into()]).is_err());
    }
}
