//! A question → chunks, ranked by vectors and words together.

mod fusion;

use std::sync::Arc;

use tokio::time::Instant;

use crate::analyzer::Analyzer;
use crate::embed::{EmbedError, EmbedRequest, Embedder, Lane};
use crate::model::{Embedding, ModelName, Purpose};
use crate::store::{Collection, Filter, Hit, Payload, Probe, Query, Store, StoreError};
use crate::upstream::TextFault;

/// Candidates that each ranking puts forward: four for each chunk asked for,
/// within these bounds.
const CANDIDATES: std::ops::RangeInclusive<usize> = 50..=1000;

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

/// What was found, and what whoever asked should know about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchAnswer {
    /// The best first.
    pub found: Vec<Found>,
    /// The collection's: decides how words are split.
    pub language: Option<String>,
    /// Sentences for people: why a ranking was left out.
    pub notices: Vec<String>,
}

/// A chunk that was found, with what it scored in each ranking that saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub id: uuid::Uuid,
    /// What the order is by: from 0 to 1 where two rankings were fused, else
    /// that of the one ranking.
    pub score: f32,
    pub dense: Option<f32>,
    pub sparse: Option<f32>,
    pub payload: Payload,
}

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("the question is empty")]
    EmptyQuestion,
    #[error("{got} chunks are asked for, more than the {max} that one search gives")]
    Limit { got: usize, max: usize },
    #[error(
        "`{model}` gives other vectors than when collection `{collection}` was indexed: delete it with `embergate collections delete {collection}` and index it again, index into another collection, or search by words only"
    )]
    SpaceChanged { collection: String, model: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

/// Searches collections.
pub struct Searcher {
    pub embedder: Arc<Embedder>,
    pub store: Arc<dyn Store>,
}

impl Searcher {
    /// Ranks the collection's chunks by the question, the best first.
    ///
    /// A hybrid search goes by words alone, and says so, where vectors cannot
    /// help: the model knows no word of the question, or it has changed since
    /// the collection was indexed.
    ///
    /// # Errors
    /// A dense search fails where a hybrid one goes by words alone.
    pub async fn search(&self, request: SearchRequest) -> Result<SearchAnswer, SearchError> {
        let max = *CANDIDATES.end();
        if request.question.trim().is_empty() {
            return Err(SearchError::EmptyQuestion);
        }
        if max < request.limit {
            return Err(SearchError::Limit { got: request.limit, max });
        }
        let collection = self.collection(&request.collection).await?;
        let mut notices = Vec::new();
        let embedding = match request.ranking {
            Ranking::Sparse => None,
            Ranking::Dense => Some(self.embed(&collection, &request.question).await?),
            Ranking::Hybrid => match self.embed(&collection, &request.question).await {
                Ok(embedding) => Some(embedding),
                Err(error) => {
                    notices.push(words_alone(error)?);
                    None
                }
            },
        };
        let (dense, sparse) = tokio::try_join!(
            self.by_vector(&request, embedding),
            self.by_words(&request, collection.language.as_deref()),
        )?;
        let found = fusion::fuse(dense, sparse, request.limit);
        Ok(SearchAnswer { found, language: collection.language, notices })
    }

    async fn collection(&self, name: &str) -> Result<Collection, StoreError> {
        if let Some(collection) = self.store.collection(name).await? {
            return Ok(collection);
        }
        let known: Vec<String> =
            self.store.collections().await?.into_iter().map(|there| there.name).collect();
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        Err(StoreError::NoCollection { name: name.to_owned(), known })
    }

    /// The question's vector, comparable with those of the collection.
    async fn embed(&self, collection: &Collection, question: &str) -> Result<Embedding, SearchError> {
        let changed = || SearchError::SpaceChanged {
            collection: collection.name.clone(),
            model: collection.model.clone(),
        };
        let model = ModelName::new(&collection.model).map_err(|_| changed())?;
        // Chunks are embedded as documents that went through their preprocessors.
        if self.embedder.space(&model, Purpose::Document, true).await? != collection.space {
            return Err(changed());
        }
        let request = EmbedRequest {
            model,
            texts: vec![question.to_owned()],
            purpose: Purpose::Query,
            truncate: true,
            dimensions: None,
            lane: Some(Lane::Interactive),
            prepared: false,
            deadline: Instant::now() + self.embedder.timeout(),
        };
        let answer = self.embedder.embed(request).await?;
        let embedding = answer.embeddings.into_iter().next().ok_or(EmbedError::NoTexts)?;
        if embedding.dimensions() == collection.dimensions { Ok(embedding) } else { Err(changed()) }
    }

    /// Nothing where there is no vector.
    async fn by_vector(
        &self,
        request: &SearchRequest,
        embedding: Option<Embedding>,
    ) -> Result<Vec<Hit>, StoreError> {
        match embedding {
            None => Ok(Vec::new()),
            Some(embedding) => self.candidates(request, Probe::Dense(embedding)).await,
        }
    }

    /// Nothing where words are not asked for, or the question has none that count.
    async fn by_words(
        &self,
        request: &SearchRequest,
        language: Option<&str>,
    ) -> Result<Vec<Hit>, StoreError> {
        if request.ranking == Ranking::Dense {
            return Ok(Vec::new());
        }
        let vector = Analyzer::new(language).query(&request.question);
        if vector.terms.is_empty() {
            return Ok(Vec::new());
        }
        self.candidates(request, Probe::Sparse(vector)).await
    }

    async fn candidates(&self, request: &SearchRequest, probe: Probe) -> Result<Vec<Hit>, StoreError> {
        let limit = match request.ranking {
            Ranking::Hybrid => (4 * request.limit).clamp(*CANDIDATES.start(), *CANDIDATES.end()),
            Ranking::Dense | Ranking::Sparse => request.limit,
        };
        let query = Query { probe, filter: request.filter.clone(), limit };
        self.store.query(&request.collection, query).await
    }
}

/// Says why a hybrid search goes by words alone; hands back what is no reason for it.
fn words_alone(error: SearchError) -> Result<String, SearchError> {
    match error {
        SearchError::Embed(EmbedError::Text { fault: TextFault::NoKnownToken, .. }) => {
            Ok("the model knows no word of the question: ranked by words alone".to_owned())
        }
        SearchError::SpaceChanged { collection, model } => Ok(format!(
            "`{model}` gives other vectors than when collection `{collection}` was indexed: ranked by words alone; delete it with `embergate collections delete {collection}` and index it again, or index into another collection"
        )),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_alone_answer_where_vectors_cannot() {
        let unknown = EmbedError::Text { index: 0, fault: TextFault::NoKnownToken };
        assert!(words_alone(unknown.into()).unwrap().contains("knows no word"));
        let changed = SearchError::SpaceChanged { collection: "docs".into(), model: "m".into() };
        assert!(words_alone(changed).unwrap().contains("`embergate collections delete docs`"));
    }

    #[test]
    fn a_failure_stays_a_failure() {
        assert!(words_alone(EmbedError::NoTexts.into()).is_err());
        assert!(words_alone(SearchError::EmptyQuestion).is_err());
    }
}
