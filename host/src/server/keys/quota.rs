//! So many a minute: a limit that refills evenly, and may be used up at once.
//!
//! The generic cell rate algorithm (ITU-T I.371) in one number: until when what
//! was taken takes to refill. A limit of 60 a minute gives one back each second,
//! and after a quiet minute all 60 may be taken together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: u64 = 60_000_000_000;

/// A limit. Taking is one atomic step, whoever else takes.
#[derive(Debug)]
pub(in crate::server) struct Quota {
    per_minute: u32,
    /// Nanoseconds in which one comes back.
    each: u64,
    epoch: Instant,
    /// Nanoseconds after `epoch` at which everything will have come back.
    full_at: AtomicU64,
}

/// Too much for now, or for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Spent {
    /// As much as was asked for is there after this time, if nobody else takes it.
    Until(Duration),
    /// More than a whole minute's worth was asked for.
    Never,
}

impl Quota {
    /// Everything is there at the beginning. Zero counts as one.
    pub(in crate::server) fn new(per_minute: u32, epoch: Instant) -> Self {
        let per_minute = per_minute.max(1);
        Self { per_minute, each: MINUTE / u64::from(per_minute), epoch, full_at: AtomicU64::new(0) }
    }

    pub(super) fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Takes `n`, or nothing.
    pub(in crate::server) fn take(&self, n: u64, now: Instant) -> Result<(), Spent> {
        if u64::from(self.per_minute) < n {
            return Err(Spent::Never);
        }
        let (now, cost) = (self.nanos(now), n * self.each);
        let taken = |full_at: u64| full_at.max(now) + cost;
        let room = now + self.burst();
        self.full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                Some(taken(full_at)).filter(|taken| *taken <= room)
            })
            .map(drop)
            .map_err(|full_at| Spent::Until(Duration::from_nanos(taken(full_at) - room)))
    }

    /// Takes back what `take` took and was not used.
    pub(super) fn give_back(&self, n: u64) {
        let cost = n.saturating_mul(self.each);
        let back = |full_at: u64| Some(full_at.saturating_sub(cost));
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back).ok();
    }

    /// How many may be taken at once.
    pub(super) fn remaining(&self, now: Instant) -> u64 {
        (self.burst() - self.missing(now).min(self.burst())) / self.each
    }

    /// How long until everything is there again.
    pub(super) fn reset(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.missing(now))
    }

    fn missing(&self, now: Instant) -> u64 {
        self.full_at.load(Ordering::Relaxed).saturating_sub(self.nanos(now))
    }

    fn burst(&self) -> u64 {
        self.each * u64::from(self.per_minute)
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quota, and a clock of its own.
    struct Bench {
        quota: Quota,
        begun: Instant,
    }

    impl Bench {
        fn new(per_minute: u32) -> Self {
            let begun = Instant::now();
            Self { quota: Quota::new(per_minute, begun), begun }
        }

        /// Takes `n` so many milliseconds after the beginning.
        #[track_caller]
        fn check(&self, millis: u64, n: u64, want: Result<(), Spent>) {
            assert_eq!(self.quota.take(n, self.at(millis)), want, "{n} after {millis} ms");
        }

        fn at(&self, millis: u64) -> Instant {
            self.begun + Duration::from_millis(millis)
        }
    }

    fn wait(millis: u64) -> Result<(), Spent> {
        Err(Spent::Until(Duration::from_millis(millis)))
    }

    #[test]
    fn a_minute_s_worth_may_be_taken_at_once_and_comes_back_evenly() {
        let bench = Bench::new(60);
        bench.check(0, 60, Ok(()));
        bench.check(0, 1, wait(1000));
        bench.check(400, 1, wait(600));
        bench.check(1000, 1, Ok(()));
        bench.check(1000, 1, wait(1000));
        bench.check(31_000, 30, Ok(()));
        bench.check(31_000, 5, wait(5000));
    }

    #[test]
    fn what_was_refused_costs_nothing() {
        let bench = Bench::new(60);
        bench.check(0, 59, Ok(()));
        for _ in 0..100 {
            bench.check(0, 2, wait(1000));
        }
        bench.check(0, 1, Ok(()));
    }

    #[test]
    fn a_quiet_hour_gives_no_more_than_a_minute() {
        let bench = Bench::new(60);
        bench.check(3_600_000, 60, Ok(()));
        bench.check(3_600_000, 1, wait(1000));
    }

    #[test]
    fn more_than_a_minute_s_worth_is_never_there() {
        let bench = Bench::new(10);
        bench.check(0, 11, Err(Spent::Never));
        bench.check(0, u64::MAX, Err(Spent::Never));
        bench.check(0, 10, Ok(()));
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let bench = Bench::new(60);
        bench.check(0, 60, Ok(()));
        bench.quota.give_back(60);
        bench.check(0, 60, Ok(()));
        bench.quota.give_back(u64::MAX);
        bench.check(0, 60, Ok(()));
    }

    #[test]
    fn what_is_left_and_when_all_is_back_are_told() {
        let bench = Bench::new(60);
        let told = |millis| (bench.quota.remaining(bench.at(millis)), bench.quota.reset(bench.at(millis)));
        assert_eq!(told(0), (60, Duration::ZERO));
        bench.check(0, 45, Ok(()));
        assert_eq!(told(0), (15, Duration::from_secs(45)));
        assert_eq!(told(500), (15, Duration::from_millis(44_500)));
        assert_eq!(told(50_000), (60, Duration::ZERO));
    }

    #[test]
    fn a_limit_that_divides_no_minute_lets_all_of_it_through() {
        for per_minute in [1, 7, 2048, u32::MAX] {
            let bench = Bench::new(per_minute);
            assert_eq!(bench.quota.remaining(bench.begun), u64::from(per_minute));
            bench.check(0, per_minute.into(), Ok(()));
            assert_eq!(bench.quota.remaining(bench.begun), 0);
        }
    }

    #[test]
    fn many_at_once_get_no_more_than_there_is() {
        let bench = Bench::new(1000);
        let taken = || (0..500).filter(|_| bench.quota.take(1, bench.begun).is_ok()).count();
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(taken)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 1000);
    }
}
