//! From configuration to an embedder, or to an error that says what to write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Notify;

use crate::batcher::{self, Batcher};
use crate::cache;
use crate::model::ModelName;
use crate::plugin::{Plugin, PluginError, Plugins};
use crate::tokenizer::Tokenizer;
use crate::upstream::{self, Card, Kind, KnownDimensions, Loading, Place, embedded};

use super::agreement::{Agreement, Member};
use super::canary::Canary;
use super::catalog::Catalog;
use super::discovery::Discovery;
use super::families::{self, Family};
use super::health::watch::Watch;
use super::queues::Queues;
use super::readiness::Readiness;
use super::request::Way;
use super::send::{Sender, Senders, Template, Unasked};
use super::served::{Engine, Meters, Served};
use super::spaces::Spaces;
use super::{Config, Embedder, Model, ModelConfig, SetupError, health};

/// The upstream that the embedded model gets where no table declares one.
const EMBEDDED_UPSTREAM: &str = "embedded";
/// Texts in a call to a gateway, at most, where its table does not say: it spreads them itself.
const GATEWAY_TEXTS: usize = 256;
/// How many times the tokens of a call to a model it takes.
const GATEWAY_TOKENS: u32 = 8;

pub(super) fn embedder(
    config: Config,
    models: Vec<ModelConfig>,
    upstreams: Vec<upstream::Config>,
    cache: &cache::Config,
    batcher: batcher::Config,
    plugins: Arc<Plugins>,
) -> Result<Embedder, SetupError> {
    embedder_over(upstream::connect, config, models, upstreams, cache, batcher, plugins)
}

/// The same with upstreams that `client` makes.
pub(super) fn embedder_over(
    client: impl Fn(&upstream::Config) -> Result<Arc<dyn upstream::Backend>, String>,
    config: Config,
    mut models: Vec<ModelConfig>,
    mut upstreams: Vec<upstream::Config>,
    cache: &cache::Config,
    batcher: batcher::Config,
    plugins: Arc<Plugins>,
) -> Result<Embedder, SetupError> {
    if batcher.max_queued < config.max_texts {
        return Err(other(format!(
            "`batcher.max_queued` is {}, less than the {} texts of a request (`embed.max_texts`): raise one or lower the other",
            batcher.max_queued, config.max_texts
        )));
    }
    let (n_declared, n_models) = (upstreams.len(), models.len());
    notice_unused(&models, &upstreams);
    add_embedded(&mut models, &mut upstreams);
    let searched: Vec<usize> =
        (0..n_declared).filter(|index| discovers(&upstreams[*index], &models[..n_models])).collect();
    let senders = Senders { upstreams: connect(client, &upstreams, &config.health)?, doubt: Notify::new() };
    let slots: Vec<batcher::Upstream> = upstreams.iter().map(|table| slots_of(table, &batcher)).collect();
    let bulk_above = batcher.bulk_above;
    let batcher = Batcher::new(batcher, &slots, senders);
    let engine = Arc::new(Engine::new(batcher, cache));
    let declared = if n_declared == 0 { 0..upstreams.len() } else { 0..n_declared };
    let builder = Builder { upstreams, plugins, engine: engine.clone() };
    let mut configured = BTreeMap::new();
    for model in &models {
        let served = builder.model(model, None, None, false)?;
        if configured.insert(served.model.name.clone(), Arc::new(served)).is_some() {
            return Err(other(format!("there are two [[model]] tables of the name `{}`", model.name)));
        }
    }
    let catalog = Arc::new(Catalog::new(configured));
    let discovery = Discovery::new(&config, builder, &searched, catalog.clone());
    let (declared, readiness) = (declared.collect(), Readiness::default());
    let watch = Watch::new(&config.health, engine.clone(), catalog.clone(), discovery.renewer());
    Ok(Embedder { config, bulk_above, catalog, discovery, watch, engine, declared, readiness })
}

/// Whether the models of `upstream` are looked for: as it says, else where none of `models` names it.
pub(crate) fn discovers(upstream: &upstream::Config, models: &[ModelConfig]) -> bool {
    let is_named = || models.iter().any(|model| model.upstreams.contains(&upstream.name));
    upstream.kind != Kind::Embedded && upstream.discover.unwrap_or_else(|| !is_named())
}

