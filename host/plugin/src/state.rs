//! What an instance of a plugin may see and use.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use embergate_core::units::ByteSize;
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::imports::Work;
use super::quota::Quota;
use super::surroundings::{Dice, nothing_granted};
use super::turns::Turn;
use super::{LimitMet, Limits};

/// Bytes that a guest may write to its output at once.
const WRITE_BYTES: usize = 4_096;
/// Core instances, memories and tables of one component, at most.
const PARTS: usize = 64;

/// The data of a store: everything that belongs to one instance.
pub(super) struct State {
    pub(super) plugin: Arc<str>,
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) budget: Budget,
    pub(super) stderr: Stderr,
    dice: Dice,
    pub(super) quota: Quota,
    /// When the call under way is stopped.
    pub(super) deadline: Instant,
    /// Log lines that the call under way may still write.
    pub(super) log_lines: u32,
    /// What the call under way is about; nothing during `start`.
    pub(super) work: Option<Work>,
    pub(super) turn: Turn,
}

impl State {
    pub(super) fn new(plugin: Arc<str>, limits: &Limits, turn: Turn) -> Self {
        let (stderr, dice) = (Stderr::new(&limits.stderr), Dice::default());
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Self {
            plugin,
            wasi: nothing_granted(limits, &stderr, &dice),
            table,
            budget: Budget::new(limits),
            stderr,
            dice,
            quota: Quota::new(limits),
            deadline: Instant::now(),
            log_lines: 0,
            work: None,
            turn,
        }
    }

    /// Makes the next call as good as a first one, in what it may draw and use.
    pub(super) fn begin(&mut self, now: Instant) {
        self.dice.begin();
        self.quota.begin();
        self.turn.begin(now);
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Lets other tasks run, then goes on or stops the guest.
pub(super) fn on_tick(store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    if store.data().deadline <= Instant::now() {
        return Ok(UpdateDeadline::Interrupt);
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(store.data().turn.tick(store.data().deadline))))
}

/// Counts the memory and table elements of an instance against its limits.
pub(super) struct Budget {
    pub(super) memory: usize,
    max_memory: usize,
    elements: usize,
    max_elements: usize,
    /// The limit that the guest ran into.
    pub(super) denied: Option<LimitMet>,
}

impl Budget {
    fn new(limits: &Limits) -> Self {
        Self {
            memory: 0,
            max_memory: usize::try_from(limits.memory.as_u64()).unwrap_or(usize::MAX),
            elements: 0,
            max_elements: limits.table_elements as usize,
            denied: None,
        }
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let memory = self.memory.saturating_add(desired.saturating_sub(current));
        if self.max_memory < memory {
            let how = format!("it asked for {memory} bytes of memory, more than {}", self.max_memory);
            self.denied = Some(LimitMet { key: "memory", how });
            return Ok(false);
        }
        self.memory = memory;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired.saturating_sub(current));
        if self.max_elements < elements {
            let how = format!("it asked for {elements} table elements, more than {}", self.max_elements);
            self.denied = Some(LimitMet { key: "table_elements", how });
            return Ok(false);
        }
        self.elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

/// The last bytes that a guest wrote to its standard output and error.
#[derive(Clone)]
pub(super) struct Stderr {
    last: Arc<Mutex<VecDeque<u8>>>,
    max_bytes: usize,
}

impl Stderr {
    fn new(max_bytes: &ByteSize) -> Self {
        let max_bytes = usize::try_from(max_bytes.as_u64()).unwrap_or(usize::MAX);
        Self { last: Arc::default(), max_bytes }
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Returns what was written; empty when nothing was.
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.lock().iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn keep(&self, bytes: &[u8]) {
        let mut last = self.lock();
        let bytes = &bytes[bytes.len().saturating_sub(self.max_bytes)..];
        let excess = (last.len() + bytes.len()).saturating_sub(self.max_bytes);
        last.drain(..excess);
        last.extend(bytes);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u8>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 writes this way, and it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stderr {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_output_is_kept() {
        let stderr = Stderr::new(&ByteSize::b(9));
        stderr.keep(&[b'a'; 64]);
        stderr.keep(b"the end");
        assert_eq!(stderr.text(), "aathe end");
    }

    #[test]
    fn no_output_is_kept_where_none_may_be() {
        let stderr = Stderr::new(&ByteSize::b(0));
        stderr.keep(b"the end");
        assert_eq!(stderr.text(), "");
    }

    #[test]
    fn the_tables_of_an_instance_have_their_elements_together() {
        let mut budget = Budget::new(&Limits { table_elements: 10, ..Limits::default() });
        assert!(budget.table_growing(0, 6, None).unwrap());
        assert!(budget.table_growing(0, 4, None).unwrap());
        assert!(!budget.table_growing(4, 5, None).unwrap());
        let limit = budget.denied.unwrap();
        assert_eq!(
            (limit.key, &*limit.how),
            ("table_elements", "it asked for 11 table elements, more than 10")
        );
    }

    #[test]
    fn an_instance_may_grow_up_to_its_limit() {
        let mut budget = Budget::new(&Limits { memory: ByteSize::kib(128), ..Limits::default() });
        assert!(budget.memory_growing(0, 64 << 10, None).unwrap());
        assert!(!budget.memory_growing(64 << 10, 192 << 10, None).unwrap());
        assert!(budget.denied.is_some());
    }
}
