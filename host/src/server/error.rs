//! Errors as clients see them: the one place that chooses statuses, and the shape of each API.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::answers::NoRoom;
use super::body::BodyError;
use super::route::{Api, Route};
use crate::embed::EmbedError;
use crate::plugin::PluginError;
use crate::upstream::{TextFault, UpstreamError};

/// The wait that is asked for where nothing better is known.
const RETRY_AFTER_UNKNOWN: Duration = Duration::from_secs(1);

/// OpenAI's clients give up when asked to wait for longer than two minutes.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why a request has no answer, for any API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    code: Option<&'static str>,
    param: Option<&'static str>,
    message: String,
    retry: Retry,
    allow: Option<&'static str>,
    /// A limit of the client's own is used up, and not the gateway full.
    is_own_limit: bool,
    /// What Ollama says and its clients look for.
    ollama: Option<String>,
}

/// What a client had better do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// As the status says: of those given so, clients repeat 408 alone.
    AsUsual,
    /// The same request would fail again.
    Never,
    After(Duration),
}

/// What an error means to a client.
struct Fate(StatusCode, Option<&'static str>, Option<&'static str>, Retry);

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let (message, retry) = (message.into(), Retry::AsUsual);
        Self {
            status,
            code: None,
            param: None,
            message,
            retry,
            allow: None,
            is_own_limit: false,
            ollama: None,
        }
    }

    /// The request is wrong in the field or header `param`.
    pub(super) fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// The body is nothing that could have fields.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The texts of a body are longer than a body may be.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self { code: Some("request_too_large"), ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, message) }
    }

    /// What Ollama says in this case, where its clients look for it.
    pub(super) fn in_ollamas_words(self, words: impl Into<String>) -> Self {
        Self { ollama: Some(words.into()), ..self }
    }

    pub(super) fn no_model(name: &str) -> Self {
        Self {
            code: Some("model_not_found"),
            param: Some("model"),
            ..Self::new(StatusCode::NOT_FOUND, no_model_words(name))
        }
    }

    pub(super) fn no_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is nothing at `{path}`"))
    }

    pub(super) fn wrong_method(route: Route, method: &hyper::Method) -> Self {
        let allow = route.methods().allow;
        let methods = allow.trim_end_matches(", OPTIONS");
        let message = format!("`{}` does not take {method}: use {methods}", route.label());
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    /// A fault of the gateway's own, which the same request would find again.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self { retry: Retry::Never, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, message) }
    }

    /// The gateway will never do this; asking again is no use.
    pub(super) fn not_served(message: impl Into<String>) -> Self {
        Self { retry: Retry::Never, ..Self::new(StatusCode::NOT_IMPLEMENTED, message) }
    }

    /// The error as Ollama's older API has it, which calls a text that is too long a failure of its own.
    pub(super) fn in_the_older_api(self) -> Self {
        match self.code {
            Some(TOO_LONG) => Self { status: StatusCode::INTERNAL_SERVER_ERROR, retry: Retry::Never, ..self },
            _ => self,
        }
    }

    /// A request that is not even looked at, for `status`.
    pub(super) fn refused(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// Nobody knows who asks.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self { code: Some("invalid_api_key"), ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// The client's key may not do this.
    pub(super) fn insufficient_rights(message: impl Into<String>) -> Self {
        Self { code: Some("insufficient_rights"), ..Self::forbidden(message) }
    }

    /// A limit of the client's key is used up: for `wait`, or for ever.
    pub(super) fn over_limit(message: impl Into<String>, wait: Option<Duration>) -> Self {
        Self {
            code: Some("rate_limit_exceeded"),
            retry: wait.map_or(Retry::Never, Retry::After),
            is_own_limit: true,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, message)
        }
    }

    /// The error in the shape of `api`.
    pub(super) fn into_response(self, api: Api) -> Response<Full<Bytes>> {
        let status = self.status_for(api);
        let (content_type, body) = match api {
            Api::Openai => ("application/json", self.openai_body(status)),
            Api::Ollama => ("application/json", self.ollama_body()),
            Api::Plain => ("text/plain; charset=utf-8", format!("{}\n", self.message).into_bytes()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match self.retry {
            Retry::AsUsual => {}
            Retry::Never => drop(headers.insert("x-should-retry", HeaderValue::from_static("false"))),
            Retry::After(wait) => {
                let wait = wait.clamp(RETRY_AFTER_UNKNOWN, RETRY_AFTER_MAX);
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000)));
                headers.insert("retry-after-ms", HeaderValue::from(millis));
                headers.insert("x-should-retry", HeaderValue::from_static("true"));
            }
        }
        response
    }

    /// Ollama says by 503 that it is full, where OpenAI says it by 429.
    fn status_for(&self, api: Api) -> StatusCode {
        match api {
            Api::Ollama if self.status == StatusCode::TOO_MANY_REQUESTS && !self.is_own_limit => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Api::Ollama | Api::Openai | Api::Plain => self.status,
        }
    }

    fn openai_body(&self, status: StatusCode) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'e> {
            error: Inner<'e>,
        }
        #[derive(Serialize)]
        struct Inner<'e> {
            message: &'e str,
            r#type: &'static str,
            param: Option<&'static str>,
            code: Option<&'static str>,
        }
        let r#type = match status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "api_error",
        };
        let error = Inner { message: &self.message, r#type, param: self.param, code: self.code };
        super::wire::to_json(&Body { error })
    }

    fn ollama_body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'e> {
            error: &'e str,
        }
        super::wire::to_json(&Body { error: self.ollama.as_deref().unwrap_or(&self.message) })
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let Fate(status, code, param, retry) = match error {
            BodyError::TooLarge { .. } => code(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
            BodyError::Slow { .. } => code(StatusCode::REQUEST_TIMEOUT, "timeout"),
            BodyError::NoRoom => busy(RETRY_AFTER_UNKNOWN),
            BodyError::Encoded => plain(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            BodyError::Broken => plain(StatusCode::BAD_REQUEST),
        };
        let ollama = matches!(error, BodyError::NoRoom).then(|| OLLAMA_BUSY.to_owned());
        Self { code, param, retry, ollama, ..Self::new(status, error.to_string()) }
    }
}