/// What the batcher has to know of `upstream`.
fn slots_of(upstream: &upstream::Config, batcher: &batcher::Config) -> batcher::Upstream {
    let spreads = upstream.kind == Kind::Embergate;
    let of_gateways =
        |n_texts, n_tokens| if spreads { (Some(n_texts), Some(n_tokens)) } else { (None, None) };
    let (max_texts, max_tokens) =
        of_gateways(GATEWAY_TEXTS, batcher.max_tokens.saturating_mul(GATEWAY_TOKENS));
    batcher::Upstream {
        max_in_flight: upstream.max_in_flight,
        max_texts: upstream.max_texts.or(max_texts),
        max_tokens: upstream.max_tokens.or(max_tokens),
        spreads,
    }
}

/// Adds the embedded model unless its name is taken, and an upstream for it unless one of its
/// kind is declared. Where there is a gateway, the model of that name is the gateway's.
pub(crate) fn add_embedded(models: &mut Vec<ModelConfig>, upstreams: &mut Vec<upstream::Config>) {
    let declared = upstreams.iter().find(|table| table.kind == Kind::Embedded);
    let is_taken = models.iter().any(|model| model.name == embedded::MODEL_NAME);
    let is_there = declared.is_none() && upstreams.iter().any(|table| table.kind == Kind::Embergate);
    if is_taken || is_there {
        return;
    }
    let upstream = declared.map_or_else(|| free_name(upstreams), |table| table.name.clone());
    if declared.is_none() {
        upstreams.push(upstream::Config {
            name: upstream.clone(),
            kind: Kind::Embedded,
            url: None,
            api_key_file: None,
            discover: None,
            max_in_flight: std::thread::available_parallelism().map_or(2, Into::into),
            max_texts: None,
            max_tokens: None,
            timeout: std::time::Duration::from_secs(60),
        });
    }
    models.push(plain_table(embedded::MODEL_NAME, vec![upstream]));
}

/// A `[[model]]` table with nothing in it but what it must have.
pub(super) fn plain_table(name: &str, upstreams: Vec<String>) -> ModelConfig {
    ModelConfig {
        name: name.to_owned(),
        aliases: Vec::new(),
        upstream_name: None,
        upstreams,
        preprocess: Vec::new(),
        prompts: None,
        tokenizer: None,
        max_tokens: None,
        keep_alive: None,
        options: None,
        matryoshka: None,
        truncate: None,
    }
}

fn free_name(upstreams: &[upstream::Config]) -> String {
    let mut name = EMBEDDED_UPSTREAM.to_owned();
    while upstreams.iter().any(|table| table.name == name) {
        name.insert(0, '_');
    }
    name
}

/// An upstream that no model names and whose models nobody looks for does nothing.
fn notice_unused(models: &[ModelConfig], upstreams: &[upstream::Config]) {
    for table in upstreams.iter().filter(|table| table.discover == Some(false)) {
        if !models.iter().any(|model| model.upstreams.contains(&table.name)) {
            tracing::warn!(
                upstream = table.name,
                "no [[model]] table names this upstream, and `discover` is off, so nothing is asked of it: take `discover` out, or add a model with `upstreams = [\"{}\"]`",
                table.name
            );
        }
    }
}

fn connect(
    client: impl Fn(&upstream::Config) -> Result<Arc<dyn upstream::Backend>, String>,
    upstreams: &[upstream::Config],
    health: &health::Config,
) -> Result<Vec<Sender>, SetupError> {
    let mut senders: Vec<Sender> = Vec::with_capacity(upstreams.len());
    for table in upstreams {
        if senders.iter().any(|sender| sender.name == table.name) {
            return Err(other(format!("there are two [[upstream]] tables of the name `{}`", table.name)));
        }
        if table.max_in_flight == 0 || table.max_texts == Some(0) || table.max_tokens == Some(0) {
            return Err(other(format!(
                "upstream `{}`: `max_in_flight`, `max_texts` and `max_tokens` must be 1 or more",
                table.name
            )));
        }
        let backend = client(table).map_err(other)?;
        senders.push(Sender::new(table.name.clone(), Place::of(table), table.max_in_flight, backend, health));
    }
    Ok(senders)
}

