//! Collections of points: embedded in one SQLite file, or in Qdrant.

mod coverage;
mod filter;
mod lock;
mod qdrant;
mod scan;
mod sqlite;
mod state;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::analyzer::SparseVector;
use crate::document::{Coverage, Span};
use crate::model::Embedding;

pub use lock::IndexLock;
pub use scan::dot;
pub use state::IndexState;

/// The `[store]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub kind: Kind,
    /// The embedded store's folder, and where the indexer keeps its state; the
    /// user's data folder when absent.
    pub path: Option<PathBuf>,
    /// Qdrant's gRPC address, such as `http://127.0.0.1:6334`.
    pub url: Option<String>,
    /// A file that holds Qdrant's API key and nothing else.
    pub api_key_file: Option<PathBuf>,
    /// How long one call may take; how long a writer waits for another one.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Questions that the embedded store answers at the same time; more of them wait.
    pub max_readers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::Embedded,
            path: None,
            url: None,
            api_key_file: None,
            timeout: Duration::from_secs(60),
            max_readers: 4,
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
///
/// `Range` looks at `ordinal`, at `line`, and at metadata that reads as a number.
/// A key that a point has several values for matches when one of them does; one
/// that it has none for does not match. No condition in `And` matches all
/// points, none in `Or` or `AnyOf` matches no point.
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
    /// The points of these ids, as far as they are there.
    Ids(Vec<Uuid>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
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

    /// Deletes a collection with all its points.
    ///
    /// # Errors
    /// There is none of that name.
    async fn drop_collection(&self, name: &str) -> Result<(), StoreError>;

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
    /// Where its text went; nothing in records of older versions.
    pub coverage: Option<Coverage>,
}

/// Opens what `config` names; `data_dir` is used where it names no path.
///
/// # Errors
/// The folder cannot be written, the file is damaged or of a newer version, or
/// Qdrant does not answer.
pub async fn open(config: &Config, data_dir: &Path) -> Result<(Arc<dyn Store>, IndexState), StoreError> {
    let folder = config.path.as_deref().unwrap_or(data_dir);
    match config.kind {
        Kind::Embedded => {
            let database = sqlite::Database::open(&folder.join("embergate.db"), config).await?;
            let state = IndexState::new(database.clone(), folder, String::new());
            Ok((Arc::new(sqlite::Sqlite::new(database)), state))
        }
        Kind::Qdrant => {
            let url = config.url.clone().ok_or(StoreError::NoUrl)?;
            let qdrant = qdrant::Qdrant::connect(&url, config).await?;
            let database = sqlite::Database::open(&folder.join("index-state.db"), config).await?;
            Ok((Arc::new(qdrant), IndexState::new(database, folder, url)))
        }
    }
}

/// What may name a collection is also a file's name and part of a URL.
fn check_name(name: &str) -> Result<(), StoreError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=128).contains(&name.len()) && name.chars().all(fits) && name.contains(|c| c != '.') {
        Ok(())
    } else {
        Err(StoreError::Name { name: name.to_owned() })
    }
}

/// The error for a name that no collection has, with those that there are.
fn no_collection(name: &str, known: &[Collection]) -> StoreError {
    let known: Vec<&str> = known.iter().map(|collection| collection.name.as_str()).collect();
    let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
    StoreError::NoCollection { name: name.to_owned(), known }
}

/// Refuses points that do not fit their collection, before anything is written.
fn check_points(collection: &Collection, points: &[Point]) -> Result<(), StoreError> {
    let want = collection.dimensions;
    match points.iter().map(|point| point.dense.dimensions()).find(|got| *got != want) {
        Some(got) => Err(StoreError::Dimensions { collection: collection.name.clone(), want, got }),
        None => Ok(()),
    }
}

/// Refuses a question that does not fit its collection.
fn check_probe(collection: &Collection, probe: &Probe) -> Result<(), StoreError> {
    let want = collection.dimensions;
    match probe {
        Probe::Dense(embedding) if embedding.dimensions() != want => Err(StoreError::Dimensions {
            collection: collection.name.clone(),
            want,
            got: embedding.dimensions(),
        }),
        Probe::Dense(_) | Probe::Sparse(_) => Ok(()),
    }
}

/// Refuses properties that differ from those the collection was created with.
fn check_same(have: &Collection, want: &Collection) -> Result<(), StoreError> {
    let name = &want.name;
    let shown = |language: &Option<String>| language.clone().unwrap_or_else(|| "none".to_owned());
    let properties = [
        ("model", have.model.clone(), want.model.clone()),
        ("dimensions", have.dimensions.to_string(), want.dimensions.to_string()),
        ("space", have.space.clone(), want.space.clone()),
        ("language", shown(&have.language), shown(&want.language)),
    ];
    match properties.into_iter().find(|(_, have, want)| have != want) {
        Some((property, have, want)) => {
            Err(StoreError::Mismatch { name: name.clone(), property, have, want })
        }
        None => Ok(()),
    }
}

/// Tells a disk that is full and a folder that must not be written from any
/// other reason not to open a file.
fn cannot_open(path: &Path, error: std::io::Error) -> StoreError {
    let (kind, path, source) = (error.kind(), path.display().to_string(), Box::new(error));
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path, source },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { path, source },
        _ => StoreError::Open { path, source },
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the store at `{path}`: set `store.path` to a folder that can be made and written")]
    Open {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("another program holds `{path}` locked: end it, or wait longer with `store.timeout`")]
    Busy {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("may not write `{path}`: allow it, or set `store.path` to another folder")]
    ReadOnly {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no room is left for `{path}`: make some, or set `store.path` to a folder on another disk")]
    Full {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot read Qdrant's key: correct `store.api_key_file`, which names `{path}`")]
    KeyFile {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no collection `{name}`; there are: {known}")]
    NoCollection { name: String, known: String },
    #[error(
        "collection `{name}` has {property} `{have}`, not `{want}`: delete it with `embergate collections delete {name}` and index it again, or index into another collection"
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
    #[error("`{path}` is damaged: move it away and index again")]
    Damaged {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "`{path}` was written by a newer Embergate (format {have}, this one knows {known}): use that one"
    )]
    Newer { path: String, have: u32, known: u32 },
    #[error("`{path}` is a database of some other program: set `store.path` to another folder")]
    Foreign { path: String },
    #[error("the store is Qdrant, and nothing says where: set `store.url`")]
    NoUrl,
    #[error("cannot reach Qdrant at `{url}`: {reason}")]
    Unreachable { url: String, reason: String },
    #[error(
        "Qdrant's collection `{name}` was not made by Embergate: {reason}; index into another collection"
    )]
    NotOurs { name: String, reason: String },
    #[error("a filter cannot use `{key}`: {reason}")]
    Filter { key: String, reason: String },
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}
