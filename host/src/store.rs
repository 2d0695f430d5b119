//! Collections of points: embedded in one SQLite file, or in Qdrant.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::analyzer::SparseVector;
use crate::document::Span;
use crate::model::Embedding;

/// The `[store]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub kind: Kind,
    /// The embedded store's folder, and where the indexer keeps its state; the
    /// user's data folder when absent.
    pub path: Option<PathBuf>,
    /// Qdrant's gRPC address.
    pub url: Option<String>,
    pub api_key_file: Option<PathBuf>,
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::Embedded,
            path: None,
            url: None,
            api_key_file: None,
            timeout: Duration::from_secs(60),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Embedded,
    Qdrant,
}

/// What holds for all points of a collection, fixed when it is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    pub name: String,
    pub model: String,
    pub dimensions: usize,
    /// Fingerprint of everything but the text that changes a vector.
    pub space: String,
    /// BCP 47; decides how words are split, for documents and questions alike.
    pub language: Option<String>,
}

/// A chunk as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub id: Uuid,
    pub dense: Embedding,
    pub sparse: SparseVector,
    pub payload: Payload,
}

/// What a search shows of a point, and what filters look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// The document's id: an absolute path.
    pub source: String,
    pub media_type: String,
    /// The document's title, where it has one.
    pub title: Option<String>,
    /// Headings above the chunk, outermost first.
    pub headings: Vec<String>,
    /// The chunk's text, as it was cut.
    pub text: String,
    /// Embedded before the text.
    pub prefix: Option<String>,
    /// Bytes of the original file; of the extracted text where `extracted` is true.
    pub span: Option<Span>,
    pub extracted: bool,
    /// Of the span's start, counted from 1.
    pub line: u32,
    /// The chunk's place in its document, counted from 0.
    pub ordinal: u32,
    /// What plugins said of the document and the chunk.
    pub metadata: Vec<(String, String)>,
}

/// One small language of filters for both stores. Keys are `source`,
/// `media_type`, `title`, `ordinal`, `line`, and `metadata.KEY`.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    Equals(String, String),
    AnyOf(String, Vec<String>),
    /// Numbers from `at_least` to `at_most`, both included, either may be open.
    Range {
        key: String,
        at_least: Option<f64>,
        at_most: Option<f64>,
    },
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
}

/// What to look for.
#[derive(Clone, Debug)]
pub enum Probe {
    /// By cosine.
    Dense(Embedding),
    /// By the product of weights, each term weighted by its inverse document
    /// frequency, `ln(1 + (N - n + 0.5) / (n + 0.5))`.
    Sparse(SparseVector),
}

#[derive(Clone, Debug)]
pub struct Query {
    pub probe: Probe,
    pub filter: Option<Filter>,
    pub limit: usize,
}

/// A point that was found. Higher scores are better.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub id: Uuid,
    pub score: f32,
    pub payload: Payload,
}

/// Which points to delete.
#[derive(Clone, Debug)]
pub enum Selection {
    Ids(Vec<Uuid>),
    Matching(Filter),
}

/// Collections of points. What a method reported as done survives a power cut.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    async fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError>;

    /// All collections that Embergate made, by name.
    async fn collections(&self) -> Result<Vec<Collection>, StoreError>;

    /// Creating what is already there, with the same properties, changes nothing.
    async fn create(&self, collection: &Collection) -> Result<(), StoreError>;

    /// Replaces points that have the same id; all of them or none.
    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError>;

    /// The best points first; equal scores in the order of ids.
    async fn query(&self, collection: &str, query: Query) -> Result<Vec<Hit>, StoreError>;

    /// Which of `ids` are stored.
    async fn existing(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError>;

    /// Deletes what is selected; what is not there is no error.
    async fn delete(&self, collection: &str, selection: Selection) -> Result<(), StoreError>;

    async fn count(&self, collection: &str, filter: Option<Filter>) -> Result<u64, StoreError>;

    /// Changes the payload of stored points; vectors stay. What is not there is skipped.
    async fn set_payload(&self, collection: &str, payloads: Vec<(Uuid, Payload)>) -> Result<(), StoreError>;
}

/// What the indexer remembers of one document that it has indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The document's id: an absolute path.
    pub source: String,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// BLAKE3 of the file's bytes.
    pub content: [u8; 32],
    /// Fingerprint of plugins, their configuration and the analyzer.
    pub pipeline: String,
    /// Its points, in the order of the document.
    pub points: Vec<Uuid>,
}

/// The indexer's memory and its lock, in SQLite whichever store holds the points.
pub struct IndexState {}

/// Held while one indexer works on a collection; freed by drop, and by the
/// system when the process dies.
pub struct IndexLock {}

impl IndexState {
    /// Refuses at once when another indexer works on the collection.
    pub fn lock(&self, _collection: &str) -> Result<IndexLock, StoreError> {
        todo!()
    }

    /// All documents of a collection whose source begins with `prefix`, by source.
    pub async fn sources(&self, _collection: &str, _prefix: &str) -> Result<Vec<SourceRecord>, StoreError> {
        todo!()
    }

    pub async fn source(&self, _collection: &str, _source: &str) -> Result<Option<SourceRecord>, StoreError> {
        todo!()
    }

    /// Survives a power cut once it returned.
    pub async fn record(&self, _collection: &str, _records: Vec<SourceRecord>) -> Result<(), StoreError> {
        todo!()
    }

    pub async fn forget(&self, _collection: &str, _sources: Vec<String>) -> Result<(), StoreError> {
        todo!()
    }
}

/// Opens what `config` names; `data_dir` is used where it names no path.
pub async fn open(
    _config: &Config,
    _data_dir: &std::path::Path,
) -> Result<(std::sync::Arc<dyn Store>, IndexState), StoreError> {
    todo!()
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the store at `{path}`")]
    Open {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("there is no collection `{name}`; there are: {known}")]
    NoCollection { name: String, known: String },
    #[error(
        "collection `{name}` has {property} `{have}`, not `{want}`: index into another collection, or delete this one"
    )]
    Mismatch { name: String, property: &'static str, have: String, want: String },
    #[error(
        "another indexer works on collection `{collection}`{holder}: wait for it to end, or index into another collection"
    )]
    Locked { collection: String, holder: String },
    #[error("`{name}` cannot name a collection: use letters, digits and any of `-_.`, at most 128 of them")]
    Name { name: String },
    #[error("a point of collection `{collection}` has {got} dimensions, not {want}")]
    Dimensions { collection: String, want: usize, got: usize },
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}
