//! How many lines of the log requests that fail may fill.
//!
//! Anybody can send requests that are refused, or leave before an answer, as fast
//! as the network carries them. All are counted in the metrics; the log has the
//! first ones, and of a flood a sample that says how many it stands for.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::keys::Quota;

/// Lines a minute of one kind of failure: enough for a client that is set up
/// wrongly, and of a flood under 300 MB a day.
const LINES_PER_MINUTE: u32 = 600;

/// One allowance for each kind, so that a flood of one does not hide another.
#[derive(Debug)]
pub(super) struct Failures {
    refused: Kind,
    failed: Kind,
    given_up: Kind,
}

#[derive(Debug)]
struct Kind {
    quota: Quota,
    n_left_out: AtomicU64,
}

impl Default for Failures {
    fn default() -> Self {
        let epoch = Instant::now();
        let kind = || Kind { quota: Quota::new(LINES_PER_MINUTE, epoch), n_left_out: AtomicU64::new(0) };
        Self { refused: kind(), failed: kind(), given_up: kind() }
    }
}

impl Failures {
    /// Asks for a line about a request that got `status`, or was given up without one.
    /// Returns how many of its kind got none since the last line; `None` is no line.
    pub(super) fn line(&self, status: Option<u16>, now: Instant) -> Option<u64> {
        let kind = match status {
            None => &self.given_up,
            Some(500..) => &self.failed,
            Some(_) => &self.refused,
        };
        if kind.quota.take(1, now).is_err() {
            kind.n_left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(kind.n_left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_gets_a_minutes_lines_and_then_a_sample_that_says_how_many_it_stands_for() {
        let failures = Failures::default();
        let begun = Instant::now();
        for _ in 0..LINES_PER_MINUTE {
            assert_eq!(failures.line(Some(400), begun), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(failures.line(Some(404), begun), None);
        }
        let later = begun + Duration::from_millis(100);
        assert_eq!(failures.line(Some(400), later), Some(1000));
        assert_eq!(failures.line(Some(400), later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_kind_leaves_the_others_their_lines() {
        let failures = Failures::default();
        let now = Instant::now();
        while failures.line(Some(400), now).is_some() {}
        assert_eq!(failures.line(Some(502), now), Some(0));
        assert_eq!(failures.line(None, now), Some(0));
    }
}
