//! A request as it goes over the wire, and what must come back.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde::Deserialize;
use serde_json::json;

/// Whose words are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/v1/embeddings`, with vectors in base64 as official clients ask for them.
    Openai,
    /// `/v1/embeddings`, with vectors as numbers, which any server can write.
    OpenaiFloats,
    /// `/api/embed`
    Ollama,
}

/// One request, written out, and the vectors that its answer must have.
#[derive(Clone, Debug)]
pub struct Exchange {
    bytes: Vec<u8>,
    status: u16,
    want: Want,
    /// The first answer with the right vectors. One that is the same to the byte is right as
    /// well: to read numbers costs the machine that is measured more than to compare bytes.
    right: OnceLock<Box<[u8]>>,
}

#[derive(Clone, Debug)]
enum Want {
    Anything,
    /// The vectors as the answer writes them, in order.
    Written(Vec<String>),
    Numbers(Vec<Vec<f32>>),
    Either(Box<[Self; 2]>),
}

#[derive(Deserialize)]
struct OpenaiAnswer {
    data: Vec<OpenaiItem>,
}

#[derive(Deserialize)]
struct OpenaiItem {
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct OllamaAnswer {
    embeddings: Vec<Vec<f32>>,
}

impl Exchange {
    /// Asks `model` for the vectors of `texts`; any vectors will do.
    pub fn embed(api: Api, host: &str, model: &str, texts: &[impl AsRef<str>]) -> Self {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let (path, body) = match api {
            Api::Openai => {
                let body = json!({ "model": model, "input": texts, "encoding_format": "base64" });
                ("/v1/embeddings", body)
            }
            Api::OpenaiFloats => ("/v1/embeddings", json!({ "model": model, "input": texts })),
            Api::Ollama => ("/api/embed", json!({ "model": model, "input": texts })),
        };
        Self::post(host, path, &body.to_string())
    }

    /// Posts JSON; any answer of status 200 will do.
    pub fn post(host: &str, path: &str, body: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self { bytes: (head + body).into_bytes(), status: 200, want: Want::Anything, right: OnceLock::new() }
    }

    /// The answer must have another status than 200.
    pub fn expecting(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The status that the answer must have.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The answer must have exactly `vectors`, bit by bit, in this order.
    pub fn wanting(self, api: Api, vectors: Vec<Vec<f32>>) -> Self {
        Self { want: Want::new(api, vectors), ..self }
    }

    /// The answer may have `vectors` as well.
    pub fn or_wanting(self, api: Api, vectors: Vec<Vec<f32>>) -> Self {
        Self { want: Want::Either(Box::new([self.want, Want::new(api, vectors)])), ..self }
    }

    /// The request as it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether `body` is what must come back.
    pub fn accepts(&self, body: &[u8]) -> bool {
        if self.right.get().is_some_and(|right| **right == *body) {
            return true;
        }
        let accepted = self.want.is_met_by(body);
        if accepted && !matches!(self.want, Want::Anything) {
            self.right.get_or_init(|| body.into());
        }
        accepted
    }
}

impl Want {
    fn new(api: Api, vectors: Vec<Vec<f32>>) -> Self {
        match api {
            Api::Openai => Self::Written(vectors.iter().map(|vector| written(vector)).collect()),
            Api::OpenaiFloats | Api::Ollama => Self::Numbers(vectors),
        }
    }

    fn is_met_by(&self, body: &[u8]) -> bool {
        match self {
            Self::Anything => true,
            Self::Written(vectors) => has_in_order(body, vectors),
            Self::Numbers(vectors) => numbers(body).is_some_and(|got| got == *vectors),
            Self::Either(wants) => wants.iter().any(|want| want.is_met_by(body)),
        }
    }
}

/// The vectors of an answer in numbers, in either API's shape.
pub fn numbers(body: &[u8]) -> Option<Vec<Vec<f32>>> {
    if let Ok(answer) = serde_json::from_slice::<OpenaiAnswer>(body) {
        return Some(answer.data.into_iter().map(|item| item.embedding).collect());
    }
    serde_json::from_slice::<OllamaAnswer>(body).ok().map(|answer| answer.embeddings)
}

fn written(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    format!("\"{}\"", STANDARD.encode(bytes))
}

/// Each of `parts` and nothing else that looks like one.
fn has_in_order(body: &[u8], parts: &[String]) -> bool {
    let mut rest = body;
    for part in parts {
        match memmem::find(rest, part.as_bytes()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    memmem::find_iter(body, b"\"embedding\":").count() == parts.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &[f32] = &[0.6, 0.8];
    const B: &[f32] = &[1.0, 0.0];

    #[track_caller]
    fn check(api: Api, body: &str, accepted: bool) {
        let exchange = Exchange::embed(api, "x", "m", &["a", "b"]).wanting(api, vec![A.to_vec(), B.to_vec()]);
        assert_eq!(exchange.accepts(body.as_bytes()), accepted, "{body}");
    }

    fn openai(vectors: &[&[f32]]) -> String {
        let item = |vector: &&[f32]| format!("{{\"embedding\":{}}}", written(vector));
        format!("{{\"data\":[{}]}}", vectors.iter().map(item).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn base64_must_be_each_texts_own() {
        check(Api::Openai, &openai(&[A, B]), true);
        check(Api::Openai, &openai(&[B, A]), false);
        check(Api::Openai, &openai(&[A]), false);
        check(Api::Openai, &openai(&[A, B, B]), false);
    }

    #[test]
    fn numbers_must_be_each_texts_own() {
        check(Api::Ollama, r#"{"embeddings":[[0.6,0.8],[1,0]]}"#, true);
        check(Api::Ollama, r#"{"embeddings":[[0.6,0.8],[1,1e-30]]}"#, false);
        check(Api::Ollama, r#"{"embeddings":[[0.6,0.8]]}"#, false);
        check(Api::OpenaiFloats, r#"{"data":[{"embedding":[0.6,0.8]},{"embedding":[1,0]}]}"#, true);
        check(Api::OpenaiFloats, r#"{"error":{}}"#, false);
    }

    #[test]
    fn either_of_two_answers_may_be_right() {
        let exchange = Exchange::embed(Api::Openai, "x", "m", &["a"])
            .wanting(Api::Openai, vec![A.to_vec()])
            .or_wanting(Api::Openai, vec![B.to_vec()]);
        for (vector, accepted) in [(A, true), (B, true), (&[0.5][..], false), (A, true)] {
            assert_eq!(exchange.accepts(openai(&[vector]).as_bytes()), accepted, "{vector:?}");
        }
    }

    #[test]
    fn an_answer_like_one_that_was_right_is_right_and_any_other_is_read() {
        let exchange = Exchange::embed(Api::Ollama, "x", "m", &["a"]).wanting(Api::Ollama, vec![A.to_vec()]);
        let answers = [("[[0.6,0.9]]", false), ("[[0.6,0.8]]", true), ("[[0.60,0.80]]", true)];
        for (vectors, accepted) in answers.into_iter().chain([answers[1], answers[0]]) {
            let body = format!("{{\"embeddings\":{vectors}}}");
            assert_eq!(exchange.accepts(body.as_bytes()), accepted, "{body}");
        }
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let exchange = Exchange::post("h:1", "/p", "{\"é\":1}");
        let text = String::from_utf8(exchange.bytes).unwrap();
        assert!(text.starts_with("POST /p HTTP/1.1\r\nhost: h:1\r\n"), "{text}");
        assert!(text.contains("content-length: 8\r\n\r\n{\"é\":1}"), "{text}");
    }
}
