//! Texts → embeddings: admission, cache, flights, plugins, prompt, batcher, and
//! every vector back in the place of its text.
//!
//! The embedded model is served under its own name beside the models of the
//! configuration, unless one of them has taken the name. Models that are found
//! at upstreams come and go beside both.

mod agreement;
mod assemble;
mod canary;
mod catalog;
mod config;
mod cuts;
mod detour;
mod discovery;
mod error;
mod families;
mod flights;
mod fresh;
mod health;
mod known;
mod models;
pub(crate) mod names;
mod parts;
mod queues;
mod readiness;
mod request;
mod send;
mod served;
mod setup;
mod spaces;
mod spent;
mod standing;
mod status;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use crate::cache::{Forgotten, Forms};
use crate::model::{Embedding, ModelName, Purpose};
use crate::plugin::Plugins;
use crate::upstream::UpstreamError;

pub use crate::batcher::Lane;

pub use self::canary::CANARY;
pub use self::config::{Config, ModelConfig, Prompts, TokenArrays};
pub use self::error::{EmbedError, SetupError};
pub use self::health::Config as HealthConfig;
pub use self::health::vitals::LastError;
pub use self::models::{Described, Differing, Model, Resolved};
pub use self::request::{EmbedAnswer, EmbedRequest};
pub(crate) use self::setup::{add_embedded, discovers};
pub use self::spent::Spent;
pub use self::standing::Standing;
pub use self::status::{ModelStatus, UpstreamState, UpstreamStatus};

use self::catalog::Catalog;
use self::discovery::Discovery;
use self::health::watch::Watch;
use self::readiness::Readiness;
use self::request::Way;
use self::served::{Engine, Served};

/// The gateway's own path from texts to embeddings.
pub struct Embedder {
    config: Config,
    bulk_above: usize,
    catalog: Arc<Catalog>,
    discovery: Discovery,
    watch: Watch,
    engine: Arc<Engine>,
    /// Upstreams that say whether anything can be asked: those of the
    /// configuration, else the embedded one.
    declared: Vec<usize>,
    readiness: Readiness,
}

impl Embedder {
    /// Puts models, upstreams and plugins together; starts what works in the background.
    ///
    /// Nothing is asked of an upstream before the first request, or
    /// [`Embedder::discover`]. Metrics go to the recorder that is installed by now.
    ///
    /// # Errors
    /// Names the table and the key that does not fit, and what would.
    pub fn spawn(
        config: Config,
        models: Vec<ModelConfig>,
        upstreams: Vec<crate::upstream::Config>,
        cache: crate::cache::Config,
        batcher: crate::batcher::Config,
        plugins: Arc<Plugins>,
    ) -> Result<Arc<Self>, SetupError> {
        setup::embedder(config, models, upstreams, &cache, batcher, plugins).map(Arc::new)
    }

    /// Embeds the texts of `request`, all of them or none.
    ///
    /// Dropping the future gives up what nobody else waits for. It carries upstream calls
    /// along, with texts of others in them: whoever stops polling it keeps these waiting.
    ///
    /// # Errors
    /// Names the first text, in the order of the request, that has no embedding.
    pub async fn embed(&self, request: EmbedRequest) -> Result<EmbedAnswer, EmbedError> {
        self.watch.guard();
        let (started, deadline) = (Instant::now(), request.deadline);
        let late = || EmbedError::Deadline(deadline.saturating_duration_since(started));
        let served = tokio::time::timeout_at(deadline, self.served(&request.model)).await;
        let served = served.map_err(|_| late())??;
        self.admit(&served, &request)?;
        match tokio::time::timeout_at(deadline, self.answer(&served, request)).await {
            Ok(answer) => answer.inspect_err(|error| {
                if error.is_missing_model() {
                    self.discovery.doubt();
                }
            }),
            Err(_) => Err(late()),
        }
    }

    /// What can be refused before anything is spent on it.
    fn admit(&self, served: &Served, request: &EmbedRequest) -> Result<(), EmbedError> {
        let (got, max) = (request.texts.len(), self.config.max_texts);
        if got == 0 {
            return Err(EmbedError::NoTexts);
        }
        if max < got {
            return Err(EmbedError::TooManyTexts { got, max });
        }
        if let Some(index) = request.texts.iter().position(String::is_empty) {
            return Err(EmbedError::EmptyText { index });
        }
        if let (Some(want), Some(have)) = (request.dimensions, served.dimensions()) {
            served.check_dimensions(want, have)?;
        }
        if self.engine.is_closing() {
            return Err(EmbedError::Overloaded { retry_after: Duration::from_secs(1) });
        }
        Ok(())
    }

    /// The lane that `request` takes: its own, else that of its caller's key, else by its number of texts.
    pub fn lane(&self, request: &EmbedRequest, by_key: Option<Lane>) -> Lane {
        let by_size = if self.bulk_above < request.texts.len() { Lane::Bulk } else { Lane::Interactive };
        request.lane.or(by_key).unwrap_or(by_size)
    }

    /// How long a request may take where nobody sets a time.
    pub fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// Bounds of a request.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Goes on looking for models at the upstreams that are asked for them, and
    /// whether those that are served are still the same, from now until
    /// [`Embedder::shutdown`]. Returns at once.
    pub fn discover(&self) {
        self.discovery.start();
        self.watch.start();
    }

