//! How fast texts leave, and so how long one who is refused should stay away.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What was answered in the last while.
const WINDOW: Duration = Duration::from_secs(10);
const BUCKET: Duration = Duration::from_secs(1);

/// Texts answered, by second.
pub(super) struct Drain {
    buckets: VecDeque<(Instant, usize)>,
}

impl Drain {
    pub(super) fn new() -> Self {
        Self { buckets: VecDeque::new() }
    }

    pub(super) fn record(&mut self, n_texts: usize, now: Instant) {
        match self.buckets.back_mut() {
            Some((start, sum)) if now.duration_since(*start) < BUCKET => *sum += n_texts,
            _ => self.buckets.push_back((now, n_texts)),
        }
        self.forget(now);
    }

    /// The time that `waiting` texts need, in whole seconds from 1 to 60; 1 where
    /// nothing was measured.
    pub(super) fn retry_after(&mut self, waiting: usize, now: Instant) -> Duration {
        self.forget(now);
        let Some((first, _)) = self.buckets.front() else {
            return Duration::from_secs(1);
        };
        let span = now.duration_since(*first).max(BUCKET).as_secs_f64();
        let answered: usize = self.buckets.iter().map(|(_, sum)| sum).sum();
        let seconds = (waiting as f64 * span / answered.max(1) as f64).ceil();
        Duration::from_secs(seconds.clamp(1.0, 60.0) as u64)
    }

    fn forget(&mut self, now: Instant) {
        while self.buckets.front().is_some_and(|(start, _)| WINDOW < now.duration_since(*start)) {
            self.buckets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answered: &[(u64, usize)], waiting: usize, at: u64, want: u64) {
        let start = Instant::now();
        let mut drain = Drain::new();
        for (second, n_texts) in answered {
            drain.record(*n_texts, start + Duration::from_secs(*second));
        }
        assert_eq!(drain.retry_after(waiting, start + Duration::from_secs(at)).as_secs(), want);
    }

    #[test]
    fn nothing_measured_means_a_second() {
        check(&[], 1_000_000, 0, 1);
    }

    #[test]
    fn the_time_is_what_waits_over_what_leaves_rounded_up() {
        check(&[(0, 100), (1, 100)], 1_050, 2, 11);
    }

    #[test]
    fn the_time_stays_within_a_minute() {
        check(&[(0, 1)], 1_000_000, 1, 60);
        check(&[(0, 1_000_000)], 1, 1, 1);
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        check(&[(0, 1)], 1_000_000, 60, 1);
    }
}
