//! Instances of one plugin: made, lent for one call at a time, retired.

mod failure; // how one came to its end

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::InstancePre;

use self::failure::{Allowed, Failure, StartError, message};
use super::bindings::embergate::plugin::types;
use super::bindings::exports::embergate::plugin::{chunker, lifecycle, preprocessor};
use super::contract::Shape;
use super::engine::{Running, Runtime};
use super::load::Fault;
use super::metering::{Late, Metering};
use super::per_core::PerCore;
use super::seats::{Seat, Seats};
use super::settings::Settings;
use super::state::State;
use super::{At, Limits, PluginError, Subject, words};

/// Growth of its memory, past what it had after `start`, that an instance may keep.
const KEEP_BYTES: usize = 8 << 20;

/// One instance with its memory, its limits and its exports.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    pub(super) preprocessor: Option<preprocessor::Guest>,
    pub(super) chunker: Option<chunker::Guest>,
    uses: u32,
    /// Memory after `start`.
    settled: usize,
}

/// Makes instances and keeps those that may serve again, the last used first.
pub(super) struct Instances {
    runtime: Arc<Runtime>,
    name: Arc<str>,
    version: String,
    limits: Limits,
    settings: Settings,
    linked: InstancePre<State>,
    lifecycle: lifecycle::GuestIndices,
    preprocessor: Option<preprocessor::GuestIndices>,
    chunker: Option<chunker::GuestIndices>,
    /// One for each instance that may be at work, this plugin's successors included.
    seats: Arc<Seats>,
    /// Instances that wait for a call, where they were used last.
    idle: PerCore<Mutex<Vec<Instance>>>,
    /// Whether another plugin serves under the name by now: nothing is kept any more.
    is_replaced: AtomicBool,
}

/// An instance out on a call. Whoever drops it, as a cancelled call does, drops
/// the instance with it: only [`Lent::finish`] brings one back.
pub(super) struct Lent<'i> {
    pub(super) instance: Instance,
    instances: &'i Instances,
    function: &'static str,
    started: Instant,
    allowed: Allowed,
    _running: Option<Running<'i>>,
    _seat: Seat<'i>,
}

/// What a plugin said of itself in `start`.
pub(super) type Info = lifecycle::Info;

impl Instances {
    /// Starts a first instance and asks it who it is.
    ///
    /// # Errors
    /// Why the component cannot be linked or started, in words that follow the file's name.
    pub(super) async fn new(
        runtime: Arc<Runtime>,
        name: Arc<str>,
        linked: InstancePre<State>,
        shape: Shape,
        (limits, settings): (Limits, Settings),
    ) -> Result<(Self, Info), Fault> {
        let differs = |error: wasmtime::Error| format!("it differs from the contract: {error:#}");
        let lifecycle = lifecycle::GuestIndices::new(&linked).map_err(differs)?;
        let preprocessor = shape
            .is_preprocessor
            .then(|| preprocessor::GuestIndices::new(&linked))
            .transpose()
            .map_err(differs)?;
        let chunker =
            shape.is_chunker.then(|| chunker::GuestIndices::new(&linked)).transpose().map_err(differs)?;
        let seats = Arc::new(Seats::new(limits.instances));
        let mut instances = Self {
            runtime,
            name,
            version: String::new(),
            limits,
            settings,
            linked,
            lifecycle,
            preprocessor,
            chunker,
            seats,
            idle: PerCore::default(),
            is_replaced: AtomicBool::new(false),
        };
        let (instance, info) = instances.start().await.map_err(StartError::into_fault)?;
        instances.version = words::cut(&words::sentence(&info.version), words::VERSION);
        instances.keep(instance);
        Ok((instances, info))
    }

