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
//! 3. *Doing it again is the same.* A point's id follows from its source, what
//!    is embedded, and how often that came before; what else its vectors depend
//!    on is the same in all of a generation. So a point that is there already
//!    is right, and its payload is set anew.
//!
//! A reader meanwhile sees old and new points of a document, never none; and a
//! document that fails keeps what it had.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::embed::Embedder;
use crate::model::ModelName;
use crate::plugin::Plugins;
use crate::store::{IndexState, Speed, Store, StoreError, Tuning};
use crate::units::ByteSize;

mod adopt; // points that nothing is recorded of
mod batch; // documents → batches, and what is new in them → points
mod budget; // how much text a run may hold at once
mod claims; // texts that a batch is having embedded
mod count; // what there is, counted beside a run
mod doctor; // state against store, and both against what would be made now
mod edited; // text → text, and the way back
mod forget; // sources that belong to a collection no more
mod generation; // the builds of a collection, and which of them serves
mod identity; // what makes a chunk and a pipeline the same as before
mod job; // what holds for one run
mod patience; // an embedder that has too much to do
mod plan; // what a run would do
mod prepare; // one file → chunks
mod recent; // vectors that a run made or took away
mod recipe; // media type → plugins
mod replay; // a stored chunk, derived again
mod report; // sums and events
mod roots; // what a collection was ever given
mod run; // the stages, and the order in which they take from each other
mod seen; // which records a run has met
mod sort; // what a scan found, against what is recorded
pub mod source; // what a run was given → documents, and the way back to their bytes
mod stage; // work that goes on by itself
mod target; // the generation that a run writes
mod told; // what a run tells, and what it comes to
mod vectors; // for new chunks: copied where they are known, else made
mod watch; // waits for changes
mod write; // chunks → store and state, in the order that makes stopping safe

pub use doctor::{Examined, Finding};
pub use generation::Generations;
pub use plan::Plan;
pub use replay::{Replay, Replayed};
pub use source::Root;
pub use told::{Event, Indexed, Outcome, Served, Summary};
pub use watch::Watch;

use count::Counting;
use job::Job;
use report::{Report, Reporter};
use run::Run;
use sort::Met;
use source::{HostPattern, SourceError, Sources};
use target::Target;

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
    pub max_file: ByteSize,
    /// Documents that are read and chunked at once, at most.
    pub max_documents: usize,
    /// Tokens of documents between being read and being written, at most, four bytes of a file
    /// counted as one.
    pub max_held_tokens: u32,
    /// Texts in one embedding request, at most.
    pub batch_texts: usize,
    /// Tokens of documents that are written together, at most; one document may have more.
    pub batch_tokens: u64,
    /// Documents that are written together, at most: what a stopped run does again.
    pub batch_documents: usize,
    /// Batches that are embedded at once, while one more is written.
    pub max_batches: usize,
    /// Vectors that the run made or took away are kept at hand for texts that come again.
    pub remembered: ByteSize,
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
    /// How long nothing may change before `--watch` looks at what did.
    #[serde(with = "humantime_serde")]
    pub watch_settle: Duration,
    /// How often `--watch` looks where the system does not tell of changes.
    #[serde(with = "humantime_serde")]
    pub watch_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_file: ByteSize::mib(64),
            max_documents: 4,
            max_held_tokens: 8_000_000,
            batch_texts: 256,
            batch_tokens: 400_000,
            batch_documents: 1024,
            max_batches: 4,
            remembered: ByteSize::mib(32),
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
            watch_settle: Duration::from_millis(500),
            watch_every: Duration::from_secs(30),
        }
    }
}

/// What one run should do.
#[derive(Clone, Debug)]
pub struct IndexRequest {
    /// What the collection is made of; all that it was ever given where this is empty.
    pub roots: Vec<Root>,
    pub collection: CollectionConfig,
    /// Documents that may be changed by the run, at most. What vanished is removed by a run
    /// that saw everything only.
    pub limit: Option<u64>,
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
    #[error("collection `{0}` was never given anything to index: name a file or a folder")]
    NoSources(String),
    #[error("what was remembered of a collection's sources cannot be read: {root}")]
    Root {
        root: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "collection `{collection}` was given something that cannot be read any more: put it back, or leave it out with `embergate index PATH --forget --collection {collection}`"
    )]
    Gone {
        collection: String,
        #[source]
        source: SourceError,
    },
    #[error("the collection was never given `{root}`; it was given: {}", .known.join(", "))]
    NotGiven { root: String, known: Vec<String> },
    #[error("`{collection}` has no point `{id}`: `embergate search --json` tells ids")]
    NoPoint { collection: String, id: uuid::Uuid },
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

