//! OpenAI's API: `/v1/embeddings` and `/v1/models`.
//!
//! Its clients are strict about one thing: vectors come in base64 when asked
//! for, always then, and never otherwise. One of them decodes whatever came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ApiError;
use super::exchange::Exchange;
use super::input::Input;
use super::options::{self, Options};
use super::service::{Shared, json_response, off_the_workers};
use super::wire;
use crate::embed::{EmbedAnswer, EmbedError, EmbedRequest};
use crate::model::ModelName;

/// Who owns the models, in the words of the API.
const OWNER: &str = "embergate";

/// Answers `POST /v1/embeddings`.
pub(super) async fn embeddings(
    shared: &Shared,
    exchange: &mut Exchange,
    body: &[u8],
) -> Result<Response<Full<Bytes>>, ApiError> {
    let asked = Asked::from_wire(body)?;
    let options = Options::from_headers(&exchange.headers, shared.times())?;
    let request = EmbedRequest {
        model: shared.model(&asked.model)?,
        texts: asked.texts,
        purpose: options.purpose,
        truncate: asked.truncate,
        dimensions: asked.dimensions,
        lane: options.lane,
        prepared: options.prepared,
        deadline: exchange.begun + options.timeout,
    };
    let answer = shared.embed(exchange, request).await?;
    let (model, format) = (asked.model, asked.format);
    let told = answer.clone();
    let json = off_the_workers(&told, move || encode(&model, &answer, format)).await?;
    let mut response = json_response(json);
    options::tell(response.headers_mut(), options.purpose, &told, &[]);
    Ok(response)
}

/// The body's fields. `user` and all that are not named here are ignored.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    model: Value,
    #[serde(default)]
    input: Input,
    #[serde(default)]
    dimensions: Value,
    #[serde(default)]
    encoding_format: Value,
    /// Ours: whether a text that is too long is cut.
    #[serde(default)]
    truncate: Value,
}

/// The names of the body's fields.
#[cfg(test)]
pub(super) fn fields() -> &'static [&'static str] {
    wire::fields_of::<Body>()
}

/// A body that was understood.
#[derive(Debug, PartialEq)]
struct Asked {
    model: String,
    texts: Vec<String>,
    dimensions: Option<usize>,
    format: Format,
    truncate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Float,
    Base64,
}

impl Asked {
    fn from_wire(body: &[u8]) -> Result<Self, ApiError> {
        let body: Body = wire::object(body)?;
        Ok(Self {
            model: model(body.model)?,
            texts: texts(body.input)?,
            dimensions: dimensions(&body.dimensions)?,
            format: format(&body.encoding_format)?,
            truncate: wire::boolean("truncate", &body.truncate, false)?,
        })
    }
}

fn model(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(name) => Ok(name),
        Value::Null => Err(ApiError::invalid("model", "`model` is missing: GET /v1/models lists the models")),
        other => Err(ApiError::invalid(
            "model",
            format!("`model` must be a string, and is {}", wire::kind(&other)),
        )),
    }
}

fn texts(input: Input) -> Result<Vec<String>, ApiError> {
    let wrong = |message: String| Err(ApiError::invalid("input", message));
    let texts = match input {
        Input::Text(text) => vec![text],
        Input::List(texts) => texts,
        Input::Absent => return wrong("`input` is missing: send a text or a list of texts".to_owned()),
        Input::Tokens => {
            return wrong(
                "`input` has token numbers, which are not decoded: send texts \
                 (in LangChain, set `check_embedding_ctx_length=False`)"
                    .to_owned(),
            );
        }
        Input::Wrong(what) => {
            return wrong(format!("`input` must be a text or a list of texts, and is {what}"));
        }
        Input::WrongElement { index, what } => {
            return wrong(format!("`input` must be a list of texts, and has {what} at index {index}"));
        }
    };
    if texts.is_empty() {
        return Err(ApiError::from(&EmbedError::NoTexts));
    }
    match texts.iter().position(String::is_empty) {
        Some(index) => Err(ApiError::from(&EmbedError::EmptyText { index })),
        None => Ok(texts),
    }
}

fn dimensions(value: &Value) -> Result<Option<usize>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    match wire::whole(value).and_then(|dimensions| usize::try_from(dimensions).ok()) {
        Some(dimensions @ 1..) => Ok(Some(dimensions)),
        _ => Err(ApiError::invalid("dimensions", "`dimensions` must be a whole number from 1")),
    }
}

