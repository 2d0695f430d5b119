//! Vectors as Ollama's two paths write them.

use std::time::Duration;

use crate::embed::EmbedAnswer;
use crate::server::numbers::Numbers;
use crate::server::wire;

/// The answer of `/api/embed`, echoing `model` as the client wrote it. Counters
/// of an answer without embeddings are left out, as Ollama does.
pub(super) fn list(model: &str, answer: &EmbedAnswer, took: Duration, numbers: &Numbers) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity(answer));
    out.extend_from_slice(br#"{"model":"#);
    wire::write_json(&mut out, model);
    out.extend_from_slice(br#","embeddings":["#);
    for (index, embedding) in answer.embeddings.iter().enumerate() {
        if index != 0 {
            out.push(b',');
        }
        numbers.write(&mut out, embedding);
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

/// The answer of `/api/embeddings`, which has nothing but the vector of its one text.
pub(super) fn one(answer: &EmbedAnswer, numbers: &Numbers) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity(answer));
    out.extend_from_slice(br#"{"embedding":"#);
    match answer.embeddings.first() {
        Some(embedding) => numbers.write(&mut out, embedding),
        None => out.extend_from_slice(b"[]"),
    }
    out.push(b'}');
    out
}

/// Bytes that an answer takes, or a little more.
pub(super) fn capacity(answer: &EmbedAnswer) -> usize {
    let per_vector = |dimensions: usize| 2 + dimensions * 13;
    answer.embeddings.iter().map(|embedding| per_vector(embedding.dimensions())).sum::<usize>() + 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Embedding;

    fn answer(vectors: &[&[f32]]) -> EmbedAnswer {
        let embeddings = vectors.iter().map(|vector| Embedding::new(vector.to_vec()).unwrap()).collect();
        EmbedAnswer { embeddings, n_tokens: 3, ..EmbedAnswer::default() }
    }

    #[track_caller]
    fn check(written: Vec<u8>, want: &str) {
        assert_eq!(String::from_utf8(written).unwrap(), want);
    }

    #[test]
    fn counters_are_there_unless_nothing_was_embedded() {
        check(
            list("m", &answer(&[&[1.0, -0.5]]), Duration::from_micros(2), &Numbers::unkept()),
            r#"{"model":"m","embeddings":[[1.0,-0.5]],"total_duration":2000,"load_duration":0,"prompt_eval_count":3}"#,
        );
        check(
            list("m", &answer(&[]), Duration::ZERO, &Numbers::unkept()),
            r#"{"model":"m","embeddings":[]}"#,
        );
    }

    #[test]
    fn the_older_answer_is_the_vector_and_nothing_else() {
        check(one(&answer(&[&[1.0, -0.5]]), &Numbers::unkept()), r#"{"embedding":[1.0,-0.5]}"#);
        check(one(&answer(&[]), &Numbers::unkept()), r#"{"embedding":[]}"#);
    }
}
