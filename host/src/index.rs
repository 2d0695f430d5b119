//! Files → points: source → preprocess → chunk → diff → embed → upsert →
//! verify → delete stale → record.
//!
//! # Stopping anywhere is safe
//!
//! Stopping at any point and running again ends in the same store as one clean
//! run. Three rules make it so, and `index/write.rs` keeps them:
//!
//! 1. *No point without a record.* Before the first point of a document is
//!    written, its record is: with the points that it had and those that it
//!    will have, and marked as unfinished. So whatever a stopped run left
//!    behind, the next one finds it named there and deletes what it does not
//!    want. For the same reason a record goes after its points do.
//! 2. *No finished record before its points.* The record that lets a file be
//!    skipped is written last, once the store has confirmed every point. An
//!    unfinished one never matches a file, so the document is done again.
//! 3. *Doing it again is the same.* A point's id follows from all that its
//!    vectors depend on (source, embedded text, occurrence, analyzer), so a
//!    point that is there already is right, and its payload is set anew.
//!
//! A reader meanwhile sees old and new points of a document, never none; and a
//! document that fails keeps what it had.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::document::Coverage;
use crate::embed::Embedder;
use crate::model::ModelName;
use crate::plugin::Plugins;
use crate::store::{IndexState, SourceRecord, Store, StoreError};

mod batch; // documents → batches, and their new points embedded
mod edited; // text → text, and the way back
mod identity; // what makes a chunk and a pipeline the same as before
mod job; // what holds for one run
mod prepare; // one file → chunks
mod recipe; // media type → plugins
mod report; // sums and events
pub mod source; // what a run was given → documents, and the way back to their bytes
mod write; // chunks → store and state, in the order that makes stopping safe

use job::Job;
use report::Report;
use source::{Found, HostPattern, Item, Root, SourceError, Sources};

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
    /// Documents that are read and chunked at once, at most.
    pub max_documents: usize,
    /// Texts in one embedding request and points in one write, at most.
    pub batch_texts: usize,
    /// Documents that are written together, at most: what a stopped run does again.
    pub batch_documents: usize,
    /// Batches that are embedded at once, while one more is written.
    pub max_batches: usize,
    /// How long one embedding request may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Times that an embedding request is repeated because too much was waiting, or a plugin
    /// that is out of service is asked again.
    pub max_repeats: u32,
    /// Batches that fail one after another before the run ends with their error.
    pub max_failed_batches: u32,
    /// Times that a file is read again because it changed meanwhile.
    pub max_rereads: u32,
    /// What a file is in that does not say it and is no UTF-8: `detect`, `utf-8`, or a name.
    pub encoding: source::Assumed,
    /// Records with ids in one file, at most: their hashes are held in memory while it is read.
    pub max_records: usize,
    /// Hosts that may be asked for pages; none where it is empty.
    pub allowed_hosts: Vec<HostPattern>,
    /// Pages that are fetched at once, at most.
    pub max_fetches: usize,
    /// Times that one page may lead on to another.
    pub max_redirects: usize,
    /// How long it may take to fetch a page.
    #[serde(with = "humantime_serde")]
    pub fetch_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_file: crate::units::ByteSize::mib(64),
            max_documents: 4,
            batch_texts: 256,
            batch_documents: 256,
            max_batches: 2,
            timeout: Duration::from_secs(10 * 60),
            max_repeats: 8,
            max_failed_batches: 3,
            max_rereads: 2,
            encoding: source::Assumed::Detect,
            max_records: 4_000_000,
            allowed_hosts: Vec::new(),
            max_fetches: 4,
            max_redirects: 5,
            fetch_timeout: Duration::from_secs(30),
        }
    }
}

