//! A request's way: checked, routed, answered, told apart by an id, and logged.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::body::Bodies;
use super::error::ApiError;
use super::observe::{Answered, Embedded};
use super::options::Times;
use super::route::{Api, Route, Routes};
use super::{Config, guard, health, ollama, openai};
use crate::embed::{EmbedAnswer, EmbedError, EmbedRequest, Embedder};
use crate::model::ModelName;
use crate::telemetry::Metrics;

const REQUEST_ID: &str = "x-request-id";

/// Characters of a client's own request id, at most; a longer one is replaced.
const MAX_REQUEST_ID: usize = 128;

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

    /// The model that a client means: Ollama's clients leave out `:latest`, or add
    /// it. Waits for upstreams to be asked where nobody knows it.
    pub(super) async fn model(&self, asked: &str) -> Result<ModelName, ApiError> {
        let name = ModelName::new(asked).map_err(|error| {
            ApiError::invalid("model", error.to_string()).in_ollamas_words("invalid model name")
        })?;
        match self.embedder.find(&name).await {
            Some(model) => Ok(model.name.clone()),
            None => Err(ApiError::from(&EmbedError::UnknownModel(name))),
        }
    }

    /// Embeds, and logs what is not the client's fault with all its causes.
    pub(super) async fn embed(&self, request: EmbedRequest) -> Result<EmbedAnswer, ApiError> {
        let model = request.model.clone();
        self.embedder.embed(request).await.map_err(|error| {
            let answer = ApiError::from(&error);
            if answer.status.is_server_error() {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%model, error, "texts could not be embedded");
            }
            answer
        })
    }
}

impl Service {
    pub(super) fn new(shared: Arc<Shared>, routes: Routes) -> Self {
        Self { shared, routes }
    }

    /// Answers one request, whatever it is.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let begun = Instant::now();
        let (parts, body) = request.into_parts();
        let id = request_id(&parts.headers);
        let found = self.routes.at(parts.uri.path());
        let route = found.as_ref().map(|(route, _)| *route);
        let (origin, answered) = match guard::check(&parts.uri, &parts.headers, &self.shared.config) {
            Ok(origin) => (origin, self.dispatch(found, &parts, body, begun).await),
            Err(refused) => (None, Err(refused)),
        };
        let api = Api::of(parts.uri.path());
        let mut response = answered.unwrap_or_else(|error| error.into_response(api));
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        guard::allow(response.headers_mut(), origin);
        Answered {
            id: &id,
            method: &parts.method,
            route,
            status: response.status(),
            took: begun.elapsed(),
            embedded: response.extensions().get::<Embedded>().copied(),
        }
        .record();
        if parts.method == Method::HEAD { without_body(response) } else { response }
    }

    async fn dispatch<B>(
        &self,
        found: Option<(Route, Option<String>)>,
        parts: &Parts,
        body: B,
        begun: Instant,
    ) -> Result<Response<Full<Bytes>>, ApiError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (shared, headers) = (&*self.shared, &parts.headers);
        let (route, id) = found.ok_or_else(|| ApiError::no_path(parts.uri.path()))?;
        if parts.method == Method::OPTIONS {
            return Ok(guard::preflight(route, headers));
        }
        if !route.takes(&parts.method) {
            return Err(ApiError::wrong_method(route, &parts.method));
        }
        match route {
            Route::Root => Ok(health::root()),
            Route::Health => Ok(health::live()),
            Route::Ready => Ok(health::ready(&shared.embedder, shared.config.ready_timeout).await),
            Route::Metrics => Ok(health::metrics(&shared.metrics)),
            Route::OpenaiModels => Ok(openai::models(shared)),
            Route::OpenaiModel => openai::one_model(shared, id.as_deref().unwrap_or_default()).await,
            Route::OpenaiEmbeddings => {
                let body = shared.bodies.read(headers, body).await?;
                openai::embeddings(shared, headers, &body.bytes, begun).await
            }
            Route::OllamaEmbed => {
                let body = shared.bodies.read(headers, body).await?;
                ollama::embed(shared, headers, &body.bytes, begun).await
            }
        }
    }
}

/// The client's own id where it is a decent one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let own = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let decent = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    own.filter(decent).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
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

    #[track_caller]
    fn check_id(own: &str, kept: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, own.parse().unwrap());
        assert_eq!(request_id(&headers) == own, kept);
    }

    #[test]
    fn a_clients_own_id_is_kept_if_it_is_a_decent_one() {
        check_id("req_8-b.2", true);
        check_id("", false);
        check_id("two words", false);
        check_id(&"x".repeat(129), false);
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let response = without_body(json_response(b"{}".to_vec()));
        assert_eq!(response.headers()[CONTENT_LENGTH], "2");
        assert_eq!(response.body().size_hint().exact(), Some(0));
    }
}