/// What models are built from, those that are found later too.
pub(super) struct Builder {
    pub(super) upstreams: Vec<upstream::Config>,
    pub(super) plugins: Arc<Plugins>,
    pub(super) engine: Arc<Engine>,
}

impl Builder {
    /// The client of the upstream at `index`.
    pub(super) fn backend(&self, index: usize) -> Arc<dyn upstream::Backend> {
        self.engine.batcher.backend().upstreams[index].backend.clone()
    }

    /// Makes what serves the model of `table`, in the place of `before`, which is
    /// trusted to have had the same model all the time where `keep` is set. `card` is what the
    /// gateway says of it that serves it.
    pub(super) fn model(
        &self,
        table: &ModelConfig,
        card: Option<&Arc<Card>>,
        before: Option<&Served>,
        keep: bool,
    ) -> Result<Served, SetupError> {
        let generation = before.filter(|_| keep).map(|before| before.generation);
        let agreed = before.map(|before| before.agreement.last()).unwrap_or_default();
        let name = ModelName::new(&table.name).map_err(|error| other(format!("[[model]]: {error}")))?;
        for alias in &table.aliases {
            ModelName::new(alias)
                .map_err(|error| other(format!("[[model]] `{name}`, `aliases`: {error}")))?;
        }
        let at_upstream: Arc<str> = table.upstream_name.as_deref().unwrap_or(&table.name).into();
        let members = self.members(table, &at_upstream, card.is_some())?;
        let family = card.map_or_else(|| families::find(&at_upstream), |card| family_of(card));
        let tokenizer = match card {
            Some(card) => card.tokenizer.clone(),
            None => Arc::new(self.tokenizer(table, &members)?),
        };
        let options = table.options.clone().unwrap_or_default();
        let usual = family.max_tokens.map(|usual| usual.min(options.num_ctx.unwrap_or(usual)));
        let max_tokens = table.max_tokens.or(usual);
        let loading = Arc::new(Loading {
            keep_alive: table.keep_alive.unwrap_or_default(),
            options: options.for_texts_of(max_tokens),
        });
        let prompts = table.prompts.clone().unwrap_or_else(|| family.prompts.clone());
        if card.is_none() {
            tell(table, &family);
        }
        let preprocessors = self
            .preprocessors(table)
            .map_err(|error| other(format!("[[model]] `{name}`, `preprocess`: {error}")))?;
        let known_dimensions = Arc::<KnownDimensions>::default();
        if let Some(dimensions) = card.and_then(|card| card.dimensions) {
            known_dimensions.learn(dimensions);
        }
        let unasked = Arc::new(Unasked::new(&name));
        let canary = Canary { model: at_upstream.clone(), loading: loading.clone() };
        let agreement = Arc::new(Agreement::new(canary, members, agreed));
        let queues = Queues::open(card.is_some(), |name, way: Way| {
            let template = Template {
                model: at_upstream.clone(),
                way,
                max_tokens,
                loading: loading.clone(),
                dimensions: known_dimensions.clone(),
                tokenizer: tokenizer.clone(),
                unasked: unasked.clone(),
                agreement: agreement.clone(),
            };
            self.engine.batcher.open(&batcher::Queue { model: table.name.clone(), way: name }, template)
        });
        let meters = Meters::new(&name);
        let shelf = self.engine.cache.shelf(name.as_str());
        let model = Model {
            name,
            is_default_there: card.is_some_and(|card| card.is_default),
            there: card.map(|card| card.preprocessors.clone()),
            aliases: card.map_or(&table.aliases, |card| &card.aliases).clone(),
            upstream_name: at_upstream.to_string(),
            upstreams: table.upstreams.clone(),
            tokenizer,
            max_tokens,
            prompts,
            preprocess: match card {
                Some(card) => card.preprocessors.iter().map(|mark| mark.name.clone()).collect(),
                None => table.preprocess.clone(),
            },
            truncate: card.map_or(table.truncate, |card| card.truncate),
        };
        Ok(Served {
            model: Arc::new(model),
            table: table.clone(),
            card: card.cloned(),
            generation: generation.unwrap_or_else(|| self.engine.next_generation()),
            preprocessors,
            matryoshka: table.matryoshka.unwrap_or(family.matryoshka),
            known_dimensions,
            agreement,
            queues: Arc::new(queues),
            meters,
            shelf,
            spaces: Spaces::default(),
            is_used: AtomicBool::new(false),
        })
    }

