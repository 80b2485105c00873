//! What one publish changed: the unit that is filtered, kept, merged and sent. Pure.
//!
//! A digest stands beside each path that is there, so that a document is read later only as it was
//! published. Merging two events loses no path, and the later one decides what became of it.

use std::collections::BTreeMap;

use onsave_protocol::{Manifest, Sha256Digest, SitePath, changeset::diff};
use serde::{Deserialize, Serialize};

/// Paths in one event; more of them become several events, so that no body grows with the site.
pub(super) const MOST_PATHS: usize = 5_000;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Change {
    /// It is new, with these bytes.
    Added(Sha256Digest),
    /// It has these bytes now.
    Changed(Sha256Digest),
    /// It is gone.
    Removed,
}

/// What a publish changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    /// The deploy that is current with it.
    pub(super) deploy_id: String,
    /// When it was noticed here, in milliseconds of Unix time.
    pub(super) published_unix_ms: u64,
    /// The files.
    pub(super) files: BTreeMap<SitePath, Change>,
}

impl Event {
    /// Returns the difference of two trees.
    pub(super) fn files_between(from: &Manifest, to: &Manifest) -> BTreeMap<SitePath, Change> {
        let changeset = diff(from, to);
        let mut files: BTreeMap<_, _> = changeset
            .puts
            .into_iter()
            .map(|(path, entry)| {
                let change = match from.get(path.as_str()) {
                    Some(_) => Change::Changed(entry.digest),
                    None => Change::Added(entry.digest),
                };
                (path, change)
            })
            .collect();
        files.extend(
            changeset
                .removes
                .into_iter()
                .map(|path| (path, Change::Removed)),
        );
        files
    }

    /// Returns the same with the paths that `is_for` takes; nothing where it takes none.
    pub(super) fn filtered(&self, is_for: impl Fn(&str) -> bool) -> Option<Self> {
        let files: BTreeMap<_, _> = self
            .files
            .iter()
            .filter(|(path, _)| is_for(path.as_str()))
            .map(|(path, change)| (path.clone(), *change))
            .collect();
        (!files.is_empty()).then(|| Self {
            files,
            ..self.without_files()
        })
    }

    /// Returns the same in pieces of at most `most` paths, in their order.
    pub(super) fn pieces(self, most: usize) -> Vec<Self> {
        let head = self.without_files();
        let mut pieces: Vec<Self> = Vec::new();
        for (path, change) in self.files {
            match pieces.last_mut() {
                Some(piece) if piece.files.len() < most => {
                    piece.files.insert(path, change);
                }
                _ => pieces.push(Self {
                    files: [(path, change)].into(),
                    ..head.clone()
                }),
            }
        }
        pieces
    }

    /// Takes in an event that came after this one.
    pub(super) fn merge(&mut self, later: Self) {
        for (path, change) in later.files {
            let before = self.files.get(&path).copied();
            self.files.insert(path, then(before, change));
        }
        self.deploy_id = later.deploy_id;
        self.published_unix_ms = later.published_unix_ms;
    }

    fn without_files(&self) -> Self {
        Self {
            deploy_id: self.deploy_id.clone(),
            published_unix_ms: self.published_unix_ms,
            files: BTreeMap::new(),
        }
    }

    /// Returns the paths of one kind of change.
    pub(super) fn paths(&self, kind: impl Fn(&Change) -> bool) -> Vec<&SitePath> {
        let files = self.files.iter();
        files
            .filter(|(_, change)| kind(change))
            .map(|(path, _)| path)
            .collect()
    }
}

