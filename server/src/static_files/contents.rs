//! The bytes that visitors ask for, kept in memory under a budget: files as they are, and their encoded
//! variants.
//!
//! A variant is made once for each content, when it is first asked for, on the blocking pool: a publish
//! waits for none, and a site of which nobody reads the old pages spends nothing on them. Whoever asks
//! for the same variant meanwhile waits for the one that is being made. Content is named by its hash, so
//! that nothing here is ever out of date: what is not asked for any more falls out when room is needed.
//!
//! Limits: [`LARGEST_KEPT`] of one content; the budget for what is kept, and half as much again for what
//! fell out while slow peers still take it; [`ENCODERS_MIB`] of working memory for encoders, and
//! [`Contents::MOST_WAITING`] requests that wait for one. Whoever comes then gets the file streamed from the
//! volume, as it is. Permits are given back by the work and by the bytes themselves, not by the request: a
//! peer that asks and hangs up frees nothing that is still in use.

mod encode;

use std::{
    io::{self, Read as _},
    sync::Arc,
};

use bytes::Bytes;
use onsave_protocol::{FileEntry, Sha256Digest};
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) use self::encode::GENERATION;
use super::coding::Coding;
use crate::store::{Store, StoreError};

/// Largest content that is kept in memory, in bytes, and so the largest that variants are made of: at
/// some 30 nanoseconds a byte, the slowest takes an eighth of a second.
pub(super) const LARGEST_KEPT: u64 = 4 * 1024 * 1024;

/// Working memory of all encoders that are at work, in MiB.
///
/// Anybody can ask for all of a site's pages at once, and the smallest machine has 256 MiB.
const ENCODERS_MIB: u32 = 64;

/// What a kept content costs besides its bytes: the cache's entry, and the allocation.
const ENTRY_BYTES: u64 = 160;

/// Contents of this size are what a budget is planned for.
const TYPICAL_BYTES: u64 = 8 * 1024;

/// The contents in memory.
#[derive(Debug)]
pub(crate) struct Contents {
    cache: Cache<Key, Kept, Weight>,
    largest: u64,
    /// A permit for each byte of content that may be in memory, kept or on its way to a peer.
    memory: Arc<Semaphore>,
    /// A permit for each variant that may be waited for.
    waiting: Semaphore,
    /// A permit for each MiB of working memory of encoders.
    encoders: Arc<Semaphore>,
}

/// Content in memory, and the permits for its bytes, which go back with its last user.
struct Accounted {
    bytes: Vec<u8>,
    _permits: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Accounted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    digest: Sha256Digest,
    coding: Coding,
}

#[derive(Debug, Clone)]
enum Kept {
    Bytes(Bytes),
    /// Encoding makes it no smaller.
    NotWorth,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Key, Kept> for Weight {
    fn weight(&self, _: &Key, kept: &Kept) -> u64 {
        ENTRY_BYTES
            + match kept {
                Kept::Bytes(bytes) => bytes.len() as u64,
                Kept::NotWorth => 0,
            }
    }
}

/// What became of a wish for an encoded variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variant {
    /// It is here.
    Bytes(Bytes),
    /// There is none, since it would be no smaller, or the file is too large.
    None,
    /// There may be one, but too many are being made right now.
    Busy,
}

impl Contents {
    /// Most requests that wait for variants at once.
    const MOST_WAITING: usize = 32;

    /// Returns an empty memory of at most `budget` bytes.
    pub(crate) fn new(budget: u64) -> Self {
        let cache = bounded(budget, TYPICAL_BYTES, Weight);
        Self {
            cache,
            // So that one content never drives out all others.
            largest: LARGEST_KEPT.min(budget / 8),
            memory: Arc::new(Semaphore::new(in_memory(budget))),
            waiting: Semaphore::new(Self::MOST_WAITING),
            encoders: Arc::new(Semaphore::new(ENCODERS_MIB as usize)),
        }
    }

    /// Returns a file's bytes when they are in memory.
    pub(super) fn identity_now(&self, entry: FileEntry) -> Option<Bytes> {
        let key = Key {
            digest: entry.digest,
            coding: Coding::Identity,
        };
        match self.cache.get(&key)? {
            Kept::Bytes(bytes) => Some(bytes),
            Kept::NotWorth => None,
        }
    }

    /// Returns what is known of a variant of a file; nothing when it has to be made first.
    pub(super) fn encoded_now(&self, entry: FileEntry, coding: Coding) -> Option<Variant> {
        if entry.size > self.largest {
            return Some(Variant::None);
        }
        let key = Key {
            digest: entry.digest,
            coding,
        };
        self.cache.get(&key).map(Variant::from)
    }

