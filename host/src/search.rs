//! A question → chunks, ranked by vectors and words together.

mod candidates;
mod fusion;

use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use crate::analyzer::Analyzer;
use crate::embed::{EmbedError, EmbedRequest, Embedder, Lane};
use crate::model::{Embedding, ModelName, Purpose};
use crate::store::{Collection, Filter, Payload, Probe, Store, StoreError, collection_of};
use crate::upstream::TextFault;

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

/// A chunk that was found, with what it scored in each ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub id: Uuid,
    /// What the order is by: from 0 to 1 where two rankings were fused, else
    /// that of the one ranking.
    pub score: f32,
    /// None where the question has no vector, or was not ranked by it.
    pub dense: Option<f32>,
    /// None where the chunk has no word of the question, or was not ranked by words.
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
        "`{model}` gives other vectors than when collection `{collection}` was indexed: `embergate index --collection {collection}` builds it anew beside the one that serves; until then search by words only"
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
        let max = *candidates::BOUNDS.end();
        if request.question.trim().is_empty() {
            return Err(SearchError::EmptyQuestion);
        }
        if max < request.limit {
            return Err(SearchError::Limit { got: request.limit, max });
        }
        match self.search_now(&request).await {
            // Another generation took its place, and it was deleted, between two questions.
            Err(SearchError::Store(StoreError::NoCollection { name, .. })) if name != request.collection => {
                self.search_now(&request).await
            }
            answer => answer,
        }
    }

    /// Searches the generation that serves at this moment.
    async fn search_now(&self, request: &SearchRequest) -> Result<SearchAnswer, SearchError> {
        let collection = self.store.known(&request.collection).await?;
        // From here on the same generation is asked, whichever serves meanwhile.
        let request = &SearchRequest { collection: collection.name.clone(), ..request.clone() };
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
        let (by_vector, by_words) = (embedding.map(Probe::Dense), words(request, &collection));
        let (dense, sparse) = candidates::of(self.store.as_ref(), request, by_vector, by_words).await?;
        let found = fusion::fuse(dense, sparse, request.limit);
        Ok(SearchAnswer { found, language: collection.language, notices })
    }

    /// The question's vector, comparable with those of the collection.
    async fn embed(&self, collection: &Collection, question: &str) -> Result<Embedding, SearchError> {
        let changed = || SearchError::SpaceChanged {
            collection: collection_of(&collection.name).to_owned(),
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
            space: None,
            deadline: Instant::now() + self.embedder.timeout(),
        };
        let answer = self.embedder.embed(request).await?;
        let embedding = answer.embeddings.into_iter().next().ok_or(EmbedError::NoTexts)?;
        if embedding.dimensions() == collection.dimensions { Ok(embedding) } else { Err(changed()) }
    }
}

/// None where words are not asked for, or the question has none that count.
fn words(request: &SearchRequest, collection: &Collection) -> Option<Probe> {
    if request.ranking == Ranking::Dense {
        return None;
    }
    let vector = Analyzer::new(collection.language.as_deref()).query(&request.question);
    (!vector.terms.is_empty()).then_some(Probe::Sparse(vector))
}

/// Says why a hybrid search goes by words alone; hands back what is no reason for it.
fn words_alone(error: SearchError) -> Result<String, SearchError> {
    match error {
        SearchError::Embed(EmbedError::Text { fault: TextFault::NoKnownToken, .. }) => {
            Ok("the model knows no word of the question: ranked by words alone".to_owned())
        }
        SearchError::SpaceChanged { collection, model } => Ok(format!(
            "`{model}` gives other vectors than when collection `{collection}` was indexed: ranked by words alone; `embergate index --collection {collection}` builds it anew beside the one that serves"
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
        assert!(words_alone(changed).unwrap().contains("`embergate index --collection docs`"));
    }

    #[test]
    fn a_failure_stays_a_failure() {
        assert!(words_alone(EmbedError::NoTexts.into()).is_err());
        assert!(words_alone(SearchError::EmptyQuestion).is_err());
    }
}
