//! One upstream that is not there, lacks the model, or answers nonsense: the
//! error says so, and nothing of it stays in the cache.

use embergate::embed::EmbedError;
use embergate_test_support::ollama::{Fault, OllamaSim};

use crate::bench::{DIMENSIONS, MODEL, assert_right, embedder, request};

const TEXTS: [&str; 3] = ["kelp", "moss", "kelp"];

fn class(error: &EmbedError) -> String {
    match error {
        EmbedError::Upstream(error) => error.class().to_owned(),
        EmbedError::Text { index, .. } => format!("text {index}"),
        other => other.to_string(),
    }
}

async fn check(kind: &'static str, fault: Fault, want: &str) {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder(kind, &[sim.url()]);
    assert_right(&["first"], embedder.embed(request(&["first"])).await);
    sim.fail_always(fault.clone());
    let error = embedder.embed(request(&TEXTS)).await.unwrap_err();
    assert_eq!(class(&error), want, "{kind} {fault:?}: {error}");
    // Each alone, so that no flight of a failed call is left for the next request to join.
    for text in TEXTS {
        embedder.embed(request(&[text])).await.unwrap_err();
    }
    sim.heal();
    let answer = embedder.embed(request(&TEXTS)).await;
    assert_eq!(answer.as_ref().unwrap().n_hits, 0, "{kind} {fault:?}");
    assert_right(&TEXTS, answer);
}

#[tokio::test]
async fn a_wrong_number_of_vectors() {
    check("ollama", Fault::Short, "count").await;
    check("openai", Fault::Short, "count").await;
}

#[tokio::test]
async fn numbers_that_are_none() {
    check("ollama", Fault::Nan, "fault").await;
    check("openai", Fault::Nan, "fault").await;
    check("ollama", Fault::Zero, "embedding").await;
}

#[tokio::test]
async fn other_dimensions_than_before() {
    check("ollama", Fault::Dimensions(DIMENSIONS + 1), "dimensions").await;
    check("openai", Fault::Dimensions(4), "dimensions").await;
}

#[tokio::test]
async fn something_else_than_an_embeddings_server() {
    check("ollama", Fault::html(), "nonsense").await;
    check("openai", Fault::Answer(200, String::new()), "nonsense").await;
    check("ollama", Fault::Answer(200, "{}".into()), "nonsense").await;
    check("ollama", Fault::Answer(404, "404 page not found".into()), "nonsense").await;
    check("ollama", Fault::Answer(307, String::new()), "nonsense").await;
}

#[tokio::test]
async fn a_server_that_fails_or_refuses() {
    check("ollama", Fault::crash(), "fault").await;
    check("ollama", Fault::Cut, "fault").await;
    check("openai", Fault::Answer(502, "<html>Bad Gateway</html>".into()), "fault").await;
    check("ollama", Fault::Answer(503, r#"{"error":"server busy"}"#.into()), "busy").await;
    check("openai", Fault::Answer(401, r#"{"error":{"message":"Incorrect API key"}}"#.into()), "refused")
        .await;
    check("ollama", Fault::Answer(501, r#"{"error":"no embeddings"}"#.into()), "not_embedding").await;
    let too_long = r#"{"error":"the input length exceeds the context length"}"#;
    check("ollama", Fault::Answer(400, too_long.into()), "text 0").await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there() {
    for kind in ["ollama", "openai"] {
        let gone = OllamaSim::start(&[]).await.url();
        let embedder = embedder(kind, std::slice::from_ref(&gone));
        let error = embedder.embed(request(&TEXTS)).await.unwrap_err();
        assert_eq!(class(&error), "connect", "{error}");
        assert!(error.to_string().contains(&gone), "{error}");
        assert!(embedder.ready().await.unwrap_err()[0].to_string().contains("up-0"));
    }
}

#[tokio::test]
async fn an_upstream_that_never_answers() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("ollama", &[sim.url()]);
    sim.fail_next([Fault::Hang]);
    let error = embedder.embed(request(&["kelp"])).await.unwrap_err();
    assert_eq!(class(&error), "timeout", "{error}");
    assert_right(&["kelp"], embedder.embed(request(&["kelp"])).await);
}

#[tokio::test]
async fn an_upstream_that_lacks_the_model() {
    for kind in ["ollama", "openai"] {
        let sim = OllamaSim::start(&[("another", DIMENSIONS)]).await;
        let embedder = embedder(kind, &[sim.url()]);
        let error = embedder.embed(request(&TEXTS)).await.unwrap_err();
        assert_eq!(class(&error), "no_model", "{error}");
        embedder.ready().await.unwrap();
    }
}

#[tokio::test]
async fn an_index_that_is_there_twice_is_refused() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("openai", &[sim.url()]);
    sim.fail_always(Fault::SameIndex);
    let error = embedder.embed(request(&["a", "b", "c", "d", "e", "f"])).await.unwrap_err();
    assert!(error.to_string().contains("index 0 twice"), "{error}");
}

#[tokio::test]
async fn what_comes_out_of_order_is_put_right_where_the_protocol_says_the_order() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("openai", &[sim.url()]);
    sim.fail_always(Fault::Reversed);
    let texts = ["a", "b", "c", "d", "e", "f"];
    assert_right(&texts, embedder.embed(request(&texts)).await);
    assert!(sim.batches().iter().any(|batch| 1 < batch.len()));
}
