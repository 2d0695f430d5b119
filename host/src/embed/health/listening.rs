//! When upstreams that cannot say which model they have are listened to: their canary
//! tells that a model was replaced under its name.

use tokio::time::Instant;

use super::{Config, jittered};

/// Listens once in `health.every`, and at most once more where something was odd meanwhile.
pub(super) struct Listening {
    config: Config,
    due: Instant,
    /// Nobody has listened out of turn since the last turn.
    spare: bool,
}

impl Listening {
    /// The first turn is at once.
    pub(super) fn new(config: Config, now: Instant) -> Self {
        Self { config, due: now, spare: true }
    }

    /// When the next turn is.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether to listen now, because it is time, or because of a doubt.
    pub(super) fn is_time(&mut self, now: Instant, is_doubted: bool) -> bool {
        let is_due = self.due <= now;
        if is_due {
            self.due = now + jittered(self.config.every);
            self.spare = true;
        }
        (is_due && self.config.canaries) || (is_doubted && std::mem::take(&mut self.spare))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What becomes of looks, each so many seconds after the start, in doubt or not.
    #[track_caller]
    fn check(canaries: bool, looks: &[(u64, bool, bool)]) {
        let start = Instant::now();
        let config = Config { canaries, ..Config::default() };
        let mut listening = Listening::new(config, start);
        for (second, is_doubted, want) in looks {
            let got = listening.is_time(start + Duration::from_secs(*second), *is_doubted);
            assert_eq!(got, *want, "after {second} s");
        }
    }

    #[test]
    fn a_turn_comes_with_time_and_doubts_bring_one_more_between() {
        check(true, &[(0, false, true), (1, false, false), (40, false, true), (41, false, false)]);
        check(
            true,
            &[(0, false, true), (1, true, true), (2, true, false), (40, true, true), (41, true, true)],
        );
    }

    #[test]
    fn where_it_is_switched_off_only_doubts_count() {
        check(false, &[(0, false, false), (40, false, false), (41, true, true), (42, true, false)]);
        check(false, &[(0, true, true), (1, true, false), (40, true, true)]);
    }

    #[test]
    fn turns_are_a_quarter_more_or_less_apart() {
        let start = Instant::now();
        let mut listening = Listening::new(Config::default(), start);
        assert!(listening.is_time(start, false));
        let pause = listening.due() - start;
        assert!((Duration::from_secs(22)..Duration::from_secs(38)).contains(&pause), "{pause:?}");
    }
}
