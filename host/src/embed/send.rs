//! From the batcher's batches to the upstreams' calls, and what their errors mean to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram};
use tokio::sync::Notify;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::batcher::{Backend, Batch, Lane, Verdict};
use crate::model::{Embedding, ModelName};
use crate::telemetry::Throttle;
use crate::tokenizer::Tokenizer;
use crate::upstream::{
    self, Answers, Call, KnownDimensions, Loading, Manner, Place, TextFault, UpstreamError, space_of,
};

use super::agreement::Agreement;
use super::canary::Canary;
use super::cuts::{self, Candidate, Counts, Cuts};
use super::health;
use super::health::vitals::Vitals;
use super::request::Way;

/// How often the log tells that an upstream cuts the texts of one model, at most.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// All upstreams.
pub(super) struct Senders {
    pub(super) upstreams: Vec<Sender>,
    /// Told where an upstream's model is not what it was.
    pub(super) doubt: Notify,
}

/// What the metrics tell of an upstream's health.
pub(super) struct Meters {
    pub(super) healthy: Gauge,
    pub(super) ejections: Counter,
}

/// One upstream with the handles of its metrics.
pub(super) struct Sender {
    pub(super) name: String,
    pub(super) backend: Arc<dyn upstream::Backend>,
    pub(super) place: Place,
    /// Calls at once, at most.
    pub(super) slots: usize,
    pub(super) vitals: Vitals,
    pub(super) meters: Meters,
    seconds: Histogram,
    /// In the order of [`UpstreamError::CLASSES`].
    errors: Vec<(Counter, Mutex<Throttle>)>,
}

/// What calls for one model and one way have in common.
pub(super) struct Template {
    pub(super) model: Arc<str>,
    pub(super) way: Way,
    pub(super) max_tokens: Option<u32>,
    pub(super) loading: Arc<Loading>,
    pub(super) dimensions: Arc<KnownDimensions>,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) unasked: Arc<Unasked>,
    pub(super) agreement: Arc<Agreement>,
}

/// What upstreams have cut of one model's texts without being asked to, and where it seems so.
pub(super) struct Unasked {
    model: ModelName,
    texts: Counter,
    told: Mutex<Option<Instant>>,
    candidate: Mutex<Candidate>,
}

impl Unasked {
    pub(super) fn new(model: &ModelName) -> Self {
        let texts =
            metrics::counter!("embergate_upstream_truncated_texts_total", "model" => model.to_string());
        Self { model: model.clone(), texts, told: Mutex::default(), candidate: Mutex::default() }
    }

    fn confirms(&self, cuts: Cuts, counts: Counts) -> bool {
        self.candidate.lock().unwrap_or_else(PoisonError::into_inner).confirms(cuts, counts)
    }

    fn tell(&self, upstream: &str, n_texts: usize, limit: u32) {
        self.texts.increment(n_texts as u64);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < TELL_AGAIN) {
            return;
        }
        *told = Some(Instant::now());
        tracing::warn!(
            upstream,
            model = %self.model,
            n_texts,
            limit,
            "the upstream has cut texts without being asked to: set `max_tokens` of the [[model]] table to this limit, or let the server take more (`num_batch` and `num_ctx` at Ollama)"
        );
    }
}

/// What an upstream made of one text.
pub(super) struct Embedded {
    pub(super) embedding: Embedding,
    /// Tokens to which the upstream has cut it, where that is known.
    pub(super) cut_at: Option<u32>,
}

