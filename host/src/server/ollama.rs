//! Ollama's own API: `/api/embed`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;
use super::exchange::Exchange;
use super::input::Input;
use super::options::{self, Options};
use super::service::{Shared, json_response, off_the_workers};
use super::wire;
use crate::embed::{EmbedAnswer, EmbedError, EmbedRequest};
use crate::model::ModelName;

mod keep_alive;
mod model_options;

/// Answers `POST /api/embed`.
pub(super) async fn embed(
    shared: &Shared,
    exchange: &mut Exchange,
    body: &[u8],
) -> Result<Response<Full<Bytes>>, ApiError> {
    let asked = Asked::from_wire(body)?;
    let options = Options::from_headers(&exchange.headers, shared.times())?;
    let model = shared.model(&asked.model)?;
    let answer = if asked.texts.is_empty() {
        EmbedAnswer { embeddings: Vec::new(), n_tokens: 0, n_hits: 0, truncated: Vec::new() }
    } else {
        let dimensions = shorter(shared, &model, asked.dimensions).await?;
        let request = EmbedRequest {
            model,
            texts: asked.texts,
            purpose: options.purpose,
            truncate: asked.truncate,
            dimensions,
            lane: options.lane,
            prepared: options.prepared,
            deadline: exchange.begun + options.timeout,
        };
        shared.embed(exchange, request).await?
    };
    let (told, name, begun) = (answer.clone(), asked.model, exchange.begun);
    let json = off_the_workers(&told, move || encode(&name, &answer, begun.elapsed())).await?;
    let mut response = json_response(json);
    options::tell(response.headers_mut(), options.purpose, &told, &asked.dropped);
    Ok(response)
}

/// Ollama takes any `dimensions`, and those that are not below the model's own mean nothing.
async fn shorter(
    shared: &Shared,
    model: &ModelName,
    asked: Option<usize>,
) -> Result<Option<usize>, ApiError> {
    let Some(asked) = asked else { return Ok(None) };
    let have = shared.embedder.dimensions(model).await.map_err(|error| ApiError::from(&error))?;
    Ok((asked < have).then_some(asked))
}

/// The body's fields; those that are not named here are ignored.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    model: Value,
    #[serde(default)]
    input: Input,
    /// Belongs to the older API, and is no field of this one.
    #[serde(default)]
    prompt: Value,
    #[serde(default)]
    truncate: Value,
    #[serde(default)]
    dimensions: Value,
    #[serde(default)]
    keep_alive: Value,
    #[serde(default)]
    options: Value,
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
    /// May be empty: clients ask for nothing to find out whether a model is there.
    texts: Vec<String>,
    truncate: bool,
    dimensions: Option<usize>,
    /// Fields that are valid and not heeded.
    dropped: Vec<&'static str>,
}

impl Asked {
    fn from_wire(body: &[u8]) -> Result<Self, ApiError> {
        let body: Body = wire::object(body)?;
        let mut dropped = Vec::new();
        if keep_alive::check(&body.keep_alive)? {
            dropped.push("keep_alive");
        }
        if model_options::check(&body.options)? {
            dropped.push("options");
        }
        Ok(Self {
            truncate: wire::boolean("truncate", &body.truncate, true)?,
            dimensions: dimensions(&body.dimensions)?,
            texts: texts(body.input, &body.prompt)?,
            model: model(body.model)?,
            dropped,
        })
    }
}

fn model(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(name) if !name.is_empty() => Ok(name),
        Value::String(_) | Value::Null => Err(ApiError::no_model("").in_ollamas_words("model '' not found")),
        other => Err(ApiError::invalid(
            "model",
            format!("`model` must be a string, and is {}", wire::kind(&other)),
        )),
    }
}

fn texts(input: Input, prompt: &Value) -> Result<Vec<String>, ApiError> {
    let texts = match input {
        Input::Absent if !prompt.is_null() => {
            let message = "`prompt` belongs to /api/embeddings: send `input` to /api/embed";
            return Err(ApiError::invalid("prompt", message));
        }
        Input::Absent => return Ok(Vec::new()),
        Input::Text(text) if text.is_empty() => return Ok(Vec::new()),
        Input::Text(text) => vec![text],
        Input::List(texts) => texts,
        Input::Tokens | Input::Wrong(_) | Input::WrongElement { .. } => {
            return Err(ApiError::invalid("input", "invalid input type"));
        }
    };
    match texts.iter().position(String::is_empty) {
        Some(index) => Err(ApiError::from(&EmbedError::EmptyText { index })),
        None => Ok(texts),
    }
}

/// Zero and less mean all of them.
fn dimensions(value: &Value) -> Result<Option<usize>, ApiError> {
    match wire::whole(value) {
        Some(dimensions) => Ok(usize::try_from(dimensions).ok().filter(|dimensions| *dimensions != 0)),
        None if value.is_null() => Ok(None),
        None => {
            let message = format!("`dimensions` must be a whole number, and is {}", wire::kind(value));
            Err(ApiError::invalid("dimensions", message))
        }
    }
}

