//! Handles of one queue's metrics.

use metrics::{Counter, Gauge, Histogram};

use super::unit::Unit;
use super::{Backend, Lane, Queue};

pub(super) struct Meters {
    /// By lane.
    queued: [Gauge; 2],
    waits: [Histogram; 2],
    batch_texts: Histogram,
    batch_tokens: Histogram,
    pub(super) halved: Counter,
    pub(super) retries: Counter,
    pub(super) refused_retries: Counter,
}

impl Meters {
    pub(super) fn new(queue: &Queue) -> Self {
        let model = || queue.model.clone();
        Self {
            queued: Lane::ALL.map(|lane| {
                metrics::gauge!("embergate_queued_texts", "model" => model(), "way" => queue.way, "lane" => lane.as_str())
            }),
            waits: Lane::ALL.map(|lane| {
                metrics::histogram!("embergate_batch_wait_seconds", "model" => model(), "lane" => lane.as_str())
            }),
            batch_texts: metrics::histogram!("embergate_batch_texts", "model" => model()),
            batch_tokens: metrics::histogram!("embergate_batch_tokens", "model" => model()),
            halved: metrics::counter!("embergate_batches_halved_total", "model" => model()),
            retries: metrics::counter!("embergate_batch_retries_total", "model" => model()),
            refused_retries: metrics::counter!("embergate_batch_retries_refused_total", "model" => model()),
        }
    }

    /// Tells how many texts wait, by lane.
    pub(super) fn report(&self, queued: [usize; 2]) {
        for (gauge, n_texts) in self.queued.iter().zip(queued) {
            gauge.set(n_texts as f64);
        }
    }

    /// Tells of a batch that leaves.
    pub(super) fn observe<B: Backend>(&self, unit: &Unit<B>) {
        self.batch_texts.record(unit.len() as f64);
        self.batch_tokens.record(unit.sum_tokens() as f64);
        if let Some(oldest) = unit.oldest() {
            self.waits[unit.lane as usize].record(oldest.elapsed().as_secs_f64());
        }
    }
}
