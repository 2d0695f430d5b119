//! Several upstreams, one of which misbehaves; several callers, one of which leaves.

use std::time::Duration;

use embergate::batcher;
use embergate::embed::EmbedError;
use embergate::model::{ModelName, Purpose};
use embergate_test_support::ollama::{Fault, OllamaSim};
use tokio::time::Instant;

use crate::bench::{DIMENSIONS, MODEL, assert_right, embedder, embedder_with, request};

async fn sims() -> (OllamaSim, OllamaSim) {
    (OllamaSim::start(&[(MODEL, DIMENSIONS)]).await, OllamaSim::start(&[(MODEL, DIMENSIONS)]).await)
}

fn texts(n: usize) -> Vec<String> {
    (0..n).map(|number| format!("text {number}")).collect()
}

#[tokio::test]
async fn what_one_upstream_fails_another_answers() {
    for fault in [
        Fault::crash(),
        Fault::Cut,
        Fault::Short,
        Fault::Zero,
        Fault::Nan,
        Fault::html(),
        Fault::Dimensions(3),
    ] {
        let (bad, good) = sims().await;
        let embedder = embedder("ollama", &[bad.url(), good.url()]);
        assert_right(&["first"], embedder.embed(request(&["first"])).await);
        bad.fail_always(fault);
        assert_right(&texts(100), embedder.embed(request(&texts(100))).await);
    }
}

#[tokio::test]
async fn an_upstream_that_is_gone_from_the_start_is_done_without() {
    let gone = OllamaSim::start(&[]).await.url();
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("ollama", &[gone, sim.url()]);
    assert_right(&texts(50), embedder.embed(request(&texts(50))).await);
}

#[tokio::test]
async fn an_upstream_with_another_model_of_the_name_gets_no_texts() {
    let (one, other) = sims().await;
    other.set_digest(MODEL, "another");
    let embedder = embedder("ollama", &[one.url(), other.url()]);
    assert_right(&texts(200), embedder.embed(request(&texts(200))).await);
    assert!(other.batches().is_empty());
}

#[tokio::test]
async fn a_space_follows_the_model_and_its_engine_and_nothing_else() {
    let model = ModelName::new(MODEL).unwrap();
    let space = async |digest: &str, version: &str| {
        let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
        sim.set_digest(MODEL, digest);
        sim.set_version(version);
        embedder("ollama", &[sim.url()]).space(&model, Purpose::Document, false).await.unwrap()
    };
    let first = space("aa", "0.34.2").await;
    assert_eq!(space("aa", "0.34.3").await, first, "another port and a patch release");
    assert_ne!(space("bb", "0.34.2").await, first);
    assert_ne!(space("aa", "0.24.0").await, first);
}

#[tokio::test]
async fn a_text_that_crashes_runners_is_named() {
    let (one, other) = sims().await;
    for sim in [&one, &other] {
        sim.fail_on("text 13", Fault::crash());
    }
    let embedder = embedder("ollama", &[one.url(), other.url()]);
    let error = embedder.embed(request(&texts(64))).await.unwrap_err();
    assert!(matches!(error, EmbedError::Text { index: 13, .. }), "{error}");
}

#[tokio::test]
async fn a_text_with_nan_is_named_and_the_others_are_kept() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let nan = r#"{"error":"embedding contains NaN or Inf values"}"#;
    sim.fail_on("text 20", Fault::Answer(400, nan.into()));
    let embedder = embedder("ollama", &[sim.url()]);
    let error = embedder.embed(request(&texts(32))).await.unwrap_err();
    assert!(matches!(error, EmbedError::Text { index: 20, .. }), "{error}");
    let others = texts(20);
    assert_right(&others, embedder.embed(request(&others)).await);
}

#[tokio::test]
async fn one_flight_serves_all_who_ask_and_outlives_the_first() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("ollama", &[sim.url()]);
    let held = sim.hold();
    let ask = || {
        let embedder = embedder.clone();
        tokio::spawn(async move { embedder.embed(request(&["kelp"])).await })
    };
    let first = ask();
    held.until_waiting(1).await;
    let second = ask();
    // Polled once by now or soon: it joins the flight that is held.
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    held.release();
    assert_right(&["kelp"], second.await.unwrap());
}

#[tokio::test]
async fn a_request_that_gave_up_takes_its_calls_back() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("ollama", &[sim.url()]);
    let held = sim.hold();
    let asked = tokio::spawn({
        let embedder = embedder.clone();
        async move { embedder.embed(request(&texts(100))).await }
    });
    held.until_waiting(2).await;
    asked.abort();
    let gone = held.until_waiting(0);
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the calls were dropped");
    held.release();
    assert_right(&texts(100), embedder.embed(request(&texts(100))).await);
}

#[tokio::test]
async fn a_deadline_ends_a_request_and_not_those_who_share_its_flight() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("ollama", &[sim.url()]);
    let held = sim.hold();
    let patient = tokio::spawn({
        let embedder = embedder.clone();
        async move { embedder.embed(request(&["kelp"])).await }
    });
    held.until_waiting(1).await;
    let mut hasty = request(&["kelp"]);
    hasty.deadline = Instant::now() + Duration::from_millis(20);
    assert!(matches!(embedder.embed(hasty).await, Err(EmbedError::Deadline(_))));
    held.release();
    assert_right(&["kelp"], patient.await.unwrap());
    assert_eq!(sim.batches().len(), 1);
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_time() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let config = batcher::Config { max_queued: 2048, ..Default::default() };
    let embedder = embedder_with("ollama", &[sim.url()], "", config).unwrap();
    let held = sim.hold();
    let busy = tokio::spawn({
        let embedder = embedder.clone();
        async move { embedder.embed(request(&texts(2048))).await }
    });
    held.until_waiting(2).await;
    let error = embedder.embed(request(&["one more"])).await.unwrap_err();
    assert!(matches!(error, EmbedError::Overloaded { retry_after } if retry_after.as_secs() == 1), "{error}");
    held.release();
    assert_right(&texts(2048), busy.await.unwrap());
    assert!(sim.max_in_flight() <= 2);
}

#[tokio::test]
async fn calls_of_one_model_always_carry_the_same_options() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder_with("ollama", &[sim.url()], "max_tokens = 512", Default::default()).unwrap();
    let mut cut = request(&["moss"]);
    cut.truncate = true;
    assert_right(&["kelp"], embedder.embed(request(&["kelp"])).await);
    assert_right(&["moss"], embedder.embed(cut).await);
    let requests = sim.requests();
    assert_eq!(requests[0]["options"], requests[1]["options"]);
    assert_eq!(requests[0]["options"]["num_batch"], 512);
    assert_eq!(requests[0]["keep_alive"], requests[1]["keep_alive"]);
    assert_eq!(requests[0]["keep_alive"], "3600s");
    assert_eq!((&requests[0]["truncate"], &requests[1]["truncate"]), (&false.into(), &true.into()));
}

#[tokio::test]
async fn a_model_is_loaded_as_its_table_says() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let keys = "max_tokens = 512\nkeep_alive = \"forever\"\n[options]\nnum_batch = 256\nnum_gpu = 0";
    let embedder = embedder_with("ollama", &[sim.url()], keys, Default::default()).unwrap();
    assert_right(&["kelp"], embedder.embed(request(&["kelp"])).await);
    let sent = &sim.requests()[0];
    assert_eq!(sent["options"], serde_json::json!({ "num_ctx": 512, "num_batch": 256, "num_gpu": 0 }));
    assert_eq!(sent["keep_alive"], "-1s");
}
