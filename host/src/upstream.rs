//! One server that embeds, over its own protocol, with every answer checked.

mod card;
mod check;
pub mod embedded;
mod embergate;
mod http;
mod loading;
mod ollama;
mod openai;
mod place;
mod vectors;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::{Embedding, EmbeddingError, Purpose};

pub use self::card::{Card, PluginMark};
pub use self::check::KnownDimensions;
pub use self::embergate::space_of;
pub(crate) use self::http::ensure_crypto_provider;
pub use self::loading::{KeepAlive, Loading, Options};
pub use self::place::Place;

/// A `[[upstream]]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub name: String,
    pub kind: Kind,
    /// Not for `embedded`.
    #[serde(default)]
    pub url: Option<String>,
    /// A file with the key that the upstream wants as a bearer token.
    #[serde(default)]
    pub api_key_file: Option<std::path::PathBuf>,
    /// Calls under way at once, at most.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: usize,
    /// Texts in a call, at most; `batcher.max_texts` when absent, 256 for a gateway.
    #[serde(default)]
    pub max_texts: Option<usize>,
    /// Tokens in a call, at most; `batcher.max_tokens` when absent, eight times as many for a gateway.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Whether to look for its embedding models; left out, where no `[[model]]` names it.
    #[serde(default)]
    pub discover: Option<bool>,
    /// How long one call may take.
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
}

pub(crate) fn default_max_in_flight() -> usize {
    2
}
pub(crate) fn default_timeout() -> Duration {
    Duration::from_secs(60)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Ollama,
    Openai,
    /// Another gateway, which has prompts, preprocessors and lanes of its own.
    Embergate,
    Embedded,
}

/// What one upstream call asks for.
#[derive(Clone, Debug)]
pub struct Call {
    /// The model's name at the upstream.
    pub model: Arc<str>,
    pub texts: Vec<Arc<str>>,
    /// Whether the upstream may cut what is too long.
    pub truncate: bool,
    /// How the upstream is to have the model, where it loads it by itself.
    pub loading: Arc<Loading>,
    /// What all answers of this model agree on, whichever upstream gave them.
    pub dimensions: Arc<KnownDimensions>,
    pub manner: Manner,
    /// What a gateway said that its vectors are of when it was last agreed on.
    pub space: Option<String>,
}

/// What a gateway has to know of texts; others get them as their model should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub purpose: Purpose,
    /// The texts have been through their preprocessors.
    pub prepared: bool,
    /// They leave room for those of others.
    pub is_bulk: bool,
}

impl Manner {
    /// Texts that the model gets as they are.
    pub const PLAIN: Self = Self { purpose: Purpose::None, prepared: true, is_bulk: false };
}

/// What one upstream call brought.
#[derive(Clone, Debug)]
pub struct Answers {
    /// One for each text, in order: a text that alone cannot be embedded is an
    /// answer, not a fault.
    pub texts: Vec<Result<Embedding, TextFault>>,
    /// Tokens that the upstream has embedded, of all texts together, where it says so.
    pub n_tokens: Option<u64>,
}

/// What makes two upstreams' vectors of a model comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Changes when the vectors may.
    pub text: String,
    /// Read at the upstream, so that two that differ are two models. Otherwise
    /// the operator's word is taken for it.
    pub is_read: bool,
}

/// A model that an upstream says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    pub name: String,
    /// Another one means another model of the same name; nothing where the protocol has none.
    pub digest: Option<String>,
    /// Whether it embeds; nothing where the upstream does not say.
    pub embeds: Option<bool>,
    /// Tokens that it was made for, where the upstream says so.
    pub context: Option<u32>,
    /// How it is served there, where the upstream is a gateway.
    pub card: Option<Arc<Card>>,
}

/// Embeds texts somewhere. Implemented once for each protocol.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Embeds `call.texts`.
    async fn embed(&self, call: Call) -> Result<Answers, UpstreamError>;

    /// Asks what `model` is there.
    async fn identity(&self, model: &str) -> Result<Identity, UpstreamError>;

    /// Whether two models of one name differ in what [`Backend::identity`] says of them.
    fn tells_models_apart(&self) -> bool {
        true
    }

    /// Asks which models are there, those that do not embed among them.
    async fn models(&self) -> Result<Vec<Offered>, UpstreamError>;

    /// Asks whether the upstream answers at all, within a few seconds.
    async fn reach(&self) -> Result<(), UpstreamError>;
}

