//! Upstreams that fail, are ejected, probed, and come back.

use super::fake::{Asked, Fails};
use super::*;

/// Two upstreams, of which the first has just failed its canary too.
async fn ejected() -> Scene {
    let scene = Scene::new(2, Config::default());
    scene.ask_all().await;
    scene.fakes[0].fail(Fails::Embedding);
    scene.ask_all().await;
    assert_eq!(scene.state(0), UpstreamState::Ejected);
    scene.fakes[0].forget();
    scene
}

#[tokio::test(start_paused = true)]
async fn what_fails_its_canary_too_is_ejected_at_once_and_the_reason_told() {
    let scene = ejected().await;
    let upstream = scene.upstream(0);
    assert_eq!(upstream.reason.as_deref(), Some("its canary failed too: upstream `fake` failed: EOF"));
    assert!(upstream.last_error.is_some_and(|error| error.message.contains("EOF")));
    assert_eq!((scene.state(1), scene.upstream(1).errors), (UpstreamState::Healthy, 0));
    scene.ask_all().await;
    assert_eq!(scene.n_asked(0, Asked::Texts), 0, "it gets nothing that another one can take");
}

#[tokio::test(start_paused = true)]
async fn what_is_ejected_is_probed_with_growing_pauses() {
    let scene = ejected().await;
    let mut times = vec![Instant::now()];
    seconds(300.0).await;
    times.extend(scene.fakes[0].times(Asked::Reach));
    let pauses = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
    for (pause, want) in pauses.zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]) {
        // By chance up to a quarter less or more.
        assert!((want * 0.75 - 0.01..=want * 1.25 + 0.01).contains(&pause), "{pause} for {want}");
    }
    assert!(8 <= times.len(), "{times:?}");
    assert_eq!(scene.n_asked(0, Asked::Canary), times.len() - 1);
    assert_eq!(scene.n_asked(0, Asked::Texts), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_well_again_is_readmitted_by_its_probe_and_gets_texts() {
    let scene = ejected().await;
    scene.fakes[0].fail(Fails::Nothing);
    scene.ask_all().await;
    assert_eq!(scene.state(0), UpstreamState::Ejected, "nobody has probed it yet");
    seconds(1.3).await;
    assert_eq!((scene.state(0), scene.upstream(0).reason), (UpstreamState::Healthy, None));
    scene.ask_all().await;
    assert!(0 < scene.n_asked(0, Asked::Texts));
    // The next time it begins with short pauses again.
    scene.fakes[0].fail(Fails::Embedding);
    scene.ask_all().await;
    seconds(1.0).await;
    assert_ne!(scene.state(0), UpstreamState::Healthy);
    scene.fakes[0].fail(Fails::Nothing);
    seconds(2.6).await;
    assert_eq!(scene.state(0), UpstreamState::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_under_way_is_told() {
    let scene = ejected().await;
    scene.fakes[0].fail(Fails::Nothing);
    let held = scene.fakes[0].hold();
    held.until_waiting(1).await;
    assert_eq!(scene.state(0), UpstreamState::Probing);
    held.release();
    a_moment().await;
    assert_eq!(scene.state(0), UpstreamState::Healthy);
}

#[tokio::test(start_paused = true)]
async fn faults_that_the_canary_does_not_share_eject_nobody_and_cost_a_canary_a_second() {
    let scene = Scene::new(2, Config::default());
    scene.ask_all().await;
    scene.fakes[0].fail(Fails::Texts);
    scene.fakes[0].forget();
    for _ in 0..50 {
        scene.ask_all().await;
        assert_eq!(scene.state(0), UpstreamState::Healthy);
        seconds(0.2).await;
    }
    let times = scene.fakes[0].times(Asked::Canary);
    assert!(times.windows(2).all(|pair| Duration::from_secs(1) <= pair[1] - pair[0]), "{times:?}");
    assert!((5..=11).contains(&times.len()), "{times:?}");
    assert_eq!(scene.n_asked(1, Asked::Canary), 1, "only that by which it agreed");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_reached_is_ejected_after_some_calls_in_a_row() {
    let scene = Scene::new(2, Config { max_failures: 3, ..Config::default() });
    scene.ask_all().await;
    scene.fakes[0].fail(Fails::Reaching);
    while scene.upstream(0).errors < 3 {
        assert_eq!(scene.state(0), UpstreamState::Healthy);
        seconds(0.2).await;
        scene.ask_all().await;
    }
    let upstream = scene.upstream(0);
    assert_eq!(upstream.state, UpstreamState::Ejected);
    assert!(upstream.reason.is_some_and(|reason| reason.starts_with("cannot reach upstream `fake`")));
    scene.fakes[0].forget();
    seconds(1.3).await;
    assert_eq!((scene.n_asked(0, Asked::Reach), scene.n_asked(0, Asked::Canary)), (1, 0));
    scene.fakes[0].fail(Fails::Nothing);
    seconds(2.6).await;
    assert_eq!(scene.state(0), UpstreamState::Healthy);
}

#[tokio::test(start_paused = true)]
async fn an_only_upstream_is_asked_on_and_probed_as_soon_as_it_answers() {
    let scene = Scene::new(1, Config::default());
    scene.ask_all().await;
    scene.fakes[0].fail(Fails::Embedding);
    scene.try_new(1).await.unwrap_err();
    a_moment().await;
    assert_eq!(scene.state(0), UpstreamState::Ejected);
    // Long enough for the next probe to be far away.
    seconds(200.0).await;
    scene.try_new(1).await.unwrap_err();
    scene.fakes[0].fail(Fails::Nothing);
    scene.ask_all().await;
    seconds(1.1).await;
    assert_eq!(scene.state(0), UpstreamState::Healthy);
}

#[tokio::test(start_paused = true)]
async fn models_are_loaded_wherever_they_are_before_anybody_asks() {
    for n_upstreams in [1, 2] {
        for warm_up in [true, false] {
            let scene = Scene::new(n_upstreams, Config { warm_up, ..Config::default() });
            scene.embedder.discover();
            a_moment().await;
            for index in 0..n_upstreams {
                let asked = [Asked::Canary, Asked::Texts].map(|what| scene.n_asked(index, what));
                assert_eq!(asked, [usize::from(warm_up), 0]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_at_the_start_is_loaded_later() {
    let scene = Scene::new(2, Config::default());
    scene.fakes.iter().for_each(|fake| fake.fail(Fails::Reaching));
    scene.embedder.discover();
    a_moment().await;
    scene.fakes.iter().for_each(|fake| fake.fail(Fails::Nothing));
    seconds(39.0).await;
    assert_eq!([0, 1].map(|index| scene.n_asked(index, Asked::Canary)), [1, 1]);
}