    /// Lends an instance for a call of `function` on `n_bytes` of text, within `time`.
    ///
    /// # Errors
    /// All instances stay busy, or a new one does not start.
    pub(super) async fn lend(
        &self,
        function: &'static str,
        n_bytes: usize,
        time: Duration,
    ) -> Result<Lent<'_>, PluginError> {
        let seat = self.seat().await?;
        let running = self.runtime.running();
        let mut instance = match self.waiting() {
            Some(instance) => instance,
            None => self.start().await.map_err(|error| self.not_started(error))?.0,
        };
        let (started, allowed) = (Instant::now(), Allowed { time, fuel: self.limits.fuel_for(n_bytes) });
        let armed = instance.arm(started, allowed, (&self.limits, self.runtime.metering));
        armed.map_err(|error| self.not_started(StartError::of(&error)))?;
        Ok(Lent { instance, instances: self, function, started, allowed, _running: running, _seat: seat })
    }

    async fn seat(&self) -> Result<Seat<'_>, PluginError> {
        let within = self.limits.wait;
        let seat = self.seats.take(within).await;
        seat.ok_or_else(|| PluginError::Busy { plugin: self.name.to_string(), within })
    }

    /// Takes an instance that waits, the last used of this core before those of others.
    fn waiting(&self) -> Option<Instance> {
        self.idle.all().find_map(|idle| lock(idle).pop())
    }

    /// Instantiates and calls `start`, both within the time of a small call.
    async fn start(&self) -> Result<(Instance, Info), StartError> {
        let _running = self.runtime.running();
        let metering = self.runtime.metering;
        let state = State::new(Arc::clone(&self.name), &self.limits, self.runtime.turns.turn());
        let mut store = Store::new(&self.runtime.engine, state);
        store.limiter(|state| &mut state.budget);
        metering.prepare(&mut store).map_err(|error| StartError::of(&error))?;
        store.set_max_component_handles(self.limits.handles as usize);
        let mut instance = Instance { store, preprocessor: None, chunker: None, uses: 0, settled: 0 };
        let (started, allowed) = (Instant::now(), Allowed { time: self.limits.time, fuel: self.limits.fuel });
        let armed = instance.arm(started, allowed, (&self.limits, metering));
        armed.map_err(|error| StartError::of(&error))?;

        let deadline = started + allowed.time;
        let taken = instance.store.data().turn.taken();
        match taken.within(deadline, self.start_in(&mut instance)).await {
            Err(Late) => Err(StartError::Failed(instance.overdue(allowed, &self.limits))),
            Ok(Err(error)) => Err(StartError::Failed(instance.failure(&error, allowed, &self.limits))),
            Ok(Ok(Err(refused))) => Err(StartError::Refused(refused)),
            Ok(Ok(Ok(info))) => {
                instance.settled = instance.store.data().budget.memory;
                Ok((instance, info))
            }
        }
    }

    async fn start_in(&self, instance: &mut Instance) -> wasmtime::Result<Result<Info, types::Error>> {
        let store = &mut instance.store;
        let exports = self.linked.instantiate_async(&mut *store).await?;
        let lifecycle = self.lifecycle.load(&mut *store, &exports).map_err(differs)?;
        if let Some(indices) = &self.preprocessor {
            instance.preprocessor = Some(indices.load(&mut *store, &exports).map_err(differs)?);
        }
        if let Some(indices) = &self.chunker {
            instance.chunker = Some(indices.load(&mut *store, &exports).map_err(differs)?);
        }
        self.settings.start(&lifecycle, store).await
    }

    /// Has these and `before` share what both may have at work.
    pub(super) fn succeed(&mut self, before: &Self) {
        self.seats = Arc::clone(&before.seats);
    }

    /// Lets all go that wait, and those at work once they are done: another plugin took the place.
    pub(super) fn replaced(&self) {
        // Who keeps one from here on sees it; who kept one before has kept it where it is found.
        self.is_replaced.store(true, Ordering::SeqCst);
        self.start_over();
    }

    /// Lets all go that wait; the next call gets a new one.
    pub(super) fn start_over(&self) {
        for idle in self.idle.all() {
            let waiting = std::mem::take(&mut *lock(idle));
            drop(waiting);
        }
    }

    #[cfg(test)]
    pub(super) fn n_waiting(&self) -> usize {
        self.idle.all().map(|idle| lock(idle).len()).sum()
    }

    fn keep(&self, instance: Instance) {
        let mut idle = lock(self.idle.mine());
        if !self.is_replaced.load(Ordering::SeqCst) {
            idle.push(instance);
        }
    }

    fn not_started(&self, error: StartError) -> PluginError {
        match error {
            StartError::Refused(error) => self.refused("start", error),
            StartError::Failed(failure) => self.failed("start", self.limits.time, failure),
        }
    }

    fn refused(&self, function: &'static str, error: types::Error) -> PluginError {
        PluginError::Refused { at: self.at(function), message: message(error) }
    }

    fn failed(&self, function: &'static str, after: Duration, failure: Failure) -> PluginError {
        let at = self.at(function);
        match failure {
            Failure::Stopped { limit, inside } => PluginError::Stopped { at, after, limit, inside },
            Failure::Trapped { reason, inside } => PluginError::Trapped { at, reason, inside },
        }
    }

    /// A call of `function`; whoever made it knows of its documents.
    fn at(&self, function: &'static str) -> Box<At> {
        let (plugin, version) = (self.name.to_string(), self.version.clone());
        Box::new(At { plugin, version, function, documents: Subject::None })
    }
}

fn lock(idle: &Mutex<Vec<Instance>>) -> MutexGuard<'_, Vec<Instance>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance {
    /// Sets the limits of the next call anew.
    fn arm(
        &mut self,
        started: Instant,
        allowed: Allowed,
        (limits, metering): (&Limits, Metering),
    ) -> wasmtime::Result<()> {
        metering.arm(&mut self.store, allowed.fuel)?;
        self.store.set_hostcall_fuel(usize::try_from(limits.output.as_u64()).unwrap_or(usize::MAX));
        let state = self.store.data_mut();
        state.deadline = started + allowed.time;
        state.log_lines = limits.log_lines;
        state.stderr.clear();
        state.budget.denied = None;
        state.begin(started);
        Ok(())
    }
}

impl Lent<'_> {
    /// When the call is stopped.
    pub(super) fn deadline(&self) -> Instant {
        self.started + self.allowed.time
    }

    /// Takes the result of the call: brings the instance back when it answered,
    /// and says what happened when it did not.
    pub(super) fn finish<T>(
        mut self,
        result: Result<wasmtime::Result<Result<T, types::Error>>, Late>,
    ) -> Result<T, PluginError> {
        let answer = match result {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let failure = self.instance.failure(&error, self.allowed, &self.instances.limits);
                return Err(self.failed(failure));
            }
            Err(Late) => return Err(self.failed(self.instance.overdue(self.allowed, &self.instances.limits))),
        };
        let (instances, function) = (self.instances, self.function);
        let limits = &instances.limits;
        let instance = &mut self.instance;
        instance.uses += 1;
        let memory = instance.store.data().budget.memory;
        if instance.uses < limits.uses && memory <= instance.settled + KEEP_BYTES {
            instances.keep(self.instance);
        }
        answer.map_err(|error| instances.refused(function, error))
    }

    fn failed(&self, failure: Failure) -> PluginError {
        self.instances.failed(self.function, self.started.elapsed(), failure)
    }
}

/// An interface of ours with other types in it.
fn differs(error: wasmtime::Error) -> wasmtime::Error {
    wasmtime::Error::msg(format!(
        "its types differ from the contract: {error:#}: build it again with this gateway's `wit` folder"
    ))
}