    /// The plugins of `table` that serve at this moment.
    fn preprocessors(&self, table: &ModelConfig) -> Result<Vec<Arc<Plugin>>, PluginError> {
        table.preprocess.iter().map(|plugin| self.plugins.preprocessor(plugin)).collect()
    }

    /// `served` with the plugins that serve at this moment; nothing where it has them.
    pub(super) fn with_plugins(&self, served: &Served) -> Option<Served> {
        // One that has lost its role stays: whoever put it there was told.
        let preprocessors = self.preprocessors(&served.table).ok()?;
        let is_same = preprocessors.iter().zip(&served.preprocessors).all(|(new, old)| Arc::ptr_eq(new, old));
        (!is_same).then(|| served.with(preprocessors))
    }

    fn members(
        &self,
        table: &ModelConfig,
        at_upstream: &str,
        is_found: bool,
    ) -> Result<Vec<Member>, SetupError> {
        if table.upstreams.is_empty() {
            return Err(other(format!(
                "model `{}` names no upstream; there are: {}",
                table.name,
                self.known("")
            )));
        }
        let mut members: Vec<Member> = Vec::new();
        for upstream in &table.upstreams {
            let found = self.upstreams.iter().position(|one| one.name == *upstream);
            let index = found.ok_or_else(|| SetupError::NoUpstream {
                model: table.name.clone(),
                upstream: upstream.clone(),
                known: self.known(upstream),
            })?;
            if self.upstreams[index].kind == Kind::Embergate && !is_found {
                return Err(other(format!(
                    "model `{}` names the upstream `{upstream}`, which is a gateway: its models are found there and served as they are; take the [[model]] table out",
                    table.name
                )));
            }
            if self.upstreams[index].kind == Kind::Embedded && at_upstream != embedded::MODEL_NAME {
                return Err(other(format!(
                    "model `{}` is asked of the embedded upstream `{upstream}`, which has no `{at_upstream}`: set `upstream_name = \"{}\"`",
                    table.name,
                    embedded::MODEL_NAME
                )));
            }
            if members.iter().all(|member| member.index != index) {
                let backend = self.backend(index);
                members.push(Member { index, name: upstream.clone(), backend });
            }
        }
        Ok(members)
    }

    /// The file of the table, the built-in one of the embedded model, else an estimate.
    fn tokenizer(&self, table: &ModelConfig, members: &[Member]) -> Result<Tokenizer, SetupError> {
        let is_embedded = members.iter().any(|member| self.upstreams[member.index].kind == Kind::Embedded);
        match &table.tokenizer {
            Some(path) => Tokenizer::from_file(path),
            None if is_embedded => Tokenizer::from_bytes(embedded::MODEL_NAME, embedded::TOKENIZER),
            None => Ok(Tokenizer::estimate()),
        }
        .map_err(|error| other(format!("model `{}`: {error}", table.name)))
    }

    /// The names of all upstreams, and which of them was probably meant.
    fn known(&self, wanted: &str) -> String {
        let names: Vec<String> = self.upstreams.iter().map(|table| format!("`{}`", table.name)).collect();
        let similarity = |name: &str| strsim::jaro_winkler(name, wanted);
        let nearest = self
            .upstreams
            .iter()
            .map(|table| table.name.as_str())
            .filter(|name| 0.8 <= similarity(name))
            .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        match nearest {
            Some(nearest) => format!("{} (did you mean `{nearest}`?)", names.join(", ")),
            None => names.join(", "),
        }
    }
}

/// What a gateway says of a model, in the words of families.
fn family_of(card: &Card) -> Family {
    let prompts = super::Prompts { query: card.query_prompt.clone(), document: card.document_prompt.clone() };
    Family { prompts, matryoshka: card.matryoshka, max_tokens: card.max_tokens }
}

/// A prompt that was put there by name alone should not be a secret.
fn tell(table: &ModelConfig, family: &Family) {
    if table.prompts.is_none() && family.prompts != super::Prompts::default() {
        tracing::info!(
            model = table.name,
            query = family.prompts.query,
            document = family.prompts.document,
            "prompts come from the built-in table"
        );
    }
}

fn other(message: String) -> SetupError {
    SetupError::Other(message)
}
