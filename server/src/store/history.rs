//! The kept deploys, in memory, and the chain of manifests that they stand on.
//!
//! Owns what the head says, and the newest id that was ever given. Every kept deploy has its
//! snapshot here; snapshots share what is equal. A manifest whose deploy is not kept any more stays
//! on the volume while a kept deploy's changeset stands on it; it is in the chain, but not listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::Arc,
};

use onsave_protocol::{DeployId, wire::v2::DeploySummary};

use super::{
    StoreError,
    head::Head,
    manifest_file::{Header, ManifestFile},
    volume::{Volume, deploy_ids_in},
};
use crate::{current::Earlier, snapshot::Snapshot};

/// Longest chain of changesets that a kept deploy may stand on before it gets a full listing.
///
/// A start reads that many small files; and a full listing, which costs the size of the site, is
/// written for one commit in so many.
const LONGEST_CHAIN: usize = 64;

/// One kept deploy.
#[derive(Debug, Clone)]
pub(super) struct Deploy {
    /// What its manifest says first.
    pub(super) header: Header,
    /// Its files.
    pub(super) snapshot: Arc<Snapshot>,
}

/// A kept deploy that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The deploy.
    pub(super) id: DeployId,
    /// What is wrong with it.
    pub(super) error: StoreError,
}

/// Every kept deploy.
#[derive(Debug)]
pub(super) struct History {
    keep: NonZeroUsize,
    head: Option<Head>,
    /// The head as it has to be written before anything is removed, when fewer deploys are kept
    /// now than the one on the volume lists.
    shortened: Option<Head>,
    deploys: BTreeMap<DeployId, Deploy>,
    /// Every manifest on the volume, with the manifest that its lines need.
    chain: BTreeMap<DeployId, Option<DeployId>>,
    /// The greatest id that was given or seen.
    newest_id: Option<DeployId>,
}

impl History {
    /// Reads the head and the manifests; returns also the kept deploys that cannot be read, with why.
    ///
    /// # Errors
    ///
    /// When the head cannot be read.
    pub(super) fn load(
        volume: &Volume,
        keep: NonZeroUsize,
    ) -> Result<(Self, Vec<Unreadable>), StoreError> {
        let on_volume = deploy_ids_in(&volume.manifests_path())?;
        let mut history = Self {
            keep,
            head: Head::read(volume)?,
            shortened: None,
            deploys: BTreeMap::new(),
            newest_id: on_volume.iter().max().copied(),
            chain: on_volume.into_iter().map(|id| (id, None)).collect(),
        };
        let Some(head) = history.head.clone() else {
            history.refuse_lost_head(volume)?;
            return Ok((history, Vec::new()));
        };
        history.newest_id = history.newest_id.max(head.deploys.iter().max().copied());
        let mut unreadable = Vec::new();
        let retained = history.retained(&head.deploys, head.current);
        if retained.len() < head.deploys.len() {
            history.shortened = Some(Head::new(head.current, retained.clone()));
        }
        // Oldest first, so that each one is made from the one before and shares its files.
        for id in retained.into_iter().rev() {
            if let Err(error) = history.load_deploy(volume, id) {
                // Out of the chain, so that it is not removed before somebody looked at it.
                history.forget_manifest(id);
                unreadable.push(Unreadable { id, error });
            }
        }
        let kept = history.deploys.keys().rev().copied().collect();
        history.head = Some(Head::new(head.current, kept));
        Ok((history, unreadable))
    }

    /// Returns the current deploy; `None` before the first.
    pub(super) fn current(&self) -> Option<&Deploy> {
        self.deploys.get(&self.head.as_ref()?.current)
    }

    /// Returns the current deploy's id.
    pub(super) fn current_id(&self) -> Option<DeployId> {
        self.head.as_ref().map(|head| head.current)
    }

    /// Returns what the head file says.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Returns the head that has to be written before anything is removed, if one has to.
    pub(super) fn shortened_head(&self) -> Option<&Head> {
        self.shortened.as_ref()
    }

    /// Takes over that the shortened head was written.
    pub(super) fn note_shortened_head(&mut self) {
        self.shortened = None;
    }

    /// Returns a kept deploy.
    pub(super) fn get(&self, id: DeployId) -> Option<&Deploy> {
        self.deploys.get(&id)
    }

