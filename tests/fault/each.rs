//! Each fault that an upstream can have, through the built binary: the error where
//! nobody else has the model, no error where somebody has, never a wrong vector, and
//! what `GET /admin/upstreams` says meanwhile and afterwards.

use std::time::Duration;

use embergate_test_support::ollama::{Fault, Pace};
use serde_json::Value;

use crate::bench::{DIMENSIONS, MODEL};
use crate::fleet::{Fleet, assert_right};

/// What follows from a fault.
struct Want {
    /// For a client, where nobody else has the model.
    status: u16,
    code: &'static str,
    /// Whether it costs the upstream its place.
    is_ejected: bool,
    /// In what is said of the upstream's last error.
    words: &'static str,
}

/// An upstream is ejected where its canary fails too, or it cannot be reached.
fn ejected(status: u16, code: &'static str, words: &'static str) -> Want {
    Want { status, code, is_ejected: true, words }
}

/// An upstream keeps its place that says why it does not do this call.
fn kept(status: u16, code: &'static str, words: &'static str) -> Want {
    Want { status, code, is_ejected: false, words }
}

fn is_healthy(upstream: &Value) -> bool {
    upstream["state"] == "healthy"
}

fn has_failed(upstream: &Value) -> bool {
    upstream["errors"].as_u64() > Some(0)
}

async fn check(fault: Fault, want: Want) {
    let lone = Fleet::start(1).await;
    lone.sims[0].fail_always(fault.clone());
    is_refused_alone(&lone, &want);
    lone.sims[0].heal();
    recovers(&lone);

    let pair = Fleet::start(2).await;
    pair.sims[0].fail_always(fault);
    is_done_without(&pair, &want);
    pair.sims[0].heal();
    recovers(&pair);
}

/// Whoever asks gets the error that was wanted, by each API in its own words.
fn is_refused_alone(lone: &Fleet, want: &Want) {
    let refused = |lone: &Fleet| {
        let texts = lone.new_texts(1);
        let answer = lone.ask("/v1/embeddings", &texts);
        let code = answer.json()["error"]["code"].clone();
        assert_eq!((answer.status, code.as_str()), (want.status, Some(want.code)), "{}", answer.body);
        let answer = lone.ask("/api/embed", &texts);
        let status = if want.status == 429 { 503 } else { want.status };
        assert!(answer.status == status && answer.json()["error"].is_string(), "{answer:?}");
    };
    refused(lone);
    let upstreams = lone.until(|all| has_failed(&all[0]) && is_healthy(&all[0]) != want.is_ejected, refused);
    tells(&upstreams[0], want);
    // It goes on being asked, because nobody else is there.
    refused(lone);
}

/// Nobody hears of it: the other one answers, and has no part in it.
fn is_done_without(pair: &Fleet, want: &Want) {
    let is_so = |all: &[Value]| has_failed(&all[0]) && is_healthy(&all[0]) != want.is_ejected;
    let upstreams = pair.until(is_so, Fleet::answers_right);
    tells(&upstreams[0], want);
    assert!(is_healthy(&upstreams[1]) && !has_failed(&upstreams[1]), "{upstreams:#?}");
    pair.answers_right();
}

#[track_caller]
fn tells(upstream: &Value, want: &Want) {
    let last = upstream["last_error"]["message"].as_str().unwrap_or_default();
    assert!(last.contains(want.words), "{upstream:#?}");
    assert_eq!(upstream["reason"].is_string(), want.is_ejected, "{upstream:#?}");
}

