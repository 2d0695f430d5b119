//! Counts what there is beside a run, so that whoever waits sees how much is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::task::AbortOnDropHandle;

use super::Event;
use super::report::Reporter;
use super::source::{Counted, Sources};

/// A count under way. Stopped by drop.
pub(super) struct Counting {
    stop: Arc<AtomicBool>,
    task: AbortOnDropHandle<()>,
}

impl Counting {
    /// Begins to count, and tells how much there is as soon as that is known.
    pub(super) fn spawn(sources: Arc<Sources>, reporter: Reporter) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let count = async move {
            let asked = Arc::clone(&stopped);
            let counted = tokio::task::spawn_blocking(move || sources.count(&asked)).await;
            if let Ok(Counted { n_documents, n_bytes }) = counted
                && !stopped.load(Ordering::Relaxed)
            {
                reporter.tell(Event::Found { n_documents, n_bytes }).await;
            }
        };
        Self { stop, task: AbortOnDropHandle::new(tokio::spawn(count)) }
    }

    /// Nobody waits any more.
    pub(super) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop((&mut self.task).await);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