    /// Returns the kept deploys, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Deploy> {
        self.deploys.values().rev()
    }

    /// Returns what the list of deploys says, newest first.
    pub(super) fn summaries(&self) -> Vec<DeploySummary> {
        let current = self.current_id();
        self.newest_first()
            .map(|deploy| deploy.header.summary(current))
            .collect()
    }

    /// Returns the deploy that current was made from, which was current before it; where that is not
    /// kept, the newest one that is older.
    pub(super) fn before_current(&self) -> Option<DeployId> {
        let current = self.current()?;
        let base = current.header.base.filter(|id| self.get(*id).is_some());
        base.or_else(|| {
            let mut older = self.deploys.range(..current.header.id);
            older.next_back().map(|(id, _)| *id)
        })
    }

    /// Returns the kept deploys that are not current, newest first, each with the time until which
    /// it was; `current_since` is when the current one became it (both in milliseconds of Unix
    /// time).
    pub(super) fn earlier(&self, current_since: u64) -> Vec<Earlier> {
        let Some(current) = self.current_id() else {
            return Vec::new();
        };
        let mut until: BTreeMap<DeployId, u64> = BTreeMap::new();
        let mut leave = |id: DeployId, time: u64| {
            let last = until.entry(id).or_default();
            *last = time.max(*last);
        };
        // A deploy was current until the next was made; and, after going back to it, until a deploy
        // was made from it; and those that are newer than current, until somebody went back.
        let ids = self.deploys.keys();
        for (id, next) in ids.zip(self.deploys.values().skip(1)) {
            leave(*id, next.header.committed_unix_ms);
        }
        for deploy in self.deploys.values() {
            if let Some(base) = deploy.header.base {
                leave(base, deploy.header.committed_unix_ms);
            }
            if deploy.header.id > current {
                leave(deploy.header.id, current_since);
            }
        }
        let others = self.newest_first();
        others
            .filter(|deploy| deploy.header.id != current)
            .map(|deploy| Earlier {
                snapshot: Arc::clone(&deploy.snapshot),
                until_unix_ms: until.get(&deploy.header.id).copied().unwrap_or_default(),
            })
            .collect()
    }

    /// Returns an id that is greater than every one before, also when the clock stepped back.
    pub(super) fn next_id(&mut self, now_unix_ms: u64, random: u32) -> DeployId {
        let id = DeployId::after(self.newest_id, now_unix_ms, random);
        self.newest_id = Some(id);
        id
    }

    /// Returns the newest deploy that was ever committed and is still kept.
    pub(super) fn newest(&self) -> Option<DeployId> {
        self.deploys.keys().next_back().copied()
    }

    /// Returns the head that makes `current`, new or kept, the current deploy.
    pub(super) fn head_with(&self, current: DeployId) -> Head {
        let mut deploys: BTreeSet<DeployId> = self.deploys.keys().copied().collect();
        deploys.insert(current);
        let deploys: Vec<DeployId> = deploys.into_iter().collect();
        Head::new(current, self.retained(&deploys, current))
    }

    /// Adds a deploy whose manifest is on the volume; it is not current yet.
    pub(super) fn add(&mut self, deploy: Deploy) {
        let id = deploy.header.id;
        self.chain.insert(id, deploy.header.needed_base());
        self.deploys.insert(id, deploy);
    }

    /// Takes over a head that was written.
    pub(super) fn take_head(&mut self, head: Head) {
        self.deploys.retain(|id, _| head.deploys.contains(id));
        self.head = Some(head);
        // It lists no more than what is kept.
        self.shortened = None;
    }

    /// Takes over that `id` has a full listing now.
    pub(super) fn note_full_listing(&mut self, header: Header) {
        self.chain.insert(header.id, None);
        if let Some(deploy) = self.deploys.get_mut(&header.id) {
            deploy.header = header;
        }
    }

    /// Returns the manifests on the volume that no kept deploy stands on.
    pub(super) fn unneeded_manifests(&self) -> Vec<DeployId> {
        let mut needed = BTreeSet::new();
        for id in self.deploys.keys() {
            let mut next = Some(*id);
            while let Some(id) = next {
                // What one walk met, an earlier one followed to its end.
                next = needed.insert(id).then(|| self.needed_base(id)).flatten();
            }
        }
        let unneeded = self.chain.keys().filter(|id| !needed.contains(id));
        unneeded.copied().collect()
    }

    /// Takes over that the manifest of `id` is gone.
    pub(super) fn forget_manifest(&mut self, id: DeployId) {
        self.chain.remove(&id);
    }

    /// Returns a kept deploy that stands on too long a chain, newest first.
    pub(super) fn needs_full_listing(&self) -> Option<DeployId> {
        let mut kept = self.deploys.keys().rev();
        kept.find(|id| self.chain_length(**id) >= LONGEST_CHAIN)
            .copied()
    }

    /// Returns whether `id` is the current deploy or one that it was made from, however indirectly.
    pub(super) fn leads_to_current(&self, id: DeployId) -> bool {
        let mut next = self.current_id();
        while let Some(step) = next.filter(|step| *step > id) {
            next = self.get(step).and_then(|deploy| deploy.header.base);
        }
        next == Some(id)
    }

    fn needed_base(&self, id: DeployId) -> Option<DeployId> {
        self.chain.get(&id).copied().flatten()
    }

    fn chain_length(&self, id: DeployId) -> usize {
        std::iter::successors(self.needed_base(id), |id| self.needed_base(*id)).count()
    }

    /// Returns those of `deploys` that are kept when `current` is current, newest first.
    fn retained(&self, deploys: &[DeployId], current: DeployId) -> Vec<DeployId> {
        let mut newest_first = deploys.to_vec();
        newest_first.sort_unstable_by(|a, b| b.cmp(a));
        let keep = self.keep.get();
        let mut place = 0;
        newest_first.retain(|id| {
            place += 1;
            place <= keep || *id == current
        });
        newest_first
    }

    /// Reads the manifests from the last that stands on none up to `id`, and adds `id`.
    fn load_deploy(&mut self, volume: &Volume, id: DeployId) -> Result<(), StoreError> {
        let mut pending = Vec::new();
        let mut next = Some(id);
        let mut snapshot = Arc::new(Snapshot::default());
        while let Some(id) = next {
            if let Some(deploy) = self.deploys.get(&id) {
                snapshot = Arc::clone(&deploy.snapshot);
                break;
            }
            // Ends: a base is always less than what stands on it.
            let file = ManifestFile::read(volume, id)?;
            next = file.header.needed_base();
            pending.push(file);
        }
        for file in pending.into_iter().rev() {
            let header = file.header.clone();
            let made = file.snapshot(&snapshot);
            let path = volume.manifest_path(header.id);
            snapshot = Arc::new(made.map_err(|what| StoreError::corrupt(path, what))?);
            self.chain.insert(header.id, header.needed_base());
            if header.id == id {
                let snapshot = Arc::clone(&snapshot);
                self.deploys.insert(id, Deploy { header, snapshot });
            }
        }
        Ok(())
    }

    /// Without a head, there may be what a first commit left that never came to its end; but not
    /// deploys, for they would be taken for leftovers and removed.
    fn refuse_lost_head(&self, volume: &Volume) -> Result<(), StoreError> {
        for id in self.chain.keys() {
            if ManifestFile::read(volume, *id).is_ok_and(|file| file.header.base.is_some()) {
                let what = format!("it is missing, but there are deploys such as {id}");
                return Err(StoreError::corrupt(volume.head_path(), what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Changes;

    /// A history of deploys made at these times, each from the one at the place that is named.
    fn history(deploys: &[(u64, Option<usize>)], current: usize) -> History {
        let ids: Vec<DeployId> = deploys
            .iter()
            .map(|(time, _)| DeployId::after(None, *time, 0))
            .collect();
        let made = deploys.iter().zip(&ids).map(|((time, base), id)| {
            let snapshot = Arc::<Snapshot>::default();
            let header = Header {
                base: base.map(|place| ids[place]),
                committed_unix_ms: *time,
                ..Header::new(*id, &snapshot, &Changes::default())
            };
            (*id, Deploy { header, snapshot })
        });
        History {
            keep: NonZeroUsize::MIN,
            head: Some(Head::new(ids[current], ids.clone())),
            shortened: None,
            deploys: made.collect(),
            chain: BTreeMap::new(),
            newest_id: None,
        }
    }

    #[test]
    fn until_when_a_deploy_was_current() {
        let until = |deploys, current| -> Vec<u64> {
            let earlier = history(deploys, current).earlier(900);
            earlier.iter().map(|deploy| deploy.until_unix_ms).collect()
        };
        let chain = &[(100, None), (200, Some(0)), (300, Some(1))];
        assert_eq!(
            until(chain, 2),
            [300, 200],
            "newest first, each until the next"
        );
        assert_eq!(until(chain, 0), [900, 900], "until somebody went back");
        assert_eq!(until(chain, 1), [900, 200]);
        // Somebody went back to the first, and saved.
        let branch = &[(100, None), (200, Some(0)), (300, Some(0))];
        assert_eq!(until(branch, 2), [300, 300]);
        assert_eq!(until(&[(100, None)], 0), [0; 0]);
    }
}
