//! Ollama's own API: what embeds, and what tells of models.
//!
//! `docs/http.md` says where the gateway departs from Ollama, and why.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::exchange::Exchange;
use super::numbers::Numbers;
use super::options::{self, Options, Told};
use super::shared::Shared;
use super::wire::json_response;
use crate::embed::{EmbedAnswer, EmbedError, EmbedRequest, Resolved};
use crate::model::ModelName;

mod asked;
mod encode;
mod keep_alive;
mod model_options;
mod models;
mod refused;
mod version;

use self::asked::{Asked, Form};

#[cfg(test)]
pub(super) use self::asked::fields;
pub(super) use self::models::{ps, show, tags};
pub(super) use self::refused::{no_generation, no_management};
pub(super) use self::version::version;

/// Answers `POST /api/embed`.
pub(super) async fn embed(
    shared: &Shared,
    exchange: &mut Exchange,
    body: &Bytes,
) -> Result<Response<Full<Bytes>>, ApiError> {
    answer(Form::Embed, shared, exchange, body).await
}

/// Answers `POST /api/embeddings`, the older path: one text, one vector.
///
/// The vector is that of `/api/embed`, which at an Ollama always has norm 1.
/// Ollama's own answer here is the model's raw vector for a few families, and of
/// norm 1 for all others. Cosine similarity is the same for both; a dot product is
/// the cosine only with norm 1; and an application that uses both paths, as some do
/// while they move from one to the other, gets vectors that compare.
pub(super) async fn embeddings(
    shared: &Shared,
    exchange: &mut Exchange,
    body: &Bytes,
) -> Result<Response<Full<Bytes>>, ApiError> {
    answer(Form::Embeddings, shared, exchange, body).await.map_err(ApiError::in_the_older_api)
}

async fn answer(
    form: Form,
    shared: &Shared,
    exchange: &mut Exchange,
    body: &Bytes,
) -> Result<Response<Full<Bytes>>, ApiError> {
    let limits = shared.limits();
    let mut asked = shared.understood(body, move |body| Asked::from_wire(form, body, limits)).await?;
    let options = Options::from_headers(&exchange.headers, shared.times())?;
    let Resolved { name: model, purpose } = shared
        .model(&asked.model, exchange.begun, options.timeout)
        .await
        .map_err(|error| if asked.model.is_empty() { form.no_model() } else { error })?;
    let purpose = options.purpose(asked.purpose, purpose)?;
    let (notices, texts) = (std::mem::take(&mut asked.notices), std::mem::take(&mut asked.texts));
    let told = Told { purpose, prompt: shared.prompt(&model, purpose), notices };
    let begun = exchange.begun;
    let (answer, numbers) = if texts.is_empty() {
        let nothing = EmbedAnswer::default();
        exchange.record.embedded(&nothing);
        let numbers = Numbers::of(&nothing, None, shared.embedder.forms());
        (nothing, numbers)
    } else {
        let dimensions = shorter(shared, &model, asked.dimensions, begun, options.timeout).await?;
        let request = EmbedRequest {
            truncate: shared.truncate(&model, asked.truncate, form.truncates()),
            model,
            texts,
            purpose,
            dimensions,
            lane: options.lane,
            prepared: options.prepared,
            space: options.space,
            deadline: begun + options.timeout,
        };
        let answer = shared.embed(exchange, request).await?;
        let numbers = Numbers::of(&answer, dimensions, shared.embedder.forms());
        (answer, numbers)
    };
    let kept = answer.clone();
    let encode = move || match form {
        Form::Embed => encode::list(&asked.model, &answer, begun.elapsed(), &numbers),
        Form::Embeddings => encode::one(&answer, &numbers),
    };
    let json =
        shared.write(exchange, &kept, encode::capacity(&kept), begun + options.timeout, encode).await?;
    let mut response = json_response(json);
    options::tell(response.headers_mut(), told, &kept);
    Ok(response)
}

/// Ollama takes any `dimensions`, and those that are not below the model's own mean nothing.
async fn shorter(
    shared: &Shared,
    model: &ModelName,
    asked: Option<usize>,
    begun: Instant,
    timeout: Duration,
) -> Result<Option<usize>, ApiError> {
    let Some(asked) = asked else { return Ok(None) };
    // The first time, an upstream is asked.
    let have = match timeout_at(begun + timeout, shared.embedder.dimensions(model)).await {
        Ok(have) => have.map_err(|error| ApiError::from(&error))?,
        Err(_) => return Err(ApiError::from(&EmbedError::Deadline(timeout))),
    };
    Ok((asked < have).then_some(asked))
}
