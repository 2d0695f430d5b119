//! From the batcher's batches to the upstreams' calls, and what their errors mean to it.

use std::sync::Arc;
use std::time::Instant;

use metrics::{Counter, Histogram};

use crate::batcher::{Backend, Batch, Verdict};
use crate::model::Embedding;
use crate::upstream::{self, Call, KnownDimensions, TextFault, UpstreamError};

/// All upstreams.
pub(super) struct Senders {
    pub(super) upstreams: Vec<Sender>,
}

/// One upstream with the handles of its metrics.
pub(super) struct Sender {
    pub(super) name: String,
    pub(super) backend: Arc<dyn upstream::Backend>,
    seconds: Histogram,
    /// In the order of [`UpstreamError::CLASSES`].
    errors: Vec<Counter>,
}

/// What calls for one model and one truncation have in common.
pub(super) struct Template {
    pub(super) model: Arc<str>,
    pub(super) truncate: bool,
    pub(super) max_tokens: Option<u32>,
    pub(super) dimensions: Arc<KnownDimensions>,
}

impl Sender {
    pub(super) fn new(name: String, backend: Arc<dyn upstream::Backend>) -> Self {
        let errors = UpstreamError::CLASSES.map(|class| {
            metrics::counter!("embergate_upstream_errors_total", "upstream" => name.clone(), "class" => class)
        });
        let seconds = metrics::histogram!("embergate_upstream_call_seconds", "upstream" => name.clone());
        Self { seconds, errors: errors.into(), backend, name }
    }

    fn count(&self, error: &UpstreamError) {
        let class = UpstreamError::CLASSES.iter().position(|class| *class == error.class());
        if let Some(counter) = class.and_then(|class| self.errors.get(class)) {
            counter.increment(1);
        }
    }
}

impl Backend for Senders {
    type Answer = Result<Embedding, TextFault>;
    type Error = Arc<UpstreamError>;
    type Template = Template;

    async fn send(&self, batch: Batch<Template>) -> Result<Vec<Self::Answer>, (Self::Error, Verdict)> {
        let upstream = &self.upstreams[batch.upstream];
        let template = &batch.template;
        let n_texts = batch.texts.len();
        let call = Call {
            model: template.model.clone(),
            texts: batch.texts,
            truncate: template.truncate,
            max_tokens: template.max_tokens,
            dimensions: template.dimensions.clone(),
        };
        let started = Instant::now();
        let answers = upstream.backend.embed(call).await;
        upstream.seconds.record(started.elapsed().as_secs_f64());
        answers.map_err(|error| {
            upstream.count(&error);
            let verdict = verdict(&error);
            tracing::warn!(
                upstream = upstream.name,
                n_texts,
                error = &error as &dyn std::error::Error,
                "upstream call failed"
            );
            (Arc::new(error), verdict)
        })
    }
}

fn verdict(error: &UpstreamError) -> Verdict {
    if error.blames_a_text() {
        Verdict::Halve
    } else if error.may_be_a_text() {
        Verdict::Again
    } else {
        Verdict::Elsewhere
    }
}