impl From<NoRoom> for ApiError {
    fn from(error: NoRoom) -> Self {
        let Fate(status, code, param, retry) = busy(RETRY_AFTER_UNKNOWN);
        let ollama = Some(OLLAMA_BUSY.to_owned());
        Self { code, param, retry, ollama, ..Self::new(status, error.to_string()) }
    }
}

impl From<&EmbedError> for ApiError {
    fn from(error: &EmbedError) -> Self {
        let Fate(status, code, param, retry) = fate(error);
        Self { code, param, retry, ollama: ollama_words(error), ..Self::new(status, client_words(error)) }
    }
}

fn no_model_words(name: &str) -> String {
    format!("there is no model `{name}`: GET /v1/models lists those that are served")
}

/// What clients are told: an upstream's name, and not where it is. That is for the log.
fn client_words(error: &EmbedError) -> String {
    match error {
        EmbedError::UnknownModel(model) => no_model_words(model.as_str()),
        EmbedError::Upstream(cause) => match &**cause {
            UpstreamError::Connect { upstream, .. } => format!("cannot reach upstream `{upstream}`"),
            UpstreamError::Nonsense { upstream, .. } => {
                format!("upstream `{upstream}` answered with something else than embeddings")
            }
            _ => error.to_string(),
        },
        _ => error.to_string(),
    }
}

fn fate(error: &EmbedError) -> Fate {
    match error {
        EmbedError::UnknownModel(_) => {
            Fate(StatusCode::NOT_FOUND, Some("model_not_found"), Some("model"), Retry::AsUsual)
        }
        EmbedError::NoTexts | EmbedError::TooManyTexts { .. } | EmbedError::EmptyText { .. } => input(None),
        EmbedError::TooLong { .. } => input(Some(TOO_LONG)),
        EmbedError::Dimensions { .. } | EmbedError::NotMatryoshka { .. } => {
            Fate(StatusCode::BAD_REQUEST, None, Some("dimensions"), Retry::AsUsual)
        }
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
    }
}

