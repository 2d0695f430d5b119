//! Upstreams that agree with the others or do not, and texts that look like an upstream's fault.
//!
//! What follows from each fault of an upstream is in `each.rs`, through the binary; when
//! upstreams are ejected, probed and looked at is tested in paused time, beside the code.

use std::sync::Arc;

use embergate::embed::{CANARY, EmbedError, Embedder, Standing, UpstreamState};
use embergate_test_support::ollama::{self, Fault, OllamaSim};

use crate::bench::{self, DIMENSIONS, MODEL, assert_right, request};

async fn sim() -> OllamaSim {
    OllamaSim::start(&[(MODEL, DIMENSIONS)]).await
}

fn embedder(sims: &[&OllamaSim]) -> Arc<Embedder> {
    bench::embedder("ollama", &sims.iter().map(|sim| sim.url()).collect::<Vec<_>>())
}

fn texts() -> Vec<String> {
    (0..40).map(|number| format!("text {number}")).collect()
}

#[tokio::test]
async fn the_canary_of_the_tests_is_that_of_the_gateway() {
    assert_eq!(ollama::CANARY, CANARY);
}

#[tokio::test]
async fn a_text_that_crashes_runners_ejects_nobody() {
    let (one, other) = (sim().await, sim().await);
    let embedder = embedder(&[&one, &other]);
    for sim in [&one, &other] {
        sim.fail_on("text 13", Fault::crash());
    }
    let error = embedder.embed(request(&texts())).await.unwrap_err();
    assert!(matches!(error, EmbedError::Text { index: 13, .. }), "{error}");
    // Beside the one by which they agreed: both have failed, and go on.
    tokio::join!(one.until_canaries(2), other.until_canaries(2));
    let mut others = texts();
    others.remove(13);
    assert_right(&others, embedder.embed(request(&others)).await);
    for upstream in &embedder.upstreams()[..2] {
        assert!(upstream.state == UpstreamState::Healthy && 0 < upstream.errors, "{upstream:#?}");
    }
}

#[tokio::test]
async fn an_upstream_with_another_canary_stands_by() {
    let (one, two, other) = (sim().await, sim().await, sim().await);
    other.sing("as another model would");
    let embedder = embedder(&[&other, &one, &two]);
    assert_right(&texts(), embedder.embed(request(&texts())).await);
    assert!(other.batches().is_empty());
    let status = embedder.upstreams();
    let standing = &status[0].models[0].standing;
    assert!(matches!(standing, Standing::StandsBy { reason } if reason.contains("canary")), "{status:#?}");
    assert_eq!(status[0].models[0].identity, status[1].models[0].identity);
    assert_eq!(status[1].models[0].standing, Standing::TakesPart);
}

#[tokio::test]
async fn a_canary_of_zeros_is_a_fault() {
    let (bad, good) = (sim().await, sim().await);
    bad.fail_on(CANARY, Fault::Zero);
    let embedder = embedder(&[&bad, &good]);
    assert_right(&texts(), embedder.embed(request(&texts())).await);
    assert!(bad.batches().is_empty());
}

/// The canaries of two upstreams have told how many there are.
#[tokio::test]
async fn the_first_answer_does_not_decide_how_many_dimensions_a_model_has() {
    let (bad, good) = (sim().await, sim().await);
    let embedder = embedder(&[&bad, &good]);
    bad.fail_next([Fault::Dimensions(3), Fault::Dimensions(3)]);
    assert_right(&texts(), embedder.embed(request(&texts())).await);
    assert!(!bad.batches().is_empty(), "it had no chance to be wrong");
}
