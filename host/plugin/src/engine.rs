//! The engine that all plugins share, and the clock that interrupts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{
    Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use super::bindings::embergate::plugin::{embedder, log, text, types};
use super::metering::Metering;
use super::per_core::PerCore;
use super::state::State;
use super::turns::Turns;
use super::{LOG, Limits};

/// How often running guests are interrupted to look at their deadline.
const TICK: Duration = Duration::from_millis(1);
/// The same while one of them takes long: whoever needs its processor waits for no more than this.
const SHORT_TICK: Duration = Duration::from_micros(250);
/// Ticks without a call after which the clock sleeps until the next one.
const IDLE_TICKS: u32 = 250;
/// Stack of a guest, and of the fiber that it runs on with the host calls it makes.
const GUEST_STACK: usize = 1 << 20;
const FIBER_STACK: usize = 2 << 20;

/// What every plugin is compiled, linked and run by.
pub(super) struct Runtime {
    pub(super) engine: Engine,
    /// Provides `log`, `text` and an empty WASI.
    linker: Linker<State>,
    /// The same and `embedder`.
    embedding_linker: Linker<State>,
    pub(super) metering: Metering,
    /// Nothing where guests are not interrupted by the clock.
    ticker: Option<Ticker>,
    /// Calls on large documents at once: one core, and one instance of each
    /// plugin that may have several, are always left to small ones.
    pub(super) bulk: tokio::sync::Semaphore,
    /// Of calls that take long, on whatever documents.
    pub(super) turns: Turns,
}

impl Runtime {
    /// Makes room for `instances` instances within the largest of `limits`.
    pub(super) fn new(
        instances: usize,
        limits: &[Limits],
        metering: Metering,
    ) -> wasmtime::Result<Arc<Self>> {
        let engine = engine(instances, limits, metering)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        types::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        log::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        text::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        let mut embedding_linker = linker.clone();
        embedder::add_to_linker::<_, HasSelf<_>>(&mut embedding_linker, |state| state)?;

        let cores = thread::available_parallelism().map_or(1, usize::from);
        let fewest = limits.iter().map(|limits| limits.instances).min().unwrap_or(1);
        let bulk = tokio::sync::Semaphore::new(cores.min(fewest).saturating_sub(1).max(1));
        let turns = Turns::new(cores);
        let ticker = (metering == Metering::Epoch).then(|| Ticker::spawn(engine.weak(), turns.long()));
        Ok(Arc::new(Self { engine, linker, embedding_linker, metering, ticker, bulk, turns }))
    }

    pub(super) fn linker(&self, may_embed: bool) -> &Linker<State> {
        if may_embed { &self.embedding_linker } else { &self.linker }
    }

    /// Keeps the clock ticking until the answer is dropped.
    pub(super) fn running(&self) -> Option<Running<'_>> {
        let ticker = self.ticker.as_ref()?;
        Some(ticker.running())
    }
}

fn engine(instances: usize, limits: &[Limits], metering: Metering) -> wasmtime::Result<Engine> {
    let mut config = wasmtime::Config::new();
    metering.configure(&mut config);
    config
        .concurrency_support(false)
        // What WebAssembly leaves to the processor: guests can read the bits of a NaN.
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true)
        .generate_address_map(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(FIBER_STACK);

    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances, limits)));
    match Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            // A pool reserves gigabytes of addresses, and some systems have few.
            tracing::info!(
                target: LOG,
                error = format!("{error:#}"),
                "no room for a pool of plugin instances; each is made on demand"
            );
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            config.memory_reservation(0).memory_guard_size(0);
            Engine::new(&config)
        }
    }
}

/// Twice the slots that live instances take, because a retired one leaves its
/// slots a moment after its successor needs them.
fn pool(instances: usize, limits: &[Limits]) -> PoolingAllocationConfig {
    let slots = u32::try_from(instances.max(1) * 2).unwrap_or(u32::MAX).min(1_000);
    let memory = limits.iter().map(|limits| limits.memory.as_u64()).max().unwrap_or(0);
    let elements = limits.iter().map(|limits| limits.table_elements).max().unwrap_or(0);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_memories(slots)
        .total_tables(slots.saturating_mul(4))
        .total_core_instances(slots.saturating_mul(16))
        .max_memory_size(usize::try_from(memory).unwrap_or(usize::MAX))
        .table_elements(elements as usize)
        // Plugins that were replaced leave slots with memory in them that nobody asks for again.
        .max_unused_warm_slots(slots / 4)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10);
    pool
}

/// A call under way.
pub(super) struct Running<'r>(&'r AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Moves the engine's epoch from a thread of its own: an overloaded runtime would
/// never get to it. Sleeps while no call runs.
struct Ticker {
    shared: Arc<Shared>,
    thread: Option<Thread>,
}

#[derive(Default)]
struct Shared {
    calls: PerCore<AtomicUsize>,
    asleep: AtomicBool,
    stopped: AtomicBool,
    /// A call that takes long was interrupted since the last tick.
    long: Arc<AtomicBool>,
}

impl Shared {
    fn is_running(&self) -> bool {
        self.calls.all().any(|calls| calls.load(Ordering::SeqCst) != 0)
    }
}

impl Ticker {
    fn spawn(engine: EngineWeak, long: Arc<AtomicBool>) -> Self {
        let shared = Arc::new(Shared { long, ..Shared::default() });
        let ticking = Arc::clone(&shared);
        let builder = thread::Builder::new().name("plugin-clock".into());
        let thread = match builder.spawn(move || tick(&engine, &ticking)) {
            Ok(handle) => Some(handle.thread().clone()),
            Err(error) => {
                // Host calls still meet the deadline; a guest that spins does not.
                tracing::error!(target: LOG, %error, "cannot start the clock that stops runaway plugins");
                None
            }
        };
        Self { shared, thread }
    }

    fn running(&self) -> Running<'_> {
        let calls = self.shared.calls.mine();
        calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.unpark();
        }
        Running(calls)
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.unpark();
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    let mut idle = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        if IDLE_TICKS <= idle {
            shared.asleep.store(true, Ordering::SeqCst);
            // Whoever starts a call after this line sees the flag and wakes us.
            if !shared.is_running() && !shared.stopped.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            idle = 0;
        }
        let long = shared.long.swap(false, Ordering::Relaxed);
        thread::sleep(if long { SHORT_TICK } else { TICK });
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        idle = if shared.is_running() { 0 } else { idle + 1 };
    }
}
