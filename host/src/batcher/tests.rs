//! The batcher against upstreams that answer when they are let.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::*;

mod failing;

type Log = Arc<Mutex<Vec<(usize, Vec<String>)>>>;
type Answer = Result<String, &'static str>;

/// Answers each text with itself in upper case.
struct Fake {
    /// A permit for each call that may end.
    gate: Arc<Semaphore>,
    log: Log,
    /// What fails the next calls, whatever is in them.
    faults: Mutex<VecDeque<Verdict>>,
    /// A text that fails every call that it is in.
    poison: Option<&'static str>,
    /// Upstreams that fail every call.
    dead: &'static [usize],
}

impl Fake {
    fn open() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2)),
            log: Log::default(),
            faults: Mutex::default(),
            poison: None,
            dead: &[],
        }
    }

    fn held() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), ..Self::open() }
    }
}

impl Backend for Fake {
    type Answer = Answer;
    type Error = &'static str;
    type Template = ();

    async fn send(&self, batch: Batch<()>) -> Result<Vec<Answer>, (&'static str, Verdict)> {
        let texts: Vec<String> = batch.texts.iter().map(|text| text.to_string()).collect();
        self.log.lock().unwrap().push((batch.upstream, texts.clone()));
        self.gate.acquire().await.unwrap().forget();
        if let Some(verdict) = self.faults.lock().unwrap().pop_front() {
            return Err(("scripted", verdict));
        }
        if self.dead.contains(&batch.upstream) {
            return Err(("dead", Verdict::Elsewhere));
        }
        if texts.iter().any(|text| Some(text.as_str()) == self.poison) {
            return Err(("crashed", Verdict::Again));
        }
        Ok(texts.iter().map(|text| Ok(text.to_uppercase())).collect())
    }
}

struct Bench {
    queue: Lease<Fake>,
    batcher: Batcher<Fake>,
    gate: Arc<Semaphore>,
    log: Log,
}

impl Bench {
    /// One queue that all of `slots` take from.
    fn new(config: Config, slots: &[usize], fake: Fake) -> Self {
        let upstreams: Vec<Upstream> =
            slots.iter().map(|max_in_flight| Upstream::with_slots(*max_in_flight)).collect();
        Self::over(config, &upstreams, fake)
    }

    /// One queue that all of `upstreams` take from.
    fn over(config: Config, upstreams: &[Upstream], fake: Fake) -> Self {
        let queue = Queue { model: "m".into(), way: "whole" };
        let (gate, log) = (fake.gate.clone(), fake.log.clone());
        let batcher = Batcher::new(config, upstreams, fake);
        let queue = batcher.open(&queue, ());
        for upstream in 0..upstreams.len() {
            batcher.admit(queue.index(), upstream);
        }
        Self { queue, batcher, gate, log }
    }

    fn submit(&self, lane: Lane, texts: &[String]) -> Vec<Reply<Fake>> {
        let places = self.batcher.reserve(texts.len(), texts.iter().map(String::len).sum()).unwrap();
        let texts = texts.iter().map(|text| Text { text: text.as_str().into(), n_tokens: 1 }).collect();
        self.batcher.submit(self.queue.index(), lane, texts, places).0
    }

    /// Lets `n_calls` end, and everything that follows from it happen.
    async fn let_end(&self, n_calls: usize) {
        self.gate.add_permits(n_calls);
        settle().await;
    }

    fn sizes(&self) -> Vec<usize> {
        self.log.lock().unwrap().iter().map(|(_, texts)| texts.len()).collect()
    }
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("t{number}")).collect()
}

