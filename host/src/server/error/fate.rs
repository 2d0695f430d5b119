//! The one place that chooses the status of what failed, OpenAI's code for it, and
//! whether asking again may help.

use std::time::Duration;

use hyper::StatusCode;

use super::{ApiError, Retry, TOO_LONG, words};
use crate::embed::EmbedError;
use crate::plugin::PluginError;
use crate::server::answers::NoRoom;
use crate::server::body::BodyError;
use crate::upstream::{TextFault, UpstreamError};

/// The wait that is asked for where nothing better is known.
const RETRY_AFTER_UNKNOWN: Duration = Duration::from_secs(1);

/// What an error means to a client.
struct Fate(StatusCode, Option<&'static str>, Option<&'static str>, Retry);

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let Fate(status, code, param, retry) = match error {
            BodyError::TooLarge { .. } => code(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
            BodyError::Slow { .. } => code(StatusCode::REQUEST_TIMEOUT, "timeout"),
            BodyError::NoRoom => busy(RETRY_AFTER_UNKNOWN),
            BodyError::Encoded => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            BodyError::Broken => plain(StatusCode::BAD_REQUEST),
        };
        let ollama = matches!(error, BodyError::NoRoom).then(|| words::OLLAMA_BUSY.to_owned());
        Self { code, param, retry, ollama, ..Self::new(status, error.to_string()) }
    }
}

impl From<NoRoom> for ApiError {
    fn from(error: NoRoom) -> Self {
        let Fate(status, code, param, retry) = busy(RETRY_AFTER_UNKNOWN);
        let ollama = Some(words::OLLAMA_BUSY.to_owned());
        Self { code, param, retry, ollama, ..Self::new(status, error.to_string()) }
    }
}

impl From<&EmbedError> for ApiError {
    fn from(error: &EmbedError) -> Self {
        let Fate(status, code, param, retry) = fate(error);
        Self { code, param, retry, ollama: words::ollama(error), ..Self::new(status, words::plain(error)) }
    }
}

fn fate(error: &EmbedError) -> Fate {
    match error {
        EmbedError::UnknownModel(_) => no_model(),
        EmbedError::NoTexts | EmbedError::TooManyTexts { .. } | EmbedError::EmptyText { .. } => input(None),
        EmbedError::TooLong { .. } => input(Some(TOO_LONG)),
        EmbedError::Dimensions { .. } | EmbedError::NotMatryoshka { .. } => {
            Fate(StatusCode::BAD_REQUEST, None, Some("dimensions"), Retry::AsUsual)
        }
        // The same request would find the same.
        EmbedError::OtherSpace(_) => hopeless(StatusCode::CONFLICT, "space_changed"),
        EmbedError::Text { fault, .. } => text_fate(fault),
        EmbedError::Rejected { .. } => unprocessable("text_rejected"),
        EmbedError::Plugin(error) => plugin_fate(error),
        EmbedError::Overloaded { retry_after } => busy(*retry_after),
        // What was embedded meanwhile is kept, so that there is less to do the next time.
        EmbedError::Deadline(_) => again(StatusCode::GATEWAY_TIMEOUT, "timeout"),
        EmbedError::Upstream(error) => upstream_fate(error),
    }
}

fn text_fate(fault: &TextFault) -> Fate {
    match fault {
        TextFault::NoKnownToken => unprocessable("text_unknown"),
        TextFault::TooLong => input(Some(TOO_LONG)),
        // The upstream's failure, but one that it will have again.
        TextFault::Refused(_) => hopeless(StatusCode::BAD_GATEWAY, "text_refused"),
    }
}

fn plugin_fate(error: &PluginError) -> Fate {
    match error {
        PluginError::Unknown { .. } | PluginError::Role { .. } | PluginError::Load { .. } => {
            hopeless(StatusCode::INTERNAL_SERVER_ERROR, "plugin_missing")
        }
        PluginError::Refused { .. } => unprocessable("plugin_refused"),
        PluginError::Trapped { .. } | PluginError::Stopped { .. } | PluginError::Contract { .. } => {
            hopeless(StatusCode::INTERNAL_SERVER_ERROR, "plugin_failed")
        }
        PluginError::Busy { .. } => busy(RETRY_AFTER_UNKNOWN),
        PluginError::OutOfService { retry_after, .. } => Fate(
            StatusCode::SERVICE_UNAVAILABLE,
            Some("plugin_out_of_service"),
            None,
            Retry::After(*retry_after),
        ),
    }
}

fn upstream_fate(error: &UpstreamError) -> Fate {
    match error {
        UpstreamError::Connect { .. } => again(StatusCode::SERVICE_UNAVAILABLE, "upstream_unreachable"),
        // It is looked at anew meanwhile.
        UpstreamError::OtherSpace { .. } => again(StatusCode::SERVICE_UNAVAILABLE, "upstream_changed"),
        UpstreamError::Timeout { .. } => again(StatusCode::GATEWAY_TIMEOUT, "timeout"),
        UpstreamError::NoModel { .. } => no_model(),
        UpstreamError::NotEmbedding { .. } => {
            Fate(StatusCode::BAD_REQUEST, Some("model_not_supported"), Some("model"), Retry::Never)
        }
        UpstreamError::Busy { .. } => busy(RETRY_AFTER_UNKNOWN),
        UpstreamError::Refused { .. } | UpstreamError::Denied { .. } => {
            hopeless(StatusCode::BAD_GATEWAY, "upstream_refused")
        }
        UpstreamError::Fault { .. } | UpstreamError::Behind { .. } => {
            again(StatusCode::BAD_GATEWAY, "upstream_failed")
        }
        // A wrong address, or something else that answers there: it will do so again.
        UpstreamError::Nonsense { .. } | UpstreamError::NoGateway { .. } => {
            hopeless(StatusCode::BAD_GATEWAY, "upstream_failed")
        }
        UpstreamError::Count { .. } | UpstreamError::Dimensions { .. } | UpstreamError::Embedding { .. } => {
            hopeless(StatusCode::BAD_GATEWAY, "upstream_wrong")
        }
    }
}

fn plain(status: StatusCode) -> Fate {
    Fate(status, None, None, Retry::AsUsual)
}

fn code(status: StatusCode, code: &'static str) -> Fate {
    Fate(status, Some(code), None, Retry::AsUsual)
}

fn no_model() -> Fate {
    Fate(StatusCode::NOT_FOUND, Some("model_not_found"), Some("model"), Retry::AsUsual)
}

fn input(code: Option<&'static str>) -> Fate {
    Fate(StatusCode::BAD_REQUEST, code, Some("input"), Retry::AsUsual)
}

fn unprocessable(code: &'static str) -> Fate {
    Fate(StatusCode::UNPROCESSABLE_ENTITY, Some(code), Some("input"), Retry::AsUsual)
}

/// The same request may succeed, if not at once.
fn again(status: StatusCode, code: &'static str) -> Fate {
    Fate(status, Some(code), None, Retry::After(RETRY_AFTER_UNKNOWN))
}

/// The same request would fail again, though the status invites a retry.
fn hopeless(status: StatusCode, code: &'static str) -> Fate {
    Fate(status, Some(code), None, Retry::Never)
}

fn busy(retry_after: Duration) -> Fate {
    Fate(StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded"), None, Retry::After(retry_after))
}
