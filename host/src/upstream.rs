//! One server that embeds, over its own protocol, with every answer checked.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::{Embedding, EmbeddingError};

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
    Embedded,
}

/// What one upstream call asks for.
#[derive(Clone, Debug)]
pub struct Call {
    /// The model's name at the upstream.
    pub model: String,
    pub texts: Vec<String>,
    /// Whether the upstream may cut what is too long.
    pub truncate: bool,
}

/// Embeds texts somewhere. Implemented once for each protocol.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Embeds `call.texts`, answering in the same order, one result for each:
    /// a text that alone cannot be embedded is an answer, not a fault.
    async fn embed(&self, call: Call) -> Result<Vec<Result<Embedding, TextFault>>, UpstreamError>;
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
        source: reqwest::Error,
    },
    #[error("upstream `{upstream}` did not answer within {within:?}")]
    Timeout { upstream: String, within: Duration },
    #[error("upstream `{upstream}` has no model `{model}`")]
    NoModel { upstream: String, model: String },
    #[error("`{model}` at upstream `{upstream}` is no embedding model")]
    NotEmbedding { upstream: String, model: String },
    #[error("upstream `{upstream}` is busy")]
    Busy { upstream: String },
    #[error("upstream `{upstream}` refused the call: {message}")]
    Refused { upstream: String, message: String },
    #[error("upstream `{upstream}` failed: {message}")]
    Fault { upstream: String, message: String },
    #[error("upstream `{upstream}` returned {got} embeddings for {sent} texts")]
    Count { upstream: String, sent: usize, got: usize },
    #[error("upstream `{upstream}` returned {got} dimensions where `{model}` has {want}")]
    Dimensions { upstream: String, model: String, want: usize, got: usize },
    #[error("upstream `{upstream}` returned no embedding for text {index}")]
    Embedding {
        upstream: String,
        index: usize,
        #[source]
        source: EmbeddingError,
    },
    #[error("upstream `{upstream}` answered with something else than embeddings: {reason}")]
    Nonsense { upstream: String, reason: String },
}