/// All are well again, take part, and get texts; nothing is left of what failed.
#[track_caller]
fn recovers(fleet: &Fleet) {
    let takes_part = |upstream: &Value| upstream["models"][0]["takes_part"] == true;
    let is_well = |upstream: &Value| is_healthy(upstream) && takes_part(upstream);
    let had: Vec<usize> = fleet.sims.iter().map(|sim| sim.batches().len()).collect();
    let ask = |fleet: &Fleet| {
        let texts = fleet.new_texts(40);
        let answer = fleet.ask("/v1/embeddings", &texts);
        // A call that failed before it was healed may end after.
        if answer.status == 200 {
            assert_right(&texts, &answer);
        }
    };
    fleet.until(|all| all.iter().take(fleet.sims.len()).all(is_well), ask);
    let all_asked = |fleet: &Fleet| fleet.sims.iter().zip(&had).all(|(sim, had)| *had < sim.batches().len());
    fleet.until(|_| all_asked(fleet), Fleet::answers_right);
    for upstream in fleet.upstreams().iter().take(fleet.sims.len()) {
        assert_eq!((&upstream["reason"], &upstream["in_flight"]), (&Value::Null, &0.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_400_with_a_crash_inside() {
    check(Fault::crash(), ejected(502, "upstream_failed", "EOF")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_without_an_answer() {
    check(Fault::Cut, ejected(502, "upstream_failed", "the connection broke")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_half_way() {
    check(Fault::Half, ejected(502, "upstream_failed", "the connection broke")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_500() {
    check(Fault::internal(), ejected(502, "upstream_failed", "llama runner process has terminated")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_with_nan_in_it() {
    check(Fault::Nan, ejected(502, "upstream_failed", "NaN")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_of_zeros() {
    check(Fault::Zero, ejected(502, "upstream_wrong", "all zeros")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_list() {
    check(Fault::Short, ejected(502, "upstream_wrong", "returned")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list() {
    check(Fault::Long, ejected(502, "upstream_wrong", "returned")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_than_an_embeddings_server() {
    check(Fault::html(), ejected(502, "upstream_failed", "something else than embeddings")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue() {
    check(Fault::busy(), kept(429, "rate_limit_exceeded", "is busy")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang() {
    check(Fault::Hang, ejected(504, "timeout", "did not answer within 2s")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_dimensions() {
    let fault = Fault::Dimensions(DIMENSIONS - 1);
    let want = kept(502, "upstream_wrong", "returned 7 dimensions");
    let lone = Fleet::start(1).await;
    lone.sims[0].fail_always(fault.clone());
    is_refused_alone(&lone, &want);
    lone.sims[0].heal();
    recovers(&lone);

    let pair = Fleet::start(2).await;
    pair.sims[0].fail_always(fault);
    is_done_without(&pair, &want);
    // The canary has other dimensions too, so this is another model.
    let stands_by = |all: &[Value]| all[0]["models"][0]["takes_part"] == false;
    let upstreams = pair.until(stands_by, Fleet::answers_right);
    let reason = upstreams[0]["models"][0]["reason"].as_str().unwrap_or_default();
    assert!(is_healthy(&upstreams[0]) && reason.contains("vector of the canary"), "{upstreams:#?}");
    pair.sims[0].heal();
    recovers(&pair);
}

/// A server that is not there, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash() {
    let want = ejected(503, "upstream_unreachable", "cannot reach");
    let lone = Fleet::start(1).await;
    lone.sims[0].crash().await;
    is_refused_alone(&lone, &want);
    lone.sims[0].come_back();
    recovers(&lone);

    let pair = Fleet::start(2).await;
    pair.sims[0].crash().await;
    is_done_without(&pair, &want);
    pair.sims[0].come_back();
    recovers(&pair);
}

/// Texts that are at the server when it crashes are embedded by the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_calls() {
    let pair = Fleet::start(2).await;
    let held = pair.sims[0].hold();
    let texts = pair.new_texts(40);
    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| pair.ask("/v1/embeddings", &texts));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                held.until_some_wait().await;
                pair.sims[0].crash().await;
            });
        });
        asking.join().unwrap()
    });
    assert_right(&texts, &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_waited_for_and_keeps_its_place() {
    let pair = Fleet::start(2).await;
    pair.sims[0].set_pace(Pace { call: Duration::from_millis(200), ..Pace::default() });
    for _ in 0..3 {
        pair.answers_right();
    }
    let upstreams = pair.upstreams();
    assert!(upstreams.iter().all(|one| is_healthy(one) && !has_failed(one)), "{upstreams:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_model() {
    let want = kept(404, "model_not_found", "has no model");
    let lone = Fleet::start(1).await;
    lone.sims[0].remove(MODEL);
    is_refused_alone(&lone, &want);
    lone.sims[0].pull(MODEL, DIMENSIONS);
    recovers(&lone);

    let pair = Fleet::start(2).await;
    pair.sims[0].remove(MODEL);
    is_done_without(&pair, &want);
    let stands_by = |all: &[Value]| all[0]["models"][0]["takes_part"] == false;
    let upstreams = pair.until(stands_by, Fleet::answers_right);
    let reason = upstreams[0]["models"][0]["reason"].as_str().unwrap_or_default();
    assert!(is_healthy(&upstreams[0]) && reason.contains("no model"), "{upstreams:#?}");
    pair.sims[0].pull(MODEL, DIMENSIONS);
    recovers(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_digest() {
    let pair = Fleet::start(2).await;
    pair.sims[0].set_digest(MODEL, "another");
    let stands_by = |all: &[Value]| all[0]["models"][0]["takes_part"] == false;
    let upstreams = pair.until(stands_by, Fleet::answers_right);
    let reason = upstreams[0]["models"][0]["reason"].as_str().unwrap_or_default();
    assert!(is_healthy(&upstreams[0]) && reason.contains("another model"), "{upstreams:#?}");
    assert!(upstreams[0]["models"][0]["identity"].as_str().unwrap().ends_with("another"));

    // Both have it now, so what was cached is of a model that is gone.
    let texts = pair.new_texts(40);
    assert_right(&texts, &pair.ask("/v1/embeddings", &texts));
    pair.sims[1].set_digest(MODEL, "another");
    let is_agreed = |all: &[Value]| all[..2].iter().all(|one| one["models"][0]["takes_part"] == true);
    pair.until(is_agreed, Fleet::answers_right);
    let n_batches = || pair.sims.iter().map(|sim| sim.batches().len()).sum::<usize>();
    let before = n_batches();
    assert_right(&texts, &pair.ask("/v1/embeddings", &texts));
    assert!(before < n_batches(), "they were taken from the cache");
}

/// The text is refused by name, the others of its list are embedded, and nobody loses a place.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_crashes_whoever_embeds_it() {
    check_text(Fault::crash()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_gives_nan() {
    check_text(Fault::refused_nan()).await;
}

async fn check_text(fault: Fault) {
    let pair = Fleet::start(2).await;
    let mut texts = pair.new_texts(40);
    for sim in &pair.sims {
        sim.fail_on(&texts[13], fault.clone());
    }
    let answer = pair.ask("/v1/embeddings", &texts);
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["code"].as_str()), (502, Some("text_refused")), "{}", answer.body);
    assert!(error["message"].as_str().unwrap().starts_with("text 13 cannot be embedded"), "{error}");
    texts.remove(13);
    assert_right(&texts, &pair.ask("/v1/embeddings", &texts));
    recovers(&pair);
}
