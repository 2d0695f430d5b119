//! What is counted and logged of requests: never their texts.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::{Response, StatusCode};
use metrics::{counter, gauge, histogram};
use tokio::time::Instant;

use super::exchange::Exchange;
use super::route::Route;
use super::timing::Timings;
use super::trace;
use crate::embed::{EmbedAnswer, EmbedRequest, Lane};
use crate::model::{Embedding, ModelName};

/// What is known of one request: filled in on its way, told at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// `None` where nothing is at the path.
    pub(super) route: Option<Route>,
    /// The name of the key that was shown.
    pub(super) key: Option<Arc<str>>,
    /// Why there is no answer: an error's code, else the field or header that is wrong.
    pub(super) error: Option<&'static str>,
    /// Of the request's body, where it was read.
    pub(super) bytes_in: usize,
    /// As the configuration spells it, which is not always as the client does.
    pub(super) model: Option<ModelName>,
    pub(super) purpose: Option<&'static str>,
    pub(super) lane: Option<&'static str>,
    /// How embeddings are written, where the API leaves a choice.
    pub(super) format: Option<&'static str>,
    pub(super) n_texts: Option<usize>,
    /// Where texts were embedded.
    pub(super) embedded: Option<Embedded>,
    pub(super) timings: Timings,
}

/// What an answer with embeddings was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Embedded {
    pub(super) n_hits: usize,
    pub(super) n_tokens: u64,
    /// Nothing where there was no text.
    pub(super) dimensions: Option<usize>,
}

impl Record {
    /// Notes what is asked for, before anything is done about it.
    pub(super) fn asked(&mut self, request: &EmbedRequest, lane: Lane) {
        self.model = Some(request.model.clone());
        self.purpose = Some(request.purpose.as_str());
        self.lane = Some(lane.as_str());
        self.n_texts = Some(request.texts.len());
    }

    pub(super) fn embedded(&mut self, answer: &EmbedAnswer) {
        let dimensions = answer.embeddings.first().map(Embedding::dimensions);
        self.n_texts = Some(answer.embeddings.len());
        self.timings.spent = answer.spent;
        self.embedded = Some(Embedded { n_hits: answer.n_hits, n_tokens: answer.n_tokens, dimensions });
    }
}

/// Counts a request that was answered, and writes the access log's line.
pub(super) fn answered(exchange: &Exchange, response: &Response<Full<Bytes>>) {
    let (record, status) = (&exchange.record, response.status());
    count(exchange, class(status));
    if let (Some(_), Some(n_texts)) = (record.embedded, record.n_texts) {
        histogram!("embergate_http_request_texts", "route" => label(record)).record(n_texts as f64);
    }
    let line = if status.is_success() {
        // Probes and scrapes come every few seconds.
        record.embedded.map(|_| 0)
    } else {
        exchange.failures.line(Some(status.as_u16()), Instant::now())
    };
    log(exchange, Some(status.as_u16()), response.body().size_hint().exact(), line);
}

/// Counts and logs a request whose client left before there was an answer.
pub(super) fn given_up(exchange: &Exchange) {
    count(exchange, "none");
    log(exchange, None, None, exchange.failures.line(None, Instant::now()));
}

fn count(exchange: &Exchange, status: &'static str) {
    let route = label(&exchange.record);
    counter!("embergate_http_requests_total", "route" => route, "status" => status).increment(1);
    histogram!("embergate_http_request_seconds", "route" => route)
        .record(exchange.begun.elapsed().as_secs_f64());
}

/// Writes a line: at `info` with the number of those that were left out before it,
/// or at `debug` where there is none for it. Nothing in it is of a client's choice
/// but the ids, which are made of harmless characters, and what is `None` is left out.
fn log(exchange: &Exchange, status: Option<u16>, bytes_out: Option<u64>, line: Option<u64>) {
    let record = &exchange.record;
    let embedded = record.embedded;
    let message = match status {
        Some(_) => "request",
        None => "request left unanswered: its client left, or was cut off",
    };
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = exchange.id,
                trace_id = exchange.trace_id.as_deref(),
                method = trace::method(&exchange.method),
                route = label(record),
                status,
                error = record.error,
                millis = (exchange.begun.elapsed().as_secs_f64() * 1e6).round() / 1e3,
                model = record.model.as_ref().map(ModelName::as_str),
                purpose = record.purpose,
                lane = record.lane,
                n_texts = record.n_texts,
                n_hits = embedded.map(|embedded| embedded.n_hits),
                n_tokens = embedded.map(|embedded| embedded.n_tokens),
                key = record.key.as_deref(),
                client = exchange.shown_client().map(tracing::field::display),
                bytes_in = record.bytes_in,
                bytes_out,
                n_left_out = line.filter(|n_left_out| 0 < *n_left_out),
                "{message}"
            )
        };
    }
    match line {
        Some(_) => line!(info),
        None => line!(debug),
    }
}

fn label(record: &Record) -> &'static str {
    record.route.map_or("none", Route::label)
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// Counts a connection as open until dropped.
pub(super) struct Connection(metrics::Gauge);

pub(super) fn connection(listener: &'static str) -> Connection {
    let open = gauge!("embergate_http_connections", "listener" => listener);
    open.increment(1.0);
    Connection(open)
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
