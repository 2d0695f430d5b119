//! A request's way, one step after the other: routed, checked, answered, told, logged.
//!
//! A step goes into [`Service::steps`], where it may end the request; what it
//! learns goes into the [`Exchange`]. A route goes into `route.rs` and
//! [`Service::dispatch`].

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::answers::Answers;
use super::body::{Bodies, Held};
use super::error::ApiError;
use super::exchange::{Exchange, Peer, REQUEST_ID};
use super::failures::Failures;
use super::keys::Keys;
use super::options::Times;
use super::route::{Api, Route, Routes};
use super::timing::SERVER_TIMING;
use super::wire::Limits;
use super::{Config, admin, guard, head, health, ollama, openai, openapi, trace};
use crate::embed::{EmbedAnswer, EmbedError, EmbedRequest, Embedder, Resolved};
use crate::model::{ModelName, Purpose};
use crate::telemetry::Metrics;

/// Numbers that are turned into text on the spot; more would hold up other requests.
const MAX_NUMBERS_INLINE: usize = 64 * 1024;

/// What answers on one listener.
pub(super) struct Service {
    shared: Arc<Shared>,
    routes: Routes,
    failures: Arc<Failures>,
}

/// What both listeners answer from.
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) embedder: Arc<Embedder>,
    /// In seconds since 1970.
    pub(super) started: u64,
    keys: Keys,
    /// The configuration, as `config show` prints it.
    shown: Bytes,
    answers: Answers,
    bodies: Bodies,
    metrics: Metrics,
}

impl Shared {
    pub(super) fn new(
        config: Arc<Config>,
        keys: Keys,
        shown: Bytes,
        embedder: Arc<Embedder>,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (answers, bodies) = (Answers::new(&config), Bodies::new(&config, tasks));
        Arc::new(Self { config, embedder, started, keys, shown, answers, bodies, metrics })
    }

    pub(super) fn times(&self) -> Times {
        Times { unasked: self.embedder.timeout(), longest: self.config.max_timeout }
    }

    /// What a body may ask for.
    pub(super) fn limits(&self) -> Limits {
        let embed = self.embedder.config();
        Limits {
            max_depth: self.config.max_json_depth,
            max_texts: embed.max_texts,
            max_decoded: usize::try_from(self.config.max_body.as_u64()).unwrap_or(usize::MAX),
            token_arrays: embed.token_arrays,
        }
    }

    /// The model that a client means, by any word that [`Embedder::resolve`] knows.
    /// Waits for upstreams to be asked where nobody knows it.
    pub(super) async fn model(&self, asked: &str) -> Result<Resolved, ApiError> {
        if let Some(resolved) = self.embedder.resolve(asked) {
            return Ok(resolved);
        }
        if asked.is_empty() {
            return Err(ApiError::no_model("").in_ollamas_words("model '' not found"));
        }
        let name = ModelName::new(asked).map_err(|error| {
            ApiError::invalid("model", error.to_string()).in_ollamas_words("invalid model name")
        })?;
        let found = self.embedder.find_by(|| self.embedder.resolve(asked)).await;
        found.ok_or_else(|| ApiError::from(&EmbedError::UnknownModel(name)))
    }

    /// What is put before a text of `purpose`.
    pub(super) fn prompt(&self, model: &ModelName, purpose: Purpose) -> String {
        self.embedder.model(model).map(|model| model.prompts.of(purpose).to_owned()).unwrap_or_default()
    }

    /// Whether texts that are too long are cut: as the client says, else the model's table, else the API.
    pub(super) fn truncate(&self, model: &ModelName, asked: Option<bool>, api: bool) -> bool {
        asked.or_else(|| self.embedder.model(model)?.truncate).unwrap_or(api)
    }

    /// Reads the request's body.
    async fn read<B>(&self, exchange: &mut Exchange, body: B) -> Result<Held, ApiError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let begun = Instant::now();
        let body = self.bodies.read(&exchange.headers, body).await?;
        exchange.record.timings.read = begun.elapsed();
        exchange.record.bytes_in = body.bytes.len();
        Ok(body)
    }

    /// Embeds what the caller may embed, and logs what is not the client's fault with all its causes.
    pub(super) async fn embed(
        &self,
        exchange: &mut Exchange,
        request: EmbedRequest,
    ) -> Result<EmbedAnswer, ApiError> {
        exchange.record.asked(&request, self.embedder.lane(&request));
        let model = request.model.clone();
        let charge = exchange.caller.charge(&request)?;
        let answer = self.embedder.embed(request).await.map_err(|error| {
            if is_unspent(&error) {
                charge.undo();
            }
            let answer = ApiError::from(&error);
            if answer.status.is_server_error() {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(request_id = exchange.id, %model, error, "texts could not be embedded");
            }
            answer
        })?;
        exchange.record.embedded(&answer);
        Ok(answer)
    }

    /// Runs `encode`, which makes about `n_bytes`, once there is room for them: here if
    /// `answer` is small, else on a thread that may take its time.
    ///
    /// # Errors
    /// No room until `deadline`.
    pub(super) async fn write(
        &self,
        exchange: &mut Exchange,
        answer: &EmbedAnswer,
        n_bytes: usize,
        deadline: Instant,
        encode: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Bytes, ApiError> {
        let begun = Instant::now();
        let room = self.answers.room(n_bytes, deadline).await?;
        let n_numbers: usize = answer.embeddings.iter().map(|embedding| embedding.dimensions()).sum();
        let json = if n_numbers <= MAX_NUMBERS_INLINE {
            room.keep(encode())
        } else {
            let written = tokio::task::spawn_blocking(move || room.keep(encode())).await;
            written.map_err(|_| ApiError::internal("the answer could not be written"))?
        };
        exchange.record.timings.encode = begun.elapsed();
        Ok(json)
    }
}

