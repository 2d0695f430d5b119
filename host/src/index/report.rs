//! Sums what happens in a run, and tells it to whoever watches.

use std::pin::pin;

use tokio::sync::mpsc;

use super::{Event, Outcome, Summary};

/// What happens, from the stages to whoever sums it up.
#[derive(Clone, Debug)]
pub(super) struct Reporter(mpsc::Sender<Event>);

impl Reporter {
    /// Events wait for the watcher, a bounded number of them.
    pub(super) fn new() -> (Self, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel(1024);
        (Self(sender), events)
    }

    /// Tells it, or nobody where the run is over.
    pub(super) async fn tell(&self, event: Event) {
        drop(self.0.send(event).await);
    }

    pub(super) async fn finished(&self, source: String, n_bytes: u64, outcome: Outcome) {
        self.tell(Event::Finished { source, n_bytes, outcome }).await;
    }
}

pub(super) struct Report<'w> {
    watcher: &'w mut (dyn FnMut(Event) + Send),
    summary: Summary,
}

impl<'w> Report<'w> {
    pub(super) fn new(watcher: &'w mut (dyn FnMut(Event) + Send)) -> Self {
        Self { watcher, summary: Summary::default() }
    }

    fn take(&mut self, event: Event) {
        match &event {
            Event::Finished { n_bytes, outcome, .. } => self.summary.add(*n_bytes, outcome),
            Event::Planned { n_bytes, .. } => {
                self.summary.n_bytes += n_bytes;
                self.summary.n_documents += 1;
            }
            Event::Building { .. } | Event::Found { .. } => {}
        }
        (self.watcher)(event);
    }

    /// Takes what is told while `work` goes on, and what it came to.
    pub(super) async fn during<T>(
        &mut self,
        mut events: mpsc::Receiver<Event>,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        let value = loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => self.take(event),
                value = &mut work => break value,
            }
        };
        while let Ok(event) = events.try_recv() {
            self.take(event);
        }
        value
    }

    pub(super) fn into_summary(self) -> Summary {
        self.summary
    }
}

impl Summary {
    fn add(&mut self, n_bytes: u64, outcome: &Outcome) {
        self.n_bytes += n_bytes;
        self.n_documents += u64::from(!matches!(outcome, Outcome::Removed));
        match outcome {
            Outcome::Unchanged => self.n_unchanged += 1,
            Outcome::Indexed(indexed) => {
                self.n_indexed += 1;
                self.n_chunks += indexed.n_chunks;
                self.n_embedded += indexed.n_embedded;
                self.n_copied += indexed.n_copied;
                self.n_tokens += indexed.n_tokens;
                self.coverage.add(&indexed.coverage);
                if let Some(encoding) = &indexed.encoding {
                    *self.encodings.entry(encoding.clone()).or_default() += 1;
                }
            }
            Outcome::Removed => self.n_removed += 1,
            Outcome::Skipped(_) => self.n_skipped += 1,
            Outcome::Failed(_) => self.n_failed += 1,
        }
    }
}

/// An error and its causes in one line, as people read it.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
