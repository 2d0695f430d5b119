//! Who may go on when calls take long: not all processors at once.
//!
//! Guests run on the threads that serve everybody else, and let others go first whenever the clock
//! ticks. Where a guest spins on every thread, each step of each request waits for a tick. So a
//! call that takes longer than most takes turns with others of its kind, and the clock ticks
//! faster meanwhile.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::metering::{Late, within};

/// How long a call waits for nobody: most have ended by then.
const FREE: Duration = Duration::from_millis(2);

/// As many turns as calls that take long may run at the same time.
pub(super) struct Turns {
    free: Arc<Semaphore>,
    n_cores: usize,
    long: Arc<AtomicBool>,
}

impl Turns {
    /// One for each processor.
    pub(super) fn new(n_cores: usize) -> Self {
        let n_cores = n_cores.max(1);
        Self { free: Arc::new(Semaphore::new(n_cores)), n_cores, long: Arc::default() }
    }

    /// Leaves one processor to others from now on, if there are two.
    pub(super) fn step_aside(&self) {
        if 1 < self.n_cores {
            self.free.forget_permits(1);
        }
    }

    /// The part of one instance.
    pub(super) fn turn(&self) -> Turn {
        Turn {
            free: Arc::clone(&self.free),
            long: Arc::clone(&self.long),
            taken: Taken::default(),
            begun: Instant::now(),
        }
    }

    /// Set whenever the clock has interrupted a call that takes long.
    pub(super) fn long(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.long)
    }
}

/// Whether an instance waits for its turn, or has it.
pub(super) struct Turn {
    free: Arc<Semaphore>,
    long: Arc<AtomicBool>,
    taken: Taken,
    /// When the call under way was.
    begun: Instant,
}

/// A turn that an instance has while it runs.
#[derive(Clone, Default)]
pub(super) struct Taken(Arc<Place>);

#[derive(Default)]
struct Place {
    turn: Mutex<Option<OwnedSemaphorePermit>>,
    /// Whether the clock has interrupted the call, and it has not gone on yet.
    is_interrupted: AtomicBool,
}

impl Turn {
    /// Another call begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = now;
    }

    /// Lets others run, and returns when the call may go on: at its deadline without a turn.
    pub(super) fn tick(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static {
        let is_long = FREE <= self.begun.elapsed();
        if is_long {
            self.long.store(true, Ordering::Relaxed);
            // The system's other threads wait as well, for longer than a tick if they may.
            std::thread::yield_now();
        }
        let free = is_long.then(|| Arc::clone(&self.free));
        let taken = self.taken.clone();
        async move {
            let _interrupted = Interrupted::begin(&taken.0.is_interrupted);
            tokio::task::yield_now().await;
            if let Some(free) = free {
                taken.set(before(deadline, free.acquire_owned()).await);
            }
        }
    }

    pub(super) fn taken(&self) -> Taken {
        self.taken.clone()
    }
}

impl Taken {
    /// Runs `call` until `deadline`.
    pub(super) async fn within<T>(self, deadline: Instant, call: impl Future<Output = T>) -> Result<T, Late> {
        let place = Arc::clone(&self.0);
        within(deadline, || place.is_interrupted.load(Ordering::Relaxed), self.running(call)).await
    }

    /// Runs `call`, and gives the turn back whenever it does not run: a call that waits for
    /// something else keeps nobody from running.
    async fn running<T>(self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        std::future::poll_fn(move |context| {
            let polled: Poll<T> = call.as_mut().poll(context);
            self.set(None);
            polled
        })
        .await
    }

    fn set(&self, turn: Option<OwnedSemaphorePermit>) {
        let before =
            std::mem::replace(&mut *self.0.turn.lock().unwrap_or_else(PoisonError::into_inner), turn);
        drop(before);
    }
}