impl Service {
    pub(super) fn new(shared: Arc<Shared>, routes: Routes) -> Self {
        Self { shared, routes, failures: Arc::default() }
    }

    /// Answers one request, whatever it is.
    pub(super) async fn answer<B>(&self, request: Request<B>, peer: Peer) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (mut exchange, body) = Exchange::begin(request, peer, &self.shared.config, self.failures.clone());
        let span = trace::span(&exchange);
        let answered = self.steps(&mut exchange, body).instrument(span.clone()).await;
        let response = told(&exchange, answered);
        trace::end(&span, &exchange, &response);
        exchange.end(&response);
        response
    }

    /// The steps before an answer, in order: each may be the last, with an error.
    async fn steps<B>(&self, exchange: &mut Exchange, body: B) -> Result<Response<Full<Bytes>>, ApiError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let found = self.routes.at(exchange.uri.path());
        exchange.record.route = found.as_ref().map(|(route, _)| *route);
        let (route, id) = match self.let_in(exchange, found) {
            Ok(place) => place,
            Err(refused) => {
                self.shared.bodies.refuse(&exchange.headers, body);
                return Err(refused);
            }
        };
        if exchange.method == Method::OPTIONS {
            return Ok(guard::preflight(route, &exchange.headers));
        }
        self.dispatch(route, id, exchange, body).await
    }

    /// The steps before the body is read: head, page, path, method, key.
    fn let_in(
        &self,
        exchange: &mut Exchange,
        found: Option<(Route, Option<String>)>,
    ) -> Result<(Route, Option<String>), ApiError> {
        let sound = head::check(exchange, &self.shared.config);
        exchange.ends_connection = head::ends_connection(exchange, sound.is_err());
        sound?;
        exchange.origin = guard::check(&exchange.uri, &exchange.headers, &self.shared.config)?;
        let (route, id) = found.ok_or_else(|| ApiError::no_path(exchange.uri.path()))?;
        if exchange.method == Method::OPTIONS {
            return Ok((route, id));
        }
        if !route.methods().contain(&exchange.method) {
            return Err(ApiError::wrong_method(route, &exchange.method));
        }
        exchange.caller = self.shared.keys.caller(&exchange.headers);
        exchange.record.key = exchange.caller.name();
        self.shared.keys.let_in(&exchange.caller, route, exchange.peer.address)?;
        Ok((route, id))
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
            Route::AdminModels => Ok(admin::models(&shared.embedder)),
            Route::AdminConfig => Ok(admin::config(&shared.shown)),
            Route::AdminKeys => Ok(admin::keys(&shared.keys)),
            Route::OpenaiModels => Ok(openai::models(shared)),
            Route::OpenaiModel => openai::one_model(shared, id.as_deref().unwrap_or_default()).await,
            Route::OpenaiEmbeddings => {
                let body = shared.read(exchange, body).await?;
                openai::embeddings(shared, exchange, &body.bytes).await
            }
            Route::OllamaEmbed => {
                let body = shared.read(exchange, body).await?;
                ollama::embed(shared, exchange, &body.bytes).await
            }
            Route::OllamaEmbeddings => {
                let body = shared.read(exchange, body).await?;
                ollama::embeddings(shared, exchange, &body.bytes).await
            }
            Route::OllamaTags => Ok(ollama::tags(shared).await),
            Route::OllamaPs => Ok(ollama::ps(shared).await),
            Route::OllamaShow => {
                let body = shared.read(exchange, body).await?;
                ollama::show(shared, &body.bytes).await
            }
            Route::OllamaVersion => Ok(ollama::version()),
            Route::OllamaManage => Err(ollama::no_management(exchange.uri.path())),
            Route::OllamaGenerate => Err(ollama::no_generation(exchange.uri.path())),
        }
    }
}

/// Whether texts were refused before any work was done for them.
fn is_unspent(error: &EmbedError) -> bool {
    matches!(error, EmbedError::Overloaded { .. } | EmbedError::TooManyTexts { .. })
}

/// The response to what was answered, with the headers that all responses have.
fn told(exchange: &Exchange, answered: Result<Response<Full<Bytes>>, ApiError>) -> Response<Full<Bytes>> {
    let api = Api::of(exchange.uri.path());
    let mut response = answered.unwrap_or_else(|error| error.into_response(api));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&exchange.id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(SERVER_TIMING, exchange.record.timings.header(exchange.begun.elapsed()));
    exchange.caller.tell(headers);
    if exchange.ends_connection {
        head::end_connection(headers);
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

pub(super) fn json_response(json: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(json.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
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
