//! Upstreams that fail: retries within a budget, and upstreams that are ejected.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_second_try_at_the_same_upstream_waits_a_moment_and_one_at_another_does_not() {
    for (slots, waits) in [(vec![1], true), (vec![1, 1], false)] {
        let fake = Fake::open();
        fake.faults.lock().unwrap().push_back(Verdict::Again);
        let bench = Bench::new(Config::default(), &slots, fake);
        let begun = Instant::now();
        assert!(all(bench.submit(Lane::Interactive, &texts(0..1))).await[0].is_ok());
        let waited = begun.elapsed();
        assert_eq!(waited >= Config::default().retry_delay / 2, waits, "{waited:?}");
        assert!(waited <= Config::default().retry_delay * 2, "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_waits_a_moment_goes_nowhere_when_nobody_waits_for_it() {
    let fake = Fake::open();
    fake.faults.lock().unwrap().push_back(Verdict::Again);
    let bench = Bench::new(Config { max_queued: 1, ..Config::default() }, &[1], fake);
    let reply = bench.submit(Lane::Interactive, &texts(0..1));
    settle().await;
    drop(reply);
    settle().await;
    assert!(bench.batcher.reserve(1, 0).is_ok(), "its place is not free");
    tokio::time::advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(bench.sizes(), [1]);
}

#[tokio::test(start_paused = true)]
async fn upstreams_that_fail_are_not_asked_again_beyond_the_budget() {
    let config = Config { retry_percent: 20, retries_per_second: 0, max_texts: 1, ..Config::default() };
    let bench = Bench::new(config, &[1, 1], Fake { dead: &[0, 1], ..Fake::open() });
    for n in 0..500 {
        all(bench.submit(Lane::Interactive, &texts(n..n + 1))).await;
    }
    // Ten are there from the start, and one comes with five calls; the first finds them all there.
    assert_eq!(bench.sizes().len(), 500 + 10 + (500 - 1) / 5);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_is_asked_after_one_that_does_not() {
    let bench = Bench::new(Config::default(), &[1, 1], Fake { dead: &[0], ..Fake::open() });
    for n in 0..10 {
        assert!(all(bench.submit(Lane::Interactive, &texts(n..n + 1))).await[0].is_ok());
    }
    let to_dead = bench.log.lock().unwrap().iter().filter(|(upstream, _)| *upstream == 0).count();
    assert_eq!(to_dead, 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_always_fails_does_not_use_up_the_retries_of_all() {
    let config = Config { retry_percent: 20, retries_per_second: 0, ..Config::default() };
    let bench = Bench::new(config, &[2, 2], Fake { dead: &[0], ..Fake::open() });
    for n in 0..200 {
        let outcomes = all(bench.submit(Lane::Interactive, &texts(n * 40..n * 40 + 40))).await;
        assert!(outcomes.iter().all(Result::is_ok), "list {n}");
        tokio::time::advance(Duration::from_millis(5)).await;
    }
    let n_failed = bench.log.lock().unwrap().iter().filter(|(upstream, _)| *upstream == 0).count();
    assert!((10..50).contains(&n_failed), "it is tried now and then: {n_failed}");
}

#[tokio::test(start_paused = true)]
async fn what_was_left_to_others_is_not_left_to_them_for_longer_than_the_rest() {
    let bench = Bench::new(Config::default(), &[1, 1], Fake { dead: &[0], ..Fake::held() });
    let upstreams = || bench.log.lock().unwrap().iter().map(|(upstream, _)| *upstream).collect::<Vec<_>>();
    let mut replies = bench.submit(Lane::Interactive, &texts(0..1));
    bench.let_end(1).await;
    replies.extend(bench.submit(Lane::Interactive, &texts(1..2)));
    // The first text is answered by the other one, the second fails at the dead one.
    bench.let_end(2).await;
    replies.extend(bench.submit(Lane::Interactive, &texts(2..3)));
    settle().await;
    assert_eq!(upstreams(), [0, 1, 0, 1], "two failures in a row");
    tokio::time::advance(Config::default().retry_delay).await;
    settle().await;
    assert_eq!(upstreams(), [0, 1, 0, 1, 0]);
    bench.let_end(9).await;
    assert!(all(replies).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn an_ejected_upstream_takes_nothing_and_has_no_share() {
    let bench = Bench::new(Config::default(), &[1, 1], Fake::held());
    bench.batcher.eject(0, "down");
    let replies = bench.submit(Lane::Bulk, &texts(0..8));
    settle().await;
    assert_eq!(bench.sizes(), [8], "the share of one of one");
    bench.batcher.readmit(0);
    let more = bench.submit(Lane::Bulk, &texts(8..16));
    bench.let_end(10).await;
    assert!(all(replies).await.iter().chain(&all(more).await).all(Result::is_ok));
    assert_eq!(bench.log.lock().unwrap()[1].0, 0);
    assert_eq!(bench.sizes()[1], 4, "the share of one of two");
}

#[tokio::test(start_paused = true)]
async fn texts_whose_every_upstream_is_ejected_fail_at_once_with_the_last_reason() {
    let bench = Bench::new(Config::default(), &[1, 1], Fake::held());
    let failed = |error| Err(Failed { error, alone: false });
    let called = bench.submit(Lane::Interactive, &texts(0..2));
    let waiting = bench.submit(Lane::Bulk, &texts(2..9));
    settle().await;
    bench.batcher.eject(1, "first");
    settle().await;
    bench.batcher.eject(0, "last");
    assert!(all(waiting).await.iter().all(|outcome| *outcome == failed("last")));
    assert_eq!(all(bench.submit(Lane::Interactive, &texts(9..10))).await, [failed("last")]);
    // What was on its way ends as it may.
    bench.let_end(2).await;
    assert!(all(called).await.iter().all(Result::is_ok));
    bench.batcher.readmit(1);
    let back = bench.submit(Lane::Interactive, &texts(10..11));
    bench.let_end(1).await;
    assert!(all(back).await[0].is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_after_the_last_ejection_is_not_kept() {
    for verdict in [Verdict::Elsewhere, Verdict::Again, Verdict::Halve] {
        let fake = Fake::held();
        fake.faults.lock().unwrap().push_back(verdict);
        let bench = Bench::new(Config::default(), &[1], fake);
        let replies = bench.submit(Lane::Interactive, &texts(0..4));
        settle().await;
        bench.batcher.eject(0, "down");
        bench.let_end(1).await;
        let outcomes = all(replies).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Err(Failed { error: "scripted", alone: false })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_without_upstreams_waits_for_one() {
    let mut bench = Bench::new(Config::default(), &[1], Fake::open());
    bench.queue = bench.batcher.open(&Queue { model: "n".into(), way: "whole" }, ());
    let reply = bench.submit(Lane::Interactive, &texts(0..1));
    settle().await;
    assert!(bench.sizes().is_empty());
    bench.batcher.admit(bench.queue.index(), 0);
    assert!(all(reply).await[0].is_ok());
}
