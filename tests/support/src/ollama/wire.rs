//! The bytes of both APIs, right or wrong as the script says.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fault, Periodic, Shared, vector};

const MAX_BODY: usize = 64 * 1024 * 1024;

/// No answer: the connection ends.
#[derive(Debug)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Cut {}

#[derive(Deserialize)]
struct Call {
    model: String,
    input: OneOrMany,
    encoding_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Api {
    Ollama,
    Openai,
}

pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let path = request.uri().path().to_owned();
    let body = Limited::new(request.into_body(), MAX_BODY);
    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    match path.as_str() {
        "/api/embed" => embed(&shared, Api::Ollama, &body).await,
        "/v1/embeddings" => embed(&shared, Api::Openai, &body).await,
        "/api/version" => Ok(json_answer(200, &json!({ "version": shared.lock().version }))),
        "/api/tags" => Ok(json_answer(200, &tags(&shared))),
        "/api/show" => Ok(show(&shared, &body)),
        "/v1/models" => Ok(json_answer(200, &openai_models(&shared))),
        _ => Ok(text_answer(404, "404 page not found".to_owned())),
    }
}

/// Counts a call for as long as it is under way.
struct InFlight<'s>(&'s Shared);

impl<'s> InFlight<'s> {
    fn new(shared: &'s Shared) -> Self {
        let mut state = shared.lock();
        state.in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight);
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}

async fn embed(shared: &Shared, api: Api, body: &[u8]) -> Result<Response<Full<Bytes>>, Cut> {
    let Ok(call) = serde_json::from_slice::<Call>(body) else {
        return Ok(error(api, 400, "invalid input type"));
    };
    let texts = match call.input {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    let fault = {
        let mut state = shared.lock();
        if !state.forgets {
            state.batches.push(texts.clone());
            state.requests.push(serde_json::from_slice(body).unwrap_or_default());
        }
        let poison = texts.iter().find_map(|text| state.poison.get(text).cloned());
        poison
            .or_else(|| state.scripted.pop_front())
            .or_else(|| state.periodic.as_mut().and_then(Periodic::next))
            .or_else(|| state.always.clone())
    };
    let in_flight = InFlight::new(shared);
    shared.gate.pass().await;
    shared.work(texts.len()).await;
    let known = shared.lock().models.get(&call.model).cloned();
    let Some(model) = known else {
        let message = format!("model \"{}\" not found, try pulling it first", call.model);
        return Ok(error(api, 404, &message));
    };
    let dimensions = match fault {
        Some(Fault::Cut) => return Err(Cut),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer(status, body)) => return Ok(text_answer(status, body)),
        Some(Fault::Dimensions(dimensions)) => dimensions,
        _ => model.dimensions,
    };
    let mut vectors: Vec<Vec<f32>> = texts.iter().map(|text| vector(&call.model, text, dimensions)).collect();
    match fault {
        Some(Fault::Short) => drop(vectors.pop()),
        Some(Fault::Zero) => vectors.iter_mut().for_each(|vector| vector.fill(0.0)),
        _ => {}
    }
    drop(in_flight);
    let body = match api {
        Api::Ollama => ollama_body(&call.model, vectors, fault.as_ref()),
        Api::Openai if call.encoding_format.as_deref() == Some("base64") => {
            return Ok(error(api, 400, "this simulator writes numbers only"));
        }
        Api::Openai => openai_body(&call.model, vectors, fault.as_ref()),
    };
    let mut text = body.to_string();
    if fault == Some(Fault::Nan) {
        // In front of the first number of the first vector.
        let before = if api == Api::Ollama { "\"embeddings\":[[" } else { "\"embedding\":[" };
        if let Some(at) = text.find(before) {
            text.insert_str(at + before.len(), "NaN,");
        }
    }
    Ok(text_answer(200, text))
}

fn ollama_body(model: &str, mut vectors: Vec<Vec<f32>>, fault: Option<&Fault>) -> Value {
    if fault == Some(&Fault::Reversed) {
        vectors.reverse();
    }
    json!({ "model": model, "embeddings": vectors, "total_duration": 1, "prompt_eval_count": 1 })
}

fn openai_body(model: &str, vectors: Vec<Vec<f32>>, fault: Option<&Fault>) -> Value {
    let mut data: Vec<Value> = vectors
        .into_iter()
        .enumerate()
        .map(|(index, embedding)| {
            let index = if fault == Some(&Fault::SameIndex) { 0 } else { index };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    if fault == Some(&Fault::Reversed) {
        data.reverse();
    }
    json!({ "object": "list", "model": model, "data": data, "usage": { "prompt_tokens": 1, "total_tokens": 1 } })
}

fn tags(shared: &Shared) -> Value {
    let state = shared.lock();
    let models: Vec<Value> = state
        .models
        .iter()
        .map(|(name, model)| {
            json!({ "name": name, "model": name, "digest": model.digest, "capabilities": ["embedding"] })
        })
        .collect();
    json!({ "models": models })
}

fn show(shared: &Shared, body: &[u8]) -> Response<Full<Bytes>> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = body["model"].as_str().unwrap_or_default();
    match shared.lock().models.get(name) {
        Some(model) => json_answer(
            200,
            &json!({
                "capabilities": ["embedding"],
                "model_info": { "general.architecture": "sim", "sim.embedding_length": model.dimensions },
            }),
        ),
        None => error(Api::Ollama, 404, &format!("model '{name}' not found")),
    }
}

fn openai_models(shared: &Shared) -> Value {
    let data: Vec<Value> =
        shared.lock().models.keys().map(|name| json!({ "id": name, "object": "model" })).collect();
    json!({ "object": "list", "data": data })
}

fn error(api: Api, status: u16, message: &str) -> Response<Full<Bytes>> {
    let body = match api {
        Api::Ollama => json!({ "error": message }),
        Api::Openai => {
            json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": null } })
        }
    };
    json_answer(status, &body)
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    text_answer(status, body.to_string())
}

fn text_answer(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}
