//! How often and how soon failed batches may go out again, so that upstreams
//! in trouble are not hammered.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// What was not used is kept for so long, and for so many calls.
const KEPT: Duration = Duration::from_secs(10);
const KEPT_CALLS: f64 = 50.0;

/// A bucket of retries, filled by time and by calls. It starts full.
pub(super) struct Budget {
    left: f64,
    per_call: f64,
    per_second: f64,
    filled: Option<Instant>,
}

impl Budget {
    pub(super) fn new(percent: u32, per_second: u32) -> Self {
        let mut budget = Self {
            left: 0.0,
            per_call: f64::from(percent) / 100.0,
            per_second: per_second.into(),
            filled: None,
        };
        budget.left = budget.room();
        budget
    }

    fn room(&self) -> f64 {
        self.per_second * KEPT.as_secs_f64() + self.per_call * KEPT_CALLS
    }

    /// Counts a call that is no retry.
    pub(super) fn count_call(&mut self) {
        self.left = (self.left + self.per_call).min(self.room());
    }

    /// Takes a retry, if there is one.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let since = self.filled.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.left = (self.left + since.as_secs_f64() * self.per_second).min(self.room());
        // Sums of tenths are never quite whole.
        let has_one = 1.0 - 1e-9 <= self.left;
        if has_one {
            self.left -= 1.0;
        }
        has_one
    }
}

/// From half of `delay` to one and a half, at random, so that what failed together
/// does not come back together.
pub(super) fn jittered(delay: Duration) -> Duration {
    // The standard library's only source of chance: every hasher has keys of its own.
    let chance = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    delay.mul_f64(0.5 + chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &mut Budget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.spend(now)).count()
    }

    /// Retries that are left after the bucket was emptied, some calls were made and some time passed.
    #[track_caller]
    fn check(percent: u32, per_second: u32, n_calls: usize, millis: u64, want: usize) {
        let start = Instant::now();
        let mut budget = Budget::new(percent, per_second);
        spent(&mut budget, start);
        (0..n_calls).for_each(|_| budget.count_call());
        assert_eq!(spent(&mut budget, start + Duration::from_millis(millis)), want);
    }

    #[test]
    fn the_bucket_starts_full_and_can_be_emptied() {
        let start = Instant::now();
        assert_eq!(spent(&mut Budget::new(20, 10), start), 110);
        assert_eq!(spent(&mut Budget::new(0, 0), start), 0);
    }

    #[test]
    fn calls_fill_it_by_their_percentage() {
        check(20, 10, 4, 0, 0);
        check(20, 10, 5, 0, 1);
        check(20, 10, 250, 0, 50);
        check(0, 10, 250, 0, 0);
    }

    #[test]
    fn time_fills_it_up_to_its_room() {
        check(20, 10, 0, 99, 0);
        check(20, 10, 0, 1000, 10);
        check(20, 10, 0, 3_600_000, 110);
        check(20, 0, 0, 3_600_000, 0);
    }

    #[test]
    fn a_jittered_delay_is_within_half_of_it_and_not_always_the_same() {
        let delays: Vec<Duration> = (0..100).map(|_| jittered(Duration::from_millis(100))).collect();
        let within = Duration::from_millis(50)..=Duration::from_millis(150);
        assert!(delays.iter().all(|delay| within.contains(delay)), "{delays:?}");
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }
}
