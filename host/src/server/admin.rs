//! The admin API: the models that are served, the configuration, and what keys were used for.

use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::keys::{Keys, Right, Usage};
use super::wire::{self, json_response};
use crate::embed::{Embedder, Model};

/// Answers `GET /admin/models`.
pub(super) fn models(embedder: &Embedder) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct List<'m> {
        models: Vec<ModelBody<'m>>,
    }
    let models = embedder.models();
    let models = models.iter().map(|model| ModelBody::new(model, embedder)).collect();
    json_response(wire::to_json(&List { models }))
}

/// Answers `GET /admin/config` with `toml`, as `config show` prints it.
pub(super) fn config(toml: &Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(toml.clone()));
    let content_type = HeaderValue::from_static("application/toml; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Answers `GET /admin/keys`.
pub(super) fn keys(keys: &Keys) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct List<'k> {
        keys: Vec<KeyBody<'k>>,
    }
    json_response(wire::to_json(&List { keys: keys.usage().map(KeyBody::from).collect() }))
}

#[derive(Serialize)]
struct ModelBody<'m> {
    name: &'m str,
    /// Its name at the upstreams.
    upstream_name: &'m str,
    upstreams: &'m [String],
    prompts: PromptsBody<'m>,
    preprocess: &'m [String],
    max_tokens: Option<u32>,
    /// Null until an upstream has answered once.
    dimensions: Option<usize>,
    tokenizer: &'static str,
}

#[derive(Serialize)]
struct PromptsBody<'m> {
    query: &'m str,
    document: &'m str,
}

impl<'m> ModelBody<'m> {
    fn new(model: &'m Model, embedder: &Embedder) -> Self {
        Self {
            name: model.name.as_str(),
            upstream_name: &model.upstream_name,
            upstreams: &model.upstreams,
            prompts: PromptsBody { query: &model.prompts.query, document: &model.prompts.document },
            preprocess: &model.preprocess,
            max_tokens: model.max_tokens,
            dimensions: embedder.known_dimensions(&model.name),
            tokenizer: if model.tokenizer.is_exact() { "exact" } else { "estimate" },
        }
    }
}

#[derive(Serialize)]
struct KeyBody<'k> {
    name: &'k str,
    rights: Vec<&'static str>,
    requests_per_minute: Option<u32>,
    texts_per_minute: Option<u32>,
    requests: u64,
    texts: u64,
    refused: u64,
    /// RFC 3339, to the second; null before the first use.
    last_used: Option<String>,
}

impl<'k> From<Usage<'k>> for KeyBody<'k> {
    fn from(usage: Usage<'k>) -> Self {
        Self {
            name: usage.name,
            rights: usage.rights.iter().copied().map(Right::as_str).collect(),
            requests_per_minute: usage.requests_per_minute,
            texts_per_minute: usage.texts_per_minute,
            requests: usage.n_requests,
            texts: usage.n_texts,
            refused: usage.n_refused,
            last_used: usage.last_used.map(in_rfc_3339),
        }
    }
}

fn in_rfc_3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_key_is_told_by_name_and_time() {
        let usage = Usage {
            name: "app",
            rights: &[Right::Embed, Right::Admin],
            requests_per_minute: Some(60),
            texts_per_minute: None,
            n_requests: 7,
            n_texts: 12,
            n_refused: 1,
            last_used: Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000)),
        };
        assert_eq!(
            String::from_utf8(wire::to_json(&KeyBody::from(usage))).unwrap(),
            r#"{"name":"app","rights":["embed","admin"],"requests_per_minute":60,"texts_per_minute":null,"requests":7,"texts":12,"refused":1,"last_used":"2001-09-09T01:46:40Z"}"#
        );
    }
}
