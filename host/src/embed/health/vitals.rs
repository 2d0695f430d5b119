//! What is known of one upstream's calls: the counts, the last error, and its health.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Config, Health};
use crate::embed::canary::Canary;
use crate::upstream::UpstreamError;

/// Kept for each upstream, and written with every call.
pub(in crate::embed) struct Vitals {
    health: Mutex<Health>,
    /// Its health may need something done.
    pub(super) changed: Notify,
    calls: AtomicU64,
    errors: AtomicU64,
    in_flight: AtomicUsize,
    last_error: Mutex<Option<LastError>>,
    /// That of the model of the last call that failed, or was the first.
    canary: Mutex<Option<Canary>>,
}

/// What went wrong last with an upstream.
#[derive(Clone, Debug)]
pub struct LastError {
    pub message: String,
    pub at: SystemTime,
}

/// What a failed call says of the upstream's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// It was not there.
    Missed,
    /// It failed, which a text may have caused.
    Suspect,
    /// It works: what it said is about the call.
    Fine,
}

impl Vitals {
    pub(in crate::embed) fn new(config: &Config) -> Self {
        Self {
            health: Mutex::new(Health::new(config, Instant::now())),
            changed: Notify::new(),
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            last_error: Mutex::default(),
            canary: Mutex::default(),
        }
    }

    pub(in crate::embed) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call for as long as what it returns lives.
    pub(in crate::embed) fn call_begins(&self) -> UnderWay<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    pub(in crate::embed) fn succeeded(&self) {
        let mut health = self.health();
        health.reached();
        if health.is_ejected() {
            // It was asked because nobody else was there: a probe may find it well.
            self.changed.notify_one();
        }
    }

    /// A call for the model of `canary` failed.
    pub(in crate::embed) fn failed(&self, error: &UpstreamError, canary: impl FnOnce() -> Canary) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.ails(error, canary);
    }

    /// What a call that failed says of its health; one of ours, which is not counted, as well.
    pub(in crate::embed) fn ails(&self, error: &UpstreamError, canary: impl FnOnce() -> Canary) {
        let message = told(error);
        let is_news = {
            let mut health = self.health();
            match says(error) {
                Says::Missed => health.missed(Instant::now(), &message),
                Says::Suspect => {
                    health.reached();
                    health.suspected()
                }
                Says::Fine => {
                    health.reached();
                    false
                }
            }
        };
        self.remember(message);
        if is_news {
            *self.canary.lock().unwrap_or_else(PoisonError::into_inner) = Some(canary());
            self.changed.notify_one();
        }
    }

    /// Keeps `message` as what went wrong last.
    pub(super) fn remember(&self, message: String) {
        let last = LastError { message, at: SystemTime::now() };
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    pub(super) fn canary(&self) -> Option<Canary> {
        self.canary.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::embed) fn last_error(&self) -> Option<LastError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::embed) fn n_calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(in crate::embed) fn n_errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(in crate::embed) fn n_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// A call that has not ended.
pub(in crate::embed) struct UnderWay<'v>(&'v Vitals);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An error with its causes, in one line.
pub(in crate::embed) fn told(error: &UpstreamError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn says(error: &UpstreamError) -> Says {
    match error {
        UpstreamError::Connect { .. } | UpstreamError::Timeout { .. } => Says::Missed,
        UpstreamError::Fault { .. }
        | UpstreamError::Embedding { .. }
        | UpstreamError::Count { .. }
        | UpstreamError::Dimensions { .. }
        | UpstreamError::Nonsense { .. } => Says::Suspect,
        UpstreamError::NoModel { .. }
        | UpstreamError::NotEmbedding { .. }
        | UpstreamError::Busy { .. }
        | UpstreamError::Behind { .. }
        | UpstreamError::Denied { .. }
        | UpstreamError::NoGateway { .. }
        | UpstreamError::OtherSpace { .. }
        | UpstreamError::Refused { .. } => Says::Fine,
    }
}

/// Whether a canary that ends so is a fault of the upstream.
pub(super) fn convicts(error: &UpstreamError) -> bool {
    says(error) != Says::Fine
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Need;
    use super::*;

    fn canary() -> Canary {
        Canary { model: "m".into(), loading: Default::default() }
    }

    #[track_caller]
    fn check(error: UpstreamError, want: Need) {
        let vitals = Vitals::new(&Config { max_failures: 1, ..Config::default() });
        vitals.failed(&error, canary);
        assert_eq!(vitals.health().need(), want, "{error}");
        assert_eq!((vitals.n_errors(), vitals.last_error().unwrap().message), (1, told(&error)));
    }

    #[test]
    fn what_is_not_there_is_probed_what_fails_is_tried_and_what_refuses_is_well() {
        let (upstream, message) = ("u".to_owned(), "x".to_owned());
        let timeout = UpstreamError::Timeout { upstream: upstream.clone(), within: Duration::from_secs(1) };
        check(timeout, Need::Probe(Duration::from_secs(1)));
        check(UpstreamError::Fault { upstream: upstream.clone(), message: message.clone() }, Need::Canary);
        check(UpstreamError::Refused { upstream: upstream.clone(), message }, Need::Nothing);
        check(UpstreamError::Busy { upstream }, Need::Nothing);
    }

    #[test]
    fn calls_are_counted_while_they_are_under_way() {
        let vitals = Vitals::new(&Config::default());
        let (one, other) = (vitals.call_begins(), vitals.call_begins());
        assert_eq!((vitals.n_calls(), vitals.n_in_flight()), (2, 2));
        drop((one, other));
        assert_eq!((vitals.n_calls(), vitals.n_in_flight()), (2, 0));
    }
}
