//! The bytes that visitors ask for, kept in memory under a budget: files as they are, and their encoded
//! variants.
//!
//! A variant is made once for each content, when it is first asked for, on the blocking pool: a publish
//! waits for none, and a site of which nobody reads the old pages spends nothing on them. Whoever asks
//! for the same variant meanwhile waits for the one that is being made. Content is named by its hash, so
//! that nothing here is ever out of date: what is not asked for any more falls out when room is needed.
//!
//! Limits: [`LARGEST_KEPT`] of one content, the budget in all, and [`Contents::MOST_ENCODERS`] variants
//! made at once; whoever comes then is answered without one.

mod encode;

use std::io::{self, Read as _};

use bytes::Bytes;
use onsave_protocol::{FileEntry, Sha256Digest};
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::sync::Semaphore;

pub(super) use self::encode::GENERATION;
use super::coding::Coding;
use crate::store::{Store, StoreError};

/// Largest content that is kept in memory, in bytes, and so the largest that variants are made of: at
/// some 30 nanoseconds a byte, the slowest takes an eighth of a second.
pub(super) const LARGEST_KEPT: u64 = 4 * 1024 * 1024;

/// What a kept content costs besides its bytes: the cache's entry, and the allocation.
const ENTRY_BYTES: u64 = 160;

/// Contents of this size are what a budget is planned for.
const TYPICAL_BYTES: u64 = 8 * 1024;

/// The contents in memory.
#[derive(Debug)]
pub(crate) struct Contents {
    cache: Cache<Key, Kept, Weight>,
    largest: u64,
    encoders: Semaphore,
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
    /// Most variants that are made, or waited for to be made, at once.
    const MOST_ENCODERS: usize = 32;

    /// Returns an empty memory of at most `budget` bytes.
    pub(crate) fn new(budget: u64) -> Self {
        let cache = bounded(budget, TYPICAL_BYTES, Weight);
        Self {
            cache,
            // So that one content never drives out all others.
            largest: LARGEST_KEPT.min(budget / 8),
            encoders: Semaphore::new(Self::MOST_ENCODERS),
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

    /// Returns a file's bytes; `None` when it is too large to be kept in memory.
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
        let read = self
            .cache
            .get_or_insert_async(&key, async {
                let store = store.clone();
                let bytes = blocking(entry, move || read(&store, entry)).await?;
                Ok::<_, StoreError>(Kept::Bytes(bytes))
            })
            .await?;
        Ok(match read {
            Kept::Bytes(bytes) => Some(bytes),
            Kept::NotWorth => None,
        })
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
        let Ok(_permit) = self.encoders.try_acquire() else {
            return Ok(Variant::Busy);
        };
        let made = self.cache.get_or_insert_async(&key, async {
            let Some(bytes) = self.identity(store, entry).await? else {
                return Ok(Kept::NotWorth);
            };
            blocking(entry, move || Ok(encode(&bytes, coding))).await
        });
        Ok(made.await?.into())
    }
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

fn encode(bytes: &Bytes, coding: Coding) -> Kept {
    match encode::encode(bytes, coding) {
        Ok(encoded) if encoded.len() < bytes.len() => Kept::Bytes(encoded.into()),
        Ok(_) => Kept::NotWorth,
        Err(error) => {
            // The encoders write into memory, and fail for nothing that a file can hold.
            tracing::error!(%error, "a file cannot be encoded, and is sent as it is");
            Kept::NotWorth
        }
    }
}

fn read(store: &Store, entry: FileEntry) -> Result<Bytes, StoreError> {
    let failed = |error| StoreError::io("read", format!("object {}", entry.digest))(error);
    let mut file = store.open_object(&entry.digest)?;
    // At most `LARGEST_KEPT`, so that it fits on every machine.
    let mut bytes = vec![0; usize::try_from(entry.size).unwrap_or(0)];
    file.read_exact(&mut bytes).map_err(failed)?;
    Ok(bytes.into())
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
