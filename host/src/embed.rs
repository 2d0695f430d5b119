//! Texts → embeddings: admission, cache, flights, plugins, prompt, batcher, and
//! every vector back in the place of its text.
//!
//! The embedded model is served under its own name beside the models of the
//! configuration, unless one of them has taken the name. Models that are found
//! at upstreams come and go beside both.

mod agreement;
mod canary;
mod catalog;
mod cuts;
mod discovery;
mod families;
mod flights;
mod fresh;
mod health;
pub(crate) mod names;
mod parts;
mod send;
mod served;
mod setup;
mod spent;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cache::{CacheKey, Entry, Extent};
use crate::model::{Embedding, ModelName, Purpose};
use crate::plugin::{PluginError, Plugins};
use crate::tokenizer::Tokenizer;
use crate::upstream::{TextFault, UpstreamError};

pub use crate::batcher::Lane;

pub use self::agreement::Standing;
pub use self::canary::CANARY;
use self::catalog::Catalog;
use self::discovery::Discovery;
use self::flights::Outcome;
use self::fresh::{Fresh, Job};
pub use self::health::Config as HealthConfig;
pub use self::health::vitals::LastError;
use self::health::watch::Watch;
use self::served::{Engine, Served};
pub(crate) use self::setup::{add_embedded, discovers};
pub use self::spent::Spent;
pub use self::status::{ModelStatus, UpstreamState, UpstreamStatus};

/// A `[[model]]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// What clients ask for.
    pub name: String,
    /// Other names that lead to it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its name at the upstreams, where that differs.
    #[serde(default)]
    pub upstream_name: Option<String>,
    /// Names of `[[upstream]]` tables.
    pub upstreams: Vec<String>,
    #[serde(default)]
    pub preprocess: Vec<String>,
    #[serde(default)]
    pub prompts: Option<Prompts>,
    /// A `tokenizer.json`; tokens are estimated without one.
    #[serde(default)]
    pub tokenizer: Option<std::path::PathBuf>,
    /// Tokens that the model takes, its special ones included.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Whether the model was trained so that a prefix of a vector is a vector (matryoshka).
    #[serde(default)]
    pub matryoshka: Option<bool>,
    /// Whether texts that are too long are cut where a request does not say;
    /// as each API does when absent: OpenAI's refuses them, Ollama's cuts.
    #[serde(default)]
    pub truncate: Option<bool>,
}

/// What is put before a text, by its purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prompts {
    pub query: String,
    pub document: String,
}

impl Prompts {
    /// What is put before a text of this purpose; nothing for [`Purpose::None`].
    pub fn of(&self, purpose: Purpose) -> &str {
        match purpose {
            Purpose::Query => &self.query,
            Purpose::Document => &self.document,
            Purpose::None => "",
        }
    }
}

/// The `[embed]` table: bounds of a request, and of the search for models.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Texts in one request, at most.
    pub max_texts: usize,
    /// How long a request may take where the client sets no time.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The model of a request that names none; without it, such a request is refused.
    pub default_model: Option<String>,
    pub token_arrays: TokenArrays,
    /// How often upstreams are asked which models they have.
    #[serde(with = "humantime_serde")]
    pub discover_every: Duration,
    /// How long a request for a model that is not known may wait until upstreams were asked for it.
    #[serde(with = "humantime_serde")]
    pub discover_wait: Duration,
    /// Models that are found at upstreams, at most; further ones are not served.
    pub max_discovered: usize,
    /// The `[health]` table.
    #[serde(skip)]
    pub health: HealthConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_texts: 2048,
            timeout: Duration::from_secs(60),
            default_model: None,
            token_arrays: TokenArrays::Cl100k,
            discover_every: Duration::from_secs(30),
            discover_wait: Duration::from_secs(5),
            max_discovered: 100,
            health: HealthConfig::default(),
        }
    }
}

