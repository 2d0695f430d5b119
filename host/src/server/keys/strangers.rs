//! Requests without a key that is known here: counted all, logged now and then.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::Counter;
use tokio::time::Instant;

/// Who guesses writes no more of our log than a line in this time.
const QUIET: Duration = Duration::from_secs(10);

/// Why nobody knows who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    NoKey,
    WrongKey,
}

pub(super) struct Strangers {
    epoch: Instant,
    /// Milliseconds after `epoch` from which on a line may be written again.
    quiet_until: AtomicU64,
    unlogged: AtomicU64,
    no_key: Counter,
    wrong_key: Counter,
}

impl Strangers {
    pub(super) fn new(epoch: Instant) -> Self {
        let counter = |reason| metrics::counter!("embergate_unauthorized_total", "reason" => reason);
        Self {
            epoch,
            quiet_until: AtomicU64::new(0),
            unlogged: AtomicU64::new(0),
            no_key: counter("missing"),
            wrong_key: counter("wrong"),
        }
    }

    /// Counts one, and logs all since the last line, if it is time.
    pub(super) fn note(&self, stranger: Stranger, peer: SocketAddr, now: Instant) {
        match stranger {
            Stranger::NoKey => self.no_key.increment(1),
            Stranger::WrongKey => self.wrong_key.increment(1),
        }
        if let Some(n_refused) = self.to_log(now) {
            let last = match stranger {
                Stranger::NoKey => "no key",
                Stranger::WrongKey => "an unknown key",
            };
            tracing::warn!(n_refused, last, peer = %peer.ip(), "requests without a valid key were refused");
        }
    }

    /// How many were refused since the last line; nothing where that was just now.
    fn to_log(&self, now: Instant) -> Option<u64> {
        self.unlogged.fetch_add(1, Ordering::Relaxed);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(now.saturating_duration_since(self.epoch));
        let next = |quiet_until| (quiet_until <= now).then(|| now.saturating_add(millis(QUIET)));
        self.quiet_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(self.unlogged.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_at_once_and_the_next_with_their_number() {
        let begun = Instant::now();
        let strangers = Strangers::new(begun);
        let at = |seconds| strangers.to_log(begun + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(1));
        for _ in 0..1000 {
            assert_eq!(at(9), None);
        }
        assert_eq!(at(10), Some(1001));
        assert_eq!(at(19), None);
        assert_eq!(at(3600), Some(2));
    }
}