    /// Returns a file's bytes; `None` when it is too large to be kept in memory, or there is no room now.
    ///
    /// # Errors
    ///
    /// What [`Store::open_object`] says, and a read that fails.
    pub(super) async fn identity(
        &self,
        store: &Store,
        entry: FileEntry,
    ) -> Result<Option<Bytes>, StoreError> {
        if entry.size > self.largest {
            return Ok(None);
        }
        let key = Key {
            digest: entry.digest,
            coding: Coding::Identity,
        };
        let read = self.cache.get_or_insert_async(&key, async {
            let Some(permits) = permits(&self.memory, entry.size) else {
                return Err(Unkept::NoRoom);
            };
            let store = store.clone();
            let reading = blocking(entry, move || {
                let bytes = read(&store, entry)?;
                Ok(Kept::Bytes(accounted(bytes, permits)))
            });
            Ok(reading.await?)
        });
        match read.await {
            Ok(Kept::Bytes(bytes)) => Ok(Some(bytes)),
            Ok(Kept::NotWorth) | Err(Unkept::NoRoom) => Ok(None),
            Err(Unkept::Failed(error)) => Err(error),
        }
    }

    /// Returns the variant of a file, which is made when it is not here.
    ///
    /// # Errors
    ///
    /// As [`Contents::identity`].
    pub(super) async fn encoded(
        &self,
        store: &Store,
        entry: FileEntry,
        coding: Coding,
    ) -> Result<Variant, StoreError> {
        if entry.size > self.largest {
            return Ok(Variant::None);
        }
        let key = Key {
            digest: entry.digest,
            coding,
        };
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Ok(Variant::Busy);
        };
        let made = self.cache.get_or_insert_async(&key, async {
            let Some(bytes) = self.identity(store, entry).await? else {
                return Err(Unkept::NoRoom);
            };
            let encoders = Arc::clone(&self.encoders);
            let Ok(working) = encoders.acquire_many_owned(encoder_mib(entry.size)).await else {
                // The semaphore is never closed.
                return Err(Unkept::NoRoom);
            };
            let memory = Arc::clone(&self.memory);
            let encoding = blocking(entry, move || {
                let _working = working;
                let Some(encoded) = encode(&bytes, coding) else {
                    return Ok(Some(Kept::NotWorth));
                };
                let permits = permits(&memory, encoded.len() as u64);
                Ok(permits.map(|permits| Kept::Bytes(accounted(encoded, permits))))
            });
            encoding.await?.ok_or(Unkept::NoRoom)
        });
        match made.await {
            Ok(kept) => Ok(kept.into()),
            Err(Unkept::NoRoom) => Ok(Variant::Busy),
            Err(Unkept::Failed(error)) => Err(error),
        }
    }
}

/// Returns the permits for so many bytes of content; nothing when they are not to be had now.
fn permits(memory: &Arc<Semaphore>, bytes: u64) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes).ok()?;
    Arc::clone(memory).try_acquire_many_owned(bytes).ok()
}

/// Returns about what the hungriest encoder takes for `size` bytes, in MiB: as measured, 6 for a page, 25
/// for a MiB and 53 for the largest.
fn encoder_mib(size: u64) -> u32 {
    const PAGE: u64 = 128 * 1024;
    if size <= PAGE {
        return 8;
    }
    let mib = size.div_ceil(1024 * 1024);
    u32::try_from(mib * 10 + 16)
        .unwrap_or(ENCODERS_MIB)
        .min(ENCODERS_MIB)
}

/// Why a content is not in memory.
enum Unkept {
    /// There is no room for it.
    NoRoom,
    /// It cannot be read.
    Failed(StoreError),
}

impl From<StoreError> for Unkept {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

fn accounted(bytes: Vec<u8>, permits: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(Accounted {
        bytes,
        _permits: permits,
    })
}

/// Returns how many bytes of content may be in memory, kept or on their way, with this budget.
fn in_memory(budget: u64) -> usize {
    usize::try_from(budget + budget / 2)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}

/// Returns a cache of at most `budget` in weight, whose items weigh about `typical`.
///
/// It has one shard: a shard's part of the budget bounds the heaviest item, items fall unevenly on many,
/// and the lock is held for a look-up only.
pub(super) fn bounded<K, V, W>(budget: u64, typical: u64, weighter: W) -> Cache<K, V, W>
where
    K: std::hash::Hash + Eq + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let items = usize::try_from(budget / typical).unwrap_or(1).max(1);
    let options = OptionsBuilder::new()
        .shards(1)
        .estimated_items_capacity(items)
        .weight_capacity(budget)
        .build();
    match options {
        Ok(options) => Cache::with_options(
            options,
            weighter,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ),
        // Every option is set above.
        Err(_) => Cache::with_weighter(items, budget, weighter),
    }
}

impl From<Kept> for Variant {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Bytes(bytes) => Self::Bytes(bytes),
            Kept::NotWorth => Self::None,
        }
    }
}

