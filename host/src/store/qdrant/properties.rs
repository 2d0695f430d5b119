//! What Qdrant is told of a collection as a whole, and says of it.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, Distance, FieldType, Memory, Modifier, OptimizersConfigDiff,
    QuantizationConfig, QuantizationType, ScalarQuantization, SparseVectorConfig, SparseVectorParams,
    UpdateCollection, Value, VectorParams, VectorParamsMap, VectorsConfig, quantization_config, value,
    vectors_config,
};

use super::wire::{DENSE, SPARSE, structure, text_of};
use super::{MAX_PAGE, MAX_POINTS};
use crate::store::{Collection, Quantisation, StoreError};

/// Under this key of a collection's metadata stands what we know about it.
const OURS: &str = "embergate";
/// Under this one, what a bulk write has to set back. A key of its own: the
/// server merges metadata key by key.
const TUNING: &str = "embergate_tuning";
const THRESHOLD: &str = "indexing_threshold";

/// Payload fields with an index, made before the first point comes.
///
/// The most needed first: a server may not let us have all of them.
const INDEXES: [(&str, FieldType); 6] = [
    ("text_hash", FieldType::Keyword),
    ("source", FieldType::Keyword),
    ("media_type", FieldType::Keyword),
    ("title", FieldType::Keyword),
    ("ordinal", FieldType::Integer),
    ("line", FieldType::Integer),
];

/// What of a collection decides how it is called; read once.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) collection: Collection,
    /// Points in one write, at most.
    pub(super) max_points: usize,
    /// Points in one answer, at most.
    pub(super) max_page: usize,
    /// Values in one condition, at most.
    pub(super) max_values: usize,
    /// Seconds that the server may be told to take, at most.
    pub(super) max_seconds: u64,
    pub(super) is_quantised: bool,
    /// Whether what is written goes through one queue, so that the last write waits for all.
    pub(super) has_one_queue: bool,
    /// Payload indexes that are missing, and may be made.
    pub(super) missing_indexes: Vec<(&'static str, FieldType)>,
}

impl Known {
    pub(super) fn new(name: &str, info: CollectionInfo) -> Result<Self, StoreError> {
        let config = info.config.clone().unwrap_or_default();
        let strict = config.strict_mode_config.filter(|strict| strict.enabled()).unwrap_or_default();
        let at_most = |limit: Option<u64>| limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let within = |limit: Option<u64>, own: usize| at_most(limit).unwrap_or(own).clamp(1, own);
        let max_indexes = at_most(strict.max_payload_index_count).unwrap_or(usize::MAX);
        let missing = INDEXES.into_iter().filter(|(field, _)| !info.payload_schema.contains_key(*field));
        let missing_indexes = missing.take(max_indexes.saturating_sub(info.payload_schema.len())).collect();
        Ok(Self {
            collection: collection(name, info)?,
            max_points: within(strict.upsert_max_batchsize, MAX_POINTS),
            max_page: within(strict.max_query_limit.map(u64::from), MAX_PAGE),
            max_values: within(strict.condition_max_size, MAX_POINTS),
            max_seconds: strict.max_timeout.map_or(u64::MAX, u64::from).max(1),
            is_quantised: config.quantization_config.is_some_and(|config| config.quantization.is_some()),
            has_one_queue: config.params.is_some_and(|params| params.shard_number == 1),
            missing_indexes,
        })
    }
}

pub(super) fn create(
    collection: &Collection,
    quantisation: Quantisation,
    timeout: Option<u64>,
) -> CreateCollection {
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
        quantization_config: match quantisation {
            Quantisation::None => None,
            Quantisation::Scalar => Some(scalar()),
        },
        ..CreateCollection::default()
    }
}

/// A byte for each number, kept in memory. What is far outside is cut off, so
/// that the others have finer steps.
fn scalar() -> QuantizationConfig {
    let scalar = ScalarQuantization {
        r#type: QuantizationType::Int8.into(),
        quantile: Some(0.99),
        memory: Some(Memory::Pinned.into()),
        ..ScalarQuantization::default()
    };
    QuantizationConfig { quantization: Some(quantization_config::Quantization::Scalar(scalar)) }
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
