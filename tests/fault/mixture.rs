//! Any mixture of cached, flying and new texts, with duplicates, over upstreams
//! that fail now and then: every text gets its own vector, in its own place.

use embergate_test_support::ollama::{Fault, OllamaSim};
use proptest::prelude::*;

use crate::bench::{DIMENSIONS, MODEL, assert_right, embedder, request};

/// Texts from a small set, so that requests share many.
fn requests() -> impl Strategy<Value = Vec<Vec<String>>> {
    let text = (0..24_u8).prop_map(|number| format!("text {number}"));
    prop::collection::vec(prop::collection::vec(text, 1..60), 1..8)
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        Just(Fault::crash()),
        Just(Fault::Cut),
        Just(Fault::Short),
        Just(Fault::Zero),
        Just(Fault::Dimensions(3)),
        Just(Fault::html()),
    ];
    prop::collection::vec(fault, 0..2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_text_gets_its_own_vector(requests in requests(), faults in faults()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(requests, faults));
    }
}

async fn check(requests: Vec<Vec<String>>, faults: Vec<Fault>) {
    let sims =
        [OllamaSim::start(&[(MODEL, DIMENSIONS)]).await, OllamaSim::start(&[(MODEL, DIMENSIONS)]).await];
    let embedder = embedder("ollama", &[sims[0].url(), sims[1].url()]);
    let first = requests[0].clone();
    assert_right(&first, embedder.embed(request(&first)).await);
    sims[0].fail_next(faults);
    let asked: Vec<_> = requests
        .into_iter()
        .map(|texts| {
            let embedder = embedder.clone();
            tokio::spawn(async move { (texts.clone(), embedder.embed(request(&texts)).await) })
        })
        .collect();
    for answer in asked {
        let (texts, answer) = answer.await.unwrap();
        assert_right(&texts, answer);
    }
}
