//! How long to wait before something is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Twice as long after each of `n` times, within `max`.
pub(super) fn growing(first: Duration, max: Duration, n: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(n)).min(max)
}

/// Between three quarters and five quarters of `pause`, by chance: gateways that
/// were started together shall not ask together for ever.
pub(in crate::embed) fn jittered(pause: Duration) -> Duration {
    // The keys of every new one are random.
    let random = RandomState::new().hash_one(0_u8);
    spread(pause, random)
}

fn spread(pause: Duration, random: u64) -> Duration {
    let part = (random >> 32) as f64 / f64::from(u32::MAX);
    pause.mul_f64(0.75 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_spread_by_a_quarter_to_both_sides() {
        let pause = Duration::from_secs(4);
        assert_eq!(spread(pause, 0), Duration::from_secs(3));
        assert_eq!(spread(pause, u64::MAX), Duration::from_secs(5));
        assert_eq!(spread(Duration::ZERO, 7), Duration::ZERO);
    }

    #[test]
    fn pauses_grow_within_their_bound_however_many() {
        let seconds = Duration::from_secs;
        assert_eq!(growing(seconds(1), seconds(60), 0), seconds(1));
        assert_eq!(growing(seconds(1), seconds(60), u32::MAX), seconds(60));
    }
}