/// Writes the answer, echoing `model` as the client wrote it. Counters of an
/// answer without embeddings are left out, as Ollama does.
fn encode(model: &str, answer: &EmbedAnswer, took: Duration) -> Vec<u8> {
    let per_vector = |dimensions: usize| 2 + dimensions * 13;
    let room: usize = answer.embeddings.iter().map(|embedding| per_vector(embedding.dimensions())).sum();
    let mut out = Vec::with_capacity(room + 512);
    out.extend_from_slice(br#"{"model":"#);
    wire::write_json(&mut out, model);
    out.extend_from_slice(br#","embeddings":["#);
    for (index, embedding) in answer.embeddings.iter().enumerate() {
        if index != 0 {
            out.push(b',');
        }
        wire::write_json(&mut out, embedding.values());
    }
    out.push(b']');
    if !answer.embeddings.is_empty() {
        let (nanos, n_tokens) = (took.as_nanos(), answer.n_tokens);
        // The gateway itself loads no model.
        let counters =
            format!(r#","total_duration":{nanos},"load_duration":0,"prompt_eval_count":{n_tokens}"#);
        out.extend_from_slice(counters.as_bytes());
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Embedding;

    fn asked(texts: &[&str]) -> Asked {
        Asked {
            model: "m".into(),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            truncate: true,
            dimensions: None,
            dropped: Vec::new(),
        }
    }

    /// `fields` are put beside a valid model.
    fn body(fields: &str) -> String {
        format!(r#"{{"model":"m",{fields}}}"#)
    }

    #[track_caller]
    fn check(fields: &str, want: Asked) {
        assert_eq!(Asked::from_wire(body(fields).as_bytes()), Ok(want));
    }

    #[track_caller]
    fn check_refused(body: &str, status: u16, words: &str) {
        let error = Asked::from_wire(body.as_bytes()).unwrap_err();
        assert_eq!(error.status, status);
        assert!(format!("{error:?}").contains(words), "{error:?}");
    }

    #[test]
    fn texts_are_cut_unless_told_otherwise() {
        check(r#""input":"a""#, asked(&["a"]));
        check(r#""input":["a","b"],"truncate":null"#, asked(&["a", "b"]));
        check(r#""input":"a","truncate":false"#, Asked { truncate: false, ..asked(&["a"]) });
    }

    #[test]
    fn nothing_asked_is_nothing_answered() {
        for input in [r#""input":"""#, r#""input":[]"#, r#""input":null"#, r#""extra":1"#] {
            check(input, asked(&[]));
        }
    }

    #[test]
    fn an_empty_text_in_a_list_is_named_by_its_index() {
        check_refused(&body(r#""input":["a",""]"#), 400, "text 1 is empty");
    }

    #[test]
    fn a_wrong_input_is_refused_in_ollamas_words() {
        for input in ["5", "[[1,2]]", r#"["a",1]"#, "{}", "true"] {
            check_refused(&body(&format!(r#""input":{input}"#)), 400, "invalid input type");
        }
    }

    #[test]
    fn a_prompt_is_told_where_it_belongs_instead_of_being_lost() {
        check_refused(&body(r#""prompt":"a""#), 400, "send `input` to /api/embed");
        check(r#""prompt":"a","input":"b""#, asked(&["b"]));
    }

    #[test]
    fn dimensions_that_mean_nothing_are_ignored_and_wrong_types_are_not() {
        check(r#""input":"a","dimensions":256"#, Asked { dimensions: Some(256), ..asked(&["a"]) });
        check(r#""input":"a","dimensions":0"#, asked(&["a"]));
        check(r#""input":"a","dimensions":-3"#, asked(&["a"]));
        check_refused(&body(r#""input":"a","dimensions":"256""#), 400, "`dimensions` must be a whole number");
        check_refused(&body(r#""input":"a","dimensions":1.5"#), 400, "`dimensions` must be a whole number");
    }

    #[test]
    fn valid_options_are_dropped_and_reported() {
        let dropped = Asked { dropped: vec!["keep_alive", "options"], ..asked(&["a"]) };
        check(r#""input":"a","keep_alive":-1,"options":{"num_ctx":30}"#, dropped);
        check(r#""input":"a","keep_alive":null,"options":{}"#, asked(&["a"]));
    }

    #[test]
    fn a_missing_model_is_not_found() {
        check_refused(r#"{"input":"a"}"#, 404, "model '' not found");
        check_refused(r#"{"model":7,"input":"a"}"#, 400, "`model` must be a string");
    }

    #[test]
    fn counters_are_there_unless_nothing_was_embedded() {
        let embedding = Embedding::new(vec![1.0, -0.5]).unwrap();
        let answer =
            EmbedAnswer { embeddings: vec![embedding], n_tokens: 3, n_hits: 0, truncated: Vec::new() };
        assert_eq!(
            String::from_utf8(encode("m", &answer, Duration::from_micros(2))).unwrap(),
            r#"{"model":"m","embeddings":[[1.0,-0.5]],"total_duration":2000,"load_duration":0,"prompt_eval_count":3}"#
        );
        let nothing = EmbedAnswer { embeddings: Vec::new(), ..answer };
        assert_eq!(encode("m", &nothing, Duration::ZERO), br#"{"model":"m","embeddings":[]}"#);
    }
}
