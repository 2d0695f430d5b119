//! Instances of one plugin: made, lent for one call at a time, retired.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap};

use super::bindings::embergate::plugin::types;
use super::bindings::exports::embergate::plugin::{chunker, lifecycle, preprocessor};
use super::contract::Shape;
use super::engine::{Running, Runtime};
use super::inside::Inside;
use super::load::Fault;
use super::settings::Settings;
use super::state::{State, on_tick};
use super::{At, LimitMet, Limits, PluginError, Subject, words};

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
    /// One for each instance that may exist.
    permits: Semaphore,
    idle: Mutex<Vec<Instance>>,
}

/// An instance out on a call. Whoever drops it, as a cancelled call does, drops
/// the instance with it: only [`Lent::finish`] brings one back.
pub(super) struct Lent<'i> {
    pub(super) instance: Instance,
    instances: &'i Instances,
    function: &'static str,
    started: Instant,
    time: Duration,
    _running: Running<'i>,
    _permit: SemaphorePermit<'i>,
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
        let permits = Semaphore::new(limits.instances.max(1));
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
            permits,
            idle: Mutex::default(),
        };
        let (instance, info) = instances.start().await.map_err(StartError::into_fault)?;
        instances.version = words::cut(&words::sentence(&info.version), words::VERSION);
        instances.lock().push(instance);
        Ok((instances, info))
    }

    /// Lends an instance for a call of `function` on `n_bytes` of text.
    ///
    /// # Errors
    /// All instances stay busy, or a new one does not start.
    pub(super) async fn lend(&self, function: &'static str, n_bytes: usize) -> Result<Lent<'_>, PluginError> {
        let permit = self.permit().await?;
        let running = self.runtime.running();
        let idle = self.lock().pop();
        let mut instance = match idle {
            Some(instance) => instance,
            None => self.start().await.map_err(|error| self.not_started(error))?.0,
        };
        let (started, time) = (Instant::now(), self.limits.time_for(n_bytes));
        instance.arm(started + time, &self.limits);
        Ok(Lent { instance, instances: self, function, started, time, _running: running, _permit: permit })
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, PluginError> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        match tokio::time::timeout(self.limits.wait, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(PluginError::Busy { plugin: self.name.to_string(), within: self.limits.wait }),
        }
    }

    /// Instantiates and calls `start`, both within the time of a small call.
    async fn start(&self) -> Result<(Instance, Info), StartError> {
        let _running = self.runtime.running();
        let mut store = Store::new(&self.runtime.engine, State::new(Arc::clone(&self.name), &self.limits));
        store.limiter(|state| &mut state.budget);
        store.epoch_deadline_callback(on_tick);
        store.set_max_component_handles(self.limits.handles as usize);
        let mut instance = Instance { store, preprocessor: None, chunker: None, uses: 0, settled: 0 };
        instance.arm(Instant::now() + self.limits.time, &self.limits);

        let started = tokio::time::timeout(self.limits.time, self.start_in(&mut instance)).await;
        match started {
            Err(_) => Err(StartError::Failed(instance.overdue(self.limits.time, &self.limits))),
            Ok(Err(error)) => {
                Err(StartError::Failed(instance.failure(&error, self.limits.time, &self.limits)))
            }
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
        let lifecycle = self.lifecycle.load(&mut *store, &exports)?;
        if let Some(indices) = &self.preprocessor {
            instance.preprocessor = Some(indices.load(&mut *store, &exports)?);
        }
        if let Some(indices) = &self.chunker {
            instance.chunker = Some(indices.load(&mut *store, &exports)?);
        }
        self.settings.start(&lifecycle, store).await
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum StartError {
    Refused(types::Error),
    Failed(Failure),
}

impl StartError {
    /// In words that follow the file's name.
    fn into_fault(self) -> Fault {
        match self {
            Self::Refused(types::Error::InvalidConfig(why)) => {
                format!("it refuses its configuration: {}", words::sentence(&why)).into()
            }
            Self::Refused(error) => format!("it refuses to start: {}", message(error)).into(),
            Self::Failed(Failure::Stopped { limit, inside }) => {
                Fault { reason: format!("it fails to start: {limit}"), inside }
            }
            Self::Failed(Failure::Trapped { reason, inside }) => {
                Fault { reason: format!("it fails to start: {reason}"), inside }
            }
        }
    }
}

/// How an instance came to its end.
enum Failure {
    /// It met a limit of ours.
    Stopped {
        limit: LimitMet,
        inside: Option<Box<Inside>>,
    },
    Trapped {
        reason: String,
        inside: Option<Box<Inside>>,
    },
}

impl Instance {
    /// Sets the limits of the next call anew.
    fn arm(&mut self, deadline: Instant, limits: &Limits) {
        self.store.set_epoch_deadline(1);
        self.store.set_hostcall_fuel(usize::try_from(limits.output.as_u64()).unwrap_or(usize::MAX));
        let state = self.store.data_mut();
        state.deadline = deadline;
        state.log_lines = limits.log_lines;
        state.stderr.clear();
        state.budget.denied = None;
    }

    /// What `error` means, where a call may take `time`.
    fn failure(&self, error: &wasmtime::Error, time: Duration, limits: &Limits) -> Failure {
        let state = self.store.data();
        let inside = Inside::of(error, state.stderr.text()).map(Box::new);
        if matches!(error.downcast_ref(), Some(Trap::Interrupt)) {
            return Failure::Stopped { limit: over_time(time, limits), inside };
        }
        if let Some(limit) = state.budget.denied.clone() {
            return Failure::Stopped { limit, inside };
        }
        let cause = error.root_cause().to_string();
        // Wasmtime has no type for this error.
        if cause.contains("fuel allocated for hostcalls") {
            let how = format!("it handed over more than {}", limits.output);
            return Failure::Stopped { limit: LimitMet { key: "output", how }, inside };
        }
        Failure::Trapped { reason: words::sentence(&cause), inside }
    }

    /// It waits, and no code of its own runs that could be interrupted.
    fn overdue(&self, time: Duration, limits: &Limits) -> Failure {
        let inside = Inside::new(Vec::new(), self.store.data().stderr.text()).map(Box::new);
        Failure::Stopped { limit: over_time(time, limits), inside }
    }
}

fn over_time(time: Duration, limits: &Limits) -> LimitMet {
    let (key, of) = if limits.time < time { ("time_per_mib", " on so much text") } else { ("time", "") };
    LimitMet { key, how: format!("a call{of} may take {time:?}") }
}

impl Lent<'_> {
    /// When the call is stopped.
    pub(super) fn deadline(&self) -> Instant {
        self.started + self.time
    }

    /// Takes the result of the call: brings the instance back when it answered,
    /// and says what happened when it did not.
    pub(super) fn finish<T>(
        mut self,
        result: Result<wasmtime::Result<Result<T, types::Error>>, tokio::time::error::Elapsed>,
    ) -> Result<T, PluginError> {
        let answer = match result {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let failure = self.instance.failure(&error, self.time, &self.instances.limits);
                return Err(self.failed(failure));
            }
            Err(_) => return Err(self.failed(self.instance.overdue(self.time, &self.instances.limits))),
        };
        let (instances, function) = (self.instances, self.function);
        let limits = &instances.limits;
        let instance = &mut self.instance;
        instance.uses += 1;
        let memory = instance.store.data().budget.memory;
        if instance.uses < limits.uses && memory <= instance.settled + KEEP_BYTES {
            instances.lock().push(self.instance);
        }
        answer.map_err(|error| instances.refused(function, error))
    }

    fn failed(&self, failure: Failure) -> PluginError {
        self.instances.failed(self.function, self.started.elapsed(), failure)
    }
}

fn message(error: types::Error) -> String {
    let (kind, why) = match error {
        types::Error::InvalidInput(why) => ("invalid input", why),
        types::Error::InvalidConfig(why) => ("invalid configuration", why),
        types::Error::Unsupported(why) => ("unsupported", why),
        types::Error::Unavailable(why) => ("unavailable", why),
        types::Error::Internal(why) => ("internal error", why),
    };
    format!("{kind}: {}", words::sentence(&why))
}
