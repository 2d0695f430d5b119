//! Texts that wait, and texts that go together: in one call, and then in halves of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tracing::Span;

use super::room::Weight;
use super::{Backend, Failed, Lane, Replied, Text};

/// One text that waits.
pub(super) struct Entry<B: Backend> {
    pub(super) text: Text,
    pub(super) reply: oneshot::Sender<Replied<B::Answer, B::Error>>,
    pub(super) at: Instant,
    /// Of the request that it is from.
    pub(super) span: Span,
    /// Its own, and that of its bytes.
    pub(super) _place: (OwnedSemaphorePermit, Weight),
}

impl<B: Backend> Entry<B> {
    /// Whoever asked may have left.
    pub(super) fn answer(self, outcome: Result<B::Answer, Failed<B::Error>>, called: Duration) {
        let queued = self.at.elapsed().saturating_sub(called);
        drop(self.reply.send(Replied { outcome, queued, called }));
    }
}

/// Texts that go in one call, and what became of them so far.
pub(super) struct Unit<B: Backend> {
    pub(super) lane: Lane,
    pub(super) entries: Vec<Entry<B>>,
    /// Upstreams that failed it.
    pub(super) tried: Vec<usize>,
    pub(super) faults: usize,
    /// The time of all its calls, those that failed included.
    pub(super) called: Duration,
    /// What it shares with the other parts of the batch that it was halved from.
    pub(super) rescue: Option<Arc<Rescue>>,
}

/// The halving of one batch.
pub(super) struct Rescue {
    /// Calls that may still fail before the rest is given up.
    failures_left: AtomicUsize,
    /// Some text of the batch was answered, so the upstreams are not to blame.
    any_answered: AtomicBool,
}

impl Rescue {
    /// One bad text costs about `log2(n_texts)` failed calls: room for four of them.
    fn new(n_texts: usize) -> Arc<Self> {
        let levels = n_texts.max(1).ilog2() as usize + 1;
        Arc::new(Self { failures_left: AtomicUsize::new(4 * levels), any_answered: AtomicBool::new(false) })
    }

    /// Takes one of the failures that are left.
    pub(super) fn spend(&self) -> bool {
        self.failures_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

impl<B: Backend> Unit<B> {
    pub(super) fn new(lane: Lane, entries: Vec<Entry<B>>) -> Self {
        Self::part(lane, entries, None)
    }

    fn part(lane: Lane, entries: Vec<Entry<B>>, rescue: Option<Arc<Rescue>>) -> Self {
        Self { lane, entries, tried: Vec::new(), faults: 0, called: Duration::ZERO, rescue }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn texts(&self) -> Vec<Arc<str>> {
        self.entries.iter().map(|entry| entry.text.text.clone()).collect()
    }

    pub(super) fn n_tokens(&self) -> Vec<u32> {
        self.entries.iter().map(|entry| entry.text.n_tokens).collect()
    }

    pub(super) fn sum_tokens(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.text.n_tokens)).sum()
    }

    /// Of the requests that its texts are from, each once, where anybody watches them.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for Entry { span, .. } in &self.entries {
            if !span.is_none() && !spans.contains(span) {
                spans.push(span.clone());
            }
        }
        spans
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.at).min()
    }

    /// Resolves when nobody waits for any of its texts.
    pub(super) async fn abandoned(&mut self) {
        for entry in &mut self.entries {
            entry.reply.closed().await;
        }
    }

    /// Gives each text its answer. Answers that are not one for each text are
    /// nobody's: all replies close.
    pub(super) fn answer(self, answers: Vec<B::Answer>) {
        if answers.len() != self.entries.len() {
            return;
        }
        if let Some(rescue) = &self.rescue {
            rescue.any_answered.store(true, Ordering::Relaxed);
        }
        for (entry, answer) in self.entries.into_iter().zip(answers) {
            entry.answer(Ok(answer), self.called);
        }
    }

    pub(super) fn fail(self, error: &B::Error) {
        let answered = self.rescue.as_ref().is_some_and(|rescue| rescue.any_answered.load(Ordering::Relaxed));
        let alone = self.entries.len() == 1 && answered;
        for entry in self.entries {
            entry.answer(Err(Failed { error: error.clone(), alone }), self.called);
        }
    }

    pub(super) fn halves(mut self) -> [Self; 2] {
        let rescue = self.rescue.take().unwrap_or_else(|| Rescue::new(self.entries.len()));
        let back = self.entries.split_off(self.entries.len() / 2);
        let Self { lane, called, entries: front, .. } = self;
        [front, back].map(|entries| Self { called, ..Self::part(lane, entries, Some(rescue.clone())) })
    }
}
