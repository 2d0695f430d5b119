//! Errors as clients see them: those of a request itself are made here, those of
//! what became of it get their statuses in `error/fate.rs`.

mod fate;
mod shape;
pub(super) mod words;

use std::time::Duration;

use hyper::StatusCode;

use super::route::Route;

/// OpenAI's code for a text with more tokens than the model takes.
const TOO_LONG: &str = "context_length_exceeded";

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

    /// A word for logs: the error's code, else what is wrong of the request.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.code.or(self.param)
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
            ..Self::new(StatusCode::NOT_FOUND, words::no_model(name))
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
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::embed::EmbedError;
    use crate::server::route::Api;
    use crate::upstream::{TextFault, UpstreamError};

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
}
