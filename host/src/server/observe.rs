//! What is counted and logged of requests: never their texts.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use metrics::{counter, gauge, histogram};

use super::exchange::Exchange;
use super::route::Route;
use crate::embed::EmbedAnswer;

/// What is known of one request: filled in on its way, counted and logged at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// `None` where nothing is at the path.
    pub(super) route: Option<Route>,
    /// Of the request's body, where it was read.
    pub(super) bytes_in: usize,
    /// Where texts were embedded.
    pub(super) embedded: Option<Embedded>,
}

/// What an answer with embeddings was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Embedded {
    n_texts: usize,
    n_hits: usize,
    n_tokens: u64,
}

impl Embedded {
    pub(super) fn of(answer: &EmbedAnswer) -> Self {
        Self { n_texts: answer.embeddings.len(), n_hits: answer.n_hits, n_tokens: answer.n_tokens }
    }
}

impl Record {
    /// Writes the access log's line, and counts.
    pub(super) fn end(&self, exchange: &Exchange, response: &Response<Full<Bytes>>) {
        let (status, took) = (response.status(), exchange.begun.elapsed());
        let route = self.route.map_or("none", Route::label);
        counter!("embergate_http_requests_total", "route" => route, "status" => class(status)).increment(1);
        histogram!("embergate_http_request_seconds", "route" => route).record(took.as_secs_f64());
        if let Some(embedded) = self.embedded {
            histogram!("embergate_http_request_texts", "route" => route).record(embedded.n_texts as f64);
        }
        self.log(exchange, route, status, took);
    }

    fn log(&self, exchange: &Exchange, route: &str, status: StatusCode, took: Duration) {
        let (request_id, method) = (&exchange.id, exchange.method.as_str());
        let success = status.is_success();
        let status = status.as_u16();
        let millis = (took.as_secs_f64() * 1e6).round() / 1e3;
        match self.embedded {
            Some(Embedded { n_texts, n_hits, n_tokens }) => {
                tracing::info!(
                    request_id, method, route, status, millis, n_texts, n_hits, n_tokens, "request"
                );
            }
            // Probes and scrapes come every few seconds.
            None if success => tracing::debug!(request_id, method, route, status, millis, "request"),
            None => tracing::info!(request_id, method, route, status, millis, "request"),
        }
    }
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
