//! What is asked of the embedder, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Lane, Spent};
use crate::cache::Space;
use crate::model::{Embedding, ModelName, Purpose};

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    pub model: ModelName,
    /// At least one, none empty.
    pub texts: Vec<String>,
    pub purpose: Purpose,
    /// Whether a text that is too long is cut or refused.
    pub truncate: bool,
    pub dimensions: Option<usize>,
    /// Bulk work leaves room for others. Decided by the number of texts when absent.
    pub lane: Option<Lane>,
    /// The texts have been through their preprocessors already.
    pub prepared: bool,
    /// Vectors of another space are of no use: none of a model that has changed.
    pub space: Option<Space>,
    pub deadline: Instant,
}

impl EmbedRequest {
    /// Texts of documents that have been through their preprocessors: as long as
    /// the model takes, and with all its dimensions.
    pub fn prepared(model: ModelName, texts: Vec<String>, lane: Lane, deadline: Instant) -> Self {
        Self {
            model,
            texts,
            purpose: Purpose::Document,
            truncate: false,
            dimensions: None,
            lane: Some(lane),
            prepared: true,
            space: None,
            deadline,
        }
    }

    pub(super) fn way(&self) -> Way {
        Way { purpose: self.purpose, prepared: self.prepared, truncate: self.truncate }
    }
}

/// What decides, beside the text, how it is turned into a vector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) purpose: Purpose,
    pub(super) prepared: bool,
    pub(super) truncate: bool,
}

/// One embedding for each text, in the order of the request.
#[derive(Clone, Debug, Default)]
pub struct EmbedAnswer {
    pub embeddings: Vec<Embedding>,
    /// Of all texts together; the same from cache and upstream.
    pub n_tokens: u64,
    /// Texts answered from the cache.
    pub n_hits: usize,
    /// Indexes of texts that were cut, as was asked.
    pub truncated: Vec<usize>,
    /// What was waited for: nothing where all texts were in the cache.
    pub spent: Spent,
    /// Indexes of texts that an upstream has cut, though it was not asked to.
    pub cut_by_upstream: Vec<usize>,
    /// What went another way than it should, in words, and the indexes of its texts.
    pub detours: BTreeMap<Arc<str>, Vec<usize>>,
}