/// Makes the client for an upstream. Nothing is sent yet.
///
/// # Errors
/// Says which key of the table is wrong and what to write there.
pub fn connect(config: &Config) -> Result<Arc<dyn Backend>, String> {
    Ok(match config.kind {
        Kind::Ollama => Arc::new(ollama::Ollama::new(http::Peer::new(config)?)),
        Kind::Openai => Arc::new(openai::Openai::new(http::Peer::new(config)?)),
        Kind::Embergate => {
            Arc::new(embergate::Embergate::new(http::Peer::new(config)?, config.max_in_flight))
        }
        Kind::Embedded if config.url.is_some() => {
            return Err(format!("upstream `{}` is `embedded` and has a `url`: remove one", config.name));
        }
        Kind::Embedded => Arc::new(embedded::Embedded::new(config.name.clone())),
    })
}

/// Why one text has no embedding, whoever is asked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TextFault {
    #[error("no token of it is known to the model")]
    NoKnownToken,
    #[error("it is longer than the model takes")]
    TooLong,
    #[error("the upstream refused it: {0}")]
    Refused(String),
}

/// A call that brought no embeddings.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("cannot reach upstream `{upstream}` at {url}")]
    Connect {
        upstream: String,
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("upstream `{upstream}` did not answer within {within:?}")]
    Timeout { upstream: String, within: Duration },
    #[error("upstream `{upstream}` has no model `{model}`")]
    NoModel { upstream: String, model: String },
    #[error("`{model}` at upstream `{upstream}` is no embedding model")]
    NotEmbedding { upstream: String, model: String },
    #[error("upstream `{upstream}` is busy")]
    Busy { upstream: String },
    #[error("upstream `{upstream}` does not let this in: {message}")]
    Denied { upstream: String, message: String },
    #[error("gateway `{upstream}` failed: {message}")]
    Behind { upstream: String, message: String },
    #[error("upstream `{upstream}` at {url} is no gateway to work with: {reason}")]
    NoGateway { upstream: String, url: String, reason: String },
    #[error(
        "`{model}` at upstream `{upstream}` gives other vectors than before: it, its prompt, its limit or its plugins have changed there"
    )]
    OtherSpace { upstream: String, model: String },
    #[error("upstream `{upstream}` refused the call: {message}")]
    Refused { upstream: String, message: String },
    #[error("upstream `{upstream}` failed: {message}")]
    Fault { upstream: String, message: String },
    #[error("upstream `{upstream}` returned {got} embeddings for {sent} texts")]
    Count { upstream: String, sent: usize, got: usize },
    #[error("upstream `{upstream}` returned {got} dimensions where `{model}` has {want}")]
    Dimensions { upstream: String, model: String, want: usize, got: usize },
    #[error("upstream `{upstream}` returned no embedding for a text (number {index} of its batch)")]
    Embedding {
        upstream: String,
        /// In the batch, which is not the index in anybody's request.
        index: usize,
        #[source]
        source: EmbeddingError,
    },
    #[error("upstream `{upstream}` answered with something else than embeddings: {reason}")]
    Nonsense { upstream: String, reason: String },
}

impl UpstreamError {
    /// Whether the upstream said that one of the texts is the reason.
    pub fn blames_a_text(&self) -> bool {
        match self {
            Self::Refused { message, .. } => http::text_fault(message).is_some(),
            _ => false,
        }
    }

    /// Whether one of the texts may be the reason, such as one that crashes the
    /// model's runner. An answer that does not fit the call is never a text's doing.
    pub fn may_be_a_text(&self) -> bool {
        match self {
            Self::Fault { .. } | Self::Embedding { .. } => true,
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::NoModel { .. }
            | Self::NotEmbedding { .. }
            | Self::Busy { .. }
            | Self::Behind { .. }
            | Self::Denied { .. }
            | Self::NoGateway { .. }
            | Self::OtherSpace { .. }
            | Self::Refused { .. }
            | Self::Count { .. }
            | Self::Dimensions { .. }
            | Self::Nonsense { .. } => self.blames_a_text(),
        }
    }

    /// A word for metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "timeout",
            Self::NoModel { .. } => "no_model",
            Self::NotEmbedding { .. } => "not_embedding",
            Self::Busy { .. } => "busy",
            Self::Behind { .. } => "behind",
            Self::Denied { .. } => "denied",
            Self::NoGateway { .. } => "no_gateway",
            Self::OtherSpace { .. } => "other_space",
            Self::Refused { .. } => "refused",
            Self::Fault { .. } => "fault",
            Self::Count { .. } => "count",
            Self::Dimensions { .. } => "dimensions",
            Self::Embedding { .. } => "embedding",
            Self::Nonsense { .. } => "nonsense",
        }
    }

    /// All classes, for metrics that are made once.
    pub const CLASSES: [&'static str; 15] = [
        "connect",
        "timeout",
        "no_model",
        "not_embedding",
        "busy",
        "behind",
        "denied",
        "no_gateway",
        "other_space",
        "refused",
        "fault",
        "count",
        "dimensions",
        "embedding",
        "nonsense",
    ];
}