fn upstream_fate(error: &UpstreamError) -> Fate {
    match error {
        UpstreamError::Connect { .. } => again(StatusCode::SERVICE_UNAVAILABLE, "upstream_unreachable"),
        UpstreamError::Timeout { .. } => again(StatusCode::GATEWAY_TIMEOUT, "timeout"),
        UpstreamError::NoModel { .. } => {
            Fate(StatusCode::NOT_FOUND, Some("model_not_found"), Some("model"), Retry::AsUsual)
        }
        UpstreamError::NotEmbedding { .. } => {
            Fate(StatusCode::BAD_REQUEST, Some("model_not_supported"), Some("model"), Retry::Never)
        }
        UpstreamError::Busy { .. } => busy(RETRY_AFTER_UNKNOWN),
        UpstreamError::Refused { .. } => hopeless(StatusCode::BAD_GATEWAY, "upstream_refused"),
        UpstreamError::Fault { .. } => again(StatusCode::BAD_GATEWAY, "upstream_failed"),
        // A wrong address, or something else that answers there: it will do so again.
        UpstreamError::Nonsense { .. } => hopeless(StatusCode::BAD_GATEWAY, "upstream_failed"),
        UpstreamError::Count { .. } | UpstreamError::Dimensions { .. } | UpstreamError::Embedding { .. } => {
            hopeless(StatusCode::BAD_GATEWAY, "upstream_wrong")
        }
    }
}

/// OpenAI's code for a text with more tokens than the model takes.
const TOO_LONG: &str = "context_length_exceeded";

/// What Ollama answers when its queue is full, both spaces included.
const OLLAMA_BUSY: &str = "server busy, please try again.  maximum pending requests exceeded";
const OLLAMA_TOO_LONG: &str = "the input length exceeds the context length";

