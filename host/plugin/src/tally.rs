//! What became of a plugin's calls: counted for metrics, kept for the admin API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use metrics::{Counter, Histogram};

use super::PluginError;
use super::error::{Class, in_full};
use super::per_core::PerCore;

/// Counts of one plugin, for as long as its name is in use.
pub(super) struct Tally {
    ended: PerCore<Ended>,
    /// By class, in the order of `Class::ALL`.
    failures: [AtomicU64; Class::ALL.len()],
    last_error: Mutex<Option<LastError>>,
    meters: Meters,
}

/// Calls that ended, and how long they took.
#[derive(Default)]
struct Ended {
    n_calls: AtomicU64,
    nanoseconds: AtomicU64,
}

struct Meters {
    calls: Counter,
    seconds: Histogram,
    failures: [Counter; Class::ALL.len()],
}

/// What became of a plugin's calls since the gateway started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    /// Calls that ended, with an answer or without.
    pub n_calls: u64,
    /// The time that they took, waiting for an instance included.
    pub seconds: f64,
    /// By the label of their class; several documents of one call may break the contract.
    pub failures: Vec<(&'static str, u64)>,
    pub last_error: Option<LastError>,
}

/// The last call that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct LastError {
    /// All that is known, the guest's stack and output included.
    pub message: String,
    pub at: SystemTime,
}

impl Tally {
    pub(super) fn new(plugin: &str) -> Self {
        let name = || plugin.to_owned();
        let failures = Class::ALL.map(|class| {
            metrics::counter!("embergate_plugin_failures_total", "plugin" => name(), "class" => class.as_str())
        });
        let meters = Meters {
            calls: metrics::counter!("embergate_plugin_calls_total", "plugin" => name()),
            seconds: metrics::histogram!("embergate_plugin_call_seconds", "plugin" => name()),
            failures,
        };
        Self { ended: PerCore::default(), failures: Default::default(), last_error: Mutex::default(), meters }
    }

    /// Counts `call`, unless it is cancelled.
    pub(super) async fn counted<T>(
        &self,
        call: impl Future<Output = Result<T, PluginError>>,
    ) -> Result<T, PluginError> {
        let begun = Instant::now();
        let result = call.await;
        let took = begun.elapsed();
        let ended = self.ended.mine();
        ended.n_calls.fetch_add(1, Ordering::Relaxed);
        ended.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.meters.calls.increment(1);
        self.meters.seconds.record(took);
        if let Err(error) = &result {
            self.failed(error);
        }
        result
    }

    /// Counts a failure of a call, or of one document of a call that has answered for others.
    pub(super) fn failed(&self, error: &PluginError) {
        let Some(class) = error.class() else { return };
        self.failures[class as usize].fetch_add(1, Ordering::Relaxed);
        self.meters.failures[class as usize].increment(1);
        let last = LastError { message: in_full(error), at: SystemTime::now() };
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    pub(super) fn calls(&self) -> Calls {
        let failures =
            Class::ALL.map(|class| (class.as_str(), self.failures[class as usize].load(Ordering::Relaxed)));
        let sum = |count: fn(&Ended) -> &AtomicU64| -> u64 {
            self.ended.all().map(|ended| count(ended).load(Ordering::Relaxed)).sum()
        };
        Calls {
            n_calls: sum(|ended| &ended.n_calls),
            seconds: sum(|ended| &ended.nanoseconds) as f64 / 1e9,
            failures: failures.into(),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn calls_are_counted_by_what_became_of_them() {
        let tally = Tally::new("legal");
        let busy = || PluginError::Busy { plugin: "legal".into(), within: Duration::from_secs(1) };
        tally.counted(async { Ok(()) }).await.unwrap();
        tally.counted(async { Err::<(), _>(busy()) }).await.unwrap_err();
        let calls = tally.calls();
        let busy = calls.failures.iter().find(|(class, _)| *class == "busy");
        assert_eq!((calls.n_calls, busy), (2, Some(&("busy", 1))));
        assert!(calls.last_error.unwrap().message.starts_with("plugin `legal` has no instance free"));
    }

    #[test]
    fn a_class_is_counted_in_its_own_place() {
        for (place, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
        }
    }
}
