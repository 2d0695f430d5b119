//! Answers repeats: space and text → embedding.

use std::time::Duration;

use metrics::Gauge;
use serde::{Deserialize, Serialize};

use crate::model::Embedding;
use crate::units::ByteSize;

/// The `[cache]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Memory for vectors; 0 switches the cache off.
    pub max_bytes: ByteSize,
    #[serde(with = "humantime_serde")]
    pub time_to_live: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: ByteSize::mib(512), time_to_live: Duration::from_secs(24 * 60 * 60) }
    }
}

/// What is kept of a text: its vector in full, its tokens, and how much of it the vector is of.
#[derive(Clone, Debug)]
pub struct Entry {
    pub embedding: Embedding,
    pub n_tokens: u32,
    pub extent: Extent,
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

/// Everything but the text that changes a vector, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space([u8; 32]);

impl Space {
    /// Every part counts, and so do the borders between parts.
    pub fn new(parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Half of it, as 32 hexadecimal digits: for records that people may see.
    pub fn to_hex(self) -> String {
        blake3::Hash::from(self.0).to_hex()[..32].to_owned()
    }
}

/// Where the embedding of one exact text in one space is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    pub fn new(space: &Space, text: &str) -> Self {
        // The space has a fixed length, so that no other pair runs together to the same bytes.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&space.0);
        hasher.update(text.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}

/// Bytes of an entry beside its vector: the key, the entry, the two counts in
/// front of the vector, and what the table keeps for each. An estimate.
const OVERHEAD: usize = 256;
/// The table refuses more than 1,000 years.
const MAX_TIME: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Embeddings by space and text, within a number of bytes.
pub struct Cache {
    /// Nothing where the cache is off.
    entries: Option<moka::sync::Cache<CacheKey, Entry>>,
    bytes: Gauge,
}

impl Cache {
    pub fn new(config: &Config) -> Self {
        let max_bytes = config.max_bytes.as_u64();
        let entries = (0 < max_bytes).then(|| {
            moka::sync::Cache::builder()
                .max_capacity(max_bytes)
                .weigher(|_, entry: &Entry| weight(entry))
                .time_to_live(config.time_to_live.min(MAX_TIME))
                .build()
        });
        Self { entries, bytes: metrics::gauge!("embergate_cache_bytes") }
    }

    pub fn get(&self, key: &CacheKey) -> Option<Entry> {
        self.entries.as_ref()?.get(key)
    }

    pub fn put(&self, key: CacheKey, entry: Entry) {
        if let Some(entries) = &self.entries {
            entries.insert(key, entry);
        }
    }

    /// Tells the metrics how many bytes are kept. Takes the table's own lock: to be
    /// called once for many texts, and after whoever waits has been answered.
    pub fn report(&self) {
        if let Some(entries) = &self.entries {
            // Until its work is done the table does not count what was put last.
            entries.run_pending_tasks();
            self.bytes.set(entries.weighted_size() as f64);
        }
    }
}

fn weight(entry: &Entry) -> u32 {
    let bytes = size_of_val(entry.embedding.values()) + OVERHEAD;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: f32) -> Entry {
        Entry { embedding: Embedding::new(vec![value; 64]).unwrap(), n_tokens: 1, extent: Extent::Whole }
    }

    fn cache(max_bytes: u64) -> Cache {
        Cache::new(&Config { max_bytes: ByteSize::b(max_bytes), ..Config::default() })
    }

    #[test]
    fn a_text_is_found_in_its_own_space_only() {
        let cache = cache(1 << 20);
        let (a, b) = (Space::new(&["a"]), Space::new(&["b"]));
        cache.put(CacheKey::new(&a, "text"), entry(1.0));
        assert_eq!(cache.get(&CacheKey::new(&a, "text")).unwrap().embedding, entry(1.0).embedding);
        assert!(cache.get(&CacheKey::new(&b, "text")).is_none());
        assert!(cache.get(&CacheKey::new(&a, "Text")).is_none());
    }

    #[test]
    fn the_borders_between_parts_of_a_space_count() {
        assert_ne!(Space::new(&["ab", "c"]), Space::new(&["a", "bc"]));
        assert_ne!(Space::new(&["a"]), Space::new(&["a", ""]));
    }

    #[test]
    fn memory_stays_within_its_bound() {
        let cache = cache(10 * u64::from(weight(&entry(1.0))));
        let space = Space::new(&[]);
        for number in 0..1_000 {
            cache.put(CacheKey::new(&space, &number.to_string()), entry(1.0));
        }
        let entries = cache.entries.as_ref().unwrap();
        entries.run_pending_tasks();
        assert!(entries.entry_count() <= 10, "{}", entries.entry_count());
    }

    #[test]
    fn bytes_of_what_was_put_last_are_reported() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let cache = cache(1 << 20);
            cache.put(CacheKey::new(&Space::new(&[]), "text"), entry(1.0));
            cache.report();
        });
        let metrics = recorder.handle().render();
        let want = format!("embergate_cache_bytes {}\n", weight(&entry(1.0)));
        assert!(metrics.contains(&want), "{metrics}");
    }

    #[test]
    fn a_cache_of_no_bytes_is_off() {
        let cache = cache(0);
        let key = CacheKey::new(&Space::new(&[]), "text");
        cache.put(key, entry(1.0));
        assert!(cache.get(&key).is_none());
    }
}
