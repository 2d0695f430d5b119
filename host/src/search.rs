//! A question → chunks, ranked by vectors and words together.

use std::sync::Arc;

use crate::embed::Embedder;
use crate::store::{Filter, Payload, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    Hybrid,
    Dense,
    Sparse,
}

#[derive(Clone, Debug)]
pub struct SearchRequest {
    pub collection: String,
    pub question: String,
    pub limit: usize,
    pub ranking: Ranking,
    pub filter: Option<Filter>,
}

/// A chunk that was found, with what it scored in each ranking that saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub id: uuid::Uuid,
    pub score: f32,
    pub dense: Option<f32>,
    pub sparse: Option<f32>,
    pub payload: Payload,
}

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("the question is empty")]
    EmptyQuestion,
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    Embed(#[from] crate::embed::EmbedError),
}

/// Searches collections.
pub struct Searcher {
    pub embedder: Arc<Embedder>,
    pub store: Arc<dyn Store>,
}

impl Searcher {
    pub async fn search(&self, _request: SearchRequest) -> Result<Vec<Found>, SearchError> {
        todo!()
    }
}
