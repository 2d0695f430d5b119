//! Whether an upstream is well: what calls and canaries say, and what follows from it.
//!
//! Plain transitions without a clock or a task; [`watch`] acts on them. An upstream
//! that cannot be reached is ejected after some calls in a row. A fault that may
//! be a text's doing ejects nobody: it makes the upstream suspect, and its canary
//! decides. What is ejected is probed, with growing pauses, until it answers.

mod listening;
mod pause;
pub(super) mod vitals;
pub(super) mod watch;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub(super) use self::pause::jittered;

/// The `[health]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often upstreams are asked whether their models are still the same.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// Whether upstreams that cannot say what they have embed a short text for that.
    pub canaries: bool,
    /// Calls in a row that do not reach an upstream, before it is ejected.
    pub max_failures: u32,
    /// How long after its ejection an upstream is probed; twice as long after each probe that fails.
    #[serde(with = "humantime_serde")]
    pub probe_pause: Duration,
    /// Between two probes, at most.
    #[serde(with = "humantime_serde")]
    pub max_probe_pause: Duration,
    /// Whether `serve` has the models of `[[model]]` tables loaded before the first request.
    pub warm_up: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30),
            canaries: true,
            max_failures: 3,
            probe_pause: Duration::from_secs(1),
            max_probe_pause: Duration::from_secs(60),
            warm_up: true,
        }
    }
}

/// How an upstream is, in the eyes of whoever hands out texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Healthy,
    /// Gets no texts that another upstream could take.
    Ejected {
        reason: String,
        n_probes: u32,
        /// A probe is under way.
        is_probed: bool,
    },
}

/// What is to be done about an upstream now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// A fault may have been a text's doing: embed the canary.
    Canary,
    /// Look whether it is back, after this pause.
    Probe(Duration),
}

/// One upstream's health.
#[derive(Debug)]
pub(super) struct Health {
    state: State,
    since: Instant,
    /// Calls in a row that did not reach it.
    n_missed: u32,
    is_suspect: bool,
    max_failures: u32,
    pause: Duration,
    max_pause: Duration,
}

impl Health {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        Self {
            state: State::Healthy,
            since: now,
            n_missed: 0,
            is_suspect: false,
            max_failures: config.max_failures.max(1),
            pause: config.probe_pause,
            max_pause: config.max_probe_pause.max(config.probe_pause),
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Since when the state is what it is.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn is_ejected(&self) -> bool {
        matches!(self.state, State::Ejected { .. })
    }

    /// Why it is ejected, if it is.
    pub(super) fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Ejected { reason, .. } => Some(reason),
            State::Healthy => None,
        }
    }

    /// It has answered a call, be it with an error.
    pub(super) fn reached(&mut self) {
        self.n_missed = 0;
    }

    /// A call could not reach it, or was not answered in time. Returns whether
    /// that ejects it.
    pub(super) fn missed(&mut self, now: Instant, reason: &str) -> bool {
        self.n_missed = self.n_missed.saturating_add(1);
        self.max_failures <= self.n_missed && self.eject(now, reason)
    }

    /// It failed a call, which may have been a text's doing. Returns whether that is news.
    pub(super) fn suspected(&mut self) -> bool {
        let is_news = !self.is_suspect && !self.is_ejected();
        self.is_suspect |= is_news;
        is_news
    }

    /// Its canary was embedded: whatever failed before was a text's doing.
    pub(super) fn cleared(&mut self) {
        self.is_suspect = false;
        self.n_missed = 0;
    }

    /// Its canary failed too.
    pub(super) fn convicted(&mut self, now: Instant, reason: &str) -> bool {
        self.is_suspect = false;
        self.eject(now, reason)
    }

    fn eject(&mut self, now: Instant, reason: &str) -> bool {
        if self.is_ejected() {
            return false;
        }
        self.state = State::Ejected { reason: reason.to_owned(), n_probes: 0, is_probed: false };
        self.since = now;
        self.is_suspect = false;
        true
    }

    pub(super) fn probe_begins(&mut self) {
        if let State::Ejected { is_probed, .. } = &mut self.state {
            *is_probed = true;
        }
    }

    /// The reason of the last probe is the one that is told.
    pub(super) fn probe_failed(&mut self, why: &str) {
        if let State::Ejected { reason, n_probes, is_probed } = &mut self.state {
            why.clone_into(reason);
            *n_probes = n_probes.saturating_add(1);
            *is_probed = false;
        }
    }

    pub(super) fn readmitted(&mut self, now: Instant) {
        self.state = State::Healthy;
        self.since = now;
        self.n_missed = 0;
        self.is_suspect = false;
    }

    pub(super) fn need(&self) -> Need {
        match &self.state {
            State::Ejected { n_probes, .. } => {
                Need::Probe(pause::growing(self.pause, self.max_pause, *n_probes))
            }
            State::Healthy if self.is_suspect => Need::Canary,
            State::Healthy => Need::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> (Health, Instant) {
        let now = Instant::now();
        (Health::new(&Config::default(), now), now)
    }

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn calls_in_a_row_that_miss_eject_once() {
        let (mut health, now) = health();
        assert!(!health.missed(now, "refused") && !health.missed(now, "refused"));
        assert!(health.missed(after(now, 5), "refused"));
        assert!(!health.missed(after(now, 6), "timed out"), "it was ejected already");
        assert_eq!(health.since(), after(now, 5));
        let want = State::Ejected { reason: "refused".into(), n_probes: 0, is_probed: false };
        assert_eq!(*health.state(), want);
    }

    #[test]
    fn an_answer_between_them_starts_the_row_anew() {
        let (mut health, now) = health();
        for _ in 0..10 {
            assert!(!health.missed(now, "refused") && !health.missed(now, "refused"));
            health.reached();
        }
        assert!(!health.is_ejected());
    }

    #[test]
    fn a_fault_asks_for_the_canary_and_ejects_nobody_by_itself() {
        let (mut health, now) = health();
        assert!(health.suspected());
        assert!(!health.suspected(), "one canary answers for all faults until then");
        assert_eq!(health.need(), Need::Canary);
        health.cleared();
        assert_eq!(health.need(), Need::Nothing);
        assert!(health.suspected());
        assert!(health.convicted(after(now, 1), "EOF"));
        assert_eq!(health.need(), Need::Probe(Duration::from_secs(1)));
        assert!(!health.suspected(), "probes are at it");
    }

    #[test]
    fn probes_go_on_with_growing_pauses_until_one_passes() {
        let (mut health, now) = health();
        health.convicted(now, "EOF");
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let Need::Probe(pause) = health.need() else { panic!("it is ejected") };
            pauses.push(pause.as_secs());
            health.probe_begins();
            assert!(matches!(health.state(), State::Ejected { is_probed: true, .. }));
            health.probe_failed("still EOF");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(matches!(health.state(), State::Ejected { reason, .. } if reason == "still EOF"));
        health.readmitted(after(now, 100));
        assert_eq!((health.state(), health.since()), (&State::Healthy, after(now, 100)));
        assert_eq!(health.need(), Need::Nothing);
    }
}
