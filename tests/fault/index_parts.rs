//! An indexer on real plugins, the embedded model and the embedded store, and a
//! store that stops in the middle.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use embergate::embed::Embedder;
use embergate::index::{
    CollectionConfig, Config, Event, IndexError, IndexRequest, Indexer, Outcome, Root, Summary,
};
use embergate::model::Embedding;
use embergate::plugin::{self, Plugins};
use embergate::store::{
    self, Collection, Filter, Hit, Payload, Point, Probe, Query, Selection, SourceRecord, Store, StoreError,
    TextHash, Tuning,
};
use embergate_test_support::qdrant::QdrantSim;
use tokio::sync::Notify;
use uuid::Uuid;

const MODEL: &str = "static-embed-en-256";
pub(crate) const COLLECTION: &str = "notes";

/// What takes long to put together: one for a test.
pub(crate) struct Parts {
    plugins: Arc<Plugins>,
    pub(crate) embedder: Arc<Embedder>,
}

impl Parts {
    pub(crate) async fn new() -> Self {
        Self::with_plugins(&[]).await
    }

    /// The same with a `[[plugin]]` table.
    pub(crate) async fn with_plugin(table: &str) -> Self {
        Self::with_plugins(&[toml::from_str(table).unwrap()]).await
    }

    async fn with_plugins(tables: &[plugin::PluginConfig]) -> Self {
        let cache_dir = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        let config = plugin::Config { dir: "none".into(), cache_dir, ..Default::default() };
        let plugins = Arc::new(Plugins::load(&config, tables).await.unwrap());
        let upstream = toml::from_str("name = \"built-in\"\nkind = \"embedded\"").unwrap();
        let embedder = spawn(upstream, MODEL, &plugins);
        Self { plugins, embedder }
    }

    /// The same with another embedder.
    pub(crate) fn with_embedder(&self, embedder: Arc<Embedder>) -> Self {
        Self { plugins: Arc::clone(&self.plugins), embedder }
    }

    /// The same with a model that takes so many tokens.
    pub(crate) fn with_limit(&self, max_tokens: u32) -> Self {
        let upstream = toml::from_str("name = \"built-in\"\nkind = \"embedded\"").unwrap();
        let embedder = spawn_with(upstream, MODEL, &self.plugins, &format!("max_tokens = {max_tokens}"));
        self.with_embedder(embedder)
    }

    /// The same with a model server at `url`.
    pub(crate) fn with_ollama(&self, url: &str, model: &str) -> Self {
        let table = format!("name = \"sim\"\nkind = \"ollama\"\nurl = \"{url}\"\ntimeout = \"2s\"");
        let embedder = spawn(toml::from_str(&table).unwrap(), model, &self.plugins);
        Self { plugins: Arc::clone(&self.plugins), embedder }
    }

    pub(crate) fn indexer(&self, place: &Place) -> Indexer {
        Indexer {
            embedder: Arc::clone(&self.embedder),
            plugins: Arc::clone(&self.plugins),
            store: Arc::clone(&place.store),
            state: place.state.clone(),
            config: Config { batch_texts: 3, batch_documents: 2, ..Config::default() },
        }
    }
}

fn spawn(upstream: embergate::upstream::Config, model: &str, plugins: &Arc<Plugins>) -> Arc<Embedder> {
    spawn_with(upstream, model, plugins, "")
}

/// The same with `keys` in the model's table.
fn spawn_with(
    upstream: embergate::upstream::Config,
    model: &str,
    plugins: &Arc<Plugins>,
    keys: &str,
) -> Arc<Embedder> {
    let table = format!(
        "name = \"{model}\"\nupstreams = [\"{}\"]\npreprocess = [\"unicode\"]\n{keys}",
        upstream.name
    );
    Embedder::spawn(
        Default::default(),
        vec![toml::from_str(&table).unwrap()],
        vec![upstream],
        Default::default(),
        Default::default(),
        Arc::clone(plugins),
    )
    .unwrap()
}