fn format(value: &Value) -> Result<Format, ApiError> {
    match value {
        Value::Null => Ok(Format::Float),
        Value::String(name) if name.eq_ignore_ascii_case("float") => Ok(Format::Float),
        Value::String(name) if name.eq_ignore_ascii_case("base64") => Ok(Format::Base64),
        _ => Err(ApiError::invalid("encoding_format", "`encoding_format` must be `float` or `base64`")),
    }
}

/// Writes the answer, echoing `model` as the client wrote it.
fn encode(model: &str, answer: &EmbedAnswer, format: Format) -> Vec<u8> {
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
            Format::Float => wire::write_json(&mut out, embedding.values()),
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

/// Buffers that one answer uses for all its vectors.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    text: String,
}

impl Scratch {
    /// Writes the numbers' little-endian bytes in the standard alphabet, quoted.
    fn write_base64(&mut self, out: &mut Vec<u8>, values: &[f32]) {
        self.bytes.clear();
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.text.clear();
        STANDARD.encode_string(&self.bytes, &mut self.text);
        out.push(b'"');
        out.extend_from_slice(self.text.as_bytes());
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
    fn new(name: &'m ModelName, created: u64) -> Self {
        Self { id: name.as_str(), object: "model", created, owned_by: OWNER }
    }
}

/// Answers `GET /v1/models`.
pub(super) fn models(shared: &Shared) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct List<'m> {
        object: &'static str,
        data: Vec<ModelBody<'m>>,
    }
    let data = shared.embedder.models().keys().map(|name| ModelBody::new(name, shared.started)).collect();
    json_response(wire::to_json(&List { object: "list", data }))
}

