//! The bytes of both APIs, right or wrong as the script says.

use std::fmt;
use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::Written;
use super::{CANARY, Fault, Model, Periodic, Shared, State, vector};

/// Special tokens of every text.
const N_SPECIAL: usize = 2;
/// Tokens that every model says it was made for.
const CONTEXT: u32 = 2048;
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
) -> Result<Response<Written>, Cut> {
    let path = request.uri().path().to_owned();
    let body = Limited::new(request.into_body(), MAX_BODY);
    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    if !path.ends_with("/embed") && !path.ends_with("/embeddings") {
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let question = format!("{path} {}", asked["model"].as_str().unwrap_or_default());
        shared.lock().questions.push(question.trim_end().to_owned());
    }
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

async fn embed(shared: &Shared, api: Api, body: &[u8]) -> Result<Response<Written>, Cut> {
    let Ok(call) = serde_json::from_slice::<Call>(body) else {
        return Ok(error(api, 400, "invalid input type"));
    };
    let texts = match call.input {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    let is_canary = texts == [CANARY];
    let fault = {
        let mut state = shared.lock();
        let poison = texts.iter().find_map(|text| state.poison.get(text).cloned());
        let scripted = if is_canary {
            state.n_canaries += 1;
            shared.sung.notify_waiters();
            None
        } else {
            if !state.forgets {
                state.batches.push(texts.clone());
                state.requests.push(serde_json::from_slice(body).unwrap_or_default());
            }
            poison.is_none().then(|| state.scripted.pop_front()).flatten()
        };
        poison
            .or(scripted)
            .or_else(|| state.periodic.as_mut().filter(|_| !is_canary).and_then(Periodic::next))
            .or_else(|| state.always.clone())
    };
    let in_flight = (!is_canary).then(|| InFlight::new(shared));
    if !is_canary {
        shared.gate.pass().await;
    }
    let due = shared.lock().runner.take(texts.len());
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
    let known = shared.lock().models.get(&call.model).cloned();
    let Some(model) = known else {
        let message = format!("model \"{}\" not found, try pulling it first", call.model);
        return Ok(error(api, 404, &message));
    };
    if !model.embeds {
        return Ok(error(api, 501, "this model does not support embeddings"));
    }
    let dimensions = match fault {
        Some(Fault::Cut) => return Err(Cut),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer(status, body)) => return Ok(text_answer(status, body)),
        Some(Fault::Dimensions(dimensions)) => dimensions,
        _ => model.dimensions,
    };
    let sung = shared.lock().sings.clone().filter(|_| is_canary);
    let texts = sung.map_or(texts, |sung| vec![sung]);
    let limit = shared.lock().cut_at.unwrap_or(usize::MAX);
    let n_tokens = texts.iter().map(|text| n_tokens(text).min(limit)).sum();
    let mut vectors: Vec<Vec<f32>> =
        texts.iter().map(|text| vector(&call.model, &cut(text, limit), dimensions)).collect();
    match fault {
        Some(Fault::Short) => drop(vectors.pop()),
        Some(Fault::Long) => vectors.extend(vectors.last().cloned()),
        Some(Fault::Zero) => vectors.iter_mut().for_each(|vector| vector.fill(0.0)),
        _ => {}
    }
    drop(in_flight);
    if api == Api::Openai && call.encoding_format.as_deref() == Some("base64") {
        return Ok(error(api, 400, "this simulator writes numbers only"));
    }
    let answer = text_answer(200, written(api, &call.model, &vectors, n_tokens, fault.as_ref()));
    Ok(if fault == Some(Fault::Half) { answer.map(Written::broken_off) } else { answer })
}

/// Borrows its vectors: a simulator shares its processors with what is measured.
#[derive(Serialize)]
struct OllamaAnswer<'v> {
    model: &'v str,
    embeddings: Vec<&'v [f32]>,
    total_duration: u64,
    prompt_eval_count: usize,
}

#[derive(Serialize)]
struct OpenaiAnswer<'v> {
    object: &'static str,
    data: Vec<OpenaiItem<'v>>,
    model: &'v str,
    usage: Usage,
}

