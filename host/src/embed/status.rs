//! How each upstream is, as the admin API tells it.

use std::time::SystemTime;

use super::catalog::Catalog;
use super::health::State;
use super::health::vitals::LastError;
use super::send::Sender;
use super::served::Engine;
use super::standing::{Stand, Standing};

/// One upstream at one moment.
#[derive(Clone, Debug)]
pub struct UpstreamStatus {
    pub name: String,
    /// Whose protocol it speaks; `embergate` is the one in the binary.
    pub kind: &'static str,
    /// Without user, password and query; nothing for the embedded one.
    pub url: Option<String>,
    pub state: UpstreamState,
    pub since: SystemTime,
    /// Why it is not healthy.
    pub reason: Option<String>,
    /// Calls at once, at most.
    pub slots: usize,
    pub in_flight: usize,
    pub calls: u64,
    pub errors: u64,
    pub last_error: Option<LastError>,
    /// By name.
    pub models: Vec<ModelStatus>,
}

/// What follows from an upstream's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamState {
    Healthy,
    /// Gets no texts that another one could take, until a probe finds it well.
    Ejected,
    /// Ejected, with a probe under way.
    Probing,
}

impl UpstreamState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Probing => "probing",
        }
    }
}

/// One model at one upstream.
#[derive(Clone, Debug)]
pub struct ModelStatus {
    /// What clients ask for.
    pub name: String,
    /// What the upstream said that it is: for Ollama its engine and the digest.
    pub identity: Option<String>,
    pub standing: Standing,
    /// Nothing before it was asked.
    pub since: Option<SystemTime>,
}

pub(super) fn all(engine: &Engine, catalog: &Catalog) -> Vec<UpstreamStatus> {
    let senders = &engine.batcher.backend().upstreams;
    senders.iter().enumerate().map(|(index, sender)| one(index, sender, catalog)).collect()
}

fn one(index: usize, sender: &Sender, catalog: &Catalog) -> UpstreamStatus {
    let models = catalog.all();
    let models = models.iter().filter_map(|(name, served)| {
        let Stand { identity, standing, since } = served.agreement.stand(index)?;
        Some(ModelStatus { name: name.to_string(), identity, standing, since })
    });
    let (state, reason, since) = {
        let health = sender.vitals.health();
        let (state, reason) = match health.state() {
            State::Healthy => (UpstreamState::Healthy, None),
            State::Ejected { reason, is_probed: false, .. } => (UpstreamState::Ejected, Some(reason.clone())),
            State::Ejected { reason, is_probed: true, .. } => (UpstreamState::Probing, Some(reason.clone())),
        };
        (state, reason, health.since().elapsed())
    };
    UpstreamStatus {
        name: sender.name.clone(),
        kind: sender.place.provider,
        url: sender.place.url.clone(),
        state,
        since: SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH),
        reason,
        slots: sender.slots,
        in_flight: sender.vitals.n_in_flight(),
        calls: sender.vitals.n_calls(),
        errors: sender.vitals.n_errors(),
        last_error: sender.vitals.last_error(),
        models: models.collect(),
    }
}
