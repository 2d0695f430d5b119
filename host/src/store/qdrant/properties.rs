//! What Qdrant is told of a collection as a whole, and says of it.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, Distance, FieldType, Modifier, OptimizersConfigDiff,
    SparseVectorConfig, SparseVectorParams, UpdateCollection, Value, VectorParams, VectorParamsMap,
    VectorsConfig, value, vectors_config,
};

use super::wire::{DENSE, SPARSE, structure, text_of};
use crate::store::{Collection, StoreError};

/// Under this key of a collection's metadata stands what we know about it.
const OURS: &str = "embergate";
/// Under this one, what a bulk write has to set back. A key of its own: the
/// server merges metadata key by key.
const TUNING: &str = "embergate_tuning";
const THRESHOLD: &str = "indexing_threshold";

/// Payload fields with an index, made before the first point comes.
pub(super) const INDEXES: [(&str, FieldType); 3] =
    [("source", FieldType::Keyword), ("media_type", FieldType::Keyword), ("text_hash", FieldType::Keyword)];

pub(super) fn create(collection: &Collection, timeout: Option<u64>) -> CreateCollection {
    let dense = VectorParams {
        size: collection.dimensions as u64,
        distance: Distance::Cosine.into(),
        ..VectorParams::default()
    };
    let dense = VectorParamsMap { map: HashMap::from([(DENSE.to_owned(), dense)]) };
    let sparse = SparseVectorParams { modifier: Some(Modifier::Idf.into()), ..SparseVectorParams::default() };
    let mut properties = HashMap::from([
        ("model".to_owned(), Value::from(collection.model.clone())),
        ("space".to_owned(), Value::from(collection.space.clone())),
        ("pipeline".to_owned(), Value::from(collection.pipeline.clone())),
    ]);
    properties.extend(collection.language.clone().map(|language| ("language".to_owned(), language.into())));
    CreateCollection {
        collection_name: collection.name.clone(),
        timeout,
        vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::ParamsMap(dense)) }),
        sparse_vectors_config: Some(SparseVectorConfig { map: HashMap::from([(SPARSE.to_owned(), sparse)]) }),
        metadata: HashMap::from([(OURS.to_owned(), structure(properties))]),
        ..CreateCollection::default()
    }
}

/// Reads a collection's properties; refuses one that another program made.
pub(super) fn collection(name: &str, info: CollectionInfo) -> Result<Collection, StoreError> {
    let not_ours = |reason: &str| StoreError::NotOurs { name: name.to_owned(), reason: reason.to_owned() };
    let config = info.config.unwrap_or_default();
    let params = config.params.unwrap_or_default();
    let dense = match params.vectors_config.and_then(|vectors| vectors.config) {
        Some(vectors_config::Config::ParamsMap(named)) => named.map.get(DENSE).cloned(),
        _ => None,
    };
    let dense = dense.ok_or_else(|| not_ours("it has no vector `dense`"))?;
    if !params.sparse_vectors_config.is_some_and(|sparse| sparse.map.contains_key(SPARSE)) {
        return Err(not_ours("it has no sparse vector `bm25`"));
    }
    let mut properties = match config.metadata.get(OURS).and_then(|value| value.kind.clone()) {
        Some(value::Kind::StructValue(properties)) => properties.fields,
        _ => return Err(not_ours("its metadata has no `embergate`")),
    };
    let mut text = |key: &str| properties.remove(key).and_then(text_of);
    Ok(Collection {
        name: name.to_owned(),
        model: text("model").ok_or_else(|| not_ours("its metadata names no model"))?,
        dimensions: dense.size as usize,
        space: text("space").ok_or_else(|| not_ours("its metadata names no space"))?,
        language: text("language"),
        // What was made before generations says nothing of it.
        pipeline: text("pipeline").unwrap_or_default(),
    })
}

/// Kilobytes of a segment's vectors up to which they are scanned, as the server has it where nobody said.
const INDEXING_THRESHOLD: u64 = 10_000;

/// What of a collection's configuration bulk writing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tuned {
    /// The threshold that holds now.
    pub(super) threshold: u64,
    /// The one that readers should have, where a bulk write has put it off.
    pub(super) remembered: Option<u64>,
}

impl Tuned {
    pub(super) fn of(info: CollectionInfo) -> Self {
        let config = info.config.unwrap_or_default();
        let threshold = config.optimizer_config.and_then(|optimizers| optimizers.indexing_threshold);
        let remembered = match config.metadata.get(TUNING).and_then(|value| value.kind.clone()) {
            Some(value::Kind::StructValue(tuning)) => tuning.fields.get(THRESHOLD).and_then(whole_of),
            _ => None,
        };
        Self { threshold: threshold.unwrap_or(INDEXING_THRESHOLD), remembered }
    }
}

/// Changes the size from which segments are indexed; 0 is never.
pub(super) fn set_threshold(name: &str, threshold: u64, timeout: Option<u64>) -> UpdateCollection {
    let optimizers =
        OptimizersConfigDiff { indexing_threshold: Some(threshold), ..OptimizersConfigDiff::default() };
    UpdateCollection {
        collection_name: name.to_owned(),
        timeout,
        optimizers_config: Some(optimizers),
        ..UpdateCollection::default()
    }
}

/// Notes the threshold that readers should have, or that it holds again.
pub(super) fn remember(name: &str, threshold: Option<u64>, timeout: Option<u64>) -> UpdateCollection {
    let noted = threshold.map(|threshold| (THRESHOLD.to_owned(), Value::from(threshold as i64)));
    UpdateCollection {
        collection_name: name.to_owned(),
        timeout,
        metadata: HashMap::from([(TUNING.to_owned(), structure(noted.into_iter().collect()))]),
        ..UpdateCollection::default()
    }
}

fn whole_of(value: &Value) -> Option<u64> {
    match value.kind {
        Some(value::Kind::IntegerValue(number)) => u64::try_from(number).ok(),
        _ => None,
    }
}
