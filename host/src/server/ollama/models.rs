//! The models as Ollama lists and shows them: what the gateway knows of them, and
//! for the rest what Ollama itself has where it knows nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::model::{ModelName, Purpose};
use crate::server::error::ApiError;
use crate::server::exchange::Exchange;
use crate::server::shared::Shared;
use crate::server::wire::{self, Field};

/// The longest time that Ollama can say: how it writes of a model that it never unloads.
const FOREVER: Duration = Duration::from_nanos(i64::MAX as u64);

/// What all models are for.
const CAPABILITIES: [&str; 1] = ["embedding"];

#[derive(Serialize)]
struct List<M> {
    models: Vec<M>,
}

/// A model in `/api/tags`.
#[derive(Serialize)]
struct Tag {
    name: String,
    model: String,
    modified_at: String,
    size: u64,
    digest: String,
    details: Details,
    capabilities: [&'static str; 1],
}

/// A model in `/api/ps`.
#[derive(Serialize)]
struct Running {
    name: String,
    model: String,
    size: u64,
    digest: String,
    details: Details,
    expires_at: String,
    size_vram: u64,
    context_length: u32,
}

/// The answer of `/api/show`.
#[derive(Serialize)]
struct Shown {
    details: Details,
    model_info: Info,
    capabilities: [&'static str; 1],
    modified_at: String,
}

/// What upstreams know and do not tell is empty, as Ollama has it of models without it.
#[derive(Default, Serialize)]
struct Details {
    parent_model: &'static str,
    format: &'static str,
    family: &'static str,
    families: [&'static str; 0],
    parameter_size: &'static str,
    quantization_level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_length: Option<usize>,
}

/// Clients look for the two lengths under the name of the architecture. Which one
/// it is the gateway does not know, so they are under a name that is none.
#[derive(Serialize)]
struct Info {
    #[serde(rename = "general.architecture")]
    architecture: &'static str,
    #[serde(rename = "embergate.context_length", skip_serializing_if = "Option::is_none")]
    context_length: Option<u32>,
    #[serde(rename = "embergate.embedding_length", skip_serializing_if = "Option::is_none")]
    embedding_length: Option<usize>,
}

impl Details {
    fn of(shared: &Shared, name: &ModelName) -> Self {
        let context_length = shared.embedder.model(name).and_then(|model| model.max_tokens);
        Self { context_length, embedding_length: shared.embedder.known_dimensions(name), ..Self::default() }
    }
}

/// Answers `GET /api/tags`: the models whose upstreams say that they have them.
pub(in crate::server) async fn tags(shared: &Shared) -> Response<Full<Bytes>> {
    let found = with_digests(shared, listed(shared)).await;
    let models = found.into_iter().map(|(name, digest)| Tag {
        name: tagged(&name),
        model: tagged(&name),
        modified_at: since_start(shared),
        size: 0,
        digest,
        details: Details::of(shared, &name),
        capabilities: CAPABILITIES,
    });
    wire::json_response(wire::to_json(&List { models: models.collect() }))
}

/// Answers `GET /api/ps`: the models that have embedded something since the start.
pub(in crate::server) async fn ps(shared: &Shared) -> Response<Full<Bytes>> {
    let mut names = listed(shared);
    names.retain(|name| shared.embedder.known_dimensions(name).is_some());
    let found = with_digests(shared, names).await;
    let models = found.into_iter().map(|(name, digest)| {
        let details = Details::of(shared, &name);
        Running {
            name: tagged(&name),
            model: tagged(&name),
            size: 0,
            digest,
            context_length: details.context_length.unwrap_or(0),
            details,
            expires_at: timestamp(start(shared) + FOREVER),
            size_vram: 0,
        }
    });
    wire::json_response(wire::to_json(&List { models: models.collect() }))
}

/// Answers `POST /api/show`. Asks no upstream but for a name that nobody knows.
pub(in crate::server) async fn show(
    shared: &Shared,
    exchange: &Exchange,
    body: &[u8],
) -> Result<Response<Full<Bytes>>, ApiError> {
    let asked = asked_name(body, shared.config.max_json_depth)?;
    let found = shared.model(&asked, exchange.begun, shared.times().unasked).await;
    let found = found.map_err(|error| match error.status {
        StatusCode::NOT_FOUND => error.in_ollamas_words(format!("model '{asked}' not found")),
        _ => error,
    });
    let name = found?.name;
    let details = Details::of(shared, &name);
    let model_info = Info {
        architecture: "embergate",
        context_length: details.context_length,
        embedding_length: details.embedding_length,
    };
    let shown = Shown { details, model_info, capabilities: CAPABILITIES, modified_at: since_start(shared) };
    Ok(wire::json_response(wire::to_json(&shown)))
}

/// `model`, or `name` as it was called before.
fn asked_name(body: &[u8], max_depth: usize) -> Result<String, ApiError> {
    #[derive(Deserialize)]
    struct Body<'b> {
        #[serde(borrow, default)]
        model: Field<'b>,
        #[serde(borrow, default)]
        name: Field<'b>,
    }
    let body: Body<'_> = wire::object(body, max_depth)?;
    for (param, field) in [("model", body.model), ("name", body.name)] {
        match field.value(param)? {
            Value::Null => {}
            Value::String(name) if name.is_empty() => {}
            Value::String(name) => return Ok(name),
            other => {
                let message = format!("`{param}` must be a string, and is {}", wire::kind(&other));
                return Err(ApiError::invalid(param, message));
            }
        }
    }
    Err(ApiError::invalid("model", "model is required"))
}

/// The models of the list. Where `m` and `m:latest` are two models, the list has
/// `m:latest` once, and it is the one that is asked for by that name.
fn listed(shared: &Shared) -> Vec<ModelName> {
    let models = shared.embedder.models();
    let is_shadowed = |name: &ModelName| {
        let tagged = tagged(name);
        tagged != name.as_str() && models.iter().any(|other| other.name.as_str() == tagged)
    };
    models.iter().map(|model| &model.name).filter(|name| !is_shadowed(name)).cloned().collect()
}

/// Ollama's names have a tag, and its clients look for names with one: `latest`
/// where there is no other. Both spellings are served.
fn tagged(name: &ModelName) -> String {
    let last = name.as_str().rsplit('/').next().unwrap_or_default();
    if last.contains(':') { name.to_string() } else { format!("{name}:latest") }
}

/// Those of `names` whose upstreams say in time what they have, each with its
/// digest. All are asked at once, and only the first time.
///
/// In time is within half of `server.ready_timeout`, because clients do not wait
/// long for a list either: one that waits as long as the gateway itself waits for
/// an upstream still gets it. What comes later is in the next list.
async fn with_digests(shared: &Shared, names: Vec<ModelName>) -> Vec<(ModelName, String)> {
    let deadline = Instant::now() + shared.config.ready_timeout / 2;
    let asked = names.into_iter().map(|model| async move {
        shared.embedder.find_out(&model);
        // What a client gets who says nothing of purposes.
        let space = shared.embedder.space(&model, Purpose::Document, false);
        match timeout_at(deadline, space).await {
            Ok(Ok(space)) => return Some((model, digest(&space))),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(%model, error, "model is not listed: no upstream says that it has it");
            }
            Err(_) => tracing::debug!(%model, "model is not listed: its upstreams do not answer in time"),
        }
        None
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Changes when vectors may, as the digest of a model at an Ollama does: so a
/// gateway before this one finds out. 64 hexadecimal digits.
fn digest(space: &str) -> String {
    blake3::hash(space.as_bytes()).to_hex().to_string()
}

/// Models are what the configuration made of them when the gateway started.
fn since_start(shared: &Shared) -> String {
    timestamp(start(shared))
}

fn start(shared: &Shared) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(shared.started)
}

/// In RFC 3339, to the second.
fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::error::tests::told_by_ollama;
    use crate::server::wire::tests::any_json;

    #[track_caller]
    fn check_tagged(name: &str, want: &str) {
        assert_eq!(tagged(&ModelName::new(name).unwrap()), want);
    }

    #[test]
    fn a_name_without_a_tag_is_the_latest() {
        check_tagged("all-minilm", "all-minilm:latest");
        check_tagged("qwen3-embedding:0.6b", "qwen3-embedding:0.6b");
        check_tagged("hf.co/A/B:Q8_0", "hf.co/A/B:Q8_0");
        check_tagged("host:5000/model", "host:5000/model:latest");
    }

    #[track_caller]
    fn check_asked(body: &str, want: Result<&str, &str>) {
        let got = asked_name(body.as_bytes(), 8).map_err(told_by_ollama);
        assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{body}");
    }

    #[test]
    fn the_newer_field_goes_before_the_older_one() {
        check_asked(r#"{"model":"a","name":"b"}"#, Ok("a"));
        check_asked(r#"{"name":"b"}"#, Ok("b"));
        check_asked(r#"{"model":"","name":"b","verbose":true}"#, Ok("b"));
    }

    #[test]
    fn a_body_that_names_no_model_is_refused() {
        check_asked("", Err("missing request body"));
        check_asked("{}", Err("model is required"));
        check_asked(r#"{"model":["a"]}"#, Err("`model` must be a string, and is an array"));
    }

    #[test]
    fn a_digest_has_64_digits_and_follows_the_space() {
        assert_eq!(digest("00").len(), 64);
        assert_ne!(digest("00"), digest("01"));
    }

    #[test]
    fn the_longest_time_can_be_written() {
        assert_eq!(timestamp(UNIX_EPOCH + FOREVER), "2262-04-11T23:47:16Z");
    }

    proptest! {
        #[test]
        fn any_json_names_a_model_or_gives_a_well_formed_error(
            model in prop::option::of(any_json()),
            name in any_json(),
        ) {
            let body = match model {
                Some(model) => serde_json::json!({ "model": model, "name": name }),
                None => name,
            };
            match asked_name(body.to_string().as_bytes(), 8) {
                Ok(name) => prop_assert!(!name.is_empty()),
                Err(error) => {
                    prop_assert_eq!(error.status, 400);
                    prop_assert!(!told_by_ollama(error).is_empty());
                }
            }
        }
    }
}
