//! A request's way, one step after the other: routed, checked, answered, told, logged.
//!
//! A step goes into [`Service::steps`], where it may end the request; what it
//! learns goes into the [`Exchange`]. A route goes into `route.rs` and
//! [`Service::dispatch`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use tokio_util::task::TaskTracker;

use super::body::{Bodies, Held};
use super::error::ApiError;
use super::exchange::{Exchange, REQUEST_ID};
use super::observe::Embedded;
use super::options::Times;
use super::route::{Api, Route, Routes};
use super::{Config, guard, health, ollama, openai, openapi};
use crate::embed::{EmbedAnswer, EmbedError, EmbedRequest, Embedder};
use crate::model::ModelName;
use crate::telemetry::Metrics;

/// Numbers that are turned into text on the spot; more would hold up other requests.
const MAX_NUMBERS_INLINE: usize = 64 * 1024;

/// What answers on one listener.
pub(super) struct Service {
    shared: Arc<Shared>,
    routes: Routes,
}

/// What both listeners answer from.
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) embedder: Arc<Embedder>,
    /// In seconds since 1970.
    pub(super) started: u64,
    bodies: Bodies,
    metrics: Metrics,
}

impl Shared {
    pub(super) fn new(
        config: Arc<Config>,
        embedder: Arc<Embedder>,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let bodies = Bodies::new(&config, tasks);
        Arc::new(Self { config, embedder, started, bodies, metrics })
    }

    pub(super) fn times(&self) -> Times {
        Times { unasked: self.embedder.timeout(), longest: self.config.max_timeout }
    }

    /// The model that a client means: Ollama's clients leave out `:latest`, or add it.
    pub(super) fn model(&self, asked: &str) -> Result<ModelName, ApiError> {
        let name = ModelName::new(asked).map_err(|error| {
            ApiError::invalid("model", error.to_string()).in_ollamas_words("invalid model name")
        })?;
        if self.embedder.model(&name).is_some() {
            return Ok(name);
        }
        let other = match asked.strip_suffix(":latest") {
            Some(bare) => bare.to_owned(),
            None => format!("{asked}:latest"),
        };
        match ModelName::new(&other) {
            Ok(other) if self.embedder.model(&other).is_some() => Ok(other),
            _ => Err(ApiError::from(&EmbedError::UnknownModel(name))),
        }
    }

    /// Reads the request's body.
    async fn read<B>(&self, exchange: &mut Exchange, body: B) -> Result<Held, ApiError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let body = self.bodies.read(&exchange.headers, body).await?;
        exchange.record.bytes_in = body.bytes.len();
        Ok(body)
    }

    /// Embeds, and logs what is not the client's fault with all its causes.
    pub(super) async fn embed(
        &self,
        exchange: &mut Exchange,
        request: EmbedRequest,
    ) -> Result<EmbedAnswer, ApiError> {
        let model = request.model.clone();
        let answer = self.embedder.embed(request).await.map_err(|error| {
            let answer = ApiError::from(&error);
            if answer.status.is_server_error() {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%model, error, "texts could not be embedded");
            }
            answer
        })?;
        exchange.record.embedded = Some(Embedded::of(&answer));
        Ok(answer)
    }
}

impl Service {
    pub(super) fn new(shared: Arc<Shared>, routes: Routes) -> Self {
        Self { shared, routes }
    }

    /// Answers one request, whatever it is.
    pub(super) async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (mut exchange, body) = Exchange::begin(request, peer);
        let answered = self.steps(&mut exchange, body).await;
        let response = told(&exchange, answered);
        exchange.record.end(&exchange, &response);
        response
    }

    /// The steps before an answer, in order: each may be the last, with an error.
    async fn steps<B>(&self, exchange: &mut Exchange, body: B) -> Result<Response<Full<Bytes>>, ApiError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let found = self.routes.at(exchange.uri.path());
        exchange.record.route = found.as_ref().map(|(route, _)| *route);
        exchange.origin = guard::check(&exchange.uri, &exchange.headers, &self.shared.config)?;
        let (route, id) = found.ok_or_else(|| ApiError::no_path(exchange.uri.path()))?;
        if exchange.method == Method::OPTIONS {
            return Ok(guard::preflight(route, &exchange.headers));
        }
        if !route.takes(&exchange.method) {
            return Err(ApiError::wrong_method(route, &exchange.method));
        }
        self.dispatch(route, id, exchange, body).await
    }

    /// Hands the request to what answers at its route.
    async fn dispatch<B>(
        &self,
        route: Route,
        id: Option<String>,
        exchange: &mut Exchange,
        body: B,
    ) -> Result<Response<Full<Bytes>>, ApiError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let shared = &*self.shared;
        match route {
            Route::Root => Ok(health::root()),
            Route::Health => Ok(health::live()),
            Route::Ready => Ok(health::ready(&shared.embedder, shared.config.ready_timeout).await),
            Route::Openapi => Ok(openapi::document()),
            Route::Metrics => Ok(health::metrics(&shared.metrics)),
            Route::OpenaiModels => Ok(openai::models(shared)),
            Route::OpenaiModel => openai::one_model(shared, id.as_deref().unwrap_or_default()),
            Route::OpenaiEmbeddings => {
                let body = shared.read(exchange, body).await?;
                openai::embeddings(shared, exchange, &body.bytes).await
            }
            Route::OllamaEmbed => {
                let body = shared.read(exchange, body).await?;
                ollama::embed(shared, exchange, &body.bytes).await
            }
        }
    }
}

/// The response to what was answered, with the headers that all responses have.
fn told(exchange: &Exchange, answered: Result<Response<Full<Bytes>>, ApiError>) -> Response<Full<Bytes>> {
    let api = Api::of(exchange.uri.path());
    let mut response = answered.unwrap_or_else(|error| error.into_response(api));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&exchange.id) {
        headers.insert(REQUEST_ID, id);
    }
    guard::allow(headers, exchange.origin.clone());
    if exchange.method == Method::HEAD { without_body(response) } else { response }
}

/// What HEAD gets: the same headers, the length among them.
fn without_body(response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Full::default())
}

pub(super) fn json_response(json: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(json)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Runs `encode`: here if `answer` is small, else on a thread that may take its time.
pub(super) async fn off_the_workers(
    answer: &EmbedAnswer,
    encode: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Result<Vec<u8>, ApiError> {
    let n_numbers: usize = answer.embeddings.iter().map(|embedding| embedding.dimensions()).sum();
    if n_numbers <= MAX_NUMBERS_INLINE {
        return Ok(encode());
    }
    tokio::task::spawn_blocking(encode)
        .await
        .map_err(|_| ApiError::internal("the answer could not be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_gets_the_length_and_no_body() {
        let response = without_body(json_response(b"{}".to_vec()));
        assert_eq!(response.headers()[CONTENT_LENGTH], "2");
        assert_eq!(response.body().size_hint().exact(), Some(0));
    }
}
