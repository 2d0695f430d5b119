//! Why a request or one of its texts has no embedding, and why there is no embedder at all.

use std::sync::Arc;
use std::time::Duration;

use crate::model::ModelName;
use crate::plugin::PluginError;
use crate::upstream::{TextFault, UpstreamError};

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
    #[error(
        "`{0}` gives other vectors than those that are asked for: it, its prompt, its limit or its plugins have changed"
    )]
    OtherSpace(ModelName),
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

impl EmbedError {
    pub(super) fn upstream(error: UpstreamError) -> Self {
        Self::Upstream(Arc::new(error))
    }

    /// Whether an upstream has lost a model that it was known to have.
    pub(super) fn is_missing_model(&self) -> bool {
        matches!(self, Self::Upstream(error) if matches!(**error, UpstreamError::NoModel { .. }))
    }
}

/// Why one text has no embedding, whoever asked for it.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    TooLong { got: u32, max: u32 },
    Text(TextFault),
    Rejected { plugin: String, reason: String },
    Plugin(Arc<PluginError>),
    Overloaded { retry_after: Duration },
    Upstream(Arc<UpstreamError>),
}

impl Failure {
    /// The gateway stopped, or lost the text by a fault of its own: asking again may help.
    pub(super) fn lost() -> Self {
        Self::Overloaded { retry_after: Duration::from_secs(1) }
    }

    /// The same as the error of a request that has the text at `index`.
    pub(super) fn of_text(self, index: usize, model: &ModelName) -> EmbedError {
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
