//! Calls: each gives its slot back however it ends, and hands out what waits for it.

use std::sync::Arc;

use tokio::time::Instant;

use super::handout::Next;
use super::state::{Settled, State};
use super::unit::{Entry, Unit};
use super::{Backend, Batch, Lane, Shared, retries};
use crate::errand::Errand;

impl<B: Backend> Shared<B> {
    /// Queues `entries`, unless everything was stopped: their replies close then. Hands out what
    /// can be handed out; the last call of these is left to the caller, who waits for it anyway.
    pub(super) fn push(self: &Arc<Self>, queue: usize, lane: Lane, entries: Vec<Entry<B>>) -> Errand {
        let mut state = self.lock();
        // Asked under the lock, under which `shutdown` empties the queues after it stopped.
        if !self.stop.is_cancelled() {
            state.push(queue, lane, entries, Instant::now());
        }
        self.hand_out(&mut state)
            .map_or_else(Errand::none, |last| Errand::new(Arc::clone(self).run(last), &self.tasks))
    }

    /// Hands out everything for which there is a free slot.
    pub(super) fn dispatch(self: &Arc<Self>) {
        if let Some(last) = self.hand_out(&mut self.lock()) {
            self.tasks.spawn(Arc::clone(self).run(last));
        }
    }

    /// Begins a call for every free slot but the last, which it returns.
    fn hand_out(self: &Arc<Self>, state: &mut State<B>) -> Option<Next<B>> {
        let mut last = None;
        if self.stop.is_cancelled() {
            return last;
        }
        while let Some(next) = state.next(Instant::now()) {
            if let Some(before) = last.replace(next) {
                self.tasks.spawn(Arc::clone(self).run(before));
            }
        }
        state.report();
        last
    }

    /// One upstream call, from a slot that `state` has marked as taken.
    async fn run(self: Arc<Self>, mut next: Next<B>) {
        let slot = Slot { shared: &self, upstream: next.upstream, number: next.number };
        next.meters.observe(&next.unit);
        let (texts, n_tokens, spans) = (next.unit.texts(), next.unit.n_tokens(), next.unit.spans());
        let template = Arc::clone(&next.template);
        let batch = Batch { upstream: next.upstream, template, texts, n_tokens, lane: next.unit.lane, spans };
        let begun = Instant::now();
        let outcome = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            outcome = self.backend.send(batch) => outcome,
            // A caller that went away would still cost upstream time.
            () = next.unit.abandoned() => return,
        };
        let now = Instant::now();
        next.unit.called += now - begun;
        match outcome {
            Ok(answers) => {
                self.lock().record(&next, now - begun, now);
                next.unit.answer(answers);
            }
            Err((error, verdict)) => {
                let (upstream, queue, template) = (next.upstream, next.queue, Arc::clone(&next.template));
                let settled = self.lock().settle(next, &error, verdict, now);
                drop(slot);
                if let Settled::Later(unit) = settled {
                    self.retry_later(queue, &template, unit).await;
                }
                self.dispatch_after_rest(upstream).await;
            }
        }
    }

    /// Queues `unit` again after a moment, unless nobody waits for it any more.
    async fn retry_later(self: &Arc<Self>, queue: usize, template: &Arc<B::Template>, mut unit: Unit<B>) {
        tokio::select! {
            () = self.stop.cancelled() => return,
            () = unit.abandoned() => return,
            () = tokio::time::sleep(retries::jittered(self.config.retry_delay)) => {}
        }
        self.lock().retry(queue, template, unit);
        self.dispatch();
    }

    /// Hands out again what was left to others while `upstream` rested, should they not come back to it.
    async fn dispatch_after_rest(self: &Arc<Self>, upstream: usize) {
        let Some(until) = self.lock().upstreams[upstream].rests_until(Instant::now()) else { return };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep_until(until) => self.dispatch(),
        }
    }
}

/// Gives an upstream's slot back however its call ends, and hands out what waits for it.
struct Slot<'s, B: Backend> {
    shared: &'s Arc<Shared<B>>,
    upstream: usize,
    number: u64,
}

impl<B: Backend> Drop for Slot<'_, B> {
    fn drop(&mut self) {
        self.shared.lock().release(self.upstream, self.number);
        self.shared.dispatch();
    }
}
