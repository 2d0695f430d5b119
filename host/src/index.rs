//! Files → points: source → preprocess → chunk → diff → embed → upsert →
//! verify → delete stale → record.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::embed::Embedder;
use crate::plugin::Plugins;
use crate::store::{IndexState, Store};

/// A `[[collection]]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionConfig {
    pub name: String,
    pub model: String,
    /// BCP 47.
    #[serde(default)]
    pub language: Option<String>,
    /// Tokens of a chunk, at most; 400 when absent.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// Which plugins work on documents of one media type.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub media_type: String,
    /// The model's own preprocessors when absent.
    #[serde(default)]
    pub preprocess: Option<Vec<String>>,
    pub chunker: String,
}

/// The `[index]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Larger files are reported and left out.
    pub max_file: crate::units::ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_file: crate::units::ByteSize::mib(64) }
    }
}

/// What one run should do.
#[derive(Clone, Debug)]
pub struct IndexRequest {
    pub paths: Vec<PathBuf>,
    pub collection: CollectionConfig,
}

/// What happened to one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do.
    Unchanged,
    Indexed {
        n_chunks: usize,
        n_embedded: usize,
    },
    /// It vanished, and its points with it.
    Removed,
    /// Left out, and why: not text, too large, a socket.
    Skipped(String),
    /// It keeps the points that it had.
    Failed(String),
}

/// Told to whoever watches, as it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// The scan is done.
    Found {
        n_files: usize,
        n_bytes: u64,
    },
    Finished {
        source: String,
        n_bytes: u64,
        outcome: Outcome,
    },
}

/// Sums of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub n_files: usize,
    pub n_bytes: u64,
    pub n_unchanged: usize,
    pub n_indexed: usize,
    pub n_removed: usize,
    pub n_skipped: usize,
    pub n_failed: usize,
    pub n_chunks: usize,
    pub n_embedded: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("cannot read `{path}`")]
    Path {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    Embed(#[from] crate::embed::EmbedError),
    #[error(transparent)]
    Plugin(#[from] crate::plugin::PluginError),
}

/// Indexes documents into collections.
pub struct Indexer {
    pub embedder: Arc<Embedder>,
    pub plugins: Arc<Plugins>,
    pub store: Arc<dyn Store>,
    pub state: IndexState,
    pub config: Config,
}

impl Indexer {
    /// Brings the collection to the state of the files under `request.paths`.
    /// Stopping at any point and running again ends in the same store as one clean run.
    pub async fn run(
        &self,
        _request: IndexRequest,
        _watcher: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Summary, IndexError> {
        todo!()
    }
}
