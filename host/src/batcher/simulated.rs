//! The batcher in front of simulated upstreams of known speed, in simulated
//! time: whether it gets out of them what they can give.

use std::sync::Arc;

use futures_util::future::join_all;

use super::*;

/// What a call costs before its texts.
const CALL: Duration = Duration::from_millis(5);
const TEXT: Duration = Duration::from_millis(10);

/// Embeds one text at a time, as Ollama does; calls wait for it in between.
struct Runner {
    text: Duration,
    turn: tokio::sync::Mutex<()>,
}

struct Simulated {
    runners: Vec<Runner>,
    /// Texts in each call that has begun, and to whom it went.
    calls: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl Backend for Simulated {
    type Answer = ();
    type Error = ();
    type Template = ();

    async fn send(&self, batch: Batch<()>) -> Result<Vec<()>, ((), Verdict)> {
        self.calls.lock().unwrap().push((batch.upstream, batch.texts.len()));
        let runner = &self.runners[batch.upstream];
        tokio::time::sleep(CALL).await;
        for _ in &batch.texts {
            let _turn = runner.turn.lock().await;
            tokio::time::sleep(runner.text).await;
        }
        Ok(vec![(); batch.texts.len()])
    }
}

struct Fleet {
    batcher: Batcher<Simulated>,
    queue: Lease<Simulated>,
    calls: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl Fleet {
    /// Upstreams that take so many times [`TEXT`] for a text, each with so many slots.
    fn new(factors: &[u32], max_in_flight: usize) -> Self {
        let runners = factors.iter().map(|factor| Runner { text: TEXT * *factor, turn: Default::default() });
        let calls = Arc::default();
        let simulated = Simulated { runners: runners.collect(), calls: Arc::clone(&calls) };
        let upstreams = vec![Upstream::with_slots(max_in_flight); factors.len()];
        let config = Config { max_queued: 200_000, ..Config::default() };
        let batcher = Batcher::new(config, &upstreams, simulated);
        let queue = batcher.open(&Queue { model: "m".into(), way: "whole" }, ());
        (0..factors.len()).for_each(|upstream| batcher.admit(queue.index(), upstream));
        Self { batcher, queue, calls }
    }

    fn submit(&self, lane: Lane, n_texts: usize) -> Vec<Reply<Simulated>> {
        let text = Text { text: "t".into(), n_tokens: 20 };
        let places = self.batcher.reserve(n_texts, 0).unwrap();
        self.batcher.submit(self.queue.index(), lane, vec![text; n_texts], places).0
    }

    /// How long a list takes.
    async fn list(&self, lane: Lane, n_texts: usize) -> Duration {
        let begun = Instant::now();
        for reply in join_all(self.submit(lane, n_texts)).await {
            reply.unwrap().outcome.unwrap();
        }
        begun.elapsed()
    }

    /// Texts that `n_clients` get answered in a second, each of which asks for one after the other.
    async fn clients(&self, n_clients: usize, for_how_long: Duration) -> f64 {
        let end = Instant::now() + for_how_long;
        let client = async || {
            let mut answered = 0;
            while Instant::now() < end {
                self.list(Lane::Interactive, 1).await;
                answered += usize::from(Instant::now() <= end);
            }
            answered
        };
        let answered: usize = join_all((0..n_clients).map(|_| client())).await.into_iter().sum();
        answered as f64 / for_how_long.as_secs_f64()
    }

    fn sizes_of(&self, upstream: usize) -> Vec<usize> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(called, _)| *called == upstream).map(|(_, n_texts)| *n_texts).collect()
    }
}

/// Texts a second that such upstreams embed when they never wait.
fn sum(factors: &[u32]) -> f64 {
    factors.iter().map(|factor| (TEXT * *factor).as_secs_f64().recip()).sum()
}

#[track_caller]
fn assert_at_least(want: f64, got: f64) {
    assert!(want <= got, "{got:.3} is less than {want}");
}

/// How many times faster than one upstream alone a list is, the upstreams known or not.
async fn check_list(factors: &[u32], n_texts: usize, is_known: bool, want: f64) {
    let one = Fleet::new(&[1], 2).list(Lane::Bulk, n_texts).await;
    let fleet = Fleet::new(factors, 2);
    if is_known {
        fleet.list(Lane::Bulk, n_texts).await;
    }
    assert_at_least(want, one.as_secs_f64() / fleet.list(Lane::Bulk, n_texts).await.as_secs_f64());
}

async fn check_clients(factors: &[u32], max_in_flight: usize, want: f64) {
    let fleet = Fleet::new(factors, max_in_flight);
    let rate = fleet.clients(64, Duration::from_secs(20)).await;
    assert_at_least(want, rate / sum(factors));
}

