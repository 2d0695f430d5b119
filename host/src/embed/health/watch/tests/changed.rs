//! Upstreams whose model is not what it was: by its digest, or by the canary's vector.

use super::fake::{Asked, Fails};
use super::*;
use crate::model::Purpose;

/// Longer than it takes until models are looked at again.
const LOOK: f64 = 39.0;

/// So many upstreams that are looked at from time to time and have agreed.
async fn watched(n_upstreams: usize) -> Scene {
    let scene = Scene::new(n_upstreams, Config::default());
    scene.embedder.discover();
    scene.ask_all().await;
    scene
}

/// Where texts go that are asked for now.
async fn takers(scene: &Scene) -> Vec<usize> {
    scene.fakes.iter().for_each(|fake| fake.forget());
    scene.ask_all().await;
    (0..scene.fakes.len()).filter(|index| 0 < scene.n_asked(*index, Asked::Texts)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_replaced_everywhere_is_agreed_on_anew_and_what_was_cached_is_forgotten() {
    let scene = watched(2).await;
    let name = ModelName::new(MODEL).unwrap();
    let space = async || scene.embedder.space(&name, Purpose::Document, true).await.unwrap();
    let n_hits = async || {
        let texts = ["kelp", "moss"].map(str::to_owned);
        scene.ask(texts.to_vec()).await.unwrap().n_hits
    };
    let replace = async |digest| {
        scene.fakes.iter().for_each(|fake| fake.set_digest(digest));
        seconds(LOOK).await;
        for index in [0, 1] {
            let model = scene.model(index);
            assert_eq!((model.identity.as_deref(), model.standing), (Some(digest), Standing::TakesPart));
        }
    };
    let first = space().await;
    assert_eq!([n_hits().await, n_hits().await], [0, 2]);
    replace("new").await;
    assert_ne!(space().await, first);
    assert_eq!([n_hits().await, n_hits().await], [0, 2]);
    replace("old").await;
    assert_eq!(space().await, first, "a collection is what it was");
    assert_eq!([n_hits().await, n_hits().await], [0, 2], "the cache may be of a time between");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_another_model_alone_stands_by_until_it_has_the_old_one_again() {
    let scene = watched(2).await;
    scene.fakes[0].set_digest("new");
    seconds(LOOK).await;
    let reason = "it has another model of this name: `new` where `old` was agreed on";
    assert_eq!(scene.stands_by(0).as_deref(), Some(reason));
    assert_eq!((scene.state(0), takers(&scene).await), (UpstreamState::Healthy, vec![1]));
    scene.fakes[0].set_digest("old");
    seconds(LOOK).await;
    assert_eq!((scene.stands_by(0), takers(&scene).await), (None, vec![0, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_no_model_has_it_looked_at_soon() {
    let scene = watched(2).await;
    scene.fakes[0].fail(Fails::Model);
    scene.ask_all().await;
    seconds(1.1).await;
    assert!(scene.stands_by(0).is_some_and(|reason| reason.contains("has no model `m`")));
    assert_eq!((scene.state(0), takers(&scene).await), (UpstreamState::Healthy, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn of_three_the_one_with_another_canary_stands_by_from_the_start() {
    let scene = Scene::new(3, Config::default());
    scene.fakes[0].sing("as another model would");
    assert_eq!(takers(&scene).await, [1, 2]);
    assert_eq!(scene.stands_by(0).as_deref(), Some("its vector of the canary is another one"));
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_with_another_canary_stands_by() {
    let scene = watched(2).await;
    scene.fakes[0].fail(Fails::Embedding);
    scene.ask_all().await;
    assert_eq!(scene.state(0), UpstreamState::Ejected);
    scene.fakes[0].fail(Fails::Nothing);
    scene.fakes[0].sing("as another model would");
    seconds(1.3).await;
    assert_eq!(scene.state(0), UpstreamState::Healthy);
    assert_eq!(scene.stands_by(0).as_deref(), Some("its vector of the canary is another one"));
    assert_eq!(takers(&scene).await, [1]);
}

/// It answers the canary, so it is well; but what it answers is of another model.
#[tokio::test(start_paused = true)]
async fn one_whose_calls_fail_and_whose_canary_is_another_stands_by() {
    let scene = watched(2).await;
    scene.fakes[0].fail(Fails::Dimensions);
    scene.fakes[0].sing("as another model would");
    scene.ask_all().await;
    assert_eq!(scene.state(0), UpstreamState::Healthy);
    assert_eq!(scene.stands_by(0).as_deref(), Some("its vector of the canary is another one"));
    assert_eq!(takers(&scene).await, [1]);
    scene.fakes[0].fail(Fails::Nothing);
    scene.fakes[0].sing(crate::embed::CANARY);
    seconds(LOOK).await;
    assert_eq!((scene.stands_by(0), takers(&scene).await), (None, vec![0, 1]));
}

/// Those that are silent would know better: it must not decide for the model.
#[tokio::test(start_paused = true)]
async fn one_with_another_canary_does_not_win_while_the_others_are_silent() {
    let scene = watched(2).await;
    scene.fakes[1].fail(Fails::Reaching);
    scene.fakes[0].fail(Fails::Dimensions);
    scene.fakes[0].sing("as another model would");
    for _ in 0..5 {
        scene.try_new(16).await.unwrap_err();
        seconds(1.1).await;
    }
    scene.fakes[1].fail(Fails::Nothing);
    seconds(60.0).await;
    scene.ask_all().await;
    assert_eq!(scene.stands_by(1), None, "it sings what was agreed on");
}
