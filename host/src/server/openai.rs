//! OpenAI's API: `/v1/embeddings` and `/v1/models`.
//!
//! Its clients are strict about one thing: vectors come in base64 when asked
//! for, always then, and never otherwise. One of them decodes whatever came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde::Serialize;

use super::error::ApiError;
use super::exchange::Exchange;
use super::notices::Notices;
use super::numbers::Numbers;
use super::options::{self, Options, Told};
use super::shared::Shared;
use super::tokens::{self, Decoded};
use super::wire;
use crate::embed::{EmbedAnswer, EmbedRequest, Resolved};

mod asked;

#[cfg(test)]
pub(super) use self::asked::fields;

use self::asked::{Asked, Format, Given};

/// Who owns the models, in the words of the API.
const OWNER: &str = "embergate";

/// Answers `POST /v1/embeddings`.
pub(super) async fn embeddings(
    shared: &Shared,
    exchange: &mut Exchange,
    body: &Bytes,
) -> Result<Response<Full<Bytes>>, ApiError> {
    let limits = shared.limits();
    let asked = shared.understood(body, move |body| Asked::from_wire(body, limits)).await?;
    let options = Options::from_headers(&exchange.headers, shared.times())?;
    let Resolved { name, purpose } = shared
        .model(&asked.model, exchange.begun, options.timeout)
        .await
        .map_err(|error| if asked.model.is_empty() { no_model() } else { error })?;
    let purpose = options.purpose(asked.purpose, purpose)?;
    let Decoded { texts, cut } = match asked.given {
        Given::Texts(texts) => Decoded { texts, cut: Vec::new() },
        Given::Tokens(raw) => tokens::decoded(raw, limits, &shared.parsing).await?,
    };
    let mut notices = Notices::default();
    notices.cut_inside_a_character(&cut);
    let told = Told { purpose, prompt: shared.prompt(&name, purpose), notices };
    let request = EmbedRequest {
        truncate: shared.truncate(&name, asked.truncate, false),
        model: name,
        texts,
        purpose,
        dimensions: asked.dimensions,
        lane: options.lane,
        prepared: options.prepared,
        space: options.space,
        deadline: exchange.begun + options.timeout,
    };
    exchange.record.format = Some(asked.format.as_str());
    let answer = shared.embed(exchange, request).await?;
    let (model, format) = (asked.model, asked.format);
    let kept = answer.clone();
    let (n_bytes, deadline) = (capacity(&kept, format), exchange.begun + options.timeout);
    let numbers = Numbers::of(&answer, asked.dimensions, shared.embedder.forms());
    let encode = move || encode(&model, &answer, format, &numbers);
    let json = shared.write(exchange, &kept, n_bytes, deadline, encode).await?;
    let mut response = wire::json_response(json);
    options::tell(response.headers_mut(), told, &kept);
    Ok(response)
}

fn no_model() -> ApiError {
    ApiError::invalid("model", "`model` is missing: GET /v1/models lists the models")
}

