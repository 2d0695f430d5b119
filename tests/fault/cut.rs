//! Upstreams that cut texts though nobody asked them to.

use std::path::Path;
use std::sync::Arc;

use embergate::embed::{EmbedError, EmbedRequest, Embedder};
use embergate_test_support::ollama::{OllamaSim, vector};

use crate::bench::{DIMENSIONS, MODEL, assert_right, embedder, embedder_with, request};

/// The words of a text that is `n_tokens` long, two special ones included: each
/// is one token to the simulator and to the tokenizer of the embedded model.
fn text(n_tokens: usize) -> String {
    ["one", "two"].repeat(n_tokens)[..n_tokens - 2].join(" ")
}

fn exact(kind: &'static str, sim: &OllamaSim) -> Arc<Embedder> {
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("model/tokenizer.json");
    let keys = format!("tokenizer = {:?}\nmax_tokens = 8192", tokenizer.display().to_string());
    embedder_with(kind, &[sim.url()], &keys, Default::default()).unwrap()
}

fn truncating(texts: &[String]) -> EmbedRequest {
    EmbedRequest { truncate: true, ..request(texts) }
}

#[tokio::test]
async fn a_text_that_was_cut_unasked_is_refused_and_the_others_are_kept() {
    for kind in ["ollama", "openai"] {
        let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
        sim.cut_at(512);
        let embedder = exact(kind, &sim);
        let error = embedder.embed(request(&[text(100), text(200), text(900)])).await.unwrap_err();
        assert!(matches!(error, EmbedError::TooLong { index: 2, got: 900, max: 512, .. }), "{kind}: {error}");
        let others = [text(100), text(200)];
        let kept = embedder.embed(request(&others)).await.unwrap();
        assert_eq!(kept.n_hits, 2, "{kind}");
    }
}

#[tokio::test]
async fn where_cutting_is_allowed_it_is_told_who_did_it_and_the_cache_tells_it_too() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    sim.cut_at(512);
    let embedder = exact("ollama", &sim);
    let texts = [text(100), text(900), text(9000)];
    for n_hits in [0, 3] {
        let answer = embedder.embed(truncating(&texts)).await.unwrap();
        assert_eq!(answer.n_hits, n_hits);
        // The last one is cut here to what the model takes, and again by the upstream.
        assert_eq!((answer.truncated, answer.cut_by_upstream), (vec![], vec![1, 2]));
        assert_eq!(answer.embeddings[1].values(), vector(MODEL, &text(512), DIMENSIONS));
    }
}

#[tokio::test]
async fn what_is_taken_whole_is_not_called_cut() {
    for kind in ["ollama", "openai"] {
        let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
        sim.cut_at(2000);
        let embedder = exact(kind, &sim);
        let texts: Vec<String> = (100..140).chain([2000]).map(text).collect();
        let answer = embedder.embed(request(&texts)).await;
        assert!(answer.as_ref().is_ok_and(|answer| answer.cut_by_upstream.is_empty()));
        assert_right(&texts, answer);
    }
}

#[tokio::test]
async fn an_estimate_tells_of_a_lone_text_at_a_usual_limit() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    sim.cut_at(512);
    let embedder = embedder("ollama", &[sim.url()]);
    let error = embedder.embed(request(&[text(900)])).await.unwrap_err();
    assert!(matches!(error, EmbedError::TooLong { index: 0, max: 512, .. }), "{error}");
    // The upstream is told that it may cut, so it does as it was asked.
    let answer = embedder.embed(truncating(&[text(900)])).await.unwrap();
    assert_eq!((answer.truncated, answer.cut_by_upstream), (vec![0], vec![]));
    sim.cut_at(500);
    assert!(embedder.embed(request(&[text(901)])).await.is_ok(), "nobody cuts at 500");
}

#[tokio::test]
async fn an_unusual_limit_is_noticed_with_the_second_text() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    sim.cut_at(600);
    let embedder = exact("openai", &sim);
    assert!(embedder.embed(request(&[text(900)])).await.is_ok());
    let error = embedder.embed(request(&[text(1000)])).await.unwrap_err();
    assert!(matches!(error, EmbedError::TooLong { got: 1000, max: 600, .. }), "{error}");
}

#[tokio::test]
async fn an_upstream_that_counts_something_else_is_not_said_to_cut() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = exact("ollama", &sim);
    // One word to the simulator, two tokens to the tokenizer.
    let texts: Vec<String> = (300..340).map(|n_words| vec!["kelp"; n_words].join(" ")).collect();
    for text in &texts {
        assert_right(&[text], embedder.embed(request(&[text])).await);
    }
    assert_right(&texts, embedder.embed(request(&texts)).await);
}
