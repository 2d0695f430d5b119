//! One text, one entry: whoever asks for it, and whether it may be cut or not. But no
//! vector of a part for who refuses cutting, and none that was thrown away.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use embergate::cache::Forgotten;
use embergate::embed::{EmbedError, EmbedRequest, Embedder};
use embergate::model::ModelName;
use embergate_test_support::ollama::{Fault, OllamaSim, vector};
use futures_util::future::join_all;
use proptest::prelude::*;

use crate::bench::{DIMENSIONS, MODEL, assert_right, embedder, embedder_with, request};

/// Tokens of a text, at most, the two special ones included.
const MAX_TOKENS: usize = 8;

/// Each word is one token to the simulator and to the tokenizer.
fn text(n_tokens: usize) -> String {
    ["one", "two"].repeat(n_tokens)[..n_tokens - 2].join(" ")
}

/// An embedder that counts exactly, and knows what is too long.
fn exact(sim: &OllamaSim) -> Arc<Embedder> {
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("model/tokenizer.json");
    let keys = format!("tokenizer = {:?}\nmax_tokens = {MAX_TOKENS}", tokenizer.display().to_string());
    embedder_with("ollama", &[sim.url()], &keys, Default::default()).unwrap()
}

fn asking(texts: &[String], truncate: bool) -> EmbedRequest {
    EmbedRequest { truncate, ..request(texts) }
}

fn model() -> Option<ModelName> {
    Some(ModelName::new(MODEL).unwrap())
}

/// Asks for texts of these lengths, and looks at every vector that comes.
async fn check(embedder: &Embedder, lengths: &[usize], truncate: bool) -> usize {
    let texts: Vec<String> = lengths.iter().map(|length| text(*length)).collect();
    let too_long = lengths.iter().position(|length| MAX_TOKENS < *length);
    match (embedder.embed(asking(&texts, truncate)).await, too_long) {
        (Err(EmbedError::TooLong { index, .. }), Some(first)) if !truncate => {
            assert_eq!(index, first);
            0
        }
        (Ok(answer), too_long) if truncate || too_long.is_none() => {
            for (at, length) in lengths.iter().enumerate() {
                let want = vector(MODEL, &text(*length.min(&MAX_TOKENS)), DIMENSIONS);
                assert_eq!(answer.embeddings[at].values(), want);
                assert_eq!(answer.truncated.contains(&at), MAX_TOKENS < *length);
            }
            answer.n_hits
        }
        (other, _) => panic!("{lengths:?}, truncate {truncate}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn no_part_of_a_text_goes_to_who_wants_all_of_it(
        requests in prop::collection::vec((prop::collection::vec(3..14_usize, 1..12), any::<bool>()), 1..10)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
            let (one_by_one, at_once) = (exact(&sim), exact(&sim));
            let mut known = HashSet::new();
            for (lengths, truncate) in &requests {
                let n_hits = check(&one_by_one, lengths, *truncate).await;
                let all_fit = lengths.iter().all(|length| *length <= MAX_TOKENS);
                if *truncate || all_fit {
                    assert!(lengths.iter().filter(|length| known.contains(*length)).count() <= n_hits);
                    known.extend(lengths.iter().copied().filter(|length| *length <= MAX_TOKENS));
                }
            }
            join_all(requests.iter().map(|(lengths, truncate)| check(&at_once, lengths, *truncate))).await;
        });
    }
}

#[tokio::test]
async fn a_text_that_fits_has_one_entry_for_all_apis() {
    for first in [false, true] {
        let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
        let embedder = exact(&sim);
        assert_eq!(check(&embedder, &[4, 5], first).await, 0);
        assert_eq!(check(&embedder, &[5, 4], !first).await, 2);
    }
}

#[tokio::test]
async fn where_nobody_counts_what_may_be_cut_is_not_taken_for_whole() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("ollama", &[sim.url()]);
    let texts = [text(4)];
    let n_hits = async |truncate| embedder.embed(asking(&texts, truncate)).await.unwrap().n_hits;
    assert_eq!((n_hits(true).await, n_hits(true).await), (0, 1));
    assert_eq!((n_hits(false).await, n_hits(false).await), (0, 1));
    assert_eq!(n_hits(true).await, 1);
}

#[tokio::test]
async fn what_flies_while_its_model_is_forgotten_is_answered_and_not_kept() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let embedder = embedder("ollama", &[sim.url()]);
    let texts = [text(4)];
    assert_right(&texts, embedder.embed(request(&texts)).await);
    let kept = embedder.forget(model()).await;
    assert_eq!(kept.n_entries, 1);
    assert!((DIMENSIONS * 4) as u64 <= kept.n_bytes);

    let held = sim.hold();
    let flying = tokio::spawn({
        let (embedder, texts) = (embedder.clone(), texts.clone());
        async move { embedder.embed(request(&texts)).await }
    });
    held.until_waiting(1).await;
    assert_eq!(embedder.forget(None).await, Forgotten::default());
    held.release();
    assert_right(&texts, flying.await.unwrap());
    assert_eq!(embedder.embed(request(&texts)).await.unwrap().n_hits, 0);
    assert_eq!(embedder.embed(request(&texts)).await.unwrap().n_hits, 1);
}

#[tokio::test]
async fn a_text_that_crashes_runners_is_remembered_until_the_cache_is_emptied() {
    let sims =
        [OllamaSim::start(&[(MODEL, DIMENSIONS)]).await, OllamaSim::start(&[(MODEL, DIMENSIONS)]).await];
    for sim in &sims {
        sim.fail_on("text 13", Fault::crash());
    }
    let embedder = embedder("ollama", &[sims[0].url(), sims[1].url()]);
    let texts: Vec<String> = (0..64).map(|number| format!("text {number}")).collect();
    let index = async |texts: &[String]| match embedder.embed(request(texts)).await {
        Err(EmbedError::Text { index, .. }) => index,
        other => panic!("{other:?}"),
    };
    let n_tries = || {
        let batches: Vec<_> = sims.iter().flat_map(OllamaSim::batches).collect();
        batches.iter().filter(|batch| batch.contains(&texts[13])).count()
    };
    assert_eq!(index(&texts).await, 13);
    let before = n_tries();
    assert_eq!(index(&texts[13..]).await, 0);
    assert_eq!(index(&texts[11..14]).await, 2);
    assert_eq!(n_tries(), before, "nobody was asked");

    for sim in &sims {
        sim.heal();
    }
    assert_eq!(index(&texts[13..14]).await, 0);
    embedder.forget(model()).await;
    assert_right(&texts, embedder.embed(request(&texts)).await);
}