/// Returns what two changes of one file, one after the other, come to.
const fn then(before: Option<Change>, after: Change) -> Change {
    match (before, after) {
        // Whoever was not told of it yet knows no earlier one.
        (Some(Change::Added(_)), Change::Changed(digest)) => Change::Added(digest),
        (Some(Change::Removed), Change::Added(digest)) => Change::Changed(digest),
        (_, after) => after,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use onsave_protocol::FileEntry;
    use proptest::prelude::*;

    use super::*;

    /// Returns a tree of these files.
    pub(in crate::after_publish) fn tree(files: &[(&str, &str)]) -> Manifest {
        let entry = |text: &str| FileEntry {
            digest: Sha256Digest::of(text.as_bytes()),
            size: 0,
        };
        files
            .iter()
            .map(|(path, text)| (SitePath::parse(path).unwrap(), entry(text)))
            .collect()
    }

    /// Returns the event of a publish that made `to` of `from`.
    pub(in crate::after_publish) fn event(
        id: &str,
        from: &[(&str, &str)],
        to: &[(&str, &str)],
    ) -> Event {
        Event {
            deploy_id: id.to_owned(),
            published_unix_ms: 1_777_000_000_000,
            files: Event::files_between(&tree(from), &tree(to)),
        }
    }

    fn applied(
        mut tree: BTreeMap<SitePath, Sha256Digest>,
        event: &Event,
    ) -> BTreeMap<SitePath, Sha256Digest> {
        for (path, change) in &event.files {
            match change {
                Change::Added(digest) | Change::Changed(digest) => {
                    tree.insert(path.clone(), *digest);
                }
                Change::Removed => {
                    tree.remove(path);
                }
            }
        }
        tree
    }

    fn digests(manifest: &Manifest) -> BTreeMap<SitePath, Sha256Digest> {
        let files = manifest.iter();
        files
            .map(|(path, entry)| (path.clone(), entry.digest))
            .collect()
    }

    #[test]
    fn added_changed_and_removed_are_told_apart() {
        let event = event(
            "2",
            &[("a", "1"), ("b", "1"), ("c", "1")],
            &[("a", "1"), ("b", "2"), ("d", "1")],
        );
        let digest = |text: &str| Sha256Digest::of(text.as_bytes());
        let expected = [
            ("b", Change::Changed(digest("2"))),
            ("c", Change::Removed),
            ("d", Change::Added(digest("1"))),
        ];
        let expected = expected.map(|(path, change)| (SitePath::parse(path).unwrap(), change));
        assert_eq!(event.files, expected.into());
        let only = event.filtered(|path| path == "c").unwrap();
        assert_eq!(only.files.len(), 1);
        assert_eq!(event.filtered(|path| path == "a"), None);
    }

    #[test]
    fn a_large_event_comes_in_pieces() {
        let event = event("2", &[], &[("a", ""), ("b", ""), ("c", "")]);
        let pieces = event.clone().pieces(2);
        assert_eq!(
            pieces
                .iter()
                .map(|piece| piece.files.len())
                .collect::<Vec<_>>(),
            [2, 1]
        );
        let mut together = pieces[0].clone();
        together.merge(pieces[1].clone());
        assert_eq!(together, event);
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        let event = event("2", &[("a", "1")], &[("b", "")]);
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    fn trees() -> impl Strategy<Value = Manifest> {
        prop::collection::btree_map("[abc]", "[xy]", 0..4).prop_map(|files| {
            let files: Vec<_> = files
                .iter()
                .map(|(path, text)| (path.as_str(), text.as_str()))
                .collect();
            tree(&files)
        })
    }

    proptest! {
        /// Whoever hears of the merged event alone knows what all of them told.
        #[test]
        fn a_merged_event_tells_what_each_of_them_told(steps in prop::collection::vec(trees(), 2..6)) {
            let event = |pair: &[Manifest]| Event {
                deploy_id: String::new(),
                published_unix_ms: 0,
                files: Event::files_between(&pair[0], &pair[1]),
            };
            let mut merged = event(&steps[..2]);
            for pair in steps[1..].windows(2) {
                merged.merge(event(pair));
            }
            let last = digests(steps.last().unwrap());
            prop_assert_eq!(applied(digests(&steps[0]), &merged), last);
        }
    }
}
