//! Collections of points: embedded in one SQLite file, or in Qdrant.

mod checks;
mod coverage;
mod error;
mod filter;
mod lock;
mod names;
mod qdrant;
mod scan;
mod sqlite;
mod state;
#[cfg(test)]
mod tests;
mod text_hash;
mod transfer;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::analyzer::SparseVector;
use crate::document::{Coverage, Span};
use crate::model::Embedding;
use crate::units::ByteSize;

pub use error::StoreError;
pub use lock::IndexLock;
pub use names::{check_name, collection_of, generation, generation_of, previous};
pub use scan::dot;
pub use state::{IndexState, Run, Speed, Stamped, Totals};
pub use text_hash::TextHash;
pub use transfer::{Import, TransferError, Transferred, export};

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
    /// What the embedded store keeps of its file while it writes.
    pub write_cache: ByteSize,
    /// Times that a call to Qdrant is repeated that found no server, or one that was too busy.
    pub max_repeats: u32,
    /// How Qdrant keeps the vectors of collections that are made from now on.
    pub quantisation: Quantisation,
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
            write_cache: ByteSize::mib(64),
            max_repeats: 5,
            quantisation: Quantisation::None,
        }
    }
}

impl Config {
    /// Which store it is, for people: the file, or Qdrant's address.
    pub fn shown(&self, data_dir: &Path) -> String {
        match (self.kind, &self.url) {
            (Kind::Qdrant, Some(url)) => format!("Qdrant at {url}"),
            (Kind::Qdrant, None) => "Qdrant".to_owned(),
            (Kind::Embedded, _) => {
                self.path.as_deref().unwrap_or(data_dir).join(DATABASE).display().to_string()
            }
        }
    }
}

/// The embedded store's file.
const DATABASE: &str = "embergate.db";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Embedded,
    Qdrant,
}

/// What Qdrant compares first: vectors as they are, or smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantisation {
    None,
    /// One byte a number, in memory; the best by these are compared again as they are.
    Scalar,
}

/// What holds for all points of one generation of a collection, fixed when it is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The generation's, such as `docs@2`.
    pub name: String,
    pub model: String,
    pub dimensions: usize,
    /// Fingerprint of everything but the text that changes a vector.
    pub space: String,
    /// BCP 47; decides how words are split, for documents and questions alike.
    pub language: Option<String>,
    /// Fingerprint of plugins, their configuration and the analyzer.
    pub pipeline: String,
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
    /// Of what was embedded, so that its vector can be found again.
    pub text_hash: TextHash,
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

/// What a collection is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// Many writes. Readers are answered, more slowly perhaps.
    Bulk,
    /// Readers, and a write now and then.
    Serving,
}

/// Collections of points. What a method reported as done survives a power cut.
///
/// Wherever a collection is named, so may be an alias that leads to it. Whoever
/// asks more than once asks for the collection first, and then by the name that
/// it has: an alias may lead elsewhere a moment later.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    async fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError>;

    /// The collection of that name.
    ///
    /// # Errors
    /// `NoCollection` names those that there are.
    async fn known(&self, name: &str) -> Result<Collection, StoreError> {
        match self.collection(name).await? {
            Some(collection) => Ok(collection),
            None => Err(checks::no_collection(name, &self.collections().await?)),
        }
    }

    /// All collections that Embergate made, each generation for itself, by name.
    async fn collections(&self) -> Result<Vec<Collection>, StoreError>;

    /// Creating what is already there, with the same properties, changes nothing.
    ///
    /// # Errors
    /// `Taken` where a collection without generations has the name of the one
    /// whose generation this is.
    async fn create(&self, collection: &Collection) -> Result<(), StoreError>;

    /// Deletes a collection with all its points and the aliases that lead to it.
    ///
    /// # Errors
    /// There is none of that name.
    async fn drop_collection(&self, name: &str) -> Result<(), StoreError>;

    /// Which generation each alias leads to.
    async fn aliases(&self) -> Result<BTreeMap<String, String>, StoreError>;

    /// Lets aliases lead elsewhere (`None`: nowhere), all at once for every reader.
    ///
    /// What they shall lead to may be named by an alias as well: by what it leads
    /// to before any of this is done.
    ///
    /// # Errors
    /// `Taken` where a collection has the alias' name; `NoCollection` where
    /// there is nothing to lead to. Then no alias is changed.
    async fn set_aliases(&self, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError>;

    /// Replaces points that have the same id; all of them or none.
    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError>;

    /// The best points first; equal scores in the order of ids.
    async fn query(&self, collection: &str, query: Query) -> Result<Vec<Hit>, StoreError>;

    /// Which of `ids` are stored.
    async fn existing(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError>;

    /// Dense vectors of points whose embedded text has one of these hashes; one for each hash that is known.
    async fn known_vectors(
        &self,
        collection: &str,
        texts: &[TextHash],
    ) -> Result<HashMap<TextHash, Embedding>, StoreError>;

    /// Points by id; what is not there is left out.
    ///
    /// Vectors are as they are stored, of norm 1: storing them again changes no bit.
    async fn points(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Point>, StoreError>;

    /// A page of points in the order of ids, after `after`.
    async fn page(
        &self,
        collection: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Point>, StoreError>;

    /// Deletes what is selected; what is not there is no error.
    async fn delete(&self, collection: &str, selection: Selection) -> Result<(), StoreError>;

    async fn count(&self, collection: &str, filter: Option<Filter>) -> Result<u64, StoreError>;

    /// Changes the payload of stored points; vectors stay. What is not there is skipped.
    async fn set_payload(&self, collection: &str, payloads: Vec<(Uuid, Payload)>) -> Result<(), StoreError>;

    /// Prepares a collection for many writes, or for readers again. Doing it twice is the same.
    async fn tune(&self, collection: &str, tuning: Tuning) -> Result<(), StoreError>;
}

/// What the indexer remembers of one document that it has indexed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRecord {
    /// The document's id: an absolute path, or whatever else names it.
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
    /// What a server said of the version that it gave.
    pub etag: Option<String>,
    /// How to read the document again, as JSON; empty for a file of that path.
    pub origin: String,
    /// What it was written in, where that is not UTF-8.
    pub encoding: Option<String>,
    /// Of its chunks, as they were embedded.
    pub n_tokens: u64,
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
            let database = sqlite::Database::open(&folder.join(DATABASE), config).await?;
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