/// What becomes of numbers where OpenAI's API expects texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenArrays {
    /// They are tokens of cl100k_base, as clients make them that think of OpenAI's models.
    Cl100k,
    /// They are refused.
    Off,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    pub model: ModelName,
    /// At least one, none empty.
    pub texts: Vec<String>,
    pub purpose: Purpose,
    /// Whether a text that is too long is cut or refused.
    pub truncate: bool,
    pub dimensions: Option<usize>,
    /// Bulk work leaves room for others. Decided by the number of texts when absent.
    pub lane: Option<Lane>,
    /// The texts have been through their preprocessors already.
    pub prepared: bool,
    pub deadline: Instant,
}

/// One embedding for each text, in the order of the request.
#[derive(Clone, Debug, Default)]
pub struct EmbedAnswer {
    pub embeddings: Vec<Embedding>,
    /// Of all texts together; the same from cache and upstream.
    pub n_tokens: u64,
    /// Texts answered from the cache.
    pub n_hits: usize,
    /// Indexes of texts that were cut, as was asked.
    pub truncated: Vec<usize>,
    /// What was waited for: nothing where all texts were in the cache.
    pub spent: Spent,
    /// Indexes of texts that an upstream has cut, though it was not asked to.
    pub cut_by_upstream: Vec<usize>,
}

/// Why a request has no answer. `Clone`, because one flight answers many.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EmbedError {
    #[error("there is no model `{0}`")]
    UnknownModel(ModelName),
    #[error("a request needs at least one text")]
    NoTexts,
    #[error("a request has {got} texts, more than {max}")]
    TooManyTexts { got: usize, max: usize },
    #[error("text {index} is empty")]
    EmptyText { index: usize },
    #[error("text {index} has {got} tokens, more than the {max} that `{model}` takes")]
    TooLong { index: usize, got: u32, max: u32, model: ModelName },
    #[error("`{model}` has {have} dimensions, and cannot give {want}")]
    Dimensions { model: ModelName, have: usize, want: usize },
    #[error(
        "`{model}` was not trained for fewer dimensions than its {have}: set `matryoshka = true` in its [[model]] table to allow it"
    )]
    NotMatryoshka { model: ModelName, have: usize },
    #[error("text {index} cannot be embedded: {fault}")]
    Text { index: usize, fault: TextFault },
    #[error("text {index} was rejected by plugin `{plugin}`: {reason}")]
    Rejected { index: usize, plugin: String, reason: String },
    #[error(transparent)]
    Plugin(Arc<PluginError>),
    #[error("too much is waiting")]
    Overloaded { retry_after: Duration },
    #[error("the time of {0:?} ran out")]
    Deadline(Duration),
    #[error(transparent)]
    Upstream(Arc<UpstreamError>),
}

/// What a client's word for a model leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub name: ModelName,
    /// Where the word says it, as `NAME:query` does.
    pub purpose: Option<Purpose>,
}

impl EmbedError {
    /// Whether an upstream has lost a model that it was known to have.
    fn is_missing_model(&self) -> bool {
        matches!(self, Self::Upstream(error) if matches!(**error, UpstreamError::NoModel { .. }))
    }
}

/// One model as it is served.
pub struct Model {
    pub name: ModelName,
    /// Other names that lead to it.
    pub aliases: Vec<String>,
    /// Its name at the upstreams.
    pub upstream_name: String,
    /// Names of the upstreams that may be asked.
    pub upstreams: Vec<String>,
    pub tokenizer: Arc<Tokenizer>,
    /// Tokens that the model takes, special ones included; unknown where nobody said.
    pub max_tokens: Option<u32>,
    pub prompts: Prompts,
    pub preprocess: Vec<String>,
    /// Whether texts that are too long are cut where a request does not say.
    pub truncate: Option<bool>,
}

