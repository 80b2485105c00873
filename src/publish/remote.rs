//! What the server is known to serve: the manifest and deploy id that the last publish or the last
//! fetch left, so that a publish needs no question first.
//!
//! Owns both, and which bytes they prove to be on the server. Sizes of fetched files are unknown
//! (the manifest on the wire has none) and stand as zero: a diff compares digests alone.

use std::collections::HashMap;

use onsave_protocol::{
    Changeset, FileEntry, Manifest, Sha256Digest, SitePath, wire::v1::ManifestBody,
};

/// The current deploy of a server, as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteState {
    /// Opaque for servers of the first generation; nothing before the first deploy.
    deploy_id: Option<String>,
    manifest: Manifest,
    /// How many paths have these bytes. A map of counts, since a save may neither copy nor walk the
    /// manifest to learn whether bytes are still there.
    digests: HashMap<Sha256Digest, u32>,
    /// Whether the local tree was this one, so that only what changed here since can differ. A
    /// fetched deploy may be somebody else's.
    agrees: bool,
}

impl RemoteState {
    /// Returns the state that a manifest answer describes.
    ///
    /// A path that this build refuses is left out: it cannot be published, served or removed here. A
    /// digest that is no digest stands as zero, so that the file counts as different.
    pub(crate) fn from_wire(body: ManifestBody) -> Self {
        let mut state = Self {
            deploy_id: body.deploy_id,
            ..Self::default()
        };
        for (path, digest) in &body.files {
            let Ok(path) = SitePath::parse(path) else {
                tracing::debug!(path, "the server has a file that cannot be named here");
                continue;
            };
            let digest =
                Sha256Digest::from_hex(digest).unwrap_or(Sha256Digest::from_bytes([0; 32]));
            state.insert(path, FileEntry { digest, size: 0 });
        }
        state
    }

    /// Returns the id of the current deploy.
    #[must_use]
    pub fn deploy_id(&self) -> Option<&str> {
        self.deploy_id.as_deref()
    }

    /// Returns the manifest of the current deploy; sizes are only true for files that were
    /// published from here.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns whether the current deploy has a file with these bytes.
    pub(crate) fn has_bytes(&self, digest: &Sha256Digest) -> bool {
        self.digests.contains_key(digest)
    }

    /// Moves to the deploy that `changeset` made; the cost grows with the changeset alone.
    pub(crate) fn advance(&mut self, changeset: &Changeset, deploy_id: String) {
        for path in &changeset.removes {
            if let Some(old) = self.manifest.remove(path.as_str()) {
                self.forget(&old.digest);
            }
        }
        for (path, entry) in &changeset.puts {
            self.insert(path.clone(), *entry);
        }
        self.deploy_id = Some(deploy_id);
        self.agrees = true;
    }

    /// Returns whether the local tree was this one when they were last compared.
    pub(crate) const fn agrees(&self) -> bool {
        self.agrees
    }

    /// Notes that the local tree is this one.
    pub(crate) const fn agree(&mut self) {
        self.agrees = true;
    }

    fn insert(&mut self, path: SitePath, entry: FileEntry) {
        *self.digests.entry(entry.digest).or_default() += 1;
        if let Some(old) = self.manifest.insert(path, entry) {
            self.forget(&old.digest);
        }
    }

    fn forget(&mut self, digest: &Sha256Digest) {
        if let Some(count) = self.digests.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                self.digests.remove(digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use onsave_protocol::changeset::diff;
    use proptest::prelude::*;

    use super::*;

    fn manifests() -> impl Strategy<Value = Manifest> {
        prop::collection::btree_map("[abc]/?[abc]?", 0_u8..4, 0..8).prop_map(|files| {
            files
                .into_iter()
                .filter_map(|(path, content)| {
                    let digest = Sha256Digest::of(&[content]);
                    Some((SitePath::parse(&path).ok()?, FileEntry { digest, size: 1 }))
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_bytes_known_are_those_of_the_manifest(steps in prop::collection::vec(manifests(), 1..6)) {
            let mut state = RemoteState::default();
            for (step, next) in steps.iter().enumerate() {
                let changeset = diff(state.manifest(), next);
                state.advance(&changeset, step.to_string());
                prop_assert_eq!(state.manifest(), next);
                let id = step.to_string();
                prop_assert_eq!(state.deploy_id(), Some(id.as_str()));
                for content in 0..4 {
                    let digest = Sha256Digest::of(&[content]);
                    let there = next.iter().any(|(_, entry)| entry.digest == digest);
                    prop_assert_eq!(state.has_bytes(&digest), there);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_read_does_not_hide_the_rest() {
        let digest = Sha256Digest::of(b"x").to_hex();
        let files = [
            ("a", digest.as_str()),
            ("../b", digest.as_str()),
            ("c", "not a digest"),
        ];
        let state = RemoteState::from_wire(ManifestBody {
            deploy_id: Some("opaque".into()),
            files: files.map(|(path, hex)| (path.into(), hex.into())).into(),
        });
        assert_eq!(state.deploy_id(), Some("opaque"));
        let paths: Vec<&str> = state
            .manifest()
            .iter()
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(paths, ["a", "c"]);
        assert!(state.has_bytes(&Sha256Digest::of(b"x")));
        assert_ne!(
            state.manifest().get("c").map(|entry| entry.digest),
            Some(Sha256Digest::of(b"x"))
        );
    }
}
