//! Acts on the health of upstreams: canaries for the suspect, probes for the
//! ejected, and looks at whether models are still the same.
//!
//! Each upstream has a task of its own, which sleeps for as long as all is well.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listening::Listening;
use super::vitals::{convicts, told};
use super::{Config, Need, jittered};
use crate::embed::catalog::Catalog;
use crate::embed::discovery::Renewer;
use crate::embed::send::Sender;
use crate::embed::served::{Engine, Served};
use crate::model::ModelName;
use crate::upstream::UpstreamError;

/// Between two canaries or two probes of one upstream, and between two looks at
/// all models, at least: whatever asks for them may ask often.
const REST: Duration = Duration::from_secs(1);
/// Models looked at together.
const AT_ONCE: usize = 8;

/// The watch over all upstreams: idle until it is started. Dropping it ends its tasks.
pub(in crate::embed) struct Watch {
    shared: Arc<Shared>,
    guards: AtomicBool,
    looks: AtomicBool,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Shared {
    config: Config,
    engine: Arc<Engine>,
    catalog: Arc<Catalog>,
    renewer: Renewer,
    /// Models of the configuration, which are loaded before anybody asks.
    configured: Vec<ModelName>,
    /// Upstreams that the batcher does without.
    ejected: Mutex<BTreeSet<usize>>,
}

impl Watch {
    pub(in crate::embed) fn new(
        config: &Config,
        engine: Arc<Engine>,
        catalog: Arc<Catalog>,
        renewer: Renewer,
    ) -> Self {
        let configured = catalog.all().keys().cloned().collect();
        let (config, ejected) = (config.clone(), Mutex::default());
        Self {
            shared: Arc::new(Shared { config, engine, catalog, renewer, configured, ejected }),
            guards: AtomicBool::new(false),
            looks: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Acts on the health of upstreams from now on.
    pub(in crate::embed) fn guard(&self) {
        if self.guards.load(Ordering::Relaxed) || self.guards.swap(true, Ordering::Relaxed) {
            return;
        }
        for index in 0..self.shared.senders().len() {
            let shared = Arc::clone(&self.shared);
            self.spawn(async move { shared.guard(index).await });
        }
    }

    /// The same, and looks at models from time to time.
    pub(in crate::embed) fn start(&self) {
        self.guard();
        if !self.looks.swap(true, Ordering::Relaxed) {
            let shared = Arc::clone(&self.shared);
            self.spawn(async move { shared.look_again_and_again().await });
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Ends all tasks, and waits until they have ended.
    pub(in crate::embed) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn senders(&self) -> &[Sender] {
        &self.engine.batcher.backend().upstreams
    }

    /// Does what one upstream's health needs, again and again.
    async fn guard(&self, index: usize) {
        let sender = &self.senders()[index];
        let vitals = &sender.vitals;
        loop {
            self.follow(index);
            let need = vitals.health().need();
            match need {
                Need::Nothing => vitals.changed.notified().await,
                Need::Canary => {
                    self.try_canary(index, sender).await;
                    // Otherwise the pause before the first probe is long enough.
                    if !vitals.health().is_ejected() {
                        tokio::time::sleep(REST).await;
                    }
                }
                Need::Probe(pause) => {
                    let until = Instant::now() + jittered(pause);
                    tokio::time::sleep(REST.min(pause)).await;
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        // It has answered somebody who had no other choice.
                        () = vitals.changed.notified() => {}
                    }
                    self.probe(index, sender).await;
                }
            }
        }
    }

    /// Has the batcher do without an upstream that is ejected, unless some model
    /// would be left with none: there is nothing to lose by asking it.
    fn follow(&self, index: usize) {
        let sender = &self.senders()[index];
        let reason = sender.vitals.health().reason().map(str::to_owned);
        let mut ejected = self.ejected.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) if !ejected.contains(&index) && self.can_do_without(index, &ejected) => {
                ejected.insert(index);
                // Clients may see it, and the reason has addresses in it.
                let message = "it is ejected until a probe finds it well".to_owned();
                let error = UpstreamError::Fault { upstream: sender.name.clone(), message };
                self.engine.batcher.eject(index, Arc::new(error));
                sender.meters.ejections.increment(1);
                tracing::warn!(upstream = sender.name, reason, "upstream is ejected");
            }
            None if ejected.remove(&index) => {
                self.engine.batcher.readmit(index);
                tracing::info!(upstream = sender.name, "upstream is back");
            }
            _ => {}
        }
        sender.meters.healthy.set(f64::from(u8::from(!sender.vitals.health().is_ejected())));
    }

    /// Whether each of its models has another upstream that takes part and is well.
    fn can_do_without(&self, index: usize, ejected: &BTreeSet<usize>) -> bool {
        let is_well = |other: &usize| {
            *other != index
                && !ejected.contains(other)
                && !self.senders()[*other].vitals.health().is_ejected()
        };
        self.catalog.all().values().all(|served| {
            let members = served.agreement.taking_part();
            !members.contains(&index) || members.iter().any(is_well)
        })
    }

    /// Finds out whether what failed was a text's doing, or that of another model.
    async fn try_canary(&self, index: usize, sender: &Sender) {
        let Some(canary) = sender.vitals.canary() else { return sender.vitals.health().cleared() };
        match canary.ask(&sender.name, &*sender.backend).await {
            Err(error) if convicts(&error) => {
                let reason = format!("its canary failed too: {}", told(&error));
                sender.vitals.remember(told(&error));
                sender.vitals.health().convicted(Instant::now(), &reason);
            }
            Err(_) => sender.vitals.health().cleared(),
            Ok(vector) => {
                sender.vitals.health().cleared();
                for served in self.taking_part(index) {
                    let is_asked = canary.model == served.agreement.canary().model;
                    // An only upstream may fail some calls so, and there is nobody to side with.
                    let is_compared = is_asked && !served.agreement.is_of_one();
                    if is_compared && !served.agreement.learn(vector.clone()) {
                        self.renew(&served).await;
                    }
                }
            }
        }
    }

    /// The models of which the upstream at `index` takes texts.
    fn taking_part(&self, index: usize) -> Vec<Arc<Served>> {
        let takes_part = |served: &&Arc<Served>| served.agreement.taking_part().contains(&index);
        self.catalog.all().values().filter(takes_part).cloned().collect()
    }

    /// Looks whether an ejected upstream is well again, and still has the same models.
    async fn probe(&self, index: usize, sender: &Sender) {
        sender.vitals.health().probe_begins();
        match self.examine(index, sender).await {
            Ok(()) => sender.vitals.health().readmitted(Instant::now()),
            Err(error) => {
                let message = told(&error);
                sender.vitals.remember(message.clone());
                sender.vitals.health().probe_failed(&message);
            }
        }
    }

    async fn examine(&self, index: usize, sender: &Sender) -> Result<(), UpstreamError> {
        sender.backend.reach().await?;
        let mut vector = None;
        let canary = sender.vitals.canary();
        if let Some(canary) = &canary {
            match canary.ask(&sender.name, &*sender.backend).await {
                Ok(embedding) => vector = Some(embedding),
                Err(error) if convicts(&error) => return Err(error),
                // The model is gone or was never one: that is not about the upstream.
                Err(_) => {}
            }
        }
        for served in self.taking_part(index) {
            let is_asked =
                canary.as_ref().is_some_and(|canary| canary.model == served.agreement.canary().model);
            let vector = vector.clone().filter(|_| is_asked);
            let sounds_other = vector.is_some_and(|vector| !served.agreement.learn(vector));
            if sounds_other || served.agreement.has_changed(Some(index)).await {
                self.renew(&served).await;
            }
        }
        Ok(())
    }

    /// Looks at all models from time to time, and soon after a surprise.
    async fn look_again_and_again(&self) {
        let mut listening = Listening::new(self.config.clone(), Instant::now());
        let mut is_doubted = false;
        loop {
            let listens = listening.is_time(Instant::now(), is_doubted);
            let models: Vec<Arc<Served>> = self.catalog.all().values().cloned().collect();
            stream::iter(&models).for_each_concurrent(AT_ONCE, |served| self.look(served, listens)).await;
            tokio::time::sleep(REST).await;
            is_doubted = tokio::select! {
                () = tokio::time::sleep_until(listening.due()) => false,
                () = self.engine.batcher.backend().doubt.notified() => true,
            };
        }
    }

    /// Where `listens` is set, those that cannot say what they have are heard as well.
    async fn look(&self, served: &Arc<Served>, listens: bool) {
        if served.agreement.known().is_none() {
            // Of models that were found nobody knows whether anybody wants them.
            if self.config.warm_up && self.configured.contains(&served.model.name) {
                self.warm_up(served).await;
            }
            return;
        }
        served.ask_again(&self.engine).await;
        if served.agreement.has_changed(None).await || (listens && self.sounds_other(served).await) {
            self.renew(served).await;
        }
    }

    /// Whether the canary of a model is another one at an upstream that cannot say
    /// what it has. Where nothing was embedded since it was heard, nothing has mixed,
    /// and a server may have given the model's memory to another one.
    async fn sounds_other(&self, served: &Served) -> bool {
        if !served.is_used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let unread = served.agreement.taking_part().into_iter().filter(|index| {
            let sender = &self.senders()[*index];
            !sender.backend.tells_models_apart() && !sender.vitals.health().is_ejected()
        });
        let heard = stream::iter(unread).map(|index| self.sings_other(served, index));
        heard.buffer_unordered(AT_ONCE).any(std::future::ready).await
    }

    /// Whether the canary of a model is another one at one upstream. One that fails is no
    /// other one, and is asked again.
    async fn sings_other(&self, served: &Served, index: usize) -> bool {
        let (sender, canary) = (&self.senders()[index], served.agreement.canary());
        match canary.ask(&sender.name, &*sender.backend).await {
            Ok(vector) => {
                let is_other = !served.agreement.learn(vector);
                if is_other {
                    let (upstream, model) = (&*sender.name, &*canary.model);
                    tracing::warn!(upstream, model, "the upstream's vector of the canary is another one");
                }
                is_other
            }
            Err(error) => {
                sender.vitals.ails(&error, || canary.clone());
                served.is_used.store(true, Ordering::Relaxed);
                false
            }
        }
    }

    /// Has the model loaded wherever it is.
    async fn warm_up(&self, served: &Served) {
        if let Err(error) = served.agree(&self.engine).await {
            let error = told(&error);
            tracing::info!(model = %served.model.name, error, "no upstream has the model ready yet");
            return;
        }
        self.hear(served).await;
    }

    /// Learns the canary of a model with one upstream, which loads the model there.
    /// Where there are more, their canaries were part of the agreement.
    async fn hear(&self, served: &Served) {
        if let [index] = served.agreement.taking_part()[..]
            && served.agreement.is_of_one()
        {
            let sender = &self.senders()[index];
            match served.agreement.canary().ask(&sender.name, &*sender.backend).await {
                Ok(vector) => drop(served.agreement.learn(vector)),
                Err(error) => sender.vitals.ails(&error, || served.agreement.canary().clone()),
            }
        }
    }

    /// Has the upstreams of a model agree anew, and serves what they agree on. As
    /// long as they do not, the model stays as it is.
    async fn renew(&self, served: &Arc<Served>) {
        let model = &served.model.name;
        let Some(new) = self.renewer.rebuilt(served) else { return };
        match new.agree(&self.engine).await {
            Ok(()) => {
                tracing::info!(%model, identity = new.agreement.known(), "upstreams have agreed anew");
                self.renewer.replace(served, Arc::clone(&new));
                self.hear(&new).await;
            }
            Err(error) => {
                let error = told(&error);
                tracing::warn!(%model, error, "no upstream has the model any more");
            }
        }
    }
}

#[cfg(test)]
mod tests;
