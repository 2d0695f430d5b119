//! An error in the shape of each API.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{ApiError, Retry};
use crate::server::route::Api;
use crate::server::wire;

/// The shortest wait that is asked for.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// OpenAI's clients give up when asked to wait for longer than two minutes.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

impl ApiError {
    /// The error in the shape of `api`.
    pub(in crate::server) fn into_response(self, api: Api) -> Response<Full<Bytes>> {
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
                let wait = wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
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
        wire::to_json(&Body { error })
    }

    pub(super) fn ollama_body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'e> {
            error: &'e str,
        }
        wire::to_json(&Body { error: self.ollama.as_deref().unwrap_or(&self.message) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
