//! One model as the engine serves it, and the engine that all models share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use metrics::Counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::batcher::Batcher;
use crate::cache::{self, Cache, Forms, Refusals, Shelf, Space};
use crate::errand::Errand;
use crate::model::{ModelName, Purpose};
use crate::plugin::Plugin;
use crate::upstream::{Card, KnownDimensions, PluginMark, TextFault, UpstreamError, space_of};

use super::agreement::Agreement;
use super::error::Failure;
use super::flights::Flights;
use super::fresh::{self, Fresh, Job};
use super::queues::Queues;
use super::request::Way;
use super::send::Senders;
use super::spaces::Spaces;
use super::{EmbedError, Model, ModelConfig};

/// A model with what it takes to embed its texts.
///
/// A request takes it once, and with it the plugins and the space that belong together:
/// what one plugin has made of a text is never kept under the key of another.
pub(super) struct Served {
    pub(super) model: Arc<Model>,
    /// What it was built from.
    pub(super) table: ModelConfig,
    /// What the gateway said of it that serves it: prompts are put before its texts there, and its
    /// preprocessors run there.
    pub(super) card: Option<Arc<Card>>,
    /// Counts on whenever an upstream's model may have been another one for a while:
    /// what was cached by then is not read any more, should the old one come back.
    pub(super) generation: u64,
    pub(super) preprocessors: Vec<Arc<Plugin>>,
    pub(super) matryoshka: bool,
    pub(super) known_dimensions: Arc<KnownDimensions>,
    /// Shared with the same model before and after a change of its plugins.
    pub(super) agreement: Arc<Agreement>,
    pub(super) queues: Arc<Queues>,
    pub(super) meters: Meters,
    /// Where its entries are in the cache.
    pub(super) shelf: Arc<Shelf>,
    pub(super) spaces: Spaces,
    /// Texts were embedded since upstreams were last listened to.
    pub(super) is_used: AtomicBool,
}

/// Handles of one model's metrics.
#[derive(Clone)]
pub(super) struct Meters {
    pub(super) texts: Counter,
    pub(super) hits: Counter,
    pub(super) tokens: Counter,
    /// Texts that joined a flight of another request.
    pub(super) shared: Counter,
}

impl Meters {
    pub(super) fn new(model: &ModelName) -> Self {
        let model = model.to_string();
        Self {
            texts: metrics::counter!("embergate_texts_total", "model" => model.clone()),
            hits: metrics::counter!("embergate_cache_hits_total", "model" => model.clone()),
            tokens: metrics::counter!("embergate_tokens_total", "model" => model.clone()),
            shared: metrics::counter!("embergate_flights_shared_total", "model" => model),
        }
    }
}

impl Served {
    /// The same model with `preprocessors`: what was agreed and what waits stay.
    pub(super) fn with(&self, preprocessors: Vec<Arc<Plugin>>) -> Self {
        Self {
            model: self.model.clone(),
            table: self.table.clone(),
            card: self.card.clone(),
            generation: self.generation,
            preprocessors,
            matryoshka: self.matryoshka,
            known_dimensions: self.known_dimensions.clone(),
            agreement: self.agreement.clone(),
            queues: self.queues.clone(),
            meters: self.meters.clone(),
            shelf: self.shelf.clone(),
            spaces: Spaces::default(),
            is_used: AtomicBool::new(self.is_used.load(Ordering::Relaxed)),
        }
    }

    /// Nothing before the first answer of an upstream.
    pub(super) fn dimensions(&self) -> Option<usize> {
        self.known_dimensions.get()
    }

    /// Whether vectors of `have` dimensions can be given with `want`.
    pub(super) fn check_dimensions(&self, want: usize, have: usize) -> Result<(), EmbedError> {
        let model = || self.model.name.clone();
        if want == 0 || have < want {
            Err(EmbedError::Dimensions { model: model(), have, want })
        } else if want < have && !self.matryoshka {
            Err(EmbedError::NotMatryoshka { model: model(), have })
        } else {
            Ok(())
        }
    }

    pub(super) fn prompt(&self, purpose: Purpose) -> &str {
        self.model.prompts.of(purpose)
    }

    /// What its texts go through, wherever that is.
    pub(super) fn plugin_marks(&self) -> Vec<PluginMark> {
        let mark = |plugin: &Arc<Plugin>| PluginMark {
            name: plugin.name().to_owned(),
            fingerprint: plugin.fingerprint().to_owned(),
        };
        match &self.card {
            Some(card) => card.preprocessors.clone(),
            None => self.preprocessors.iter().map(mark).collect(),
        }
    }

    /// Everything but the text that changes a vector. Asks the upstreams which
    /// model they have, once.
    pub(super) async fn space(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        way: Way,
    ) -> Result<Space, UpstreamError> {
        let identity = self.identity(engine).await?;
        Ok(self.new_space(identity, way, None))
    }

    /// The same for the cache, which does not outlive a change of the model.
    pub(super) async fn cached_space(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        way: Way,
    ) -> Result<Space, UpstreamError> {
        let identity = self.identity(engine).await?;
        let generation = || self.generation.to_string();
        Ok(self.spaces.of(identity, way, || self.new_space(identity, way, Some(&generation()))))
    }