#[derive(Serialize)]
struct OpenaiItem<'v> {
    object: &'static str,
    index: usize,
    embedding: &'v [f32],
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// The body with `vectors`, spoilt as `fault` says.
fn written(api: Api, model: &str, vectors: &[Vec<f32>], n_tokens: usize, fault: Option<&Fault>) -> String {
    let mut in_order: Vec<(usize, &[f32])> = vectors.iter().map(Vec::as_slice).enumerate().collect();
    match fault {
        Some(Fault::Reversed) => in_order.reverse(),
        Some(Fault::SameIndex) => in_order.iter_mut().for_each(|(index, _)| *index = 0),
        _ => {}
    }
    let body = match api {
        Api::Ollama => serde_json::to_string(&OllamaAnswer {
            model,
            embeddings: in_order.into_iter().map(|(_, vector)| vector).collect(),
            total_duration: 1,
            prompt_eval_count: n_tokens,
        }),
        Api::Openai => serde_json::to_string(&OpenaiAnswer {
            object: "list",
            data: in_order
                .into_iter()
                .map(|(index, embedding)| OpenaiItem { object: "embedding", index, embedding })
                .collect(),
            model,
            usage: Usage { prompt_tokens: n_tokens, total_tokens: n_tokens },
        }),
    };
    let mut body = body.expect("numbers and strings can be written");
    if fault == Some(&Fault::Nan) {
        // In front of the first number of the first vector.
        let before = if api == Api::Ollama { "\"embeddings\":[[" } else { "\"embedding\":[" };
        if let Some(at) = body.find(before) {
            body.insert_str(at + before.len(), "NaN,");
        }
    }
    body
}

fn n_tokens(text: &str) -> usize {
    text.split_whitespace().count() + N_SPECIAL
}

/// The words of `text` that fit.
fn cut(text: &str, limit: usize) -> String {
    if n_tokens(text) <= limit {
        return text.to_owned();
    }
    let words: Vec<&str> = text.split_whitespace().take(limit.saturating_sub(N_SPECIAL)).collect();
    words.join(" ")
}

fn tags(shared: &Shared) -> Value {
    let state = shared.lock();
    let models: Vec<Value> = state
        .models
        .iter()
        .map(|(name, model)| {
            let mut tag = json!({ "name": name, "model": name, "digest": model.digest, "details": { "family": "sim" } });
            if is_since(&state, 30) {
                tag["capabilities"] = capabilities(model);
                tag["details"]["embedding_length"] = model.dimensions.into();
                tag["details"]["context_length"] = CONTEXT.into();
            }
            tag
        })
        .collect();
    json!({ "models": models })
}

fn capabilities(model: &Model) -> Value {
    if model.embeds { json!(["embedding"]) } else { json!(["completion", "tools"]) }
}

/// Whether the server is of version 0.`minor` or later.
fn is_since(state: &State, minor: u32) -> bool {
    let own = state.version.split('.').nth(1).and_then(|own| own.parse::<u32>().ok());
    own.is_none_or(|own| minor <= own)
}

fn show(shared: &Shared, body: &[u8]) -> Response<Written> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = body["model"].as_str().unwrap_or_default();
    let state = shared.lock();
    match state.models.get(name) {
        Some(model) => {
            let mut card = json!({ "model_info": {
                "general.architecture": "sim",
                "sim.embedding_length": model.dimensions,
                "sim.context_length": CONTEXT,
            } });
            if model.embeds {
                card["model_info"]["sim.pooling_type"] = 1.into();
            }
            if is_since(&state, 7) {
                card["capabilities"] = capabilities(model);
            }
            json_answer(200, &card)
        }
        None => error(Api::Ollama, 404, &format!("model '{name}' not found")),
    }
}

fn openai_models(shared: &Shared) -> Value {
    let data: Vec<Value> =
        shared.lock().models.keys().map(|name| json!({ "id": name, "object": "model" })).collect();
    json!({ "object": "list", "data": data })
}

fn error(api: Api, status: u16, message: &str) -> Response<Written> {
    let body = match api {
        Api::Ollama => json!({ "error": message }),
        Api::Openai => {
            json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": null } })
        }
    };
    json_answer(status, &body)
}

fn json_answer(status: u16, body: &Value) -> Response<Written> {
    text_answer(status, body.to_string())
}

fn text_answer(status: u16, body: String) -> Response<Written> {
    let mut response = Response::new(Written::whole(body));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}