/// Writes the answer, echoing `model` as the client wrote it.
fn encode(model: &str, answer: &EmbedAnswer, format: Format, numbers: &Numbers) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity(answer, format));
    let mut scratch = Scratch::default();
    out.extend_from_slice(br#"{"object":"list","data":["#);
    for (index, embedding) in answer.embeddings.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        out.extend_from_slice(comma.as_bytes());
        out.extend_from_slice(br#"{"object":"embedding","index":"#);
        wire::write_json(&mut out, &index);
        out.extend_from_slice(br#","embedding":"#);
        match format {
            Format::Float => numbers.write(&mut out, embedding),
            Format::Base64 => scratch.write_base64(&mut out, embedding.values()),
        }
        out.push(b'}');
    }
    out.extend_from_slice(br#"],"model":"#);
    wire::write_json(&mut out, model);
    let n_tokens = answer.n_tokens;
    let usage = format!(r#","usage":{{"prompt_tokens":{n_tokens},"total_tokens":{n_tokens}}}}}"#);
    out.extend_from_slice(usage.as_bytes());
    out
}

/// Bytes that the answer takes, or a little more.
fn capacity(answer: &EmbedAnswer, format: Format) -> usize {
    let per_number = match format {
        Format::Float => 13,
        Format::Base64 => 6,
    };
    answer.embeddings.iter().map(|embedding| 64 + embedding.dimensions() * per_number).sum::<usize>() + 512
}

/// A buffer that one answer uses for all its vectors.
#[derive(Default)]
struct Scratch(Vec<u8>);

impl Scratch {
    /// Writes the numbers' little-endian bytes in the standard alphabet, quoted.
    fn write_base64(&mut self, out: &mut Vec<u8>, values: &[f32]) {
        self.0.clear();
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        out.push(b'"');
        let start = out.len();
        out.resize(start + self.0.len().div_ceil(3) * 4, 0);
        let length = STANDARD.encode_slice(&self.0, &mut out[start..]).unwrap_or(0);
        out.truncate(start + length);
        out.push(b'"');
    }
}

#[derive(Serialize)]
struct ModelBody<'m> {
    id: &'m str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'m> ModelBody<'m> {
    fn new(id: &'m str, created: u64) -> Self {
        Self { id, object: "model", created, owned_by: OWNER }
    }
}

/// Answers `GET /v1/models`: every word that leads to a model, because clients
/// offer nothing else to choose from.
pub(super) fn models(shared: &Shared) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct List<'m> {
        object: &'static str,
        data: Vec<ModelBody<'m>>,
    }
    let ids = shared.embedder.listed();
    let data = ids.iter().map(|id| ModelBody::new(id, shared.started)).collect();
    wire::json_response(wire::to_json(&List { object: "list", data }))
}

/// Answers `GET /v1/models/{id}` for all that the list has, and for other ways to write it.
pub(super) async fn one_model(
    shared: &Shared,
    exchange: &Exchange,
    id: &str,
) -> Result<Response<Full<Bytes>>, ApiError> {
    match shared.model(id, exchange.begun, shared.times().unasked).await {
        Ok(_) if !id.is_empty() => {
            Ok(wire::json_response(wire::to_json(&ModelBody::new(id, shared.started))))
        }
        _ => Err(ApiError::no_model(id)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::model::Embedding;

    fn answer(vectors: &[&[f32]]) -> EmbedAnswer {
        let embeddings = vectors.iter().map(|vector| Embedding::new(vector.to_vec()).unwrap()).collect();
        EmbedAnswer { embeddings, n_tokens: 7, ..EmbedAnswer::default() }
    }

    #[test]
    fn floats_are_written_so_that_they_read_back_the_same() {
        let vector = [0.1, -1.0e-8, f32::MIN_POSITIVE, 16_777_216.0, 1.0 / 3.0];
        let json: Value =
            serde_json::from_slice(&encode("m\"", &answer(&[&vector]), Format::Float, &Numbers::unkept()))
                .unwrap();
        let read: Vec<f32> = json["data"][0]["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_f64().unwrap() as f32)
            .collect();
        assert_eq!(read, vector);
        assert_eq!(json["model"], "m\"");
    }

    #[test]
    fn an_answer_has_every_field_of_the_api() {
        assert_eq!(
            String::from_utf8(encode(
                "m",
                &answer(&[&[1.0, 0.5], &[0.0, -2.0]]),
                Format::Float,
                &Numbers::unkept()
            ))
            .unwrap(),
            concat!(
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0,0.5]},"#,
                r#"{"object":"embedding","index":1,"embedding":[0.0,-2.0]}],"#,
                r#""model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#
            )
        );
    }

    #[test]
    fn base64_is_little_endian_in_the_standard_alphabet() {
        let json =
            String::from_utf8(encode("m", &answer(&[&[1.0, -1.0]]), Format::Base64, &Numbers::unkept()))
                .unwrap();
        assert!(json.contains(r#""embedding":"AACAPwAAgL8=""#), "{json}");
    }
}
