//! What goes on over one connection, and how long each part of it may take.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Version;
use tokio::time::Instant;

use super::ended::Cause;
use super::places::{Seat, Waits};

/// How long each part may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// A request's head; of the first one, with all that comes before it.
    pub(super) head: Duration,
    /// The time from one request to the next.
    pub(super) idle: Duration,
    /// Until a client has taken the next piece of its answer.
    pub(super) write: Duration,
}

impl Times {
    /// How often a connection is looked at: times are kept to a quarter of the shortest.
    fn tick(self) -> Duration {
        (self.head.min(self.idle).min(self.write) / 4).max(Duration::from_millis(1))
    }
}

/// What goes on over one connection.
pub(super) struct Activity {
    times: Times,
    seat: Arc<Seat>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// Several requests at once, so that bytes say nothing about heads.
    is_multiplexed: bool,
    next_id: u64,
    requests: HashMap<u64, Part>,
}

/// What a connection without a request does.
#[derive(Clone, Copy)]
enum Phase {
    First(Instant),
    Idle(Instant),
    Head(Instant),
}

/// What happens to a request that was begun.
#[derive(Clone, Copy)]
enum Part {
    /// Its body arrives.
    Arriving,
    Worked,
    /// Its answer leaves, and a piece of it was taken last then.
    Leaving(Instant),
}

/// A request that was begun; ended when dropped.
pub(super) struct UnderWay {
    activity: Arc<Activity>,
    id: u64,
    is_whole: AtomicBool,
}

impl Activity {
    pub(super) fn new(seat: Arc<Seat>, times: Times) -> Arc<Self> {
        let state = State {
            phase: Phase::First(Instant::now()),
            is_multiplexed: false,
            next_id: 0,
            requests: HashMap::new(),
        };
        Arc::new(Self { times, seat, state: Mutex::new(state) })
    }

    /// Bytes came in.
    pub(super) fn heard(&self) {
        let mut state = self.lock();
        if let Phase::Idle(_) = state.phase
            && !state.is_multiplexed
            && state.requests.is_empty()
        {
            state.phase = Phase::Head(Instant::now());
        }
    }

    /// The head of a request is here; its body may be on its way.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> UnderWay {
        let mut state = self.lock();
        state.is_multiplexed = version == Version::HTTP_2;
        state.next_id += 1;
        let id = state.next_id;
        state.requests.insert(id, Part::Arriving);
        self.sit(&state);
        UnderWay { activity: self.clone(), id, is_whole: AtomicBool::new(false) }
    }

    /// Returns with the cause once something took too long.
    pub(super) async fn overdue(&self) -> Cause {
        loop {
            let now = Instant::now();
            let next = match self.deadline() {
                Some((at, cause)) if at <= now => return cause,
                Some((at, _)) => at.min(now + self.times.tick()),
                None => now + self.times.tick(),
            };
            tokio::time::sleep_until(next).await;
        }
    }

    fn deadline(&self) -> Option<(Instant, Cause)> {
        let state = self.lock();
        if state.requests.is_empty() {
            return Some(match state.phase {
                Phase::First(since) | Phase::Head(since) => (since + self.times.head, Cause::SlowHead),
                Phase::Idle(since) => (since + self.times.idle, Cause::Idle),
            });
        }
        let taken_last = |part: &Part| match part {
            Part::Leaving(since) => Some(*since),
            Part::Arriving | Part::Worked => None,
        };
        let slowest = state.requests.values().filter_map(taken_last).min()?;
        Some((slowest + self.times.write, Cause::SlowReader))
    }

    fn set(&self, id: u64, part: Part) {
        let mut state = self.lock();
        state.requests.insert(id, part);
        self.sit(&state);
    }

    fn end(&self, id: u64) {
        let mut state = self.lock();
        state.requests.remove(&id);
        if state.requests.is_empty() {
            state.phase = Phase::Idle(Instant::now());
        }
        self.sit(&state);
    }

    /// Tells the seat what became of the connection.
    fn sit(&self, state: &State) {
        if state.requests.is_empty() {
            self.seat.wait(Waits::Next);
        } else if state.requests.values().all(|part| matches!(part, Part::Arriving)) {
            self.seat.wait(Waits::Body);
        } else {
            self.seat.work();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// All of the request is here. Only the first call counts.
    pub(super) fn arrived(&self) {
        if !self.is_whole.swap(true, Ordering::Relaxed) {
            self.activity.set(self.id, Part::Worked);
        }
    }

    /// The answer begins to leave, or the client took another piece of it.
    pub(super) fn taken(&self) {
        self.is_whole.store(true, Ordering::Relaxed);
        self.activity.set(self.id, Part::Leaving(Instant::now()));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.activity.end(self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::super::places::{Place, Places};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMES: Times = Times {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(90),
        write: Duration::from_secs(30),
    };

    async fn connection() -> (Arc<Activity>, Place) {
        let place = Places::new(1).take().await;
        (Activity::new(place.0.clone(), TIMES), place)
    }

    /// Does `deeds`, and checks what the connection ends of, and when: to a tick.
    async fn check(activity: &Arc<Activity>, deeds: impl Future<Output = ()>, want: (u32, Cause)) {
        let start = Instant::now();
        let (cause, ()) = tokio::join!(activity.overdue(), deeds);
        let (earliest, took) = (want.0 * SECOND, start.elapsed());
        assert!(earliest <= took && took <= earliest + TIMES.tick(), "after {took:?}");
        assert_eq!(cause, want.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_request_must_come_soon_however_many_bytes_of_it_come() {
        let (activity, _place) = connection().await;
        let deeds = async {
            for _ in 0..8 {
                sleep(SECOND).await;
                activity.heard();
            }
        };
        check(&activity, deeds, (10, Cause::SlowHead)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_answered_may_idle_for_longer() {
        let (activity, _place) = connection().await;
        drop(activity.begin(Version::HTTP_11));
        check(&activity, async {}, (90, Cause::Idle)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_was_begun_must_be_ended() {
        let (activity, _place) = connection().await;
        drop(activity.begin(Version::HTTP_11));
        let deeds = async {
            for _ in 0..2 {
                sleep(5 * SECOND).await;
                activity.heard();
            }
        };
        check(&activity, deeds, (15, Cause::SlowHead)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn over_http_2_bytes_need_not_be_heads() {
        let (activity, _place) = connection().await;
        drop(activity.begin(Version::HTTP_2));
        activity.heard();
        check(&activity, async {}, (90, Cause::Idle)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_its_time_and_its_end_starts_the_wait() {
        let (activity, _place) = connection().await;
        let under_way = activity.begin(Version::HTTP_11);
        let deeds = async {
            sleep(200 * SECOND).await;
            under_way.arrived();
            sleep(200 * SECOND).await;
            drop(under_way);
        };
        check(&activity, deeds, (490, Cause::Idle)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_slowly_and_steadily_has_all_the_time() {
        let (activity, _place) = connection().await;
        let under_way = activity.begin(Version::HTTP_11);
        let deeds = async {
            for _ in 0..20 {
                under_way.taken();
                sleep(20 * SECOND).await;
            }
            drop(under_way);
        };
        check(&activity, deeds, (490, Cause::Idle)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_must_be_taken_on_its_own() {
        let (activity, _place) = connection().await;
        let (stuck, brisk) = (activity.begin(Version::HTTP_2), activity.begin(Version::HTTP_2));
        stuck.taken();
        let deeds = async {
            for _ in 0..4 {
                brisk.taken();
                sleep(5 * SECOND).await;
            }
        };
        check(&activity, deeds, (30, Cause::SlowReader)).await;
    }
}
