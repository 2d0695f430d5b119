//! Texts → embeddings: admission, cache, flights, plugins, prompt, batcher, and
//! every vector back in the place of its text.
//!
//! The embedded model is served under its own name beside the models of the
//! configuration, unless one of them has taken the name. Models that are found
//! at upstreams come and go beside both.

mod agreement;
mod assemble;
mod catalog;
mod config;
mod cuts;
mod discovery;
mod error;
mod families;
mod flights;
mod fresh;
mod models;
pub(crate) mod names;
mod parts;
mod readiness;
mod request;
mod send;
mod served;
mod setup;
mod spent;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use crate::cache::{CacheKey, Entry};
use crate::model::{Embedding, ModelName, Purpose};
use crate::plugin::Plugins;
use crate::upstream::UpstreamError;

pub use crate::batcher::Lane;

pub use self::config::{Config, ModelConfig, Prompts, TokenArrays};
pub use self::error::{EmbedError, SetupError};
pub use self::models::{Model, Resolved};
pub use self::request::{EmbedAnswer, EmbedRequest};
pub(crate) use self::setup::{add_embedded, discovers};
pub use self::spent::Spent;

use self::assemble::assemble;
use self::catalog::Catalog;
use self::discovery::Discovery;
use self::flights::Outcome;
use self::fresh::{Fresh, Job};
use self::readiness::Readiness;
use self::request::Way;
use self::served::{Engine, Served};

/// The gateway's own path from texts to embeddings.
pub struct Embedder {
    config: Config,
    bulk_above: usize,
    catalog: Arc<Catalog>,
    discovery: Discovery,
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
    /// Dropping the future gives up what nobody else waits for.
    ///
    /// # Errors
    /// Names the first text, in the order of the request, that has no embedding.
    pub async fn embed(&self, request: EmbedRequest) -> Result<EmbedAnswer, EmbedError> {
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

    async fn answer(&self, served: &Arc<Served>, request: EmbedRequest) -> Result<EmbedAnswer, EmbedError> {
        let way = request.way();
        let lane = self.lane(&request);
        let n_texts = request.texts.len();
        let space = served.space(&self.engine, way).await.map_err(EmbedError::upstream)?;

        // Equal texts are one text from here on; `places` says where each goes back to.
        let mut distinct: HashMap<CacheKey, usize> = HashMap::with_capacity(n_texts);
        let mut places = Vec::with_capacity(n_texts);
        let mut texts: Vec<(CacheKey, String)> = Vec::with_capacity(n_texts);
        for text in request.texts {
            let key = CacheKey::new(&space, &text);
            let place = *distinct.entry(key).or_insert(texts.len());
            if place == texts.len() {
                texts.push((key, text));
            }
            places.push(place);
        }

        let (entries, hits, spent) = self.outcomes(served, Job { way, lane }, texts, &places).await?;
        served.meters.texts.increment(n_texts as u64);
        let n_hits = places.iter().filter(|place| hits[**place]).count();
        served.meters.hits.increment(n_hits as u64);
        let answer = assemble(served, &places, entries, n_hits, request.dimensions)?;
        Ok(EmbedAnswer { spent, ..answer })
    }

    /// One entry for each of `texts`, whether the cache had it, and what the one
    /// that took longest waited for.
    async fn outcomes(
        &self,
        served: &Arc<Served>,
        job: Job,
        texts: Vec<(CacheKey, String)>,
        places: &[usize],
    ) -> Result<(Vec<Entry>, Vec<bool>, Spent), EmbedError> {
        let mut waits = Vec::with_capacity(texts.len());
        let mut hits = Vec::with_capacity(texts.len());
        let mut fresh = Vec::new();
        for (key, text) in texts {
            if let Some(entry) = self.engine.cache.get(&key) {
                hits.push(true);
                waits.push(Found::Entry(entry));
                continue;
            }
            hits.push(false);
            let (wait, lead) = self.engine.flights.join_or_lead(key);
            waits.push(Found::Flight(wait));
            // A flight may have landed between the look into the cache and this one.
            match lead.map(|lead| (lead, self.engine.cache.get(&key))) {
                Some((lead, Some(entry))) => lead.land(Ok((entry, Spent::default()))),
                Some((lead, None)) => fresh.push(Fresh { lead, text }),
                None => {}
            }
        }
        self.engine.take_off(served, job, fresh);

        let mut entries = Vec::with_capacity(waits.len());
        let mut longest = Spent::default();
        for (place, found) in waits.into_iter().enumerate() {
            let (entry, spent) = found.outcome().await.map_err(|failure| {
                let index = places.iter().position(|at| *at == place).unwrap_or(place);
                failure.of_text(index, &served.model.name)
            })?;
            entries.push(entry);
            longest = longest.longer(spent);
        }
        Ok((entries, hits, longest))
    }

    /// The lane that `request` takes.
    pub fn lane(&self, request: &EmbedRequest) -> Lane {
        let by_size = if self.bulk_above < request.texts.len() { Lane::Bulk } else { Lane::Interactive };
        request.lane.unwrap_or(by_size)
    }

    /// How long a request may take where nobody sets a time.
    pub fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// Bounds of a request.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Goes on looking for models at the upstreams that are asked for them, from
    /// now until [`Embedder::shutdown`]. Returns at once.
    pub fn discover(&self) {
        self.discovery.start();
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
        let probe = EmbedRequest::prepared(model.clone(), texts, Lane::Interactive, deadline);
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

    /// Takes no more requests, lets those under way end, stops the rest at `deadline`.
    pub async fn shutdown(&self, deadline: Instant) {
        self.discovery.shutdown().await;
        self.engine.shutdown(deadline).await;
    }
}

/// Where a text's entry comes from.
enum Found {
    Entry(Entry),
    Flight(flights::Wait),
}

impl Found {
    async fn outcome(self) -> Outcome {
        match self {
            Self::Entry(entry) => Ok((entry, Spent::default())),
            Self::Flight(wait) => wait.outcome().await,
        }
    }
}

#[cfg(test)]
mod tests;