impl Sender {
    pub(super) fn new(
        name: String,
        place: Place,
        slots: usize,
        backend: Arc<dyn upstream::Backend>,
        health: &health::Config,
    ) -> Self {
        let errors = UpstreamError::CLASSES.map(|class| {
            let name = name.clone();
            let counter =
                metrics::counter!("embergate_upstream_errors_total", "upstream" => name, "class" => class);
            (counter, Mutex::default())
        });
        let meters = Meters {
            healthy: metrics::gauge!("embergate_upstream_healthy", "upstream" => name.clone()),
            ejections: metrics::counter!("embergate_upstream_ejections_total", "upstream" => name.clone()),
        };
        let seconds = metrics::histogram!("embergate_upstream_call_seconds", "upstream" => name.clone());
        Self {
            seconds,
            errors: errors.into(),
            backend,
            place,
            slots,
            meters,
            name,
            vitals: Vitals::new(health),
        }
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

    /// Counts a call that failed, and logs it unless its class was logged a moment ago:
    /// a long list has a call for each of its batches, which all fail for one reason.
    fn failed(&self, error: &UpstreamError, n_texts: usize) {
        let class = UpstreamError::CLASSES.iter().position(|class| *class == error.class());
        let Some((counter, throttle)) = class.and_then(|class| self.errors.get(class)) else { return };
        counter.increment(1);
        let upstream = &*self.name;
        let passed = throttle.lock().unwrap_or_else(PoisonError::into_inner).pass();
        let error = error as &dyn std::error::Error;
        match passed {
            Some(n_left_out) => tracing::warn!(upstream, n_texts, n_left_out, error, "upstream call failed"),
            None => tracing::debug!(upstream, n_texts, error, "upstream call failed"),
        }
    }
}

impl Backend for Senders {
    type Answer = Result<Embedded, TextFault>;
    type Error = Arc<UpstreamError>;
    type Template = Template;

    async fn send(&self, batch: Batch<Template>) -> Result<Vec<Self::Answer>, (Self::Error, Verdict)> {
        let upstream = &self.upstreams[batch.upstream];
        let template = &batch.template;
        let n_texts = batch.texts.len();
        let Way { purpose, prepared, .. } = template.way;
        let agreed = template.agreement.known();
        let call = Call {
            space: agreed.and_then(|agreed| space_of(agreed, purpose, prepared)).map(str::to_owned),
            model: template.model.clone(),
            texts: batch.texts,
            truncate: template.way.truncate,
            loading: template.loading.clone(),
            dimensions: template.dimensions.clone(),
            manner: Manner { purpose, prepared, is_bulk: batch.lane == Lane::Bulk },
        };
        let span = upstream.span(&call.model, n_texts, &batch.spans);
        let started = Instant::now();
        let under_way = upstream.vitals.call_begins();
        let answers = upstream.backend.embed(call).instrument(span.clone()).await;
        drop(under_way);
        upstream.seconds.record(started.elapsed().as_secs_f64());
        let answers = answers.map(|answers| embedded(upstream, template, &batch.n_tokens, answers));
        if let Some(Ok(first)) = answers.iter().flatten().next() {
            span.record("gen_ai.embeddings.dimension.count", first.embedding.dimensions());
        }
        if answers.is_ok() {
            upstream.vitals.succeeded();
        }
        answers.map_err(|error| {
            let canary = || Canary { model: template.model.clone(), loading: template.loading.clone() };
            upstream.vitals.failed(&error, canary);
            let is_another = matches!(
                error,
                UpstreamError::NoModel { .. }
                    | UpstreamError::Dimensions { .. }
                    | UpstreamError::OtherSpace { .. }
            );
            if is_another {
                self.doubt.notify_one();
            }
            let verdict = verdict(&error);
            span.record("otel.status_code", "ERROR").record("error.type", error.class());
            span.in_scope(|| upstream.failed(&error, n_texts));
            (Arc::new(error), verdict)
        })
    }
}

/// Puts to each text whether it was cut.
fn embedded(
    upstream: &Sender,
    template: &Template,
    n_tokens: &[u32],
    answers: Answers,
) -> Vec<Result<Embedded, TextFault>> {
    // A call of which a text failed does not say which ones it counted.
    let reported = answers.n_tokens.filter(|_| answers.texts.iter().all(Result::is_ok));
    let counts = Counts {
        n_tokens,
        is_exact: template.tokenizer.is_exact(),
        n_special: template.tokenizer.n_special(),
        max_tokens: template.max_tokens,
    };
    let cuts = reported
        .and_then(|reported| cuts::find(counts, reported))
        .filter(|cuts| template.unasked.confirms(*cuts, counts));
    if let Some(cuts) = cuts.filter(|_| !template.way.truncate) {
        let n_texts = n_tokens.iter().filter(|n_tokens| cuts.has_cut(**n_tokens)).count();
        template.unasked.tell(&upstream.name, n_texts, cuts.limit);
    }
    let cut_at = |n_tokens: u32| cuts.filter(|cuts: &Cuts| cuts.has_cut(n_tokens)).map(|cuts| cuts.limit);
    let texts = answers.texts.into_iter().zip(n_tokens);
    texts.map(|(text, n_tokens)| Ok(Embedded { embedding: text?, cut_at: cut_at(*n_tokens) })).collect()
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