/// Tokens that a run has embedded at least whose speed says something about the next one.
const MEASURED: u64 = 10_000;

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
    /// Goes on in the generation that serves where that is made alike; else
    /// builds one beside it, which takes its place when it is complete.
    /// Stopping at any point and running again ends in the same store as one
    /// clean run. To stop it, drop the future. Memory does not grow with the
    /// number of documents, but for a bit for each.
    ///
    /// # Errors
    /// What keeps the run from starting or going on. A document that fails
    /// alone is an event, and the rest go on.
    pub async fn run(
        &self,
        request: IndexRequest,
        watcher: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Summary, IndexError> {
        let IndexRequest { roots, collection, limit } = request;
        let mut job = Job::new(self, &collection).await?;
        job.limit = limit;
        let _lock = self.state.lock(&collection.name)?;
        let target = Target::find(self.store.as_ref(), &job.collection).await?;
        let sources = self.sources(&collection, roots, &target).await?;
        let (reporter, events) = Reporter::new();
        let mut report = Report::new(watcher);
        let (began, model) = (Instant::now(), job.collection.model.clone());
        let is_whole = report.during(events, self.work(job, &target, Arc::clone(&sources), reporter)).await?;
        // With where their links led.
        self.remember(&collection.name, &sources.roots()).await?;
        let mut summary = report.into_summary();
        if MEASURED <= summary.n_tokens {
            let (n_tokens, seconds) = (summary.n_tokens, began.elapsed().as_secs_f64());
            self.state.set_speed(&model, Speed { n_tokens, seconds }).await?;
        }
        summary.served = target.finish(self, &sources, &summary, is_whole).await?;
        summary.generation = target.generation;
        Ok(summary)
    }

    /// Finds out what `run` would do, and writes nothing.
    ///
    /// Hashes of all texts that would be embedded are held in memory, 16 bytes each.
    ///
    /// # Errors
    /// As those of `run`.
    pub async fn plan(
        &self,
        request: IndexRequest,
        watcher: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(Plan, Summary), IndexError> {
        let IndexRequest { roots, collection, limit } = request;
        let mut job = Job::new(self, &collection).await?;
        job.limit = limit;
        let target = Target::find(self.store.as_ref(), &job.collection).await?;
        let (sources, _) = self.checked(&collection, roots, &target).await?;
        let (generation, beside) = (target.generation.clone(), target.beside());
        let mut plan = Plan { generation, beside, ..Plan::default() };
        let (reporter, events) = Reporter::new();
        let mut report = Report::new(watcher);
        let counting = Counting::spawn(Arc::clone(&sources), reporter.clone());
        let run = self.of(job, &target, false, reporter);
        let made = report.during(events, plan.make(run, sources)).await;
        counting.stop().await;
        made?;
        Ok((plan, report.into_summary()))
    }

    /// Waits for changes of what `request` is about; to be had before the run that it follows.
    ///
    /// # Errors
    /// What the collection was given cannot be read from the state.
    pub async fn watch(&self, request: &IndexRequest) -> Result<Watch, IndexError> {
        let Config { watch_settle, watch_every, .. } = self.config;
        let mut roots = request.roots.clone();
        if roots.is_empty() {
            roots.extend(self.remembered(&request.collection.name).await?.into_iter().map(|(_, root)| root));
        }
        Ok(Watch::new(&roots, self.state.folder(), watch_settle, watch_every))
    }

    async fn work(
        &self,
        job: Job,
        target: &Target,
        sources: Arc<Sources>,
        reporter: Reporter,
    ) -> Result<bool, IndexError> {
        if let Some((beside, why)) = target.beside() {
            let generation = target.generation.clone();
            reporter.tell(Event::Building { generation, beside, why }).await;
        }
        target.make(self, &job.collection).await?;
        adopt::orphans(self.store.as_ref(), &self.state, &target.generation).await?;
        if target.is_bulk() {
            self.store.tune(&target.generation, Tuning::Bulk).await?;
        }
        let counting = Counting::spawn(Arc::clone(&sources), reporter.clone());
        let is_whole = self.of(job, target, true, reporter).go(sources).await;
        counting.stop().await;
        // Also what a run that was killed has left so.
        let tuned = self.store.tune(&target.generation, Tuning::Serving).await;
        let is_whole = is_whole?;
        tuned?;
        Ok(is_whole)
    }

    fn of(&self, mut job: Job, target: &Target, is_made: bool, reporter: Reporter) -> Arc<Run> {
        job.known_in = target.known_in(&job.collection, is_made);
        job.collection.name.clone_from(&target.generation);
        let (store, state) = (Arc::clone(&self.store), self.state.clone());
        Arc::new(Run { job: Arc::new(job), store, state, met: Met::default(), reporter })
    }
}