/// What one run should do.
#[derive(Clone, Debug)]
pub struct IndexRequest {
    pub sources: Vec<Root>,
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
        /// Where its text went: proved before anything was written.
        coverage: Coverage,
        /// The name of the encoding that it was read in.
        encoding: &'static str,
    },
    /// It vanished, and its points with it.
    Removed,
    /// Left out, and why: not text, too large, a socket. Points of what it was before go.
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
    /// Files that were found, those that were left out or failed included.
    pub n_files: usize,
    pub n_bytes: u64,
    pub n_unchanged: usize,
    pub n_indexed: usize,
    pub n_removed: usize,
    pub n_skipped: usize,
    pub n_failed: usize,
    /// Of the documents that were indexed, as is all that follows.
    pub n_chunks: usize,
    pub n_embedded: usize,
    pub coverage: Coverage,
    /// How many of them are in encodings other than UTF-8, by name.
    pub encodings: BTreeMap<&'static str, usize>,
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("collection `{collection}` names a model that cannot be")]
    Model {
        collection: String,
        #[source]
        source: crate::model::ModelNameError,
    },
    #[error(
        "`max_tokens` leaves no room for text in collection `{collection}`: `{model}` takes {max}, and {taken} of them go to its prompt and special tokens"
    )]
    NoRoom { collection: String, model: ModelName, max: u32, taken: u32 },
    #[error(
        "plugin `{}` is another one here than at the gateway ({} here, {} there): chunks of collection `{collection}` that are prepared here would not fit questions that are prepared there",
        differing.plugin, differing.here, differing.there
    )]
    PluginDiffers { collection: String, differing: crate::embed::Differing },
    #[error(transparent)]
    Store(#[from] StoreError),
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
    ///
    /// Stopping at any point and running again ends in the same store as one
    /// clean run. To stop it, drop the future. Names and records of all files
    /// are held in memory, texts and vectors of a few documents only.
    ///
    /// # Errors
    /// What keeps the run from starting or going on. A document that fails
    /// alone is an event, and the rest go on.
    pub async fn run(
        &self,
        request: IndexRequest,
        watcher: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Summary, IndexError> {
        let IndexRequest { sources, collection } = request;
        let sources = Sources::new(sources, &self.config)?.in_language(collection.language.as_deref());
        let (sources, items) = walked(sources).await;
        let job = Arc::new(Job::new(self, &collection, &items).await?);
        let _lock = self.state.lock(&collection.name)?;
        if self.store.collection(&collection.name).await?.is_none() {
            // What is recorded of a collection that is gone would keep its documents out of this one.
            self.state.forget_all(&collection.name).await?;
        }
        self.store.create(&job.collection).await?;
        let mut report = Report::new(watcher);
        report.found(&items);
        let records = self.state.sources(&job.collection.name, "").await?;
        let mut known = records.into_iter().map(|record| (record.source.clone(), record)).collect();
        let changed = self.sort_out(&job, items, &mut known, &mut report).await?;
        known.retain(|source, _| sources.contains(source));
        self.remove(&job, known, &mut report).await?;
        self.index(job, changed, &mut report).await?;
        Ok(report.into_summary())
    }

    /// Reports what needs no reading, and returns the rest with what was
    /// recorded of it; what stays in `known` was not found.
    async fn sort_out(
        &self,
        job: &Job,
        items: Vec<Item>,
        known: &mut BTreeMap<String, SourceRecord>,
        report: &mut Report<'_>,
    ) -> Result<Vec<(Found, Option<SourceRecord>)>, StoreError> {
        let mut gone = HashMap::new();
        let mut changed = Vec::new();
        for item in items {
            match item {
                Item::Failed { source, reason } => {
                    known.remove(&source);
                    report.finished(source, 0, Outcome::Failed(reason));
                }
                Item::Skipped { source, reason } => {
                    gone.extend(known.remove(&source).map(|record| (source.clone(), record.points)));
                    report.finished(source, 0, Outcome::Skipped(reason));
                }
                Item::Document(found) => {
                    let record = known.remove(&found.source);
                    if record.as_ref().is_some_and(|record| job.is_unchanged(&found, record)) {
                        report.finished(found.source, found.size, Outcome::Unchanged);
                    } else {
                        changed.push((found, record));
                    }
                }
            }
        }
        self.delete_documents(job, gone).await?;
        Ok(changed)
    }

    /// Deletes the points and records of documents that vanished.
    async fn remove(
        &self,
        job: &Job,
        vanished: BTreeMap<String, SourceRecord>,
        report: &mut Report<'_>,
    ) -> Result<(), StoreError> {
        let mut vanished = vanished.into_values().peekable();
        while vanished.peek().is_some() {
            let batch: Vec<_> = vanished.by_ref().take(self.config.batch_documents.max(1)).collect();
            let sources: Vec<_> = batch.iter().map(|record| record.source.clone()).collect();
            let gone = batch.into_iter().map(|record| (record.source, record.points)).collect();
            self.delete_documents(job, gone).await?;
            for source in sources {
                report.finished(source, 0, Outcome::Removed);
            }
        }
        Ok(())
    }

    /// Three stages, each ahead of the next by a bounded number: documents are
    /// read and chunked, batches embedded, and written in the order of the scan.
    async fn index(
        &self,
        job: Arc<Job>,
        changed: Vec<(Found, Option<SourceRecord>)>,
        report: &mut Report<'_>,
    ) -> Result<(), IndexError> {
        let prepared = prepare::documents(Arc::clone(&job), changed);
        let mut batches = pin!(batch::embedded(job.clone(), prepared));
        let mut failures = batch::Failures::new(self.config.max_failed_batches);
        while let Some(batch) = batches.next().await {
            let fault = self.write(&job, batch, report).await?;
            failures.count(fault)?;
        }
        Ok(())
    }
}

/// All that the sources lead to.
async fn walked(sources: Sources) -> (Arc<Sources>, Vec<Item>) {
    let sources = Arc::new(sources);
    let walking = Arc::clone(&sources);
    let walk = tokio::task::spawn_blocking(move || {
        let mut items = Vec::new();
        walking.walk(&mut |item| {
            items.push(item);
            ControlFlow::Continue(())
        });
        items
    });
    (sources, walk.await.unwrap_or_default())
}
