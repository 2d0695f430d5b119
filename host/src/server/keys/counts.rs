//! What was done with a key since the start: for the admin API, and for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::Counter;

/// Why a request with a known key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Right,
    Requests,
    Texts,
}

/// Sums, each both to be read and in the metrics.
pub(super) struct Counts {
    requests: Sum,
    texts: Sum,
    lacks_right: Sum,
    over_requests: Sum,
    over_texts: Sum,
    /// In seconds since 1970; 0 is never.
    last_used: AtomicU64,
}

struct Sum(AtomicU64, Counter);

impl Counts {
    /// `name` is the key's.
    pub(super) fn new(name: &str) -> Self {
        let key = || name.to_owned();
        let refused = |reason: &'static str| {
            Sum::new(metrics::counter!("embergate_key_refused_total", "key" => key(), "reason" => reason))
        };
        Self {
            requests: Sum::new(metrics::counter!("embergate_key_requests_total", "key" => key())),
            texts: Sum::new(metrics::counter!("embergate_key_texts_total", "key" => key())),
            lacks_right: refused("right"),
            over_requests: refused("requests"),
            over_texts: refused("texts"),
            last_used: AtomicU64::new(0),
        }
    }

    pub(super) fn request(&self) {
        self.used();
        self.requests.add(1);
    }

    pub(super) fn texts(&self, n_texts: u64) {
        self.texts.add(n_texts);
    }

    pub(super) fn refused(&self, reason: Refused) {
        self.used();
        match reason {
            Refused::Right => self.lacks_right.add(1),
            Refused::Requests => self.over_requests.add(1),
            Refused::Texts => self.over_texts.add(1),
        }
    }

    pub(super) fn n_requests(&self) -> u64 {
        self.requests.read()
    }

    pub(super) fn n_texts(&self) -> u64 {
        self.texts.read()
    }

    pub(super) fn n_refused(&self) -> u64 {
        self.lacks_right.read() + self.over_requests.read() + self.over_texts.read()
    }

    /// To the second; nothing before the first use.
    pub(super) fn last_used(&self) -> Option<SystemTime> {
        match self.last_used.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(UNIX_EPOCH + Duration::from_secs(seconds)),
        }
    }

    fn used(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.last_used.store(now, Ordering::Relaxed);
    }
}

impl Sum {
    fn new(counter: Counter) -> Self {
        Self(AtomicU64::new(0), counter)
    }

    fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
        self.1.increment(n);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
