//! What an answer must be: all the right vectors, or an error that is documented.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::request::{Form, Request};

/// Statuses and codes of `docs/errors.md` that faults of upstreams may lead to.
const DOCUMENTED: [(u16, &str); 6] = [
    (429, "rate_limit_exceeded"),
    (502, "text_refused"),
    (502, "upstream_failed"),
    (502, "upstream_wrong"),
    (503, "upstream_unreachable"),
    (504, "timeout"),
];

/// What a request was answered with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Right,
    /// An error that is documented: its status, and its code or the API without codes.
    Refused(u16, String),
}

#[derive(Deserialize)]
struct Openai {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Written,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Base64(String),
    Floats(Vec<f32>),
}

#[derive(Deserialize)]
struct Ollama {
    embeddings: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenaiRefusal {
    error: OpenaiError,
}

#[derive(Deserialize)]
struct OpenaiError {
    message: String,
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OllamaRefusal {
    error: String,
}

/// Looks at every bit of every vector.
///
/// # Errors
/// Says what is wrong with the answer.
pub(crate) fn judge(request: &Request, status: u16, body: &[u8]) -> Result<Ending, String> {
    match status {
        200 => vectors(request, body).and_then(|got| compare(request, &got)).map(|()| Ending::Right),
        _ => refusal(request, status, body),
    }
}

fn vectors(request: &Request, body: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    if request.form == Form::Ollama {
        return parsed::<Ollama>(body).map(|answer| answer.embeddings);
    }
    let items = parsed::<Openai>(body)?.data;
    if let Some(at) = items.iter().enumerate().position(|(at, item)| at != item.index) {
        return Err(format!("item {at} has the index {}", items[at].index));
    }
    items.into_iter().map(|item| numbers(request, item.embedding)).collect()
}

fn numbers(request: &Request, written: Written) -> Result<Vec<f32>, String> {
    match written {
        Written::Floats(numbers) if request.form == Form::Floats => Ok(numbers),
        Written::Base64(text) if request.form == Form::Base64 => {
            let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(format!("{} bytes are no floats", bytes.len()));
            }
            Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
        }
        _ => Err("it is written in the other form".to_owned()),
    }
}

fn compare(request: &Request, got: &[Vec<f32>]) -> Result<(), String> {
    if let Some(index) = request.poison() {
        return Err(format!("text {index}, which nobody can embed, was embedded"));
    }
    let want = request.right();
    if got.len() != want.len() {
        return Err(format!("{} vectors for {} texts", got.len(), want.len()));
    }
    let bits = |vector: &[f32]| vector.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    match got.iter().zip(&want).position(|(got, want)| bits(got) != bits(want)) {
        Some(index) => Err(format!("text {index} has {:?} and not its own {:?}", got[index], want[index])),
        None => Ok(()),
    }
}

fn refusal(request: &Request, status: u16, body: &[u8]) -> Result<Ending, String> {
    let (code, message) = match request.form {
        Form::Ollama => {
            // The statuses are OpenAI's, but that a full gateway says 503.
            let is_documented = status != 429 && DOCUMENTED.iter().any(|(known, _)| *known == status);
            let message = parsed::<OllamaRefusal>(body)?.error;
            (is_documented.then(|| "on /api".to_owned()), message)
        }
        Form::Floats | Form::Base64 => {
            let OpenaiError { message, code } = parsed::<OpenaiRefusal>(body)?.error;
            let is_documented = |code: &String| DOCUMENTED.contains(&(status, code));
            (code.filter(is_documented), message)
        }
    };
    let Some(code) = code else { return Err(format!("{status} is not documented so: {message}")) };
    if message.is_empty() {
        return Err(format!("{status} says nothing"));
    }
    Ok(Ending::Refused(status, code))
}

fn parsed<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("{error}, in {}", String::from_utf8_lossy(body)))
}
