//! Takes a plugin out of service that fails again and again, and tries it again later.
//!
//! Each failure costs the time of its call and a new instance, and its documents would meet
//! the next one. So once most calls failed in a while, calls fail without being made, until one
//! that is let through as a trial is answered.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Gauge;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::per_core::PerCore;
use super::{LOG, PluginError};

/// The `[plugins.breaker]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Calls that trap or are stopped within `window`, half of all calls meanwhile or more,
    /// after which a plugin is out of service; 0 keeps it in service whatever it does.
    pub max_failures: u32,
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// How long it is out of service before it is tried with one call.
    #[serde(with = "humantime_serde")]
    pub pause: Duration,
    /// The pause doubles with each trial that fails, up to this.
    #[serde(with = "humantime_serde")]
    pub max_pause: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            max_failures: 5,
            window: Duration::from_secs(30),
            pause: Duration::from_secs(10),
            max_pause: Duration::from_secs(5 * 60),
        }
    }
}

/// Why a plugin is out of service, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// How long it has been.
    pub since: Duration,
    pub because: String,
    /// When it may be tried again.
    pub retry_after: Duration,
}

/// Decides for one plugin whether its calls are made.
pub(super) struct Breaker {
    plugin: String,
    config: BreakerConfig,
    /// What `state` says, for those who only want to know that all is well.
    closed: AtomicBool,
    n_answered: PerCore<AtomicU64>,
    state: Mutex<State>,
    /// Whether the gauge is this one's: plugins of one name have one gauge.
    is_shown: AtomicBool,
    is_open: Gauge,
}

enum State {
    /// In service. The last failures, of which there are at most as many as are too many.
    Closed(VecDeque<Failure>),
    Open(Open),
    /// One call is let through.
    Trying(Open),
}

struct Failure {
    at: Instant,
    /// Calls that had been answered by then.
    n_answered: u64,
}

#[derive(Clone)]
struct Open {
    since: Instant,
    until: Instant,
    pause: Duration,
    because: String,
}

impl Open {
    fn outage(&self, now: Instant) -> Outage {
        // For people, and for headers: nobody needs more than milliseconds.
        let rounded = |time: Duration| Duration::from_millis(time.as_millis() as u64);
        Outage {
            since: rounded(now.saturating_duration_since(self.since)),
            because: self.because.clone(),
            retry_after: rounded(self.until.saturating_duration_since(now)),
        }
    }
}

/// A call that is let through. One that is dropped proves nothing.
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    is_trial: bool,
}

impl Breaker {
    /// Metrics go to the recorder that is installed by now, once it is shown.
    pub(super) fn new(plugin: &str, config: &BreakerConfig) -> Self {
        let is_open = metrics::gauge!("embergate_plugin_breaker_open", "plugin" => plugin.to_owned());
        Self {
            plugin: plugin.to_owned(),
            config: config.clone(),
            closed: AtomicBool::new(true),
            n_answered: PerCore::default(),
            state: Mutex::new(State::Closed(VecDeque::new())),
            is_shown: AtomicBool::new(false),
            is_open,
        }
    }

    /// Has the plugin's metric say from now on what becomes of this one, or not any more.
    pub(super) fn show(&self, is_shown: bool) {
        let state = self.lock();
        self.is_shown.store(is_shown, Ordering::Relaxed);
        let is_open = is_shown && !matches!(&*state, State::Closed(_));
        self.is_open.set(f64::from(is_open));
    }

    /// Only while the state is locked.
    fn tell(&self, is_open: bool) {
        if self.is_shown.load(Ordering::Relaxed) {
            self.is_open.set(f64::from(is_open));
        }
    }