/// A store and the indexer's state, in a folder of their own.
pub(crate) struct Place {
    _folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) state: store::IndexState,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::of(&store::Config::default()).await
    }

    /// With its points in Qdrant, and a state that knows nothing.
    pub(crate) async fn on(sim: &QdrantSim) -> Self {
        Self::of(&qdrant(sim)).await
    }

    pub(crate) async fn of(config: &store::Config) -> Self {
        Self::in_folder(config, tempfile::tempdir().unwrap()).await
    }

    /// Of what is in `folder` already.
    pub(crate) async fn in_folder(config: &store::Config, folder: tempfile::TempDir) -> Self {
        let (store, state) = store::open(config, folder.path()).await.unwrap();
        Self { _folder: folder, store, state }
    }

    /// All that is kept of the generation that serves.
    pub(crate) async fn contents(&self) -> Contents {
        let collection = self.store.known(COLLECTION).await.unwrap();
        let points = self.points_of(&collection.name).await;
        let records = self.state.sources(&collection.name, "").await.unwrap();
        Contents { properties: Collection { name: String::new(), ..collection }, points, records }
    }

    /// The points of a generation, in the order of their ids.
    pub(crate) async fn points_of(&self, generation: &str) -> Vec<Stored> {
        let mut all: Vec<Stored> = Vec::new();
        loop {
            let after = all.last().map(|point| point.id);
            let page = self.store.page(generation, after, 100).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page.into_iter().map(Stored::from));
        }
    }

    /// All points as far as a search can tell: ids, payloads, and how near the
    /// vectors and words are to two questions.
    pub(crate) async fn points(&self) -> Vec<Hit> {
        let mut all = Vec::new();
        let Some(collection) = self.store.collection(COLLECTION).await.unwrap() else { return all };
        for step in [1, 7] {
            let numbers = (0..collection.dimensions).map(|at| ((at * step) % 5) as f32 - 1.5);
            let probe = Probe::Dense(Embedding::new(numbers.collect::<Vec<_>>()).unwrap());
            let query = Query { probe, filter: None, limit: 10_000 };
            all.extend(self.store.query(COLLECTION, query).await.unwrap());
        }
        let words = embergate::analyzer::Analyzer::new(None).query("paragraph tide weather bread");
        let query = Query { probe: Probe::Sparse(words), filter: None, limit: 10_000 };
        all.extend(self.store.query(COLLECTION, query).await.unwrap());
        all
    }

    pub(crate) async fn count(&self) -> u64 {
        self.store.count(COLLECTION, None).await.unwrap()
    }

    pub(crate) async fn payloads(&self) -> Vec<Payload> {
        let n_points = usize::try_from(self.count().await).unwrap();
        let mut payloads: Vec<_> =
            self.points().await.into_iter().take(n_points).map(|hit| hit.payload).collect();
        payloads.sort_by(|a, b| (&a.source, a.ordinal).cmp(&(&b.source, b.ordinal)));
        payloads
    }
}

/// All that is kept of one generation, whatever its name is.
#[derive(Debug, PartialEq)]
pub(crate) struct Contents {
    pub(crate) properties: Collection,
    pub(crate) points: Vec<Stored>,
    pub(crate) records: Vec<SourceRecord>,
}

impl Contents {
    /// Fails with what is different, and not with all that is the same.
    #[track_caller]
    pub(crate) fn check(&self, want: &Self) {
        assert_eq!(self.properties, want.properties);
        let more = |some: &Self, than: &Self| {
            let points = some.points.iter().filter(|point| !than.points.contains(point));
            let records = some.records.iter().filter(|record| !than.records.contains(record));
            let points = points.map(|point| format!("{point:?}"));
            points.chain(records.map(|record| format!("{record:?}"))).collect::<Vec<_>>()
        };
        let (extra, missing) = (more(self, want), more(want, self));
        assert!(extra.is_empty() && missing.is_empty(), "there: {extra:#?}\nnot there: {missing:#?}");
        assert_eq!(self, want);
    }
}

/// A point whose vectors are compared bit by bit.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) id: Uuid,
    pub(crate) dense: Vec<u32>,
    pub(crate) sparse: Vec<(u32, u32)>,
    pub(crate) payload: Payload,
}

impl From<Point> for Stored {
    fn from(Point { id, dense, sparse, payload }: Point) -> Self {
        let dense = dense.values().iter().map(|value| value.to_bits()).collect();
        let weights = sparse.weights.iter().map(|weight| weight.to_bits());
        Self { id, dense, sparse: sparse.terms.into_iter().zip(weights).collect(), payload }
    }
}

/// A store in `sim`.
pub(crate) fn qdrant(sim: &QdrantSim) -> store::Config {
    store::Config { kind: store::Kind::Qdrant, url: Some(sim.url()), ..store::Config::default() }
}

pub(crate) fn collection(model: &str) -> CollectionConfig {
    let table = format!("name = \"{COLLECTION}\"\nmodel = \"{model}\"\nmax_tokens = 40");
    toml::from_str(&table).unwrap()
}

pub(crate) async fn run(indexer: &Indexer, folder: &Path) -> Result<Summary, IndexError> {
    run_with(indexer, folder, collection(MODEL)).await.map(|(summary, _)| summary)
}

