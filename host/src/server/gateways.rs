//! What another gateway asks: which models there are, how texts are prepared for them, and what
//! makes their vectors. With it, that one prepares texts and keeps collections as this one would.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::error::ApiError;
use super::exchange::Exchange;
use super::shared::Shared;
use super::wire;
use crate::embed::{Described, EmbedError};
use crate::model::Purpose;

/// Another number means that gateways of before cannot work with this one.
const PROTOCOL: u64 = 1;

/// The answer of `/api/embergate`.
#[derive(Serialize)]
struct Gateway {
    embergate: &'static str,
    protocol: u64,
    max_texts: usize,
    max_body: u64,
    default_model: Option<String>,
    models: Vec<Served>,
}

#[derive(Serialize)]
struct Served {
    name: String,
    aliases: Vec<String>,
    dimensions: Option<usize>,
    max_tokens: Option<u32>,
    matryoshka: bool,
    truncate: Option<bool>,
    prompts: Prompts,
    preprocess: Vec<Plugin>,
    /// Where it is fetched; nothing where tokens are estimated.
    tokenizer: Option<String>,
}

#[derive(Serialize)]
struct Prompts {
    query: String,
    document: String,
}

#[derive(Serialize)]
struct Plugin {
    plugin: String,
    fingerprint: String,
}

impl From<Described> for Served {
    fn from(described: Described) -> Self {
        let Described { model, preprocessors, dimensions, matryoshka } = described;
        let tokenizer = model.tokenizer.definition().map(|definition| definition.id.to_string());
        let preprocess = preprocessors.into_iter();
        Self {
            name: model.name.to_string(),
            aliases: model.aliases.clone(),
            dimensions,
            max_tokens: model.max_tokens,
            matryoshka,
            truncate: model.truncate,
            prompts: Prompts { query: model.prompts.query.clone(), document: model.prompts.document.clone() },
            preprocess: preprocess
                .map(|mark| Plugin { plugin: mark.name, fingerprint: mark.fingerprint })
                .collect(),
            tokenizer,
        }
    }
}

/// The answer of `/api/embergate/spaces/NAME`.
#[derive(Serialize)]
struct Spaces {
    model: String,
    query: String,
    query_prepared: String,
    document: String,
    document_prepared: String,
    none: String,
    none_prepared: String,
}

/// Answers `GET /api/embergate`. Asks no upstream.
pub(super) fn about(shared: &Shared) -> Response<Full<Bytes>> {
    let embedder = &shared.embedder;
    let models = embedder.models();
    let gateway = Gateway {
        embergate: env!("CARGO_PKG_VERSION"),
        protocol: PROTOCOL,
        max_texts: embedder.config().max_texts,
        max_body: shared.config.max_body.as_u64(),
        default_model: embedder.default_model().map(|name| name.to_string()),
        models: models.iter().filter_map(|model| embedder.described(&model.name)).map(Served::from).collect(),
    };
    wire::json_response(wire::to_json(&gateway))
}

/// Answers `GET /api/embergate/spaces/NAME`, by any name of the model: what changes when its
/// vectors may. Asks its upstreams which model they have, the first time.
pub(super) async fn spaces(
    shared: &Shared,
    exchange: &Exchange,
    asked: &str,
) -> Result<Response<Full<Bytes>>, ApiError> {
    let found = shared.model(asked, exchange.begun, shared.times().unasked).await;
    // What can be no name is no model's.
    let found = found.map_err(|error| match error.status {
        StatusCode::BAD_REQUEST => ApiError::no_model(asked),
        _ => error,
    });
    let name = found?.name;
    let of = async |purpose, prepared| shared.embedder.space(&name, purpose, prepared).await;
    let found = async {
        Ok::<_, EmbedError>(Spaces {
            model: name.to_string(),
            query: of(Purpose::Query, false).await?,
            query_prepared: of(Purpose::Query, true).await?,
            document: of(Purpose::Document, false).await?,
            document_prepared: of(Purpose::Document, true).await?,
            none: of(Purpose::None, false).await?,
            none_prepared: of(Purpose::None, true).await?,
        })
    };
    let time = shared.times().unasked;
    let found = tokio::time::timeout_at(exchange.begun + time, found).await;
    let found = found.unwrap_or(Err(EmbedError::Deadline(time)));
    Ok(wire::json_response(wire::to_json(&found.map_err(|error| ApiError::from(&error))?)))
}

/// Answers `GET /api/embergate/tokenizers/ID`: a `tokenizer.json`.
pub(super) fn tokenizer(shared: &Shared, id: &str) -> Result<Response<Full<Bytes>>, ApiError> {
    let models = shared.embedder.models();
    let mut definitions = models.iter().filter_map(|model| model.tokenizer.definition());
    let found = definitions.find(|definition| *definition.id == *id);
    let found = found.ok_or_else(|| ApiError::no_path("/api/embergate/tokenizers/{id}"))?;
    let mut response = Response::new(Full::new(Bytes::from_owner(found.bytes.clone())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