#[tokio::test(start_paused = true)]
async fn one_list_is_nearly_four_times_faster_over_four() {
    check_list(&[1; 4], 400, false, 3.8).await;
    check_list(&[1; 4], 400, true, 3.8).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_does_not_wait_for_one_that_is_ten_times_slower() {
    check_list(&[1, 1, 10, 1], 400, true, 0.9 * 3.1).await;
    check_list(&[10, 1, 1, 1], 2000, true, 0.9 * 3.1).await;
    check_list(&[10, 1, 1, 1], 400, false, 0.75 * 3.1).await;
}

#[tokio::test(start_paused = true)]
async fn many_clients_keep_all_upstreams_busy() {
    check_clients(&[1; 4], 2, 0.95).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_ten_times_slower_keeps_nobody_waiting() {
    check_clients(&[1, 1, 1, 10], 2, 0.9).await;
    check_clients(&[10, 1, 1, 1], 2, 0.9).await;
}

#[tokio::test(start_paused = true)]
async fn upstreams_of_many_speeds_are_all_used() {
    check_clients(&[1, 2, 3, 5], 2, 0.9).await;
    check_clients(&[1, 2, 3, 5], 4, 0.9).await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_text_is_left_to_the_fast_even_while_they_are_busy() {
    let fleet = Fleet::new(&[10, 1], 1);
    fleet.list(Lane::Interactive, 40).await;
    let (one, other) = tokio::join!(fleet.list(Lane::Interactive, 1), fleet.list(Lane::Interactive, 1));
    let both = one.max(other);
    assert!(both <= (CALL + TEXT) * 2 + Duration::from_millis(2), "{both:?}");
}

#[tokio::test(start_paused = true)]
async fn who_was_slow_once_is_tried_again() {
    let fleet = Fleet::new(&[1, 1], 1);
    fleet.list(Lane::Interactive, 8).await;
    for millis in [15_u64, 10_000] {
        let mut state = fleet.batcher.shared.lock();
        let now = Instant::now();
        (0..20).for_each(|_| {
            state.queues[0].speed_mut(usize::from(millis == 10_000), Lane::Interactive).record(
                1,
                20,
                Duration::from_millis(millis),
                now,
            );
        });
    }
    let tried = |n: usize| fleet.sizes_of(1).len() - n;
    let before = fleet.sizes_of(1).len();
    fleet.clients(4, Duration::from_secs(2)).await;
    assert_eq!(tried(before), 0, "it would have taken ten seconds");
    fleet.clients(4, Duration::from_secs(120)).await;
    assert_at_least(1000.0, tried(before) as f64);
}

/// Interactive texts, one after the other with pauses, while 100,000 bulk texts wait.
async fn check_latency(n_upstreams: usize, max_in_flight: usize) {
    let fleet = Fleet::new(&vec![1; n_upstreams], max_in_flight);
    fleet.list(Lane::Interactive, 1).await;
    let bulk = fleet.submit(Lane::Bulk, 100_000);
    let mut waits = Vec::new();
    for n in 0..2_000_u64 {
        tokio::time::sleep(Duration::from_millis(n * 7 % 83)).await;
        waits.push(fleet.list(Lane::Interactive, 1).await);
    }
    waits.sort();
    let p99 = waits[waits.len() * 99 / 100].as_secs_f64();
    let bound = (CALL + TEXT + Config::default().bulk_slice).as_secs_f64();
    assert_at_least(1.0, 1.5 * bound / p99);
    // What is left to bulk is most of the upstreams' time.
    let done = 100_000 - fleet.batcher.shared.lock().queues[0].n_queued()[Lane::Bulk as usize];
    let seconds = 2_000.0 * 0.041 + waits.iter().sum::<Duration>().as_secs_f64();
    assert_at_least(0.6 * sum(&vec![1; n_upstreams]), (done + 2_000) as f64 / seconds);
    drop(bulk);
}

#[tokio::test(start_paused = true)]
async fn interactive_texts_wait_for_a_slice_of_bulk_at_most() {
    check_latency(2, 2).await;
    check_latency(2, 1).await;
    check_latency(1, 1).await;
}

#[tokio::test(start_paused = true)]
async fn bulk_is_cut_into_slices_only_while_interactive_texts_come() {
    let fleet = Fleet::new(&[1], 2);
    fleet.list(Lane::Bulk, 200).await;
    assert_eq!(fleet.sizes_of(0)[..2], [32, 32]);
    fleet.list(Lane::Interactive, 1).await;
    let begun = fleet.sizes_of(0).len();
    fleet.list(Lane::Bulk, 20).await;
    assert!(fleet.sizes_of(0)[begun..].iter().all(|n_texts| *n_texts <= 4), "{:?}", fleet.sizes_of(0));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let begun = fleet.sizes_of(0).len();
    fleet.list(Lane::Bulk, 64).await;
    assert_eq!(fleet.sizes_of(0)[begun], 32);
}

#[tokio::test(start_paused = true)]
async fn slices_of_bulk_go_on_under_more_interactive_texts_than_can_be_served() {
    let fleet = Fleet::new(&[1], 1);
    let bulk = fleet.submit(Lane::Bulk, 40);
    tokio::join!(fleet.clients(64, Duration::from_secs(30)), async {
        for reply in join_all(bulk).await {
            reply.unwrap().outcome.unwrap();
        }
        assert!(fleet.batcher.shared.lock().queues[0].n_queued()[0] > 0, "nothing was overtaken");
    });
}
