//! Texts → embeddings: admission, cache, flights, plugins, prompt, batcher, and
//! every vector back in the place of its text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::model::{Embedding, ModelName, Purpose};
use crate::plugin::{PluginError, Plugins};
use crate::tokenizer::Tokenizer;
use crate::upstream::{TextFault, UpstreamError};

/// A `[[model]]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// What clients ask for.
    pub name: String,
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
}

/// What is put before a text, by its purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prompts {
    pub query: String,
    pub document: String,
}

/// The `[embed]` table: bounds of a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Texts in one request, at most.
    pub max_texts: usize,
    /// How long a request may take where the client sets no time.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_texts: 2048, timeout: Duration::from_secs(60) }
    }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Interactive,
    Bulk,
}

/// One embedding for each text, in the order of the request.
#[derive(Clone, Debug)]
pub struct EmbedAnswer {
    pub embeddings: Vec<Embedding>,
    /// Of all texts together; the same from cache and upstream.
    pub n_tokens: u64,
    /// Texts answered from the cache.
    pub n_hits: usize,
    /// Indexes of texts that were cut.
    pub truncated: Vec<usize>,
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

/// One model as it is served.
pub struct Model {
    pub name: ModelName,
    pub tokenizer: Arc<Tokenizer>,
    /// Tokens that the model takes, special ones included; unknown where nobody said.
    pub max_tokens: Option<u32>,
    pub prompts: Prompts,
    pub preprocess: Vec<String>,
}

/// The gateway's own path from texts to embeddings.
pub struct Embedder {}

impl Embedder {
    /// Puts models, upstreams and plugins together; starts what works in the background.
    pub fn spawn(
        _config: Config,
        _models: Vec<ModelConfig>,
        _upstreams: Vec<crate::upstream::Config>,
        _cache: crate::cache::Config,
        _batcher: crate::batcher::Config,
        _plugins: Arc<Plugins>,
    ) -> Result<Arc<Self>, SetupError> {
        todo!()
    }

    pub async fn embed(&self, _request: EmbedRequest) -> Result<EmbedAnswer, EmbedError> {
        todo!()
    }

    pub fn model(&self, _name: &ModelName) -> Option<&Model> {
        todo!()
    }

    pub fn models(&self) -> &BTreeMap<ModelName, Model> {
        todo!()
    }

    /// Asks an upstream once, then remembers.
    pub async fn dimensions(&self, _model: &ModelName) -> Result<usize, EmbedError> {
        todo!()
    }

    /// Fingerprint of everything but the text that changes a vector, for texts
    /// of `purpose` that are prepared or not: 32 hexadecimal digits.
    pub async fn space(
        &self,
        _model: &ModelName,
        _purpose: Purpose,
        _prepared: bool,
    ) -> Result<String, EmbedError> {
        todo!()
    }

    /// Whether any upstream of any model can be asked, and if not, why.
    pub async fn ready(&self) -> Result<(), String> {
        todo!()
    }

    /// Takes no more requests, lets those under way end, stops the rest at `deadline`.
    pub async fn shutdown(&self, _deadline: Instant) {
        todo!()
    }
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