    /// Lets a call through, or says why not.
    pub(super) fn admit(&self) -> Result<Pass<'_>, Outage> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(Pass { breaker: self, is_trial: false });
        }
        let now = Instant::now();
        let mut state = self.lock();
        let open = match &*state {
            State::Closed(_) => return Ok(Pass { breaker: self, is_trial: false }),
            State::Open(open) if open.until <= now => open.clone(),
            State::Open(open) | State::Trying(open) => return Err(open.outage(now)),
        };
        *state = State::Trying(open);
        Ok(Pass { breaker: self, is_trial: true })
    }

    /// Nothing where the plugin is in service.
    pub(super) fn outage(&self) -> Option<Outage> {
        match &*self.lock() {
            State::Closed(_) => None,
            State::Open(open) | State::Trying(open) => Some(open.outage(Instant::now())),
        }
    }

    fn answered(&self, is_trial: bool) {
        self.n_answered.mine().fetch_add(1, Ordering::Relaxed);
        if !is_trial {
            return;
        }
        let mut state = self.lock();
        let State::Trying(open) = &*state else { return };
        let outage = open.outage(Instant::now());
        *state = State::Closed(VecDeque::new());
        self.closed.store(true, Ordering::Relaxed);
        self.tell(false);
        drop(state);
        tracing::info!(target: LOG, plugin = self.plugin, after = ?outage.since, "plugin is back in service");
    }

    fn failed(&self, is_trial: bool, why: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        let open = match &mut *state {
            State::Closed(failures) => {
                let n_answered = self.n_answered.all().map(|n| n.load(Ordering::Relaxed)).sum();
                failures.push_back(Failure { at: now, n_answered });
                if !self.is_too_much(failures) {
                    return;
                }
                let Self { config: BreakerConfig { max_failures, window, pause, .. }, .. } = self;
                let because = format!("{max_failures} calls failed within {window:?}, the last one: {why}");
                Open { since: now, until: now + *pause, pause: *pause, because }
            }
            State::Trying(open) if is_trial => {
                let pause = open.pause.saturating_mul(2).min(self.config.max_pause).max(self.config.pause);
                let because = format!("the call that it was tried with failed: {why}");
                Open { since: open.since, until: now + pause, pause, because }
            }
            // A call that began before: it was as good as the others.
            State::Open(_) | State::Trying(_) => return,
        };
        let (pause, because) = (open.pause, open.because.clone());
        *state = State::Open(open);
        self.closed.store(false, Ordering::Relaxed);
        self.tell(true);
        drop(state);
        tracing::error!(target: LOG, plugin = self.plugin, ?pause, because, "plugin is out of service");
    }

    /// Whether the failures that were seen, the last one included, end the service.
    fn is_too_much(&self, failures: &mut VecDeque<Failure>) -> bool {
        let max_failures = self.config.max_failures as usize;
        while max_failures < failures.len() {
            failures.pop_front();
        }
        let (Some(first), Some(last)) = (failures.front(), failures.back()) else { return false };
        let n_answered = last.n_answered.saturating_sub(first.n_answered);
        failures.len() == max_failures
            && last.at.duration_since(first.at) <= self.config.window
            && n_answered <= max_failures as u64
    }

    fn given_up(&self) {
        let mut state = self.lock();
        if let State::Trying(open) = &*state {
            *state = State::Open(open.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Tells how the call ended: with an answer, or with an error.
    pub(super) fn ended(mut self, error: Option<&PluginError>) {
        let is_trial = self.is_trial;
        match error.map(blame) {
            None | Some(Blame::Nobody) => self.breaker.answered(is_trial),
            Some(Blame::Plugin(why)) => self.breaker.failed(is_trial, &why),
            // The call was not made: if it was the trial, there is one to come.
            Some(Blame::Gateway) => return,
        }
        self.is_trial = false;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.given_up();
        }
    }
}

enum Blame {
    /// It trapped or was stopped; in words without anything of a text.
    Plugin(String),
    /// It gave an answer, though not the one that was hoped for.
    Nobody,
    /// It was not called.
    Gateway,
}

fn blame(error: &PluginError) -> Blame {
    match error {
        // What it wrote to its output may be of a document, and others are told of this.
        PluginError::Trapped { at, reason, .. } => {
            Blame::Plugin(format!("it trapped in `{}`: {reason}", at.function))
        }
        PluginError::Stopped { at, limit, .. } => {
            Blame::Plugin(format!("it was stopped in `{}`: {limit}", at.function))
        }
        PluginError::Refused { .. } | PluginError::Contract { .. } => Blame::Nobody,
        PluginError::Unknown { .. }
        | PluginError::Role { .. }
        | PluginError::Load { .. }
        | PluginError::Busy { .. }
        | PluginError::OutOfService { .. } => Blame::Gateway,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{At, Inside, Subject};

    fn breaker() -> Breaker {
        let seconds = Duration::from_secs;
        let config = BreakerConfig {
            max_failures: 3,
            window: seconds(30),
            pause: seconds(10),
            max_pause: seconds(25),
        };
        Breaker::new("legal", &config)
    }

    fn at() -> Box<At> {
        let documents = Subject::One("a secret".into());
        Box::new(At { plugin: "legal".into(), version: "1".into(), function: "process", documents })
    }

    fn trapped() -> PluginError {
        let inside = Inside::new(Vec::new(), "a secret".into()).map(Box::new);
        PluginError::Trapped { at: at(), reason: "unreachable".into(), inside }
    }

    /// Makes a call for each letter: `t` traps, `a` is answered, `r` refuses, `b` finds no
    /// instance, `d` is dropped. Returns whether each was let through.
    fn calls(breaker: &Breaker, kinds: &str) -> Vec<bool> {
        let call = |kind| match breaker.admit() {
            Err(_) => false,
            Ok(pass) => {
                match kind {
                    't' => pass.ended(Some(&trapped())),
                    'r' => pass.ended(Some(&PluginError::Refused { at: at(), message: "no".into() })),
                    'b' => {
                        let (plugin, within) = ("legal".into(), Duration::ZERO);
                        pass.ended(Some(&PluginError::Busy { plugin, within }));
                    }
                    'd' => drop(pass),
                    _ => pass.ended(None),
                }
                true
            }
        };
        kinds.chars().map(call).collect()
    }

    #[track_caller]
    fn check_open(kinds: &str, want: bool) {
        let breaker = breaker();
        assert_eq!(calls(&breaker, kinds), vec![true; kinds.len()]);
        assert_eq!(breaker.outage().is_some(), want);
        assert_eq!(breaker.admit().is_err(), want);
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_traps_end_the_service() {
        check_open("tt", false);
        check_open("ttt", true);
        check_open("taatat", true);
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_mostly_answers_stays() {
        check_open("taataat", false);
        check_open("trrtrrt", false);
        check_open("ttaaaat", false);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_not_made_prove_nothing() {
        check_open("tbbbbtddddt", true);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_far_apart_do_not_add_up() {
        let breaker = breaker();
        for _ in 0..9 {
            assert_eq!(calls(&breaker, "t"), [true]);
            tokio::time::advance(Duration::from_secs(16)).await;
        }
        assert_eq!(calls(&breaker, "tt"), [true, true]);
        assert_eq!(calls(&breaker, "a"), [false]);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_failures_keep_it_in_service_whatever_it_does() {
        let breaker = Breaker::new("legal", &BreakerConfig { max_failures: 0, ..BreakerConfig::default() });
        assert_eq!(calls(&breaker, &"t".repeat(100)), [true; 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_call_is_let_through_and_its_answer_ends_the_outage() {
        let breaker = breaker();
        calls(&breaker, "ttt");
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(calls(&breaker, "a"), [false]);
        tokio::time::advance(Duration::from_millis(1)).await;
        let trial = breaker.admit().unwrap_or_else(|outage| panic!("{outage:?}"));
        assert_eq!(calls(&breaker, "aa"), [false, false]);
        trial.ended(None);
        assert_eq!(calls(&breaker, "ttt"), [true, true, true]);
        assert_eq!(calls(&breaker, "a"), [false]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_trial_that_fails_doubles_the_pause_up_to_a_bound() {
        let breaker = breaker();
        calls(&breaker, "ttt");
        for pause in [10, 20, 25, 25] {
            let outage = breaker.outage().unwrap();
            assert_eq!(outage.retry_after, Duration::from_secs(pause));
            tokio::time::advance(outage.retry_after).await;
            assert_eq!(calls(&breaker, "t"), [true]);
        }
        assert_eq!(breaker.outage().unwrap().since, Duration::from_secs(80));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_proves_nothing_leaves_it_to_the_next_call() {
        let breaker = breaker();
        calls(&breaker, "ttt");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(calls(&breaker, "dbda"), [true; 4]);
        assert!(breaker.outage().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_began_before_changes_nothing_when_it_ends() {
        let breaker = breaker();
        let (slow, slower) = (breaker.admit(), breaker.admit());
        calls(&breaker, "ttt");
        let before = breaker.outage();
        slow.unwrap_or_else(|outage| panic!("{outage:?}")).ended(None);
        slower.unwrap_or_else(|outage| panic!("{outage:?}")).ended(Some(&trapped()));
        assert_eq!(breaker.outage(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reason_is_told_without_what_the_plugin_wrote() {
        let breaker = breaker();
        calls(&breaker, "ttt");
        let because = breaker.outage().unwrap().because;
        assert_eq!(because, "3 calls failed within 30s, the last one: it trapped in `process`: unreachable");
    }
}