    async fn identity(self: &Arc<Self>, engine: &Arc<Engine>) -> Result<&str, UpstreamError> {
        let identity = self.agreement.identity(|upstream| self.admit(engine, upstream)).await?;
        if self.agreement.is_due() {
            engine.tasks.spawn(ask_again(Arc::clone(self), Arc::clone(engine)));
        }
        Ok(identity)
    }

    fn new_space(&self, identity: &str, way: Way, generation: Option<&str>) -> Space {
        // A gateway has done all of this: its word is taken as it is, so that what one has embedded
        // is known to the other.
        if let Some(there) = space_of(identity, way.purpose, way.prepared) {
            let verbatim = Space::from_hex(there).filter(|_| generation.is_none());
            return verbatim.unwrap_or_else(|| Space::new(&[there, generation.unwrap_or_default()]));
        }
        let max_tokens = self.model.max_tokens.map(|tokens| tokens.to_string()).unwrap_or_default();
        // Vectors of texts that were cut have other keys in the same space.
        let mut parts = vec!["1", identity, &max_tokens, "whole", self.prompt(way.purpose)];
        if !way.prepared && !self.preprocessors.is_empty() {
            // A preprocessor is told what a text is for.
            parts.push(way.purpose.for_plugins().as_str());
            parts.extend(self.preprocessors.iter().map(|plugin| plugin.fingerprint()));
        }
        parts.extend(generation);
        Space::new(&parts)
    }

    /// Asks the upstreams which model they have, unless that is known or being asked.
    pub(super) fn find_out(self: &Arc<Self>, engine: &Arc<Engine>) {
        if self.agreement.known().is_none() && !self.agreement.is_being_asked() {
            engine.tasks.spawn(ask_once(Arc::clone(self), Arc::clone(engine)));
        }
    }

    /// Asks those that stand by whether they agree by now, if it is time.
    pub(super) async fn ask_again(&self, engine: &Engine) {
        self.agreement.ask_again(|upstream| self.admit(engine, upstream)).await;
    }

    /// Asks the upstreams which model they have, unless that is known.
    pub(super) async fn agree(&self, engine: &Engine) -> Result<(), UpstreamError> {
        self.agreement.identity(|upstream| self.admit(engine, upstream)).await.map(drop)
    }

    fn admit(&self, engine: &Engine, upstream: usize) {
        // Before anybody gets texts: the answer that comes first need not be a right one.
        if let Some(dimensions) = self.agreement.dimensions() {
            self.known_dimensions.learn(dimensions);
        }
        for queue in self.queues.all() {
            engine.batcher.admit(queue, upstream);
        }
    }
}

async fn ask_once(served: Arc<Served>, engine: Arc<Engine>) {
    tokio::select! {
        // Whoever needs the answer finds it, or asks again.
        _ = served.agree(&engine) => {}
        () = engine.stop.cancelled() => {}
    }
}

async fn ask_again(served: Arc<Served>, engine: Arc<Engine>) {
    tokio::select! {
        () = served.ask_again(&engine) => {}
        () = engine.stop.cancelled() => {}
    }
}

/// What all models share.
pub(super) struct Engine {
    pub(super) batcher: Batcher<Senders>,
    pub(super) cache: Cache,
    /// Texts that fail wherever they go.
    pub(super) refusals: Refusals<TextFault>,
    /// Vectors of the cache as they are written.
    pub(super) forms: Arc<Forms>,
    pub(super) flights: Flights,
    tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    closing: AtomicBool,
    generations: AtomicU64,
}

impl Engine {
    pub(super) fn new(batcher: Batcher<Senders>, cache: &cache::Config) -> Self {
        Self {
            batcher,
            cache: Cache::new(cache),
            refusals: Refusals::new(cache),
            forms: Arc::new(Forms::new(cache)),
            flights: Flights::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            closing: AtomicBool::new(false),
            generations: AtomicU64::new(0),
        }
    }

    /// One that no model had before.
    pub(super) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts the flights of `fresh`, or refuses them all where too much waits. They are
    /// the caller's errand, and go on when it leaves.
    pub(super) fn take_off(self: &Arc<Self>, served: &Arc<Served>, job: Job, fresh: Vec<Fresh>) -> Errand {
        if fresh.is_empty() {
            return Errand::none();
        }
        let n_bytes = fresh.iter().map(|fresh| fresh.text.len()).sum();
        match self.batcher.reserve(fresh.len(), n_bytes) {
            Ok(places) => {
                let flight = fresh::fly(Arc::clone(self), Arc::clone(served), job, fresh, places);
                let served = Arc::clone(served);
                let flight = async move {
                    served.is_used.store(true, Ordering::Relaxed);
                    flight.await;
                    // Again: it may have embedded the last of its texts a moment ago.
                    served.is_used.store(true, Ordering::Relaxed);
                };
                Errand::new(flight.in_current_span(), &self.tasks)
            }
            Err(full) => {
                for Fresh { lead, .. } in fresh {
                    lead.land(Err(Failure::Overloaded { retry_after: full.retry_after }));
                }
                Errand::none()
            }
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(super) async fn shutdown(&self, deadline: Instant) {
        self.closing.store(true, Ordering::Relaxed);
        self.tasks.close();
        let ended = tokio::time::timeout_at(deadline, self.tasks.wait()).await;
        self.stop.cancel();
        self.batcher.shutdown(deadline).await;
        if ended.is_err() {
            self.tasks.wait().await;
        }
    }
}