/// A run with what it said of each file, by file name.
pub(crate) async fn run_with(
    indexer: &Indexer,
    folder: &Path,
    collection: CollectionConfig,
) -> Result<(Summary, Vec<(String, Outcome)>), IndexError> {
    run_limited(indexer, folder, collection, None).await
}

pub(crate) async fn run_limited(
    indexer: &Indexer,
    folder: &Path,
    collection: CollectionConfig,
    limit: Option<u64>,
) -> Result<(Summary, Vec<(String, Outcome)>), IndexError> {
    let mut outcomes = Vec::new();
    let mut watcher = |event| {
        if let Event::Finished { source, outcome, .. } = event {
            let name = Path::new(&source).file_name().unwrap().to_string_lossy().into_owned();
            outcomes.push((name, outcome));
        }
    };
    let request = IndexRequest { roots: vec![Root::path(folder)], collection, limit };
    let summary = indexer.run(request, &mut watcher).await?;
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    Ok((summary, outcomes))
}

/// What happens around the operations of a store.
pub(crate) trait Guard: Send + Sync + 'static {
    /// Runs `operation`, or does not; `name` is the method's.
    fn run<T: Send>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;
}

/// A store whose every operation goes through a guard.
pub(crate) struct Guarded<G> {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) guard: G,
}

/// How a store stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The operation is not done.
    Before,
    /// It is done, and nobody hears of it.
    After,
    /// It never answers: whoever waits is dropped.
    Never,
}

/// Lets a number of operations be done, then no more.
pub(crate) struct Stopping {
    left: AtomicUsize,
    stop: Stop,
    pub(crate) stopped: Notify,
}

impl Stopping {
    pub(crate) fn after(inner: Arc<dyn Store>, n_operations: usize, stop: Stop) -> Guarded<Self> {
        let guard = Self { left: AtomicUsize::new(n_operations), stop, stopped: Notify::new() };
        Guarded { inner, guard }
    }
}

impl Guard for Stopping {
    async fn run<T: Send>(
        &self,
        _: &'static str,
        operation: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match (left, self.stop) {
            (Ok(1..), Stop::Before | Stop::Never) | (Ok(2..), Stop::After) => return operation.await,
            (Ok(_), Stop::After) => {
                operation.await?;
            }
            (Err(_), Stop::Never) => {
                self.stopped.notify_one();
                return std::future::pending().await;
            }
            _ => {}
        }
        Err(StoreError::Failed("stopped".into()))
    }
}

#[async_trait]
impl<G: Guard> Store for Guarded<G> {
    async fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        self.guard.run("collection", self.inner.collection(name)).await
    }
    async fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        self.guard.run("collections", self.inner.collections()).await
    }
    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        self.guard.run("create", self.inner.create(collection)).await
    }
    async fn drop_collection(&self, name: &str) -> Result<(), StoreError> {
        self.guard.run("drop_collection", self.inner.drop_collection(name)).await
    }
    async fn aliases(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.guard.run("aliases", self.inner.aliases()).await
    }
    async fn set_aliases(&self, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        self.guard.run("set_aliases", self.inner.set_aliases(changes)).await
    }
    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        self.guard.run("upsert", self.inner.upsert(collection, points)).await
    }
    async fn query(&self, collection: &str, query: Query) -> Result<Vec<Hit>, StoreError> {
        self.guard.run("query", self.inner.query(collection, query)).await
    }
    async fn existing(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        self.guard.run("existing", self.inner.existing(collection, ids)).await
    }
    async fn known_vectors(
        &self,
        collection: &str,
        texts: &[TextHash],
    ) -> Result<HashMap<TextHash, Embedding>, StoreError> {
        self.guard.run("known_vectors", self.inner.known_vectors(collection, texts)).await
    }
    async fn points(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        self.guard.run("points", self.inner.points(collection, ids)).await
    }
    async fn page(
        &self,
        collection: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Point>, StoreError> {
        self.guard.run("page", self.inner.page(collection, after, limit)).await
    }
    async fn delete(&self, collection: &str, selection: Selection) -> Result<(), StoreError> {
        self.guard.run("delete", self.inner.delete(collection, selection)).await
    }
    async fn count(&self, collection: &str, filter: Option<Filter>) -> Result<u64, StoreError> {
        self.guard.run("count", self.inner.count(collection, filter)).await
    }
    async fn set_payload(&self, collection: &str, payloads: Vec<(Uuid, Payload)>) -> Result<(), StoreError> {
        self.guard.run("set_payload", self.inner.set_payload(collection, payloads)).await
    }
    async fn tune(&self, collection: &str, tuning: Tuning) -> Result<(), StoreError> {
        self.guard.run("tune", self.inner.tune(collection, tuning)).await
    }
}
