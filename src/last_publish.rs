//! What the last publish of this site left on its target, remembered across restarts, and what a
//! start does about it.
//!
//! Owns the format of the state folder's `last-publish`. Its purpose is one distinction: a server
//! that serves something else because somebody went back (or published from elsewhere) is left
//! alone until the next save; a server that misses saves made while no daemon ran gets them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use onsave_protocol::{DeployId, Sha256Digest};
use serde::{Deserialize, Serialize};

/// The format that this build writes; another one is ignored.
const FORMAT: u32 = 1;

/// What a publish left on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastPublish {
    format: u32,
    /// Which target: its URL, or the volume's folder for the local one.
    pub target: String,
    /// The deploy that the publish made.
    pub deploy_id: String,
    /// Digest of the tree that was published.
    pub tree: Sha256Digest,
}

/// What a start does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStart {
    /// Publish the local tree.
    Publish,
    /// Nothing: the local tree is current.
    InStep,
    /// Wait for the next save: an older deploy is current, and nothing was saved since the last
    /// publish.
    HeldByRollback,
    /// Wait for the next save: somebody else's deploy is current, and nothing was saved since the
    /// last publish.
    HeldByOther,
}

/// What the target serves at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serving<'a> {
    /// Its current deploy.
    pub deploy_id: Option<&'a str>,
    /// Digest of its tree.
    pub tree: Sha256Digest,
}

impl LastPublish {
    /// Returns what a publish left.
    #[must_use]
    pub const fn new(target: String, deploy_id: String, tree: Sha256Digest) -> Self {
        Self {
            format: FORMAT,
            target,
            deploy_id,
            tree,
        }
    }

    /// Returns what `path` remembers of `target`; nothing when there is no such memory.
    ///
    /// A file that cannot be read counts as none: what is lost is only the hold after a rollback.
    #[must_use]
    pub fn load(path: &Path, target: &str) -> Option<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "the last publish cannot be read");
                return None;
            }
        };
        let last: Self = match serde_json::from_slice(&bytes) {
            Ok(last) => last,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "the last publish is not readable");
                return None;
            }
        };
        (last.format == FORMAT && last.target == target).then_some(last)
    }

    /// Replaces what `path` remembers, whole or not at all; its folder has to be there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(serde_json::to_string(self)?.as_bytes())?;
        // No fsync: after power loss an older memory or none costs a publish of what is there.
        drop(file);
        fs::rename(&temporary, path)
    }
}

/// Returns what a start does, given the digest of the local tree, what the target serves and what
/// the last publish to it left.
#[must_use]
pub fn on_start(local: Sha256Digest, serving: Serving<'_>, last: Option<&LastPublish>) -> OnStart {
    if serving.deploy_id.is_some() && serving.tree == local {
        return OnStart::InStep;
    }
    let (Some(current), Some(last)) = (serving.deploy_id, last) else {
        // A server without any deploy, or one that was never published to from here.
        return OnStart::Publish;
    };
    let saved_since = last.tree != local;
    if saved_since || last.deploy_id == current {
        return OnStart::Publish;
    }
    match (DeployId::parse(current), DeployId::parse(&last.deploy_id)) {
        (Ok(current), Ok(last)) if current < last => OnStart::HeldByRollback,
        // Opaque ids have no order; whoever moved the server, it was moved on purpose.
        _ => OnStart::HeldByOther,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1777000000000-00000001";
    const OURS: &str = "1777000001000-00000002";
    const NEW: &str = "1777000002000-00000003";

    fn tree(text: &str) -> Sha256Digest {
        Sha256Digest::of(text.as_bytes())
    }

    fn ours() -> LastPublish {
        LastPublish::new("https://example.org".into(), OURS.into(), tree("published"))
    }

    #[test]
    fn decisions() {
        let last = ours();
        let last = Some(&last);
        for (local, current, served, last, decision) in [
            ("published", Some(OURS), "published", last, OnStart::InStep),
            ("published", Some(NEW), "published", last, OnStart::InStep),
            (
                "published",
                Some(OLD),
                "older",
                last,
                OnStart::HeldByRollback,
            ),
            ("published", Some(NEW), "theirs", last, OnStart::HeldByOther),
            (
                "published",
                Some("v7"),
                "theirs",
                last,
                OnStart::HeldByOther,
            ),
            ("saved since", Some(OLD), "older", last, OnStart::Publish),
            (
                "saved since",
                Some(OURS),
                "published",
                last,
                OnStart::Publish,
            ),
            ("saved since", Some(NEW), "theirs", last, OnStart::Publish),
            ("published", None, "", last, OnStart::Publish),
            ("", None, "", last, OnStart::Publish),
            ("published", Some(OLD), "older", None, OnStart::Publish),
            // The same deploy with another tree is a damaged answer or volume: made right.
            ("published", Some(OURS), "other", last, OnStart::Publish),
        ] {
            let serving = Serving {
                deploy_id: current,
                tree: tree(served),
            };
            let decided = on_start(tree(local), serving, last);
            assert_eq!(decided, decision, "{local} {current:?} {served}");
        }
    }

    #[test]
    fn memory_is_of_one_target() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-publish");
        assert_eq!(LastPublish::load(&path, "https://example.org"), None);
        ours().store(&path).unwrap();
        assert_eq!(
            LastPublish::load(&path, "https://example.org"),
            Some(ours())
        );
        assert_eq!(LastPublish::load(&path, "https://example.com"), None);
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays");
    }

    #[test]
    fn unreadable_memory_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-publish");
        let other = LastPublish {
            format: FORMAT + 1,
            ..ours()
        };
        other.store(&path).unwrap();
        assert_eq!(LastPublish::load(&path, "https://example.org"), None);
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(LastPublish::load(&path, "https://example.org"), None);
    }
}
