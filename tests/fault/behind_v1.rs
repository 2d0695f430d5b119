//! Upstreams that speak OpenAI's protocol, which has no digest: only the canary's vector
//! tells that a model was replaced under its name.

use std::sync::Arc;
use std::time::Duration;

use embergate::embed::{Config, Embedder, HealthConfig, Standing, UpstreamState, UpstreamStatus};
use embergate_test_support::ollama::OllamaSim;

use crate::bench::{DIMENSIONS, MODEL, Setup, assert_right, request};

async fn sim() -> OllamaSim {
    OllamaSim::start(&[(MODEL, DIMENSIONS)]).await
}

/// An embedder that probes and looks often.
fn embedder(urls: &[String]) -> Arc<Embedder> {
    let health = HealthConfig {
        every: Duration::from_millis(20),
        probe_pause: Duration::from_millis(20),
        max_probe_pause: Duration::from_millis(40),
        ..HealthConfig::default()
    };
    let config = Config { health, ..Config::default() };
    Setup { kind: "openai", config, ..Setup::default() }.embedder(urls).unwrap()
}

fn texts(from: usize) -> Vec<String> {
    (from..from + 40).map(|number| format!("text {number}")).collect()
}

/// Asks again and again until `is_so`: every answer that there is must be right.
async fn until(embedder: &Embedder, is_so: impl Fn(&[UpstreamStatus]) -> bool) -> Vec<UpstreamStatus> {
    let wait = async {
        for round in 0_usize.. {
            let status = embedder.upstreams();
            if is_so(&status) {
                return status;
            }
            let texts = texts(1000 + round * 40);
            assert_right(&texts, embedder.embed(request(&texts)).await);
        }
        unreachable!("there is always another round")
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    waited.unwrap_or_else(|_| panic!("{:#?}", embedder.upstreams()))
}

#[tokio::test]
async fn a_model_that_is_replaced_behind_v1_is_noticed_by_its_canary() {
    let sim = sim().await;
    let embedder = embedder(&[sim.url()]);
    embedder.discover();
    let n_hits = async || embedder.embed(request(&texts(0))).await.unwrap().n_hits;
    assert_eq!(n_hits().await, 0);
    // It was heard before, so it is known.
    sim.until_canaries(1).await;
    assert_eq!(n_hits().await, 40);
    sim.sing("as another model would");
    let forgets = async {
        for round in 0_usize.. {
            let fresh = texts(100_000 + round * 40);
            assert_right(&fresh, embedder.embed(request(&fresh)).await);
            if n_hits().await == 0 {
                return;
            }
        }
    };
    let noticed = tokio::time::timeout(Duration::from_secs(20), forgets).await;
    noticed.expect("what is cached may be of the other model");
    let upstream = &embedder.upstreams()[0];
    assert_eq!(
        (upstream.state, &upstream.models[0].standing),
        (UpstreamState::Healthy, &Standing::TakesPart)
    );
}

#[tokio::test]
async fn one_of_two_behind_v1_that_was_replaced_stands_by() {
    let (one, other) = (sim().await, sim().await);
    let embedder = embedder(&[other.url(), one.url()]);
    embedder.discover();
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    assert!(embedder.upstreams()[..2].iter().all(|one| one.models[0].standing == Standing::TakesPart));
    other.sing("as another model would");
    let status = until(&embedder, |all| {
        matches!(&all[0].models[0].standing, Standing::StandsBy { reason } if reason.contains("canary"))
    })
    .await;
    assert_eq!(status[1].models[0].standing, Standing::TakesPart, "{status:#?}");
}

#[tokio::test]
async fn a_model_behind_v1_that_comes_back_with_other_dimensions_is_served_again() {
    let sim = sim().await;
    let embedder = embedder(&[sim.url()]);
    embedder.discover();
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    sim.until_canaries(1).await;
    sim.remove(MODEL);
    sim.pull(MODEL, 2 * DIMENSIONS);
    let serves_again = async {
        let mut round = 0;
        while embedder.embed(request(&[format!("again {round}")])).await.is_err() {
            round += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), serves_again).await.expect("its dimensions are known anew");
    assert_eq!(embedder.embed(request(&["other"])).await.unwrap().embeddings[0].dimensions(), 2 * DIMENSIONS);
}
