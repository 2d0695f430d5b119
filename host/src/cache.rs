//! Answers repeats: space and text → embedding.

use std::time::Duration;

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

/// What is kept of a text: its vector in full, and its tokens.
#[derive(Clone, Debug)]
pub struct Entry {
    pub embedding: Embedding,
    pub n_tokens: u32,
    pub truncated: bool,
}
