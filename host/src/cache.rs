//! Answers repeats: space and text → embedding.

mod forms;
mod key;
mod refusals;
mod shelf;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge};
use moka::notification::RemovalCause;
use serde::{Deserialize, Serialize};

use crate::model::Embedding;
use crate::units::ByteSize;

pub use self::forms::Forms;
pub use self::key::{CacheKey, Space};
pub use self::refusals::Refusals;
pub use self::shelf::{Shelf, Stamp};

use self::shelf::Shelves;

/// The `[cache]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Memory for vectors; 0 switches the cache off.
    pub max_bytes: ByteSize,
    /// Memory for vectors as they are written in JSON, beside `max_bytes`; 0 keeps none.
    pub max_encoded: ByteSize,
    #[serde(with = "humantime_serde")]
    pub time_to_live: Duration,
    /// How long a vector is kept that nobody asks for; `time_to_live` when absent.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub time_to_idle: Option<Duration>,
    /// How long a text that fails wherever it goes is answered with its error, without
    /// asking again; 0 asks each time.
    #[serde(with = "humantime_serde")]
    pub remember_refused: Duration,
    /// Such texts, at most; 0 remembers none.
    pub max_refused: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::mib(512),
            max_encoded: ByteSize::mib(64),
            time_to_live: Duration::from_secs(24 * 60 * 60),
            time_to_idle: None,
            remember_refused: Duration::from_secs(5 * 60),
            max_refused: 10_000,
        }
    }
}

/// What is kept of a text: its vector in full, its tokens, and how much of it the vector is of.
#[derive(Clone, Debug)]
pub struct Entry {
    pub embedding: Embedding,
    pub n_tokens: u32,
    pub extent: Extent,
    /// What went another way than it should with this text, in words; nothing as a rule.
    pub detour: Option<Arc<str>>,
}

/// How much of a text its vector is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// It was too long, and cut as was asked.
    Cut,
    /// The upstream has cut it, though nobody asked it to.
    CutByUpstream,
}

/// What was thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub n_entries: u64,
    pub n_bytes: u64,
}

/// Bytes of an entry beside its vector: the key, the entry, the two counts in
/// front of the vector, and what the table keeps for each, as the allocator
/// rounds them. Measured in resident memory, over 60,000 entries of 256 to 1,024 numbers.
const OVERHEAD: usize = 440;
/// The table refuses more than 1,000 years.
const MAX_TIME: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// The table weighs what is new now and then. It is told to once this part of its
/// bound came in, so that what it holds is never above the bound by more.
const UNWEIGHED: u64 = 32;

/// Embeddings by space and text, within a number of bytes.
pub struct Cache {
    /// Nothing where the cache is off.
    entries: Option<moka::sync::Cache<CacheKey, Entry>>,
    shelves: Shelves,
    meters: Arc<Meters>,
    max_bytes: u64,
    /// Bytes that came in since the table was told to weigh.
    unweighed: AtomicU64,
}

impl Cache {
    /// Metrics go to the recorder that is installed by now.
    pub fn new(config: &Config) -> Self {
        let max_bytes = config.max_bytes.as_u64();
        let meters = Arc::new(Meters::new());
        let entries = (0 < max_bytes).then(|| table(config, meters.clone()));
        Self { entries, shelves: Shelves::default(), meters, max_bytes, unweighed: AtomicU64::new(0) }
    }

    /// The place of the entries of `model`.
    pub fn shelf(&self, model: &str) -> Arc<Shelf> {
        self.shelves.of(model)
    }

    pub fn get(&self, key: &CacheKey) -> Option<Entry> {
        self.entries.as_ref()?.get(key)
    }

    /// Keeps `entry`, unless what its model had was thrown away since its key was made.
    pub fn put(&self, shelf: &Shelf, key: CacheKey, entry: Entry) {
        let Some(entries) = self.entries.as_ref().filter(|_| !shelf.has_ended(key.stamp)) else { return };
        let weight = u64::from(weight(&entry));
        self.meters.came(weight);
        entries.insert(key, entry);
        if self.max_bytes / UNWEIGHED <= self.unweighed.fetch_add(weight, Ordering::Relaxed) + weight {
            self.unweighed.store(0, Ordering::Relaxed);
            entries.run_pending_tasks();
        }
    }

    /// Throws away what is kept of `model`, or all there is. From now on none of it is
    /// found, nor what was asked for before and arrives later.
    ///
    /// Memory is given back and counted entry by entry, with a look at every entry of the
    /// cache, while others go on. To be called on a thread that may take its time.
    pub fn forget(&self, model: Option<&str>) -> Forgotten {
        match model.map(|model| self.shelf(model)) {
            Some(shelf) => {
                shelf.end_epoch();
                self.sweep(|key| shelf.has_ended(key.stamp))
            }
            None => {
                let current: HashSet<Stamp> = self.shelves.end_epochs();
                self.sweep(|key| !current.contains(&key.stamp))
            }
        }
    }

    fn sweep(&self, is_old: impl Fn(&CacheKey) -> bool) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let Some(entries) = &self.entries else { return forgotten };
        for (key, entry) in entries.iter().filter(|(key, _)| is_old(key)) {
            entries.invalidate(&*key);
            forgotten.n_entries += 1;
            forgotten.n_bytes += u64::from(weight(&entry));
        }
        entries.run_pending_tasks();
        forgotten
    }

    /// Gives back the memory of what has expired. The table does so while it is used;
    /// this is for times in which nobody asks for anything.
    pub fn tidy(&self) {
        if let Some(entries) = &self.entries {
            entries.run_pending_tasks();
        }
    }
}

fn table(config: &Config, meters: Arc<Meters>) -> moka::sync::Cache<CacheKey, Entry> {
    let table = moka::sync::Cache::builder()
        .max_capacity(config.max_bytes.as_u64())
        .weigher(|_, entry: &Entry| weight(entry))
        .eviction_listener(move |_, entry, cause| meters.left(weight(&entry).into(), cause))
        .time_to_live(config.time_to_live.min(MAX_TIME));
    match config.time_to_idle {
        Some(idle) => table.time_to_idle(idle.min(MAX_TIME)).build(),
        None => table.build(),
    }
}

fn weight(entry: &Entry) -> u32 {
    let bytes = size_of_val(entry.embedding.values()) + OVERHEAD;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Counts what is in the table, weighed or not.
struct Meters {
    entries: Gauge,
    bytes: Gauge,
    by_size: Counter,
    by_time: Counter,
    by_hand: Counter,
}

impl Meters {
    fn new() -> Self {
        let evictions = |cause| metrics::counter!("embergate_cache_evictions_total", "cause" => cause);
        Self {
            entries: metrics::gauge!("embergate_cache_entries"),
            bytes: metrics::gauge!("embergate_cache_bytes"),
            by_size: evictions("size"),
            by_time: evictions("expired"),
            by_hand: evictions("deleted"),
        }
    }

    fn came(&self, weight: u64) {
        self.entries.increment(1.0);
        self.bytes.increment(weight as f64);
    }

    fn left(&self, weight: u64, cause: RemovalCause) {
        self.entries.decrement(1.0);
        self.bytes.decrement(weight as f64);
        match cause {
            RemovalCause::Size => self.by_size.increment(1),
            RemovalCause::Expired => self.by_time.increment(1),
            RemovalCause::Explicit => self.by_hand.increment(1),
            RemovalCause::Replaced => {}
        }
    }
}

#[cfg(test)]
mod tests;
