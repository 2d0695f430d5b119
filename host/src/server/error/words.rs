//! What clients are told of an error, in our words and, where its clients look for them, in Ollama's.

use crate::embed::EmbedError;
use crate::upstream::{TextFault, UpstreamError};

/// What Ollama answers when its queue is full, both spaces included.
pub(super) const OLLAMA_BUSY: &str = "server busy, please try again.  maximum pending requests exceeded";
const OLLAMA_TOO_LONG: &str = "the input length exceeds the context length";

pub(super) fn no_model(name: &str) -> String {
    format!("there is no model `{name}`: GET /v1/models lists those that are served")
}

/// What clients are told: an upstream's name, and not where it is; that a plugin failed, and
/// nothing from inside it. The rest is for the log.
pub(super) fn plain(error: &EmbedError) -> String {
    match error {
        EmbedError::UnknownModel(model) => no_model(model.as_str()),
        EmbedError::Upstream(cause) => upstream(cause),
        EmbedError::Plugin(cause) => cause.for_clients(),
        _ => error.to_string(),
    }
}

pub(in crate::server) fn upstream(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Connect { upstream, .. } => format!("cannot reach upstream `{upstream}`"),
        UpstreamError::Nonsense { upstream, .. } => {
            format!("upstream `{upstream}` answered with something else than embeddings")
        }
        UpstreamError::NoGateway { upstream, .. } => {
            format!("upstream `{upstream}` is no gateway to work with")
        }
        _ => error.to_string(),
    }
}

/// Ollama's own text, where clients are known to look for it.
pub(super) fn ollama(error: &EmbedError) -> Option<String> {
    match error {
        EmbedError::UnknownModel(model) => Some(ollama_no_model(model.as_str())),
        EmbedError::TooLong { .. } | EmbedError::Text { fault: TextFault::TooLong, .. } => {
            Some(OLLAMA_TOO_LONG.to_owned())
        }
        EmbedError::Overloaded { .. } => Some(OLLAMA_BUSY.to_owned()),
        EmbedError::Upstream(error) => match &**error {
            UpstreamError::NoModel { model, .. } => Some(ollama_no_model(model)),
            UpstreamError::Busy { .. } => Some(OLLAMA_BUSY.to_owned()),
            _ => None,
        },
        _ => None,
    }
}

fn ollama_no_model(name: &str) -> String {
    format!("model \"{name}\" not found, try pulling it first")
}
