//! Requests of all kinds that clients send, each with the vectors that it must get.

use std::net::SocketAddr;

use embergate_test_support::ollama::vector;
use serde_json::json;

use crate::chance::Chance;
use crate::{DIMENSIONS, MODEL, POISON};

/// Texts that are asked for again and again; more than the cache holds.
const N_REPEATED: u64 = 2000;

/// Whose words are spoken, and how vectors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Floats,
    Base64,
    Ollama,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) form: Form,
    pub(crate) texts: Vec<String>,
    pub(crate) dimensions: Option<usize>,
    /// It says that it is bulk.
    pub(crate) is_bulk: bool,
    /// The client leaves after so many milliseconds.
    pub(crate) leaves_after: Option<u64>,
}

impl Request {
    /// Any request; `number` is another one for each of a client's requests, and for each client.
    pub(crate) fn any(number: u64, chance: &mut Chance) -> Self {
        let form = [Form::Floats, Form::Base64, Form::Ollama][chance.below(3) as usize];
        let n_texts = match chance.below(20) {
            0..=11 => 1,
            12..=17 => 2 + chance.below(30),
            // Above `batcher.bulk_above`.
            _ => 33 + chance.below(100),
        };
        let mut texts: Vec<String> = (0..n_texts).map(|at| any_text(number, at, chance)).collect();
        if chance.one_in(60) {
            let at = chance.below(n_texts) as usize;
            POISON.clone_into(&mut texts[at]);
        }
        Self {
            form,
            texts,
            dimensions: chance.one_in(5).then(|| 1 + chance.below(DIMENSIONS as u64) as usize),
            is_bulk: chance.one_in(10),
            leaves_after: chance.one_in(20).then(|| chance.below(40)),
        }
    }

    /// The request as it goes over the wire.
    pub(crate) fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let path = if self.form == Form::Ollama { "/api/embed" } else { "/v1/embeddings" };
        let mut body = json!({ "model": MODEL, "input": self.texts });
        if let [text] = &self.texts[..] {
            body["input"] = text.as_str().into();
        }
        if self.form == Form::Base64 {
            body["encoding_format"] = "base64".into();
        }
        if let Some(dimensions) = self.dimensions {
            body["dimensions"] = dimensions.into();
        }
        let body = body.to_string();
        let lane = if self.is_bulk { "x-embergate-lane: bulk\r\n" } else { "" };
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{lane}content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// The vectors that the answer must have.
    pub(crate) fn right(&self) -> Vec<Vec<f32>> {
        let one = |text: &String| {
            let whole = vector(MODEL, text, DIMENSIONS);
            match self.dimensions {
                Some(dimensions) if dimensions < DIMENSIONS => shortened(&whole[..dimensions]),
                _ => whole,
            }
        };
        self.texts.iter().map(one).collect()
    }

    /// The index of the text that nobody can embed.
    pub(crate) fn poison(&self) -> Option<usize> {
        self.texts.iter().position(|text| text == POISON)
    }
}

/// A new text, or one of those that many ask for, some of them much more often than others.
fn any_text(number: u64, at: u64, chance: &mut Chance) -> String {
    match chance.below(5) {
        0 | 1 => format!("new {number} {at}: kelp grows fast in cold water"),
        2 => format!("known {}", chance.below(20)),
        _ => format!("known {}", chance.below(N_REPEATED)),
    }
}

/// `prefix` with a norm of 1.
fn shortened(prefix: &[f32]) -> Vec<f32> {
    let norm = prefix.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    prefix.iter().map(|value| (f64::from(*value) / norm) as f32).collect()
}