async fn all(replies: Vec<Reply<Fake>>) -> Vec<Result<Answer, Failed<&'static str>>> {
    let mut outcomes = Vec::new();
    for reply in replies {
        let replied = tokio::time::timeout(Duration::from_secs(1), reply).await.unwrap().unwrap();
        outcomes.push(replied.outcome);
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn a_lone_text_leaves_at_once_and_a_busy_moment_makes_a_full_batch() {
    let bench = Bench::new(Config::default(), &[1], Fake::held());
    let _first = bench.submit(Lane::Interactive, &texts(0..1));
    settle().await;
    assert_eq!(bench.sizes(), [1]);
    let _rest: Vec<_> = (1..41).map(|n| bench.submit(Lane::Interactive, &texts(n..n + 1))).collect();
    bench.let_end(1).await;
    assert_eq!(bench.sizes(), [1, 32]);
    bench.let_end(1).await;
    assert_eq!(bench.sizes(), [1, 32, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_spread_over_all_upstreams() {
    let bench = Bench::new(Config::default(), &[2, 2], Fake::held());
    let _replies = bench.submit(Lane::Interactive, &texts(0..8));
    settle().await;
    let upstreams: Vec<usize> = bench.log.lock().unwrap().iter().map(|(upstream, _)| *upstream).collect();
    assert_eq!(upstreams.iter().filter(|upstream| **upstream == 0).count(), 2);
    assert_eq!(upstreams.len(), 4);
    assert_eq!(bench.sizes(), [2, 2, 1, 1], "no more than each slot's share");
}

/// A gateway with so many slots that takes so many texts in a list.
fn gateway(max_in_flight: usize, max_texts: usize) -> Upstream {
    let max_texts = Some(max_texts);
    Upstream { max_in_flight, max_texts, max_tokens: Some(100_000), spreads: true }
}

#[tokio::test(start_paused = true)]
async fn what_spreads_texts_itself_gets_long_lists_of_them() {
    let bench = Bench::over(Config::default(), &[gateway(8, 256)], Fake::held());
    let _replies = bench.submit(Lane::Bulk, &texts(0..250));
    settle().await;
    assert_eq!(bench.sizes(), [100, 100, 50], "and not eight shares");
    let bench = Bench::over(Config::default(), &[gateway(2, 256)], Fake::held());
    let _replies = bench.submit(Lane::Bulk, &texts(0..1000));
    settle().await;
    assert_eq!(bench.sizes(), [256, 256]);
}

#[tokio::test(start_paused = true)]
async fn what_spreads_texts_itself_leaves_room_for_others_itself() {
    let bench = Bench::over(Config::default(), &[gateway(4, 256)], Fake::held());
    let _question = bench.submit(Lane::Interactive, &texts(0..1));
    let _bulk = bench.submit(Lane::Bulk, &texts(1..301));
    settle().await;
    assert_eq!(bench.sizes(), [1, 100, 100, 100], "by all of its slots, and in no slices");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_may_take_fewer_texts_than_others() {
    let few = Upstream { max_texts: Some(3), ..Upstream::with_slots(1) };
    let bench = Bench::over(Config::default(), &[few], Fake::held());
    let _replies = bench.submit(Lane::Bulk, &texts(0..10));
    settle().await;
    bench.let_end(1).await;
    assert_eq!(bench.sizes(), [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn every_text_gets_its_own_answer() {
    let bench = Bench::new(Config::default(), &[2, 1, 3], Fake::open());
    let outcomes = all(bench.submit(Lane::Bulk, &texts(0..500))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome, Ok(Ok(format!("T{number}"))));
    }
    assert!(bench.sizes().iter().all(|size| *size <= 32));
}

#[tokio::test(start_paused = true)]
async fn tokens_bound_a_batch_but_one_text_always_goes() {
    let bench = Bench::new(Config { max_tokens: 10, ..Config::default() }, &[1], Fake::open());
    let places = bench.batcher.reserve(4, 0).unwrap();
    let sized = [6, 4, 99, 1].map(|n_tokens| Text { text: "t".into(), n_tokens });
    let (replies, _) = bench.batcher.submit(0, Lane::Bulk, sized.to_vec(), places);
    all(replies).await;
    assert_eq!(bench.sizes(), [2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn interactive_texts_overtake_bulk_a_bounded_number_of_times() {
    let config = Config { max_texts: 1, max_overtaken: 3, ..Config::default() };
    let bench = Bench::new(config, &[1], Fake::held());
    let _busy = bench.submit(Lane::Interactive, &["busy".into()]);
    let _bulk = bench.submit(Lane::Bulk, &["bulk".into()]);
    let _others = bench.submit(Lane::Interactive, &texts(0..5));
    for _ in 0..7 {
        bench.let_end(1).await;
    }
    let order: Vec<String> = bench.log.lock().unwrap().iter().map(|(_, texts)| texts[0].clone()).collect();
    assert_eq!(order, ["busy", "t0", "t1", "t2", "bulk", "t3", "t4"]);
}

#[tokio::test(start_paused = true)]
async fn a_text_that_nobody_waits_for_is_not_sent() {
    let bench = Bench::new(Config::default(), &[1], Fake::held());
    let _busy = bench.submit(Lane::Interactive, &["busy".into()]);
    let mut replies = bench.submit(Lane::Interactive, &texts(0..3));
    drop(replies.remove(1));
    bench.let_end(2).await;
    assert_eq!(bench.log.lock().unwrap()[1].1, ["t0", "t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_gives_its_slot_back() {
    let bench = Bench::new(Config::default(), &[1], Fake::held());
    drop(bench.submit(Lane::Interactive, &texts(0..1)));
    let gone = bench.submit(Lane::Interactive, &texts(1..2));
    settle().await;
    drop(gone);
    settle().await;
    let reply = bench.submit(Lane::Interactive, &texts(2..3));
    bench.let_end(1).await;
    assert_eq!(all(reply).await, [Ok(Ok("T2".to_owned()))]);
}

#[tokio::test(start_paused = true)]
async fn too_many_texts_are_refused_and_room_comes_back() {
    let bench = Bench::new(Config { max_queued: 3, ..Config::default() }, &[1], Fake::held());
    let replies = bench.submit(Lane::Bulk, &texts(0..3));
    let full = bench.batcher.reserve(1, 0).err().unwrap();
    assert_eq!(full.retry_after, Duration::from_secs(1));
    bench.let_end(3).await;
    all(replies).await;
    assert!(bench.batcher.reserve(3, 0).is_ok());
}

#[tokio::test(start_paused = true)]
async fn too_many_bytes_are_refused_though_their_texts_are_few() {
    let config = Config { max_queued_bytes: ByteSize::b(6), ..Config::default() };
    let bench = Bench::new(config, &[1], Fake::held());
    let replies = bench.submit(Lane::Bulk, &texts(0..2));
    let full = bench.batcher.reserve(1, 3).err().unwrap();
    assert_eq!(full.retry_after, Duration::from_secs(1));
    assert!(bench.batcher.reserve(1, 2).is_ok());
    bench.let_end(2).await;
    all(replies).await;
    assert!(bench.batcher.reserve(1, 100).is_ok(), "alone it has room");
}

#[tokio::test(start_paused = true)]
async fn a_text_that_nobody_waits_for_keeps_no_place_wherever_it_stands() {
    let bench = Bench::new(Config { max_queued: 4, ..Config::default() }, &[1], Fake::held());
    let mut replies = bench.submit(Lane::Interactive, &texts(0..1));
    replies.extend(bench.submit(Lane::Interactive, &texts(1..2)));
    let gone = bench.submit(Lane::Interactive, &texts(2..4));
    assert!(bench.batcher.reserve(1, 0).is_err());
    drop(gone);
    tokio::time::advance(Duration::from_millis(100)).await;
    let places = bench.batcher.reserve(2, 0).unwrap();
    assert!(bench.batcher.reserve(1, 0).is_err());
    drop(places);
    bench.let_end(2).await;
    assert!(all(replies).await.iter().all(Result::is_ok));
    assert_eq!(bench.sizes(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_one_upstream_fails_another_answers() {
    let bench = Bench::new(Config::default(), &[1, 1], Fake { dead: &[0], ..Fake::open() });
    let outcomes = all(bench.submit(Lane::Bulk, &texts(0..64))).await;
    assert!(outcomes.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn one_upstream_that_lives_is_enough() {
    let config = Config { retries_per_second: 1_000, ..Config::default() };
    let bench = Bench::new(config, &[2; 6], Fake { dead: &[0, 1, 2, 4, 5], ..Fake::open() });
    let outcomes = all(bench.submit(Lane::Bulk, &texts(0..300))).await;
    assert!(outcomes.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_dead_upstream_is_not_asked_twice_for_one_batch() {
    let bench = Bench::new(Config::default(), &[1], Fake { dead: &[0], ..Fake::open() });
    let outcomes = all(bench.submit(Lane::Bulk, &texts(0..32))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Err(Failed { error: "dead", alone: false })));
    assert_eq!(bench.sizes(), [32]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_passes_costs_one_more_call() {
    let fake = Fake::open();
    fake.faults.lock().unwrap().push_back(Verdict::Again);
    let bench = Bench::new(Config::default(), &[1], fake);
    assert!(all(bench.submit(Lane::Bulk, &texts(0..20))).await.iter().all(Result::is_ok));
    assert_eq!(bench.sizes(), [20, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_text_that_crashes_runners_costs_only_itself() {
    let bench = Bench::new(Config::default(), &[1, 1], Fake { poison: Some("t13"), ..Fake::open() });
    let outcomes = all(bench.submit(Lane::Bulk, &texts(0..32))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number {
            13 => assert_eq!(outcome, Err(Failed { error: "crashed", alone: true })),
            _ => assert_eq!(outcome, Ok(Ok(format!("T{number}")))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_always_faults_is_not_asked_for_every_text() {
    let fake = Fake::open();
    fake.faults.lock().unwrap().extend([Verdict::Again; 1_000]);
    let bench = Bench::new(Config::default(), &[1], fake);
    let outcomes = all(bench.submit(Lane::Bulk, &texts(0..32))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Err(Failed { error: "scripted", alone: false })));
    assert!(bench.sizes().len() < 64, "{} calls", bench.sizes().len());
}

#[tokio::test(start_paused = true)]
async fn a_reply_tells_the_time_before_calls_from_that_in_calls() {
    let fake = Fake::held();
    fake.faults.lock().unwrap().push_back(Verdict::Again);
    let config = Config { max_texts: 1, retry_delay: Duration::ZERO, ..Config::default() };
    let bench = Bench::new(config, &[1], fake);
    let replies = bench.submit(Lane::Interactive, &texts(0..2));
    for seconds in [3, 4, 5] {
        settle().await;
        tokio::time::advance(Duration::from_secs(seconds)).await;
        bench.let_end(1).await;
    }
    let mut times = Vec::new();
    for reply in replies {
        let replied = reply.await.unwrap();
        times.push((replied.queued.as_secs(), replied.called.as_secs()));
    }
    // What failed goes out again a moment later: what has not been out is before it.
    assert_eq!(times, [(4, 3 + 5), (3, 4)]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_lets_what_is_queued_end_and_stops_the_rest() {
    let bench = Bench::new(Config::default(), &[1], Fake::open());
    let replies = bench.submit(Lane::Bulk, &texts(0..100));
    bench.batcher.shutdown(Instant::now() + Duration::from_secs(1)).await;
    assert!(all(replies).await.iter().all(Result::is_ok));

    let bench = Bench::new(Config::default(), &[1], Fake::held());
    let replies = bench.submit(Lane::Bulk, &texts(0..100));
    bench.batcher.shutdown(Instant::now() + Duration::from_secs(1)).await;
    for reply in replies {
        assert!(reply.now_or_never().expect("nobody is left waiting").is_err());
    }
    let late = bench.submit(Lane::Bulk, &texts(0..1));
    assert!(late.into_iter().next().unwrap().now_or_never().unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_opens_takes_the_place_of_one_that_was_closed_and_none_of_its_upstreams() {
    let bench = Bench::new(Config::default(), &[1], Fake::open());
    let open = |model: &str| bench.batcher.open(&Queue { model: model.into(), way: "whole" }, ());
    let submit = |queue: &Lease<Fake>| {
        let text = Text { text: "t".into(), n_tokens: 1 };
        let places = bench.batcher.reserve(1, 0).unwrap();
        bench.batcher.submit(queue.index(), Lane::Interactive, vec![text], places).0
    };
    let first = open("first");
    bench.batcher.admit(first.index(), 0);
    all(submit(&first)).await;
    let index = first.index();
    drop(first);
    let second = open("second");
    assert_eq!(second.index(), index);
    let waiting = submit(&second);
    settle().await;
    assert_eq!(bench.sizes(), [1], "an upstream took what it was not admitted to");
    bench.batcher.admit(second.index(), 0);
    all(waiting).await;
    assert_eq!(bench.sizes(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_a_queue_that_closes_is_let_go() {
    let bench = Bench::new(Config { max_queued: 1, ..Config::default() }, &[1], Fake::open());
    let queue = bench.batcher.open(&Queue { model: "m".into(), way: "cut" }, ());
    let text = Text { text: "t".into(), n_tokens: 1 };
    let places = bench.batcher.reserve(1, 0).unwrap();
    let (replies, _) = bench.batcher.submit(queue.index(), Lane::Bulk, vec![text], places);
    assert!(bench.batcher.reserve(1, 0).is_err());
    drop(queue);
    for reply in replies {
        assert!(reply.now_or_never().unwrap().is_err());
    }
    assert!(bench.batcher.reserve(1, 0).is_ok());
}
