//! The admin API: the models that are served, the upstreams, the plugins, the configuration,
//! what keys were used for, and the cache.

use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::error::ApiError;
use super::keys::{Keys, Right, Usage};
use super::route::percent_decoded;
use super::wire::{self, json_response};
use crate::cache::Forgotten;
use crate::embed::{Embedder, Lane, Model, ModelStatus, Standing, UpstreamStatus};
use crate::model::ModelName;

mod plugins;

pub(super) use plugins::plugins;

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

/// Answers `GET /admin/upstreams`.
pub(super) fn upstreams(embedder: &Embedder) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct List {
        upstreams: Vec<UpstreamBody>,
    }
    let upstreams = embedder.upstreams().into_iter().map(UpstreamBody::from).collect();
    json_response(wire::to_json(&List { upstreams }))
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

/// Answers `DELETE /admin/cache`, of all models or of the one that `?model=` names.
pub(super) async fn forget(
    embedder: &Embedder,
    query: Option<&str>,
) -> Result<Response<Full<Bytes>>, ApiError> {
    #[derive(Serialize)]
    struct Deleted<'m> {
        /// Null where all models were meant.
        model: Option<&'m str>,
        entries: u64,
        bytes: u64,
    }
    let model = match model_in(query)? {
        None => None,
        Some(asked) => match embedder.resolve(&asked).filter(|_| !asked.is_empty()) {
            Some(resolved) => Some(resolved.name),
            None => return Err(ApiError::no_model(&asked)),
        },
    };
    let Forgotten { n_entries: entries, n_bytes: bytes } = embedder.forget(model.clone()).await;
    let shown = model.as_ref().map(ModelName::as_str);
    tracing::info!(model = shown, entries, bytes, "the cache was emptied by hand");
    Ok(json_response(wire::to_json(&Deleted { model: shown, entries, bytes })))
}

/// The value of `model=`, and nothing without a query. What is misspelt would mean all
/// models, and is refused.
fn model_in(query: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    let model = query.strip_prefix("model=").filter(|model| !model.contains('&'));
    let model = model.and_then(percent_decoded);
    let message = "the query is `model=NAME`, or there is none for all models";
    model.map(Some).ok_or_else(|| ApiError::invalid("model", message))
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
struct UpstreamBody {
    name: String,
    kind: &'static str,
    url: Option<String>,
    state: &'static str,
    /// RFC 3339, to the second.
    since: String,
    reason: Option<String>,
    max_in_flight: usize,
    in_flight: usize,
    calls: u64,
    errors: u64,
    last_error: Option<ErrorBody>,
    models: Vec<StandingBody>,
}

#[derive(Serialize)]
struct ErrorBody {
    message: String,
    /// RFC 3339, to the second.
    at: String,
}

#[derive(Serialize)]
struct StandingBody {
    name: String,
    /// Null until the upstream has said which model it has.
    identity: Option<String>,
    /// Null until it was asked.
    takes_part: Option<bool>,
    /// RFC 3339, to the second; null like `takes_part`.
    since: Option<String>,
    reason: Option<String>,
}

impl From<UpstreamStatus> for UpstreamBody {
    fn from(upstream: UpstreamStatus) -> Self {
        let error = upstream.last_error;
        Self {
            name: upstream.name,
            kind: upstream.kind,
            url: upstream.url,
            state: upstream.state.as_str(),
            since: in_rfc_3339(upstream.since),
            reason: upstream.reason,
            max_in_flight: upstream.slots,
            in_flight: upstream.in_flight,
            calls: upstream.calls,
            errors: upstream.errors,
            last_error: error.map(|error| ErrorBody { message: error.message, at: in_rfc_3339(error.at) }),
            models: upstream.models.into_iter().map(StandingBody::from).collect(),
        }
    }
}

impl From<ModelStatus> for StandingBody {
    fn from(model: ModelStatus) -> Self {
        let (takes_part, reason) = match model.standing {
            Standing::Unasked => (None, None),
            Standing::TakesPart => (Some(true), None),
            Standing::StandsBy { reason } => (Some(false), Some(reason)),
        };
        let since = model.since.map(in_rfc_3339);
        Self { name: model.name, identity: model.identity, takes_part, since, reason }
    }
}

#[derive(Serialize)]
struct KeyBody<'k> {
    name: &'k str,
    rights: Vec<&'static str>,
    lane: Option<&'static str>,
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
            lane: usage.lane.map(Lane::as_str),
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
    use crate::embed::{LastError, UpstreamState};

    #[track_caller]
    fn check_query(query: Option<&str>, want: Result<Option<&str>, ()>) {
        let found = model_in(query).map_err(|_| ());
        assert_eq!(found.as_ref().map(Option::as_deref), want.as_ref().map(|want| *want), "{query:?}");
    }

    #[test]
    fn without_a_query_all_models_are_meant_and_a_misspelt_one_means_none() {
        check_query(None, Ok(None));
        check_query(Some(""), Ok(None));
        check_query(Some("model=hf.co%2Fa:b"), Ok(Some("hf.co/a:b")));
        check_query(Some("model="), Ok(Some("")));
        for query in ["modle=a", "model", "model=a&model=b", "model=a&all=1", "model=%ff"] {
            check_query(Some(query), Err(()));
        }
    }

    #[test]
    fn a_key_is_told_by_name_and_time() {
        let usage = Usage {
            name: "app",
            rights: &[Right::Embed, Right::Admin],
            lane: Some(Lane::Bulk),
            requests_per_minute: Some(60),
            texts_per_minute: None,
            n_requests: 7,
            n_texts: 12,
            n_refused: 1,
            last_used: Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000)),
        };
        assert_eq!(
            String::from_utf8(wire::to_json(&KeyBody::from(usage))).unwrap(),
            r#"{"name":"app","rights":["embed","admin"],"lane":"bulk","requests_per_minute":60,"texts_per_minute":null,"requests":7,"texts":12,"refused":1,"last_used":"2001-09-09T01:46:40Z"}"#
        );
    }

    #[test]
    fn an_upstream_is_told_with_its_state_and_the_standing_of_its_models() {
        let at = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let model = |name: &str, standing| ModelStatus {
            name: name.into(),
            identity: None,
            standing,
            since: Some(at),
        };
        let upstream = UpstreamStatus {
            name: "gpu".into(),
            kind: "ollama",
            url: Some("http://gpu:11434/".into()),
            state: UpstreamState::Ejected,
            since: at,
            reason: Some("gone".into()),
            slots: 2,
            in_flight: 1,
            calls: 9,
            errors: 3,
            last_error: Some(LastError { message: "refused".into(), at }),
            models: vec![
                model("a", Standing::TakesPart),
                model("b", Standing::StandsBy { reason: "other".into() }),
                model("c", Standing::Unasked),
            ],
        };
        let json: serde_json::Value = serde_json::to_value(UpstreamBody::from(upstream)).unwrap();
        assert_eq!((&json["state"], &json["since"]), (&"ejected".into(), &"2001-09-09T01:46:40Z".into()));
        assert_eq!(json["last_error"]["at"], "2001-09-09T01:46:40Z");
        let standings: Vec<_> = (0..3).map(|at| json["models"][at]["takes_part"].clone()).collect();
        assert_eq!(standings, [true.into(), false.into(), serde_json::Value::Null]);
        assert_eq!(
            (&json["models"][1]["reason"], &json["models"][1]["since"]),
            (&"other".into(), &json["since"])
        );
    }
}
