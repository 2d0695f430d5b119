//! Instances of one plugin: made, lent for one call at a time, retired.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::component::{InstancePre, ResourceTableError};
use wasmtime::{Store, Trap, WasmBacktrace};

use super::bindings::embergate::plugin::types;
use super::bindings::exports::embergate::plugin::{chunker, lifecycle, preprocessor};
use super::contract::Shape;
use super::engine::{Running, Runtime};
use super::settings::Settings;
use super::state::{State, on_tick};
use super::{Limits, PluginError};

/// Growth of its memory, past what it had after `start`, that an instance may keep.
const KEEP_BYTES: usize = 8 << 20;
/// Functions that an error names of the stack on which a guest trapped.
const FRAMES: usize = 4;

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
    ) -> Result<(Self, Info), String> {
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
        let (instance, info) = instances.start().await.map_err(|error| match error {
            StartError::Refused(types::Error::InvalidConfig(why)) => {
                format!("it refuses its configuration: {why}")
            }
            StartError::Refused(error) => format!("it refuses to start: {}", message(error)),
            StartError::Failed { reason, output } => format!("it fails to start: {reason}{output}"),
        })?;
        instances.version.clone_from(&info.version);
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
        let state = instance.store.data();
        let failed = |reason| StartError::Failed { reason, output: state.stderr.as_suffix() };
        match started {
            Err(_) => Err(failed(format!("stopped after {:?}", self.limits.time))),
            Ok(Err(error)) => Err(failed(match &state.budget.denied {
                Some(limit) => limit.clone(),
                None => reason(&error),
            })),
            Ok(Ok(Err(refused))) => Err(StartError::Refused(refused)),
            Ok(Ok(Ok(info))) => {
                instance.settled = state.budget.memory;
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

    fn not_started(&self, error: StartError) -> PluginError {
        let (plugin, version) = (self.name.to_string(), self.version.clone());
        match error {
            StartError::Refused(error) => PluginError::Refused { plugin, version, message: message(error) },
            StartError::Failed { reason, output } => {
                PluginError::Trapped { plugin, version, function: "start", reason, stderr: output }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum StartError {
    Refused(types::Error),
    Failed { reason: String, output: String },
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
        state.begin();
    }
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
            Ok(Err(error)) => return Err(self.failed(&error)),
            Err(_) => return Err(self.stopped(format!("a call may take {:?}", self.time))),
        };
        let Instances { name, version, limits, .. } = self.instances;
        let instance = &mut self.instance;
        instance.uses += 1;
        let memory = instance.store.data().budget.memory;
        if instance.uses < limits.uses && memory <= instance.settled + KEEP_BYTES {
            self.instances.lock().push(self.instance);
        }
        answer.map_err(|error| PluginError::Refused {
            plugin: name.to_string(),
            version: version.clone(),
            message: message(error),
        })
    }

    fn failed(&self, error: &wasmtime::Error) -> PluginError {
        let state = self.instance.store.data();
        if matches!(error.downcast_ref(), Some(Trap::Interrupt)) {
            return self.stopped(format!("a call may take {:?}", self.time));
        }
        if let Some(limit) = &state.budget.denied {
            return self.stopped(limit.clone());
        }
        // Wasmtime has no type for this error.
        if error.root_cause().to_string().contains("fuel allocated for hostcalls") {
            return self.stopped(format!("it handed over more than {}", self.instances.limits.output));
        }
        if too_many_handles(error) {
            return self
                .stopped(format!("it wanted to hold more than {} handles", self.instances.limits.handles));
        }
        PluginError::Trapped {
            plugin: self.instances.name.to_string(),
            version: self.instances.version.clone(),
            function: self.function,
            reason: reason(error),
            stderr: state.stderr.as_suffix(),
        }
    }

    fn stopped(&self, limit: String) -> PluginError {
        PluginError::Stopped {
            plugin: self.instances.name.to_string(),
            version: self.instances.version.clone(),
            function: self.function,
            after: self.started.elapsed(),
            limit,
        }
    }
}

/// An interface of ours with other types in it.
fn differs(error: wasmtime::Error) -> wasmtime::Error {
    wasmtime::Error::msg(format!(
        "its types differ from the contract: {error:#}: build it again with this gateway's `wit` folder"
    ))
}

/// Handles of the gateway's things are in one table, those of the guest's own in another.
fn too_many_handles(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(ResourceTableError::Full))
        || error.root_cause().to_string().contains("store handle limit exceeded")
}

/// The cause, and the functions that were running.
fn reason(error: &wasmtime::Error) -> String {
    let cause = error.root_cause().to_string();
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let names: Vec<_> = frames.iter().filter_map(|frame| frame.func_name()).take(FRAMES).collect();
    if names.is_empty() { cause } else { format!("{cause}, in {}", names.join(" called by ")) }
}

fn message(error: types::Error) -> String {
    match error {
        types::Error::InvalidInput(why) => format!("invalid input: {why}"),
        types::Error::InvalidConfig(why) => format!("invalid configuration: {why}"),
        types::Error::Unsupported(why) => format!("unsupported: {why}"),
        types::Error::Unavailable(why) => format!("unavailable: {why}"),
        types::Error::Internal(why) => format!("internal error: {why}"),
    }
}
