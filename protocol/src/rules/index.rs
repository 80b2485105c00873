//! Which of many patterns a path could match, without looking at each.
//!
//! A pattern without holes is found by its path. Any other is kept under the whole segments before its
//! first hole, and only the beginnings of a path that are no deeper than the deepest of those are looked
//! up. So ten thousand rules cost a request a few look-ups, and a long path no more than a short one.

use std::collections::HashMap;

use super::pattern::Pattern;

/// The numbers of patterns, by what a path has to be or to begin with.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Vec<u32>>,
    below: HashMap<Box<str>, Vec<u32>>,
    /// Slashes in the deepest key of `below`.
    depth: usize,
}

impl Index {
    /// Adds a pattern. Numbers come in rising order, so that every list is sorted.
    pub(super) fn insert(&mut self, pattern: &Pattern, number: u32) {
        if let Some(path) = pattern.exact() {
            self.exact.entry(path.into()).or_default().push(number);
            return;
        }
        let prefix = pattern.literal_prefix();
        self.depth = self.depth.max(prefix.matches('/').count());
        self.below.entry(prefix.into()).or_default().push(number);
    }

    /// Returns how many patterns are found whenever this one is.
    pub(super) fn count_alike(&self, pattern: &Pattern) -> usize {
        let list = match pattern.exact() {
            Some(path) => self.exact.get(path),
            None => self.below.get(pattern.literal_prefix()),
        };
        list.map_or(0, Vec::len)
    }

    /// Returns the numbers of the patterns that `path` could match, in rising order.
    pub(super) fn candidates(&self, path: &str) -> Candidates<'_> {
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let mut lists: Vec<&[u32]> = Vec::new();
        lists.extend(self.exact.get(trimmed).map(Vec::as_slice));
        if !self.below.is_empty() {
            let beginnings = trimmed
                .match_indices('/')
                .map(|(at, _)| &trimmed[..at])
                .chain([trimmed])
                .take(self.depth + 1);
            for beginning in beginnings {
                lists.extend(self.below.get(beginning).map(Vec::as_slice));
            }
            // The beginnings of `/` are the empty one twice.
            lists.dedup_by_key(|list| list.as_ptr());
        }
        Candidates { lists }
    }
}

/// Merges sorted lists of numbers.
#[derive(Debug)]
pub(super) struct Candidates<'i> {
    lists: Vec<&'i [u32]>,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let list = self
            .lists
            .iter_mut()
            .filter(|list| !list.is_empty())
            .min_by_key(|list| list[0])?;
        let (number, rest) = list.split_first()?;
        *list = rest;
        Some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::pattern::Stars;

    fn index(patterns: &[&str]) -> Index {
        let mut index = Index::default();
        for (number, text) in (0..).zip(patterns) {
            let pattern = Pattern::parse(text, Stars::Anywhere).unwrap();
            index.insert(&pattern, number);
        }
        index
    }

    fn candidates(index: &Index, path: &str) -> Vec<u32> {
        index.candidates(path).collect()
    }

    #[test]
    fn candidates_come_in_the_order_of_the_file() {
        let index = index(&[
            "/*", "/a/b", "/a/:x", "/a/*", "/a/b/*", "/", "/*.css", "/a/b",
        ]);
        for (path, expected) in [
            ("/", &[0, 5, 6][..]),
            ("/a", &[0, 2, 3, 6]),
            ("/a/", &[0, 2, 3, 6]),
            ("/a/b", &[0, 1, 2, 3, 4, 6, 7]),
            ("/a/b/", &[0, 1, 2, 3, 4, 6, 7]),
            ("/a/b/c/d", &[0, 2, 3, 4, 6]),
            ("/b", &[0, 6]),
            ("//", &[0, 6]),
        ] {
            assert_eq!(candidates(&index, path), expected, "{path}");
        }
    }

    #[test]
    fn of_ten_thousand_patterns_a_path_meets_its_own() {
        let mut patterns: Vec<String> = (0..10_000).map(|n| format!("/old/page-{n}")).collect();
        patterns.extend((0..10_000).map(|n| format!("/moved/topic-{n}/*")));
        patterns.extend((0..10_000).map(|n| format!("/moved/topic-{n}/:page/print")));
        let index = index(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(candidates(&index, "/old/page-9999"), [9_999]);
        assert_eq!(
            candidates(&index, "/moved/topic-7/x/print"),
            [10_007, 20_007]
        );
        assert_eq!(candidates(&index, "/nothing/here"), Vec::<u32>::new());
    }

    #[test]
    fn patterns_alike_are_counted() {
        let index = index(&["/a/:x", "/a/*", "/a/:x/b", "/a", "/a/", "/b"]);
        for (text, expected) in [
            ("/a/:y/:z", 3),
            ("/a", 2),
            ("/c", 0),
            ("/c/*", 0),
            ("/*", 0),
        ] {
            let pattern = Pattern::parse(text, Stars::LastSegment).unwrap();
            assert_eq!(index.count_alike(&pattern), expected, "{text}");
        }
    }

    #[test]
    fn a_deep_path_costs_no_more_than_the_deepest_pattern() {
        let index = index(&["/a/*", "/a/b/:c"]);
        assert_eq!(index.depth, 2);
        let deep = "/a".repeat(4_000);
        assert_eq!(candidates(&index, &deep), [0]);
    }
}