/// A turn, unless there is none before `deadline`. Whoever waits for the call wakes it then.
async fn before(
    deadline: Instant,
    turn: impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>>,
) -> Option<OwnedSemaphorePermit> {
    let mut turn = pin!(turn);
    std::future::poll_fn(|context| match turn.as_mut().poll(context) {
        // Nobody closes it.
        Poll::Ready(turn) => Poll::Ready(turn.ok()),
        Poll::Pending if deadline <= Instant::now() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

struct Interrupted<'i>(&'i AtomicBool);

impl<'i> Interrupted<'i> {
    fn begin(is_interrupted: &'i AtomicBool) -> Self {
        is_interrupted.store(true, Ordering::Relaxed);
        Self(is_interrupted)
    }
}

impl Drop for Interrupted<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Waker};

    use super::*;

    /// A call that goes on for ever, tick by tick.
    struct Spinning {
        call: std::pin::Pin<Box<dyn Future<Output = ()>>>,
        n_ticks: Arc<AtomicU32>,
    }

    impl Spinning {
        fn new(turns: &Turns, begun: Instant) -> Self {
            let n_ticks = Arc::<AtomicU32>::default();
            let (mut turn, ticked) = (turns.turn(), n_ticks.clone());
            turn.begin(begun);
            let taken = turn.taken();
            let call = taken.running(async move {
                loop {
                    turn.tick(to_come()).await;
                    ticked.fetch_add(1, Ordering::Relaxed);
                }
            });
            Self { call: Box::pin(call), n_ticks }
        }

        /// How many ticks it has gone on for, once it was let run `n` times.
        fn run(&mut self, n: usize) -> u32 {
            for _ in 0..n {
                let polled = self.call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
            }
            self.n_ticks.load(Ordering::Relaxed)
        }
    }

    fn long_ago() -> Instant {
        Instant::now().checked_sub(FREE).unwrap()
    }

    /// So that no time has passed since.
    fn to_come() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[test]
    fn a_call_that_has_only_begun_waits_for_nobody_and_one_that_takes_long_for_its_turn() {
        let turns = Turns::new(1);
        let held = turns.free.clone().try_acquire_owned().unwrap();
        assert_eq!(Spinning::new(&turns, to_come()).run(9), 8);
        assert!(!turns.long.load(Ordering::Relaxed));
        let mut call = Spinning::new(&turns, long_ago());
        assert_eq!(call.run(9), 0);
        assert!(turns.long.load(Ordering::Relaxed));
        drop(held);
        assert_eq!(call.run(2), 2);
    }

    #[test]
    fn a_call_that_does_not_run_keeps_nobody_from_running() {
        let turns = Turns::new(1);
        let (mut one, mut other) = (Spinning::new(&turns, long_ago()), Spinning::new(&turns, long_ago()));
        assert_eq!(one.run(9), 8);
        assert_eq!(other.run(9), 8, "the first one is not dropped, and does not run");
        assert_eq!(one.run(9), 17);
    }

    #[test]
    fn a_call_goes_on_at_its_deadline_without_a_turn() {
        let turns = Turns::new(1);
        let (mut turn, held) = (turns.turn(), turns.free.clone().try_acquire_owned().unwrap());
        turn.begin(long_ago());
        let is_interrupted = || turn.taken().0.is_interrupted.load(Ordering::Relaxed);
        let mut tick = Box::pin(turn.tick(Instant::now()));
        let context = &mut Context::from_waker(Waker::noop());
        assert!(tick.as_mut().poll(context).is_pending(), "others run first");
        assert!(is_interrupted());
        assert!(tick.as_mut().poll(context).is_ready());
        assert!(!is_interrupted());
        drop(held);
    }

    #[test]
    fn one_of_two_processors_is_left_to_others_once_there_are_others() {
        for (n_cores, want) in [(1, 1), (2, 1), (8, 7)] {
            let turns = Turns::new(n_cores);
            assert_eq!(turns.free.available_permits(), n_cores);
            turns.step_aside();
            assert_eq!(turns.free.available_permits(), want);
        }
    }

    #[test]
    fn the_next_call_of_an_instance_begins_anew() {
        let turns = Turns::new(1);
        let mut turn = turns.turn();
        let held = turns.free.clone().try_acquire_owned().unwrap();
        let runs = |turn: &Turn| {
            let mut tick = Box::pin(turn.tick(to_come()));
            let context = &mut Context::from_waker(Waker::noop());
            assert!(tick.as_mut().poll(context).is_pending(), "others run first");
            tick.as_mut().poll(context).is_ready()
        };
        turn.begin(long_ago());
        assert!(!runs(&turn));
        turn.begin(to_come());
        assert!(runs(&turn));
        drop(held);
    }
}
