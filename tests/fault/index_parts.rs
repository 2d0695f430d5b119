//! An indexer on real plugins, the embedded model and the embedded store, and a
//! store that stops in the middle.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use embergate::embed::Embedder;
use embergate::index::source::Root;
use embergate::index::{
    CollectionConfig, Config, Event, IndexError, IndexRequest, Indexer, Outcome, Summary,
};
use embergate::model::Embedding;
use embergate::plugin::{self, Plugins};
use embergate::store::{
    self, Collection, Filter, Hit, Payload, Point, Probe, Query, Selection, Store, StoreError, TextHash,
    Tuning,
};
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
        let folder = tempfile::tempdir().unwrap();
        let (store, state) = store::open(&store::Config::default(), folder.path()).await.unwrap();
        Self { _folder: folder, store, state }
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
    let mut outcomes = Vec::new();
    let mut watcher = |event| {
        if let Event::Finished { source, outcome, .. } = event {
            let name = Path::new(&source).file_name().unwrap().to_string_lossy().into_owned();
            outcomes.push((name, outcome));
        }
    };
    let request = IndexRequest { sources: vec![Root::path(folder)], collection };
    let summary = indexer.run(request, &mut watcher).await?;
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    Ok((summary, outcomes))
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

/// Does a number of operations, then no more.
pub(crate) struct Stopping {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) left: AtomicUsize,
    pub(crate) stop: Stop,
    pub(crate) stopped: Notify,
}

impl Stopping {
    pub(crate) fn after(inner: Arc<dyn Store>, n_operations: usize, stop: Stop) -> Self {
        Self { inner, left: AtomicUsize::new(n_operations), stop, stopped: Notify::new() }
    }

    async fn run<T>(&self, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
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
impl Store for Stopping {
    async fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        self.run(self.inner.collection(name)).await
    }
    async fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        self.run(self.inner.collections()).await
    }
    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        self.run(self.inner.create(collection)).await
    }
    async fn drop_collection(&self, name: &str) -> Result<(), StoreError> {
        self.run(self.inner.drop_collection(name)).await
    }
    async fn aliases(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.run(self.inner.aliases()).await
    }
    async fn set_aliases(&self, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        self.run(self.inner.set_aliases(changes)).await
    }
    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        self.run(self.inner.upsert(collection, points)).await
    }
    async fn query(&self, collection: &str, query: Query) -> Result<Vec<Hit>, StoreError> {
        self.run(self.inner.query(collection, query)).await
    }
    async fn existing(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        self.run(self.inner.existing(collection, ids)).await
    }
    async fn known_vectors(
        &self,
        collection: &str,
        texts: &[TextHash],
    ) -> Result<HashMap<TextHash, Embedding>, StoreError> {
        self.run(self.inner.known_vectors(collection, texts)).await
    }
    async fn points(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        self.run(self.inner.points(collection, ids)).await
    }
    async fn page(
        &self,
        collection: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Point>, StoreError> {
        self.run(self.inner.page(collection, after, limit)).await
    }
    async fn delete(&self, collection: &str, selection: Selection) -> Result<(), StoreError> {
        self.run(self.inner.delete(collection, selection)).await
    }
    async fn count(&self, collection: &str, filter: Option<Filter>) -> Result<u64, StoreError> {
        self.run(self.inner.count(collection, filter)).await
    }
    async fn set_payload(&self, collection: &str, payloads: Vec<(Uuid, Payload)>) -> Result<(), StoreError> {
        self.run(self.inner.set_payload(collection, payloads)).await
    }
    async fn tune(&self, collection: &str, tuning: Tuning) -> Result<(), StoreError> {
        self.run(self.inner.tune(collection, tuning)).await
    }
}