    /// Has models go through the plugins that serve at this moment. Requests under way
    /// end with those that they began with.
    pub fn follow_plugins(&self) {
        self.discovery.renewer().follow_plugins();
    }

    /// The model of requests that name none, here or at a gateway.
    pub fn default_model(&self) -> Option<ModelName> {
        let there =
            || self.models().iter().find(|model| model.is_default_there).map(|model| model.name.clone());
        self.resolve("").map(|resolved| resolved.name).or_else(there)
    }

    /// The model of requests that name none, else the only one that is not in the binary, else the
    /// one that is; nothing where there are several.
    pub async fn usual(&self) -> Option<ModelName> {
        self.find_by(|| (!self.models().is_empty()).then_some(())).await?;
        if let Some(default) = self.default_model() {
            return Some(default);
        }
        let models = self.models();
        let is_own = |model: &&Arc<Model>| model.name.as_str() != crate::upstream::embedded::MODEL_NAME;
        let mut own = models.iter().filter(is_own);
        match (own.next(), own.next()) {
            (Some(only), None) => Some(only.name.clone()),
            (None, _) => models.first().map(|model| model.name.clone()),
            (Some(_), Some(_)) => None,
        }
    }

    /// How a model is served, for whoever should prepare texts for it as is done here.
    pub fn described(&self, model: &ModelName) -> Option<Described> {
        let served = self.catalog.get(model)?;
        Some(Described {
            preprocessors: served.plugin_marks(),
            dimensions: served.dimensions(),
            matryoshka: served.matryoshka,
            model: served.model.clone(),
        })
    }

    /// What the model's first answer had; asks nobody.
    pub fn known_dimensions(&self, model: &ModelName) -> Option<usize> {
        self.catalog.get(model)?.dimensions()
    }

    /// Asks an upstream once, then remembers.
    pub async fn dimensions(&self, model: &ModelName) -> Result<usize, EmbedError> {
        let served = self.served(model).await?;
        if let Some(known) = served.dimensions() {
            return Ok(known);
        }
        let texts = vec!["dimensions".to_owned()];
        let deadline = Instant::now() + self.config.timeout;
        // In the lane of those that ask for it: one text in the other would have theirs leave room for more.
        let probe = EmbedRequest::prepared(model.clone(), texts, Lane::Bulk, deadline);
        let answer = self.embed(probe).await?;
        Ok(answer.embeddings.first().map_or(0, Embedding::dimensions))
    }

    /// Fingerprint of everything but the text that changes a vector, for texts
    /// of `purpose` that are prepared or not: 32 hexadecimal digits.
    pub async fn space(
        &self,
        model: &ModelName,
        purpose: Purpose,
        prepared: bool,
    ) -> Result<String, EmbedError> {
        let served = self.served(model).await?;
        // Only texts that are cut differ by truncation, and those are no part of a collection.
        let way = Way { purpose, prepared, truncate: false };
        let space = served.space(&self.engine, way).await.map_err(EmbedError::upstream)?;
        Ok(space.to_hex())
    }

    /// Asks in the background which model its upstreams have, unless that is known:
    /// for callers of [`Embedder::space`] that do not wait for the slowest of them.
    pub fn find_out(&self, model: &ModelName) {
        if let Some(served) = self.catalog.get(model) {
            served.find_out(&self.engine);
        }
    }

    /// Throws away what is kept of `model`, or of all models: vectors, and texts that
    /// failed. What was asked for before and arrives later is not kept.
    ///
    /// Looks at every entry of the cache, on a thread that may take its time.
    pub async fn forget(&self, model: Option<ModelName>) -> Forgotten {
        let engine = self.engine.clone();
        let forget = move || {
            let forgotten = engine.cache.forget(model.as_ref().map(ModelName::as_str));
            engine.forms.clear();
            forgotten
        };
        tokio::task::spawn_blocking(forget).await.unwrap_or_default()
    }

    /// Gives back the memory of what has expired while nobody asked for anything.
    pub fn tidy(&self) {
        self.engine.cache.tidy();
    }

    /// Where vectors of the cache are kept as they are written.
    pub fn forms(&self) -> &Arc<Forms> {
        &self.engine.forms
    }

    /// Whether any upstream of any model can be asked, and if not, why none of them can.
    pub async fn ready(&self) -> Result<(), Vec<Arc<UpstreamError>>> {
        self.readiness.ask(self.reach()).await
    }

    async fn reach(&self) -> readiness::Found {
        let upstreams = &self.engine.batcher.backend().upstreams;
        let mut asked: FuturesUnordered<_> =
            self.declared.iter().map(|index| upstreams[*index].backend.reach()).collect();
        let mut reasons = Vec::new();
        while let Some(reached) = asked.next().await {
            match reached {
                Ok(()) => return Ok(()),
                Err(error) => reasons.push(Arc::new(error)),
            }
        }
        reasons.sort_by_cached_key(ToString::to_string);
        Err(reasons)
    }

    /// How each upstream is at this moment, in the order of the configuration.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        status::all(&self.engine, &self.catalog)
    }

    /// Takes no more requests, lets those under way end, stops the rest at `deadline`.
    pub async fn shutdown(&self, deadline: Instant) {
        self.discovery.shutdown().await;
        self.watch.shutdown().await;
        self.engine.shutdown(deadline).await;
    }
}

#[cfg(test)]
mod tests;
