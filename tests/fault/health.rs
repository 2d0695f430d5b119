//! Upstreams that go, come back, and change their models meanwhile.

use std::sync::Arc;
use std::time::Duration;

use embergate::embed::{
    CANARY, Config, EmbedError, Embedder, HealthConfig, Standing, UpstreamState, UpstreamStatus,
};
use embergate_test_support::ollama::{self, Fault, OllamaSim};

use crate::bench::{DIMENSIONS, MODEL, assert_right, embedder_of, request};

async fn sim() -> OllamaSim {
    OllamaSim::start(&[(MODEL, DIMENSIONS)]).await
}

/// An embedder that probes and looks often.
fn embedder(urls: &[String]) -> Arc<Embedder> {
    embedder_that_speaks("ollama", urls)
}

fn embedder_that_speaks(kind: &str, urls: &[String]) -> Arc<Embedder> {
    let health = HealthConfig {
        every: Duration::from_millis(20),
        probe_pause: Duration::from_millis(20),
        max_probe_pause: Duration::from_millis(40),
        ..HealthConfig::default()
    };
    let config = Config { health, ..Config::default() };
    embedder_of(config, kind, urls, "", Default::default()).unwrap()
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
async fn the_canary_of_the_tests_is_that_of_the_gateway() {
    assert_eq!(ollama::CANARY, CANARY);
}

#[tokio::test]
async fn an_upstream_whose_canary_fails_is_ejected_and_probed_back_in() {
    let (bad, good) = (sim().await, sim().await);
    let embedder = embedder(&[bad.url(), good.url()]);
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    bad.fail_always(Fault::crash());
    let status = until(&embedder, |all| all[0].state != UpstreamState::Healthy).await;
    assert!(status[0].reason.as_deref().is_some_and(|reason| reason.contains("EOF")), "{status:#?}");
    assert_eq!((status[1].state, status[1].errors), (UpstreamState::Healthy, 0));
    // A call that was under way may have come after.
    bad.heal();
    let status = until(&embedder, |all| all[0].state == UpstreamState::Healthy).await;
    assert_eq!((&status[0].reason, status[0].last_error.is_some()), (&None, true));
    let n_batches = bad.batches().len();
    until(&embedder, |_| n_batches < bad.batches().len()).await;
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_ejected() {
    let (gone, good) = (sim().await, sim().await);
    let embedder = embedder(&[gone.url(), good.url()]);
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    drop(gone);
    let status = until(&embedder, |all| all[0].state != UpstreamState::Healthy).await;
    assert!(status[0].reason.as_deref().is_some_and(|reason| reason.contains("cannot reach")), "{status:#?}");
}

#[tokio::test]
async fn a_text_that_crashes_runners_ejects_nobody() {
    let (one, other) = (sim().await, sim().await);
    let embedder = embedder(&[one.url(), other.url()]);
    for sim in [&one, &other] {
        sim.fail_on("text 13", Fault::crash());
    }
    let error = embedder.embed(request(&texts(0))).await.unwrap_err();
    assert!(matches!(error, EmbedError::Text { index: 13, .. }), "{error}");
    // Whoever failed it is asked for the canary once more, and goes on.
    let status = until(&embedder, |_| 2 < one.n_canaries() + other.n_canaries()).await;
    assert!(status[..2].iter().all(|one| one.state == UpstreamState::Healthy), "{status:#?}");
    assert!(status[..2].iter().any(|one| 0 < one.errors), "{status:#?}");
}

#[tokio::test]
async fn the_only_upstream_goes_on_being_asked() {
    let sim = sim().await;
    let embedder = embedder(&[sim.url()]);
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    sim.fail_always(Fault::crash());
    let failing = async {
        while embedder.upstreams()[0].state == UpstreamState::Healthy {
            drop(embedder.embed(request(&["again"])).await);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failing).await.expect("its canary fails");
    sim.heal();
    // Whether or not it was probed by now.
    assert_right(&["at once"], embedder.embed(request(&["at once"])).await);
}

#[tokio::test]
async fn an_upstream_with_another_canary_stands_by() {
    let (one, two, other) = (sim().await, sim().await, sim().await);
    other.sing("as another model would");
    let embedder = embedder(&[other.url(), one.url(), two.url()]);
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
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
    let embedder = embedder(&[bad.url(), good.url()]);
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    assert!(bad.batches().is_empty());
}

#[tokio::test]
async fn a_digest_that_changes_is_agreed_on_anew_and_forgets_what_was_cached() {
    let (one, other) = (sim().await, sim().await);
    let set_digests = |digest: &str| {
        for sim in [&one, &other] {
            sim.set_digest(MODEL, digest);
        }
    };
    let n_asked = || one.batches().len() + other.batches().len();
    set_digests("old");
    let embedder = embedder(&[one.url(), other.url()]);
    let name = embergate::model::ModelName::new(MODEL).unwrap();
    let space = async || embedder.space(&name, embergate::model::Purpose::Document, true).await.unwrap();
    let agree_on = async |digest: &str| {
        set_digests(digest);
        let says =
            |one: &UpstreamStatus| one.models[0].identity.as_ref().is_some_and(|it| it.ends_with(digest));
        until(&embedder, |all| all[..2].iter().all(says)).await;
    };
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    let first = space().await;
    embedder.discover();
    agree_on("new").await;
    assert_ne!(space().await, first);
    agree_on("old").await;
    assert_eq!(space().await, first, "a collection is what it was");
    let before = n_asked();
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    assert!(before < n_asked(), "what is cached may be of the other model");
}

#[tokio::test]
async fn an_upstream_that_has_lost_the_model_stands_by() {
    let (one, other) = (sim().await, sim().await);
    let embedder = embedder(&[one.url(), other.url()]);
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    embedder.discover();
    one.remove(MODEL);
    let status = until(&embedder, |all| {
        matches!(&all[0].models[0].standing, Standing::StandsBy { reason } if reason.contains("no model"))
    })
    .await;
    assert_eq!(
        (status[0].state, status[1].models[0].standing.clone()),
        (UpstreamState::Healthy, Standing::TakesPart)
    );
}

#[tokio::test]
async fn a_model_that_is_replaced_behind_v1_is_noticed_by_its_canary() {
    let sim = sim().await;
    let embedder = embedder_that_speaks("openai", &[sim.url()]);
    embedder.discover();
    let n_hits = async || embedder.embed(request(&texts(0))).await.unwrap().n_hits;
    assert_eq!(n_hits().await, 0);
    // It was heard before, so it is known.
    until(&embedder, |_| 0 < sim.n_canaries()).await;
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
    let embedder = embedder_that_speaks("openai", &[other.url(), one.url()]);
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
    let embedder = embedder_that_speaks("openai", &[sim.url()]);
    embedder.discover();
    assert_right(&texts(0), embedder.embed(request(&texts(0))).await);
    until(&embedder, |_| 0 < sim.n_canaries()).await;
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
