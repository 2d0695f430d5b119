//! A door that a test closes and opens, so that order is held instead of slept for.

use std::sync::Arc;

use tokio::sync::watch;

/// Open at first. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    closed: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

/// A closed gate; it opens when this is released or dropped.
#[derive(Debug)]
pub struct Held(Gate);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Inner { closed: watch::Sender::new(false), waiting: watch::Sender::new(0) }))
    }
}

impl Gate {
    /// Closes the gate.
    pub fn hold(&self) -> Held {
        self.0.closed.send_replace(true);
        Held(self.clone())
    }

    /// Goes through when the gate is open.
    pub async fn pass(&self) {
        let waiting = Waiting::new(&self.0.waiting);
        let mut closed = self.0.closed.subscribe();
        // The sender is in `self`, so the wait does not fail.
        drop(closed.wait_for(|closed| !closed).await);
        drop(waiting);
    }
}

impl Held {
    /// Waits until exactly `n` are waiting at the gate.
    pub async fn until_waiting(&self, n: usize) {
        let mut waiting = self.0.0.waiting.subscribe();
        drop(waiting.wait_for(|waiting| *waiting == n).await);
    }

    /// Waits until one is waiting at the gate, or more are.
    pub async fn until_some_wait(&self) {
        let mut waiting = self.0.0.waiting.subscribe();
        drop(waiting.wait_for(|waiting| 0 < *waiting).await);
    }

    /// Opens the gate for all.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.closed.send_replace(false);
    }
}

/// Counts one who waits, also when it gives up.
struct Waiting<'g>(&'g watch::Sender<usize>);

impl<'g> Waiting<'g> {
    fn new(count: &'g watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