impl Model {
    fn named(&self) -> names::Named<'_> {
        names::Named {
            name: self.name.as_str(),
            aliases: &self.aliases,
            has_query_prompt: self.prompts.query != self.prompts.document,
        }
    }
}

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
        self.watch.guard();
        let served = self.served(&request.model).await?;
        self.admit(&served, &request)?;
        let started = Instant::now();
        let deadline = request.deadline;
        match tokio::time::timeout_at(deadline, self.answer(&served, request)).await {
            Ok(answer) => answer.inspect_err(|error| {
                if error.is_missing_model() {
                    self.discovery.doubt();
                }
            }),
            Err(_) => Err(EmbedError::Deadline(deadline.saturating_duration_since(started))),
        }
    }

    /// How long a request may take where nobody sets a time.
    pub fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// The lane that `request` takes.
    pub fn lane(&self, request: &EmbedRequest) -> Lane {
        let by_size = if self.bulk_above < request.texts.len() { Lane::Bulk } else { Lane::Interactive };
        request.lane.unwrap_or(by_size)
    }

    /// The model of exactly this name, as far as is known at this moment.
    pub fn model(&self, name: &ModelName) -> Option<Arc<Model>> {
        self.catalog.get(name).map(|served| served.model.clone())
    }

    /// All models that are known at this moment, by name.
    pub fn models(&self) -> Vec<Arc<Model>> {
        self.catalog.all().values().map(|served| served.model.clone()).collect()
    }

    /// Goes on looking for models at the upstreams that are asked for them, and
    /// whether those that are served are still the same, from now until
    /// [`Embedder::shutdown`]. Returns at once.
    pub fn discover(&self) {
        self.discovery.start();
        self.watch.start();
    }

    /// The model of this name, however it is written; see [`Embedder::find_by`].
    pub async fn find(&self, name: &ModelName) -> Option<Arc<Model>> {
        let found = self.find_by(|| self.resolve(name.as_str())).await?;
        self.model(&found.name)
    }

    /// What `find` finds among the models that are known. Where that is nothing,
    /// upstreams are asked for models they may have got meanwhile, and `find` is
    /// called again whenever one has answered, for `discover_wait` at most.
    ///
    /// However many wait, an upstream is asked once in two seconds.
    pub async fn find_by<T>(&self, find: impl Fn() -> Option<T>) -> Option<T> {
        self.discovery.find_by(find).await
    }

    /// The model that a client means by `asked`: its name, one of its aliases, either
    /// with or without `:latest`, behind `embed/`, before `:query` or `:document`;
    /// an empty word is the default model.
    pub fn resolve(&self, asked: &str) -> Option<Resolved> {
        let asked = match (asked, &self.config.default_model) {
            ("", Some(default)) => default,
            _ => asked,
        };
        // Most clients write the name as it is, which is what would be looked for first.
        if let Some(name) = ModelName::new(asked).ok().filter(|name| self.catalog.get(name).is_some()) {
            return Some(Resolved { name, purpose: None });
        }
        let models = self.models();
        let (name, purpose) = names::resolve(asked, models.iter().map(|model| model.named()))?;
        Some(Resolved { name: ModelName::new(name).ok()?, purpose })
    }

    /// Every word that lists of models show; each leads to a model.
    pub fn listed(&self) -> Vec<String> {
        names::listed(self.models().iter().map(|model| model.named()))
    }

    /// Bounds of a request.
    pub fn config(&self) -> &Config {
        &self.config
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
        let probe = EmbedRequest {
            model: model.clone(),
            texts: vec!["dimensions".to_owned()],
            purpose: Purpose::Document,
            truncate: false,
            dimensions: None,
            lane: Some(Lane::Interactive),
            prepared: true,
            deadline: Instant::now() + self.config.timeout,
        };
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
        let space = served.space(&self.engine, way).await.map_err(upstream_error)?;
        Ok(space.to_hex())
    }

    /// Asks in the background which model its upstreams have, unless that is known:
    /// for callers of [`Embedder::space`] that do not wait for the slowest of them.
    pub fn find_out(&self, model: &ModelName) {
        if let Some(served) = self.catalog.get(model) {
            served.find_out(&self.engine);
        }
    }

    /// Whether any upstream of any model can be asked, and if not, why.
    pub async fn ready(&self) -> Result<(), String> {
        let upstreams = &self.engine.batcher.backend().upstreams;
        let mut asked: FuturesUnordered<_> =
            self.declared.iter().map(|index| upstreams[*index].backend.reach()).collect();
        let mut reasons = Vec::new();
        while let Some(reached) = asked.next().await {
            match reached {
                Ok(()) => return Ok(()),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        reasons.sort();
        Err(reasons.join("; "))
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

    async fn served(&self, model: &ModelName) -> Result<Arc<Served>, EmbedError> {
        let found = self.find_by(|| self.catalog.get(model)).await;
        found.ok_or_else(|| EmbedError::UnknownModel(model.clone()))
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
        let way = Way { purpose: request.purpose, prepared: request.prepared, truncate: request.truncate };
        let lane = self.lane(&request);
        let n_texts = request.texts.len();
        let space = served.cached_space(&self.engine, way).await.map_err(upstream_error)?;

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
}

/// What decides, beside the text, how it is turned into a vector.
#[derive(Clone, Copy, Debug)]
struct Way {
    purpose: Purpose,
    prepared: bool,
    truncate: bool,
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

/// Puts every entry back in the places of its text.
fn assemble(
    served: &Served,
    places: &[usize],
    entries: Vec<Entry>,
    n_hits: usize,
    dimensions: Option<usize>,
) -> Result<EmbedAnswer, EmbedError> {
    let embeddings = match dimensions {
        None => entries.iter().map(|entry| entry.embedding.clone()).collect(),
        Some(want) => entries
            .iter()
            .enumerate()
            .map(|(place, entry)| {
                served.check_dimensions(want, entry.embedding.dimensions())?;
                let index = places.iter().position(|at| *at == place).unwrap_or(place);
                let fault = |error: crate::model::EmbeddingError| EmbedError::Text {
                    index,
                    fault: TextFault::Refused(format!("of its first {want} dimensions, {error}")),
                };
                entry.embedding.shortened(want).map_err(fault)
            })
            .collect::<Result<Vec<_>, _>>()?,
    };
    let of_extent = |extent| {
        let is_so = |index: &usize| entries[places[*index]].extent == extent;
        (0..places.len()).filter(is_so).collect()
    };
    Ok(EmbedAnswer {
        embeddings: places.iter().map(|place| embeddings[*place].clone()).collect(),
        n_tokens: places.iter().map(|place| u64::from(entries[*place].n_tokens)).sum(),
        n_hits,
        truncated: of_extent(Extent::Cut),
        cut_by_upstream: of_extent(Extent::CutByUpstream),
        spent: Spent::default(),
    })
}

/// Why one text has no embedding, whoever asked for it.
#[derive(Clone, Debug)]
enum Failure {
    TooLong { got: u32, max: u32 },
    Text(TextFault),
    Rejected { plugin: String, reason: String },
    Plugin(Arc<PluginError>),
    Overloaded { retry_after: Duration },
    Upstream(Arc<UpstreamError>),
}

impl Failure {
    /// The gateway stopped, or lost the text by a fault of its own: asking again may help.
    fn lost() -> Self {
        Self::Overloaded { retry_after: Duration::from_secs(1) }
    }

    /// The same as the error of a request that has the text at `index`.
    fn of_text(self, index: usize, model: &ModelName) -> EmbedError {
        match self {
            Self::TooLong { got, max } => EmbedError::TooLong { index, got, max, model: model.clone() },
            Self::Text(fault) => EmbedError::Text { index, fault },
            Self::Rejected { plugin, reason } => EmbedError::Rejected { index, plugin, reason },
            Self::Plugin(error) => EmbedError::Plugin(error),
            Self::Overloaded { retry_after } => EmbedError::Overloaded { retry_after },
            Self::Upstream(error) => EmbedError::Upstream(error),
        }
    }
}

fn upstream_error(error: UpstreamError) -> EmbedError {
    EmbedError::Upstream(Arc::new(error))
}

/// Configuration that names what is not there.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(
        "model `{model}` names the upstream `{upstream}`, and there is no [[upstream]] of that name; there are: {known}"
    )]
    NoUpstream { model: String, upstream: String, known: String },
    #[error("{0}")]
    Other(String),
}

#[cfg(test)]
mod tests;
