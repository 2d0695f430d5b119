//! Whether the gateway lives, whether it can answer, and its metrics.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::error::words;
use crate::embed::Embedder;
use crate::telemetry::Metrics;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers `/`: some clients look for this before they trust an Ollama.
pub(super) fn root() -> Response<Full<Bytes>> {
    text(StatusCode::OK, "Ollama is running")
}

/// Answers `/healthz`: the process lives.
pub(super) fn live() -> Response<Full<Bytes>> {
    text(StatusCode::OK, "ok\n")
}

/// Answers `/readyz`: an upstream can be asked, or the reason why none can.
pub(super) async fn ready(embedder: &Embedder, within: Duration) -> Response<Full<Bytes>> {
    match tokio::time::timeout(within, embedder.ready()).await {
        Ok(Ok(())) => text(StatusCode::OK, "ready\n"),
        Ok(Err(errors)) => {
            for error in &errors {
                let error = &**error as &dyn std::error::Error;
                tracing::debug!(error, "an upstream cannot be asked");
            }
            // Whoever has no key may ask, too: where an upstream is stays in the log.
            let reasons: Vec<String> = errors.iter().map(|error| words::upstream(error)).collect();
            text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join("; ")))
        }
        Err(_) => {
            let reason = format!("not ready: no upstream answered within {within:?}\n");
            text(StatusCode::SERVICE_UNAVAILABLE, reason)
        }
    }
}

/// Answers `/metrics` in Prometheus' text format.
pub(super) fn metrics(metrics: &Metrics, embedder: &Embedder) -> Response<Full<Bytes>> {
    // What has expired while nobody asked for anything is not shown as memory in use.
    embedder.tidy();
    let mut response = text(StatusCode::OK, metrics.render());
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}