/// Returns the encoded bytes; nothing when they are no fewer.
fn encode(bytes: &Bytes, coding: Coding) -> Option<Vec<u8>> {
    match encode::encode(bytes, coding) {
        Ok(encoded) => (encoded.len() < bytes.len()).then_some(encoded),
        Err(error) => {
            // The encoders write into memory, and fail for nothing that a file can hold.
            tracing::error!(%error, "a file cannot be encoded, and is sent as it is");
            None
        }
    }
}

fn read(store: &Store, entry: FileEntry) -> Result<Vec<u8>, StoreError> {
    let failed = |error| StoreError::io("read", format!("object {}", entry.digest))(error);
    let mut file = store.open_object(&entry.digest)?;
    // At most `LARGEST_KEPT`, so that it fits on every machine.
    let mut bytes = vec![0; usize::try_from(entry.size).unwrap_or(0)];
    file.read_exact(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Runs `work`, which concerns `entry`, on the blocking pool.
async fn blocking<T: Send + 'static>(
    entry: FileEntry,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        let path = format!("object {}", entry.digest);
        Err(StoreError::io("read", path)(io::Error::other(error)))
    })
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;

    use onsave_protocol::{Changeset, SitePath};

    use super::*;
    use crate::store::{CommitRequest, DeployNote, StoreOptions};

    fn store(folder: &std::path::Path, contents: &[Vec<u8>]) -> (Store, Vec<FileEntry>) {
        let store = Store::open(StoreOptions::new(folder)).unwrap();
        let mut changeset = Changeset::default();
        let mut entries = Vec::new();
        for (number, content) in contents.iter().enumerate() {
            let entry = FileEntry {
                digest: Sha256Digest::of(content),
                size: content.len() as u64,
            };
            let mut blob = store.stage(entry).unwrap();
            blob.write(content).unwrap();
            blob.finish().unwrap();
            let path = SitePath::parse(&format!("{number}.txt")).unwrap();
            changeset.puts.insert(path, entry);
            entries.push(entry);
        }
        let request = CommitRequest {
            base: None,
            changeset,
            note: DeployNote::default(),
        };
        store.commit(request).unwrap();
        (store, entries)
    }

    #[tokio::test]
    async fn what_is_in_memory_has_a_bound_also_while_slow_peers_hold_it() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 100_000]).collect();
        let (store, entries) = store(folder.path(), &files);
        let contents = Contents::new(1_000_000);
        let mut held = Vec::new();
        for entry in &entries {
            held.extend(contents.identity(&store, *entry).await.unwrap());
        }
        // Kept or not: no more than half as much again as the budget.
        assert_eq!(held.len(), 15);
        let (coding, last) = (Coding::Gzip, *entries.last().unwrap());
        let busy = contents.encoded(&store, last, coding).await.unwrap();
        assert_eq!(busy, Variant::Busy);
        drop(held);
        let made = contents.encoded(&store, last, coding).await.unwrap();
        assert!(
            matches!(made, Variant::Bytes(_)),
            "there is room again: {made:?}"
        );
    }

    #[test]
    fn the_largest_content_has_room_and_two_of_them_have_not() {
        assert!(encoder_mib(LARGEST_KEPT) <= ENCODERS_MIB);
        assert!(2 * encoder_mib(LARGEST_KEPT) > ENCODERS_MIB);
        assert!(ENCODERS_MIB / encoder_mib(16 * 1024) >= 8);
    }

    #[tokio::test]
    async fn whoever_hangs_up_frees_no_encoder_that_is_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let text = "some text that is encoded\n".repeat(40_000).into_bytes();
        let (store, entries) = store(folder.path(), &[text]);
        let contents = Contents::new(64 * 1024 * 1024);
        contents.identity(&store, entries[0]).await.unwrap();
        {
            let mut asking = std::pin::pin!(contents.encoded(&store, entries[0], Coding::Brotli));
            std::future::poll_fn(|context| {
                assert!(asking.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        }
        // It goes on, and its memory is taken until it ends.
        let all = contents.encoders.acquire_many(ENCODERS_MIB);
        assert!(contents.encoders.available_permits() < ENCODERS_MIB as usize);
        assert!(all.await.is_ok());
    }

    #[tokio::test]
    async fn with_next_to_no_budget_everything_is_streamed() {
        let folder = tempfile::tempdir().unwrap();
        let (store, entries) = store(folder.path(), &[b"some text".to_vec()]);
        let contents = Contents::new(1);
        assert_eq!(contents.identity(&store, entries[0]).await.unwrap(), None);
        let variant = contents.encoded(&store, entries[0], Coding::Brotli).await;
        assert_eq!(variant.unwrap(), Variant::None);
    }
}