/// Answers `GET /v1/models/{id}`.
pub(super) fn one_model(shared: &Shared, id: &str) -> Result<Response<Full<Bytes>>, ApiError> {
    let name = shared.model(id).map_err(|_| ApiError::no_model(id))?;
    Ok(json_response(wire::to_json(&ModelBody::new(&name, shared.started))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Embedding;
    use crate::server::route::Api;

    fn asked(texts: &[&str]) -> Asked {
        Asked {
            model: "m".into(),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            dimensions: None,
            format: Format::Float,
            truncate: false,
        }
    }

    #[track_caller]
    fn check(body: &str, want: Asked) {
        assert_eq!(Asked::from_wire(body.as_bytes()), Ok(want));
    }

    /// `said` must be in the message, and `param` must be named.
    #[track_caller]
    fn check_refused(body: &str, param: Option<&str>, said: &str) {
        let error = Asked::from_wire(body.as_bytes()).unwrap_err();
        assert_eq!(error.status, 400);
        let body = futures_body(error);
        assert_eq!(body["error"]["param"].as_str(), param, "{body}");
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert!(body["error"]["message"].as_str().unwrap().contains(said), "{body}");
    }

    fn futures_body(error: ApiError) -> Value {
        let body = error.into_response(Api::Openai).into_body();
        let frame = futures_util::FutureExt::now_or_never(http_body_util::BodyExt::frame(&mut { body }));
        serde_json::from_slice(&frame.unwrap().unwrap().unwrap().into_data().unwrap()).unwrap()
    }

    #[test]
    fn a_text_and_a_list_are_understood() {
        check(r#"{"model":"m","input":"hello"}"#, asked(&["hello"]));
        check(r#"{"model":"m","input":["a","b"],"user":"u","prefix":{}}"#, asked(&["a", "b"]));
    }

    #[test]
    fn base64_comes_only_when_asked_in_any_case_and_null_is_absent() {
        for (format, want) in
            [("null", Format::Float), (r#""BASE64""#, Format::Base64), (r#""Float""#, Format::Float)]
        {
            let body = format!(r#"{{"model":"m","input":"a","encoding_format":{format}}}"#);
            check(&body, Asked { format: want, ..asked(&["a"]) });
        }
        check_refused(
            r#"{"model":"m","input":"a","encoding_format":"int8"}"#,
            Some("encoding_format"),
            "`float` or `base64`",
        );
    }

    #[test]
    fn dimensions_are_whole_and_at_least_one() {
        let with = |dimensions: &str| format!(r#"{{"model":"m","input":"a","dimensions":{dimensions}}}"#);
        check(&with("256"), Asked { dimensions: Some(256), ..asked(&["a"]) });
        check(&with("null"), asked(&["a"]));
        for wrong in ["0", "-1", "1.5", r#""256""#, "true", "1e30"] {
            check_refused(&with(wrong), Some("dimensions"), "whole number from 1");
        }
    }

    #[test]
    fn truncate_is_an_extension_and_off_by_default() {
        check(r#"{"model":"m","input":"a","truncate":true}"#, Asked { truncate: true, ..asked(&["a"]) });
        check_refused(r#"{"model":"m","input":"a","truncate":"yes"}"#, Some("truncate"), "a string");
    }

    #[test]
    fn a_wrong_input_says_what_it_is_and_where() {
        check_refused(r#"{"model":"m"}"#, Some("input"), "missing");
        check_refused(r#"{"model":"m","input":null}"#, Some("input"), "missing");
        check_refused(r#"{"model":"m","input":{"text":"a"}}"#, Some("input"), "an object");
        check_refused(r#"{"model":"m","input":["a",1]}"#, Some("input"), "a number at index 1");
        check_refused(r#"{"model":"m","input":[[1,2]]}"#, Some("input"), "check_embedding_ctx_length=False");
    }

    #[test]
    fn an_empty_text_is_named_by_its_index() {
        check_refused(r#"{"model":"m","input":""}"#, Some("input"), "text 0 is empty");
        check_refused(r#"{"model":"m","input":["a","","b"]}"#, Some("input"), "text 1 is empty");
        check_refused(r#"{"model":"m","input":[]}"#, Some("input"), "at least one text");
    }

    #[test]
    fn a_model_is_needed_and_is_a_string() {
        check_refused(r#"{"input":"a"}"#, Some("model"), "missing");
        check_refused(r#"{"model":7,"input":"a"}"#, Some("model"), "a number");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        check_refused(r#"{"model": "m", "input": "#, None, "not valid JSON");
        check_refused("[1,2]", None, "an array");
    }

    fn answer(vectors: &[&[f32]]) -> EmbedAnswer {
        let embeddings = vectors.iter().map(|vector| Embedding::new(vector.to_vec()).unwrap()).collect();
        EmbedAnswer { embeddings, n_tokens: 7, n_hits: 0, truncated: Vec::new() }
    }

    #[test]
    fn floats_are_written_so_that_they_read_back_the_same() {
        let vector = [0.1, -1.0e-8, f32::MIN_POSITIVE, 16_777_216.0, 1.0 / 3.0];
        let json: Value = serde_json::from_slice(&encode("m\"", &answer(&[&vector]), Format::Float)).unwrap();
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
            String::from_utf8(encode("m", &answer(&[&[1.0, 0.5], &[0.0, -2.0]]), Format::Float)).unwrap(),
            concat!(
                r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0,0.5]},"#,
                r#"{"object":"embedding","index":1,"embedding":[0.0,-2.0]}],"#,
                r#""model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#
            )
        );
    }

    #[test]
    fn base64_is_little_endian_in_the_standard_alphabet() {
        let json = String::from_utf8(encode("m", &answer(&[&[1.0, -1.0]]), Format::Base64)).unwrap();
        assert!(json.contains(r#""embedding":"AACAPwAAgL8=""#), "{json}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_fields_give_a_request_or_a_well_formed_error(
            fields in prop::collection::btree_map(
                prop_oneof![
                    Just("model"), Just("input"), Just("dimensions"), Just("encoding_format"), Just("truncate"),
                ],
                any_json(),
                0..5,
            )
        ) {
            let body = serde_json::to_vec(&fields).unwrap();
            match Asked::from_wire(&body) {
                Ok(asked) => prop_assert!(!asked.texts.is_empty() && asked.texts.iter().all(|text| !text.is_empty())),
                Err(error) => {
                    let body = futures_body(error);
                    prop_assert!(body["error"]["message"].is_string());
                    prop_assert!(body["error"]["param"].is_string());
                }
            }
        }

        #[test]
        fn any_bytes_give_a_request_or_an_error(body in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Err(error) = Asked::from_wire(&body) {
                prop_assert_eq!(error.status, 400);
            }
        }
    }
}
