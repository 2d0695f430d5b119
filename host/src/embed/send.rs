//! From the batcher's batches to the upstreams' calls, and what their errors mean to it.

use std::sync::Arc;
use std::time::Instant;

use metrics::{Counter, Histogram};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::batcher::{Backend, Batch, Verdict};
use crate::model::Embedding;
use crate::upstream::{self, Call, KnownDimensions, Place, TextFault, UpstreamError};

/// All upstreams, and what each queue asks of them.
pub(super) struct Senders {
    pub(super) upstreams: Vec<Sender>,
    pub(super) queues: Vec<Template>,
}

/// One upstream with the handles of its metrics.
pub(super) struct Sender {
    pub(super) name: String,
    pub(super) backend: Arc<dyn upstream::Backend>,
    place: Place,
    seconds: Histogram,
    /// In the order of [`UpstreamError::CLASSES`].
    errors: Vec<Counter>,
}

/// What calls for one model and one truncation have in common.
#[derive(Clone)]
pub(super) struct Template {
    pub(super) model: Arc<str>,
    pub(super) truncate: bool,
    pub(super) max_tokens: Option<u32>,
    pub(super) dimensions: Arc<KnownDimensions>,
}

impl Sender {
    pub(super) fn new(name: String, place: Place, backend: Arc<dyn upstream::Backend>) -> Self {
        let errors = UpstreamError::CLASSES.map(|class| {
            metrics::counter!("embergate_upstream_errors_total", "upstream" => name.clone(), "class" => class)
        });
        let seconds = metrics::histogram!("embergate_upstream_call_seconds", "upstream" => name.clone());
        Self { seconds, errors: errors.into(), backend, place, name }
    }

    /// The span of a call with texts of `requests`: a child of the first one's,
    /// linked to the others'. They share it, so none of their traces goes with it.
    fn span(&self, model: &str, n_texts: usize, requests: &[Span]) -> Span {
        let span = tracing::info_span!(
            parent: requests.first().and_then(Span::id),
            "embeddings",
            otel.name = format_args!("embeddings {model}"),
            otel.kind = "client",
            otel.status_code = Empty,
            gen_ai.operation.name = "embeddings",
            gen_ai.provider.name = self.place.provider,
            gen_ai.request.model = model,
            gen_ai.embeddings.dimension.count = Empty,
            server.address = self.place.address,
            server.port = self.place.port,
            embergate.upstream = self.name,
            embergate.texts = n_texts,
            "error.type" = Empty,
        );
        for request in requests.iter().skip(1) {
            span.follows_from(request);
        }
        span
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

    async fn send(&self, batch: Batch) -> Result<Vec<Self::Answer>, (Self::Error, Verdict)> {
        let upstream = &self.upstreams[batch.upstream];
        let template = self.queues[batch.queue].clone();
        let n_texts = batch.texts.len();
        let call = Call {
            model: template.model,
            texts: batch.texts,
            truncate: template.truncate,
            max_tokens: template.max_tokens,
            dimensions: template.dimensions,
        };
        let span = upstream.span(&call.model, n_texts, &batch.spans);
        let started = Instant::now();
        let answers = upstream.backend.embed(call).instrument(span.clone()).await;
        upstream.seconds.record(started.elapsed().as_secs_f64());
        if let Some(Ok(embedding)) = answers.iter().flatten().next() {
            span.record("gen_ai.embeddings.dimension.count", embedding.dimensions());
        }
        answers.map_err(|error| {
            upstream.count(&error);
            let verdict = verdict(&error);
            span.record("otel.status_code", "ERROR").record("error.type", error.class());
            span.in_scope(|| {
                tracing::warn!(
                    upstream = upstream.name,
                    n_texts,
                    error = &error as &dyn std::error::Error,
                    "upstream call failed"
                );
            });
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