/// Ollama's own text, where clients are known to look for it.
fn ollama_words(error: &EmbedError) -> Option<String> {
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

fn plain(status: StatusCode) -> Fate {
    Fate(status, None, None, Retry::AsUsual)
}

fn code(status: StatusCode, code: &'static str) -> Fate {
    Fate(status, Some(code), None, Retry::AsUsual)
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

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;

    /// What Ollama's clients read, which must be in an object of nothing else.
    pub(in crate::server) fn told_by_ollama(error: ApiError) -> String {
        let body: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(&error.ollama_body()).unwrap();
        assert_eq!(body.len(), 1);
        body["error"].clone()
    }

    #[track_caller]
    fn check(error: EmbedError, api: Api, status: u16, headers: &[(&str, &str)]) {
        check_response(ApiError::from(&error), api, status, headers);
    }

    #[track_caller]
    fn check_response(error: ApiError, api: Api, status: u16, headers: &[(&str, &str)]) {
        let response = error.into_response(api);
        assert_eq!(response.status(), status);
        for name in ["retry-after", "retry-after-ms", "x-should-retry", "www-authenticate"] {
            let want = headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            assert_eq!(response.headers().get(name).map(|value| value.to_str().unwrap()), want, "{name}");
        }
    }

    fn overloaded(millis: u64) -> EmbedError {
        EmbedError::Overloaded { retry_after: Duration::from_millis(millis) }
    }

    fn wait(seconds: &'static str, millis: &'static str) -> [(&'static str, &'static str); 3] {
        [("retry-after", seconds), ("retry-after-ms", millis), ("x-should-retry", "true")]
    }

    #[test]
    fn overload_is_429_for_openai_and_503_for_ollama() {
        check(overloaded(2000), Api::Openai, 429, &wait("2", "2000"));
        check(overloaded(2000), Api::Ollama, 503, &wait("2", "2000"));
    }

    #[test]
    fn a_client_s_own_limit_is_429_for_both() {
        for api in [Api::Openai, Api::Ollama] {
            let wait_for = Duration::from_millis(1500);
            check_response(ApiError::over_limit("", Some(wait_for)), api, 429, &wait("2", "1500"));
            check_response(ApiError::over_limit("", None), api, 429, &[("x-should-retry", "false")]);
        }
    }

    #[test]
    fn who_is_not_known_is_told_how_to_be() {
        for api in [Api::Openai, Api::Ollama, Api::Plain] {
            check_response(ApiError::unauthorized(""), api, 401, &[("www-authenticate", "Bearer")]);
            check_response(ApiError::insufficient_rights(""), api, 403, &[]);
        }
    }

    #[test]
    fn a_wait_is_rounded_up_and_within_a_second_and_a_minute() {
        check(overloaded(0), Api::Openai, 429, &wait("1", "1000"));
        check(overloaded(2001), Api::Openai, 429, &wait("3", "2001"));
        check(overloaded(500_000), Api::Openai, 429, &wait("60", "60000"));
    }

    #[test]
    fn a_failure_that_would_repeat_says_so() {
        let fault = TextFault::Refused("NaN".into());
        check(EmbedError::Text { index: 3, fault }, Api::Openai, 502, &[("x-should-retry", "false")]);
        let count = UpstreamError::Count { upstream: "gpu".into(), sent: 2, got: 1 };
        check(EmbedError::Upstream(Arc::new(count)), Api::Openai, 502, &[("x-should-retry", "false")]);
    }

    #[test]
    fn a_failure_that_may_pass_says_when_to_come_back() {
        let upstream = || "gpu".to_owned();
        let within = Duration::from_secs(60);
        let source = std::io::Error::other("Connection refused").into();
        for (error, status) in [
            (UpstreamError::Connect { upstream: upstream(), url: "http://h".into(), source }, 503),
            (UpstreamError::Timeout { upstream: upstream(), within }, 504),
            (UpstreamError::Fault { upstream: upstream(), message: "EOF".into() }, 502),
        ] {
            check(EmbedError::Upstream(Arc::new(error)), Api::Openai, status, &wait("1", "1000"));
        }
        check(EmbedError::Deadline(within), Api::Openai, 504, &wait("1", "1000"));
    }

    /// OpenAI's clients repeat these by themselves unless they are told.
    #[test]
    fn whatever_clients_would_repeat_is_told_whether_to() {
        let upstream = || "gpu".to_owned();
        let every = [
            UpstreamError::NoModel { upstream: upstream(), model: "m".into() },
            UpstreamError::NotEmbedding { upstream: upstream(), model: "m".into() },
            UpstreamError::Busy { upstream: upstream() },
            UpstreamError::Refused { upstream: upstream(), message: "no".into() },
            UpstreamError::Fault { upstream: upstream(), message: "EOF".into() },
            UpstreamError::Nonsense { upstream: upstream(), reason: "html".into() },
            UpstreamError::Count { upstream: upstream(), sent: 2, got: 1 },
        ];
        let errors = every.into_iter().map(|error| EmbedError::Upstream(Arc::new(error)));
        for error in errors.map(|error| ApiError::from(&error)).chain([ApiError::internal("lost")]) {
            let (said, response) = (format!("{error:?}"), error.into_response(Api::Openai));
            let repeats = matches!(response.status().as_u16(), 408 | 409 | 429 | 500..);
            assert!(!repeats || response.headers().contains_key("x-should-retry"), "{said}");
        }
    }

    #[test]
    fn a_text_that_no_model_knows_is_the_clients() {
        let fault = TextFault::NoKnownToken;
        check(EmbedError::Text { index: 0, fault }, Api::Openai, 422, &[]);
        check(EmbedError::EmptyText { index: 0 }, Api::Ollama, 400, &[]);
    }

    #[test]
    fn clients_are_not_told_where_an_upstream_is() {
        let url = "http://10.0.0.7:11434".to_owned();
        let source = std::io::Error::other("Connection refused").into();
        let connect = UpstreamError::Connect { upstream: "gpu".into(), url: url.clone(), source };
        let nonsense =
            UpstreamError::Nonsense { upstream: "gpu".into(), reason: format!("it redirects to `{url}`") };
        for error in [connect, nonsense] {
            let answer = ApiError::from(&EmbedError::Upstream(Arc::new(error)));
            assert!(answer.message.contains("`gpu`") && !answer.message.contains("10.0.0.7"), "{answer:?}");
        }
    }

    #[test]
    fn only_a_text_that_is_too_long_is_a_failure_in_the_older_api() {
        let older = |error: EmbedError| ApiError::from(&error).in_the_older_api().into_response(Api::Ollama);
        let long = older(EmbedError::Text { index: 0, fault: TextFault::TooLong });
        assert_eq!(long.status(), 500);
        assert_eq!(long.headers()["x-should-retry"], "false");
        assert_eq!(older(EmbedError::EmptyText { index: 0 }).status(), 400);
    }

    #[test]
    fn each_api_has_its_own_shape() {
        let error = ApiError::invalid("input", "`input` is missing");
        assert_eq!(
            String::from_utf8(error.openai_body(StatusCode::BAD_REQUEST)).unwrap(),
            r#"{"error":{"message":"`input` is missing","type":"invalid_request_error","param":"input","code":null}}"#
        );
        assert_eq!(String::from_utf8(error.ollama_body()).unwrap(), r#"{"error":"`input` is missing"}"#);
    }
}
