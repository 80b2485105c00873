//! Diff, guard, publish; and again when others published meanwhile.
//!
//! A server whose deploy moved on refuses the changeset. Its manifest is then fetched and the local
//! tree is compared with all of it, so that the whole local tree becomes current or nothing does:
//! two writers never mix.
//!
//! What is known of the server is trusted only where the server checks it: for a changeset that is
//! sent. That nothing is to be sent, or that too much would go, is believed once the server was asked:
//! somebody may have published or gone back meanwhile.

use std::{collections::HashMap, sync::Arc};

use onsave_protocol::{
    Changeset, Manifest, Sha256Digest, SitePath,
    changeset::{diff, diff_paths},
};

use super::{Note, Publication, PublishError, PublishReport, Publisher, RetryClass, SiteBytes};
use crate::{
    guard::{Removals, Shrink, Verdict, judge},
    progress::Progress,
    publish::{Generation, RemoteState},
};

/// How often a publish meets a deploy of somebody else's before it gives up.
const MAX_TRIES: u32 = 5;

/// The tree that is to become current.
#[derive(Clone)]
pub struct LocalSite<'a> {
    /// Every file.
    pub manifest: &'a Manifest,
    /// Their bytes.
    pub site: Arc<dyn SiteBytes>,
    /// What may be removed.
    pub removals: Removals,
    /// What is noted with the deploy.
    pub note: Note,
    /// Who is told how far it is.
    pub progress: Progress,
}

impl std::fmt::Debug for LocalSite<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSite")
            .field("files", &self.manifest.len())
            .field("removals", &self.removals)
            .finish_non_exhaustive()
    }
}

/// Where local and remote tree may differ, as far as is known.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Anywhere.
    Whole,
    /// Only at these paths, provided that all since the last successful publish are among them; where
    /// something was fetched since, it stands for [`Scope::Whole`].
    Paths(&'a [SitePath]),
}

/// What came of it.
#[derive(Debug)]
pub enum Converged {
    /// The local tree is current now.
    Published(PublishReport),
    /// The local tree was current already.
    InStep,
    /// The guard holds the publish.
    Held {
        /// Files that would be removed.
        removes: usize,
        /// Files that the site has.
        of: usize,
    },
}

impl Publisher {
    /// Makes the local tree current, as often as it takes while others publish too.
    ///
    /// # Errors
    ///
    /// [`PublishError::Contended`] when it takes too often, else as [`Publisher::publish`]; what
    /// needs a scan or a wait is the caller's.
    pub async fn converge(
        &mut self,
        local: &LocalSite<'_>,
        scope: Scope<'_>,
    ) -> Result<Converged, PublishError> {
        let mut scope = scope;
        let mut asked = false;
        // The first generation has no base to be refused for: what is current is asked each time.
        if self.generation() != Some(Generation::V2) {
            self.refresh().await?;
            asked = true;
            scope = Scope::Whole;
        }
        // Also where an earlier try fetched what others published and then came to nothing.
        if !self.remote().is_some_and(RemoteState::agrees) {
            scope = Scope::Whole;
        }
        for _ in 0..MAX_TRIES {
            let mut changeset = self.changeset(local.manifest, scope);
            if !asked && self.ends_here(&changeset, local) {
                self.refresh().await?;
                if !self.remote().is_some_and(RemoteState::agrees) {
                    scope = Scope::Whole;
                    changeset = self.changeset(local.manifest, scope);
                }
            }
            if changeset.is_empty() {
                if let Some(known) = &mut self.known {
                    known.remote.agree();
                }
                return Ok(Converged::InStep);
            }
            if let Verdict::Held { removes, of } = self.judge(&changeset, local) {
                return Ok(Converged::Held { removes, of });
            }
            let publication = Publication {
                changeset: Arc::new(changeset),
                site: Arc::clone(&local.site),
                note: local.note.clone(),
                progress: local.progress.clone(),
            };
            match self.publish(&publication).await {
                Ok(report) => return Ok(Converged::Published(report)),
                Err(error) if error.retry() == RetryClass::FreshManifest => {
                    tracing::info!(%error, "publishing again on top of it");
                    self.refresh().await?;
                    asked = true;
                    scope = Scope::Whole;
                }
                Err(error) => return Err(error),
            }
        }
        Err(PublishError::Contended {
            url: self.url().to_owned(),
            tries: MAX_TRIES,
        })
    }

    /// Returns what would be published: the difference between the known remote tree and `local`.
    #[must_use]
    pub fn changeset(&self, local: &Manifest, scope: Scope<'_>) -> Changeset {
        match (self.remote(), scope) {
            (Some(remote), Scope::Paths(paths)) => diff_paths(remote.manifest(), local, paths),
            (Some(remote), Scope::Whole) => diff(remote.manifest(), local),
            (None, _) => diff(&Manifest::new(), local),
        }
    }

    /// Returns whether `changeset` is not sent, so that the server has no chance to refuse its base.
    fn ends_here(&self, changeset: &Changeset, local: &LocalSite<'_>) -> bool {
        changeset.is_empty() || self.judge(changeset, local) != Verdict::Pass
    }

    fn judge(&self, changeset: &Changeset, local: &LocalSite<'_>) -> Verdict {
        let Some(base) = self.remote().map(RemoteState::manifest) else {
            return Verdict::Pass;
        };
        let change = Shrink {
            before: base.len(),
            removes: lost(base, changeset),
            after: local.manifest.len(),
        };
        judge(change, local.removals)
    }
}

/// Returns how many files `changeset` removes from `base` without putting them elsewhere.
fn lost(base: &Manifest, changeset: &Changeset) -> usize {
    let mut moved: HashMap<Sha256Digest, usize> = HashMap::new();
    let added = |path: &&SitePath| base.get(path.as_str()).is_none();
    for (_, entry) in changeset.puts.iter().filter(|(path, _)| added(path)) {
        *moved.entry(entry.digest).or_default() += 1;
    }
    let is_lost = |path: &&SitePath| {
        let Some(entry) = base.get(path.as_str()) else {
            return false;
        };
        // Each new place takes one file: of a hundred empty files, one that moves is one.
        match moved.get_mut(&entry.digest) {
            Some(places @ 1..) => {
                *places -= 1;
                false
            }
            _ => true,
        }
    };
    changeset.removes.iter().filter(is_lost).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsave_protocol::FileEntry;

    fn manifest(files: &[(&str, &str)]) -> Manifest {
        files
            .iter()
            .map(|(path, text)| {
                let entry = FileEntry {
                    digest: Sha256Digest::of(text.as_bytes()),
                    size: text.len() as u64,
                };
                (SitePath::parse(path).unwrap(), entry)
            })
            .collect()
    }

    #[test]
    fn what_moves_is_not_lost() {
        let base = manifest(&[("a", "1"), ("b", "2"), ("e/1", ""), ("e/2", "")]);
        for (next, expected) in [
            (&[("x", "1"), ("b", "2"), ("f/1", ""), ("f/2", "")][..], 0),
            (&[("x", "1"), ("f/1", "")], 2),
            (&[("a", "2")], 3),
            (&[], 4),
        ] {
            let changeset = diff(&base, &manifest(next));
            assert_eq!(lost(&base, &changeset), expected, "{next:?}");
        }
    }
}
