//! Hands queued texts to whichever upstream has a free slot, in batches.
//!
//! Nothing waits for company: a lone text leaves at once, and batches grow only
//! while every slot is busy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[batcher]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Texts in an upstream call, at most.
    pub max_texts: usize,
    /// Tokens in an upstream call, at most, unless one text alone has more.
    pub max_tokens: u32,
    /// How long a bulk batch may keep an upstream while interactive texts arrive.
    #[serde(with = "humantime_serde")]
    pub bulk_slice: Duration,
    /// Texts in a request that make it bulk.
    pub bulk_above: usize,
    /// Texts that wait, at most; more are refused.
    pub max_queued: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_texts: 32,
            max_tokens: 16_384,
            bulk_slice: Duration::from_millis(50),
            bulk_above: 32,
            max_queued: 65_536,
        }
    }
}
