//! Finds the embedding models of upstreams, and serves them for as long as they are there.
//!
//! Each upstream has a task of its own that asks it from time to time, and sooner
//! when somebody wants a model that nobody knows: one that does not answer keeps
//! nobody from the models of the others. An upstream that cannot be asked keeps
//! the models that it had.

mod findings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::ModelName;
use crate::upstream::{Backend, UpstreamError};

use self::findings::{Findings, Places};
use super::Config;
use super::catalog::{Catalog, Models};
use super::served::Served;
use super::setup::{Builder, plain_table};

/// Between two looks at one upstream, at least, however many ask for what is not there.
const PAUSE: Duration = Duration::from_secs(2);

/// The search for models: idle until it is started. Dropping it ends its tasks.
pub(super) struct Discovery {
    shared: Arc<Shared>,
    is_started: AtomicBool,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Shared {
    targets: Vec<Target>,
    builder: Builder,
    catalog: Arc<Catalog>,
    every: Duration,
    wait: Duration,
    state: Mutex<State>,
    looks: watch::Sender<Vec<Look>>,
}

/// One upstream whose models are looked for.
struct Target {
    name: String,
    backend: Arc<dyn Backend>,
    /// Somebody wants it to be asked again.
    wanted: Notify,
}

/// How often one upstream was asked, and has answered or failed.
#[derive(Clone, Copy, Default)]
struct Look {
    begun: u64,
    ended: u64,
}

struct State {
    findings: Findings,
    /// The models that are always served.
    configured: Models,
    found: BTreeMap<ModelName, Found>,
    n_left_out: usize,
    /// Which upstreams have said what they have, once or more often.
    seen: Vec<bool>,
    /// Why the others have not.
    unseen: Vec<Option<Arc<UpstreamError>>>,
}

impl State {
    /// An upstream could not be asked.
    fn miss(&mut self, place: usize, error: UpstreamError) {
        if !self.seen[place] {
            self.unseen[place] = Some(Arc::new(error));
        }
    }
}

/// A model that is served, and what it was found to be.
struct Found {
    places: Places,
    served: Arc<Served>,
}

impl Discovery {
    /// `searched` are the indexes of the upstreams to look at.
    pub(super) fn new(config: &Config, builder: Builder, searched: &[usize], catalog: Arc<Catalog>) -> Self {
        let target = |index: &usize| Target {
            name: builder.upstreams[*index].name.clone(),
            backend: builder.backend(*index),
            wanted: Notify::new(),
        };
        let targets: Vec<Target> = searched.iter().map(target).collect();
        let configured = catalog.all();
        let words = |served: &'_ Arc<Served>| -> Vec<String> {
            let model = &served.model;
            model.aliases.iter().cloned().chain([model.name.to_string()]).collect()
        };
        let taken: Vec<String> = configured.values().flat_map(words).collect();
        let findings = Findings::new(targets.len(), taken.iter().map(String::as_str), config.max_discovered);
        let (seen, unseen) = (vec![false; targets.len()], vec![None; targets.len()]);
        let state = State {
            findings,
            configured: Models::clone(&configured),
            found: BTreeMap::new(),
            n_left_out: 0,
            seen,
            unseen,
        };
        let shared = Shared {
            state: Mutex::new(state),
            looks: watch::Sender::new(vec![Look::default(); targets.len()]),
            targets,
            builder,
            catalog,
            every: config.discover_every,
            wait: config.discover_wait,
        };
        Self {
            shared: Arc::new(shared),
            is_started: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Looks at every upstream from now on. Returns whether it did not before.
    pub(super) fn start(&self) -> bool {
        if self.is_started.swap(true, Ordering::Relaxed) {
            return false;
        }
        for place in 0..self.shared.targets.len() {
            let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = shared.watch(place) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        true
    }

    /// What `find` finds, looking again where it finds nothing: until it does,
    /// each upstream was asked anew, or the time is over.
    pub(super) async fn find_by<T>(&self, find: impl Fn() -> Option<T>) -> Option<T> {
        let found = find();
        if found.is_some() || self.shared.targets.is_empty() {
            return found;
        }
        let waited = tokio::time::timeout(self.shared.wait, self.look_again(&find));
        tokio::select! {
            found = waited => found.ok().flatten(),
            () = self.stop.cancelled() => None,
        }
    }

    async fn look_again<T>(&self, find: &impl Fn() -> Option<T>) -> Option<T> {
        let mut looks = self.shared.looks.subscribe();
        // A look that is under way may have begun before the model was there.
        let wanted: Vec<u64> = looks.borrow().iter().map(|look| look.begun + 1).collect();
        if !self.start() {
            self.shared.targets.iter().for_each(|target| target.wanted.notify_one());
        }
        loop {
            let all_ended =
                looks.borrow_and_update().iter().zip(&wanted).all(|(look, wanted)| *wanted <= look.ended);
            let found = find();
            if found.is_some() || all_ended || looks.changed().await.is_err() {
                return found;
            }
        }
    }

    pub(super) fn renewer(&self) -> Renewer {
        Renewer(Arc::clone(&self.shared))
    }

    /// Why an upstream has never said what it has: a model that nobody knows may be there.
    pub(super) fn unseen(&self) -> Option<Arc<UpstreamError>> {
        self.shared.lock().unseen.iter().flatten().next().cloned()
    }

    /// Has upstreams looked at soon: a model that was found is not there any more.
    pub(super) fn doubt(&self) {
        if self.is_started.load(Ordering::Relaxed) {
            self.shared.targets.iter().for_each(|target| target.wanted.notify_one());
        }
    }

    /// Ends all looks, and waits until they have ended.
    pub(super) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Puts a model in the place of one whose upstreams have changed.
#[derive(Clone)]
pub(super) struct Renewer(Arc<Shared>);

impl Renewer {
    /// A new `served`, of which nobody was asked yet; nothing where it cannot be built any more.
    pub(super) fn rebuilt(&self, served: &Served) -> Option<Arc<Served>> {
        self.0.builder.model(&served.table, served.card.as_ref(), Some(served), false).ok().map(Arc::new)
    }

    /// Serves `new` from now on, unless `old` is not served any more. Both stand for
    /// themselves with whatever plugins.
    pub(super) fn replace(&self, old: &Arc<Served>, new: Arc<Served>) {
        let mut state = self.0.lock();
        let name = &old.model.name;
        let State { configured, found, .. } = &mut *state;
        let place = configured.get_mut(name).or_else(|| found.get_mut(name).map(|found| &mut found.served));
        match place {
            // Its plugins may have changed since it was built.
            Some(served) if Arc::ptr_eq(&served.agreement, &old.agreement) => {
                *served = self.0.builder.with_plugins(&new).map_or(new, Arc::new);
            }
            _ => return,
        }
        self.0.publish(&state);
    }

    /// Has every model go through the plugins that serve at this moment, from the next request on.
    pub(super) fn follow_plugins(&self) {
        let mut state = self.0.lock();
        let State { configured, found, .. } = &mut *state;
        for served in configured.values_mut().chain(found.values_mut().map(|found| &mut found.served)) {
            if let Some(new) = self.0.builder.with_plugins(served) {
                *served = Arc::new(new);
            }
        }
        self.0.publish(&state);
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one upstream again and again.
    async fn watch(&self, place: usize) {
        let target = &self.targets[place];
        let mut complaint = None;
        loop {
            let begun = Instant::now();
            self.looks.send_modify(|looks| looks[place].begun += 1);
            let answer = target.backend.models().await;
            self.take(place, answer, &mut complaint);
            self.looks.send_modify(|looks| looks[place].ended += 1);
            tokio::time::sleep_until(begun + PAUSE).await;
            tokio::select! {
                () = tokio::time::sleep_until(begun + self.every) => {}
                () = target.wanted.notified() => {}
            }
        }
    }

    /// Serves what was found from now on, and tells the log what is new.
    /// `complaint` is what was said last of an upstream that could not be asked.
    fn take(
        &self,
        place: usize,
        answer: Result<Vec<crate::upstream::Offered>, UpstreamError>,
        complaint: &mut Option<String>,
    ) {
        let upstream = self.targets[place].name.as_str();
        let models = match answer {
            Ok(models) => models,
            Err(error) => {
                let said = error.to_string();
                if complaint.as_ref() != Some(&said) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(upstream, error, "cannot look for models at the upstream");
                    *complaint = Some(said);
                }
                self.lock().miss(place, error);
                return;
            }
        };
        *complaint = None;
        let n_models = models.len();
        let mut state = self.lock();
        state.seen[place] = true;
        state.unseen[place] = None;
        let Some(change) = state.findings.learn(place, findings::embedding_models(models)) else { return };
        tracing::info!(
            upstream,
            n_models,
            new = ?change.appeared,
            gone = ?change.vanished,
            "looked for embedding models at the upstream"
        );
        self.serve(&mut state);
    }

    /// Brings the catalog up to what is known. A model that is as it was stays the same.
    fn serve(&self, state: &mut State) {
        let served: BTreeSet<ModelName> = state.found.keys().cloned().collect();
        let (wanted, n_left_out) = state.findings.models(&served);
        if n_left_out != state.n_left_out && 0 < n_left_out {
            tracing::warn!(
                n_models = n_left_out,
                "models are left out: more were found than `embed.max_discovered` allows, or their names change all the time"
            );
        }
        state.n_left_out = n_left_out;
        let mut before = std::mem::take(&mut state.found);
        for (name, places) in wanted {
            let old = before.remove(&name);
            let found = match old {
                Some(found) if found.places == places => Some(found),
                old => self.build(&name, places, old.as_ref()),
            };
            if let Some(found) = found {
                state.found.insert(name, found);
            }
        }
        self.publish(state);
    }

    fn publish(&self, state: &State) {
        let mut models = state.configured.clone();
        models.extend(state.found.iter().map(|(name, found)| (name.clone(), found.served.clone())));
        self.catalog.replace(models);
    }

    /// A model whose upstreams or digests have changed is asked for anew: other
    /// upstreams may agree on something else.
    fn build(&self, name: &ModelName, places: Places, old: Option<&Found>) -> Option<Found> {
        let upstreams = places.iter().map(|(place, _)| self.targets[*place].name.clone()).collect();
        let mut table = plain_table(name.as_str(), upstreams);
        table.max_tokens = findings::max_tokens(name, &places);
        // Where upstreams only came to those that were there, nothing was embedded by another model.
        let keep = old.is_some_and(|old| old.places.iter().all(|place| places.contains(place)));
        let card = places.first().and_then(|(_, offer)| offer.card.as_ref());
        match self.builder.model(&table, card, old.map(|old| &*old.served), keep) {
            Ok(served) => Some(Found { places, served: Arc::new(served) }),
            Err(error) => {
                tracing::warn!(model = %name, error = &error as &dyn std::error::Error, "a model that was found cannot be served");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
