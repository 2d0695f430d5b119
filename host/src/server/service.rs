//! A request's way, one step after the other: routed, checked, answered, told, logged.
//!
//! A step goes into [`Service::steps`], where it may end the request; what it
//! learns goes into the [`Exchange`]. A route goes into `route.rs` and
//! [`Service::dispatch`].

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request, Response};
use tracing::Instrument;

use super::error::ApiError;
use super::exchange::{Exchange, Peer, REQUEST_ID};
use super::failures::Failures;
use super::route::{Api, Route, Routes};
use super::shared::Shared;
use super::timing::SERVER_TIMING;
use super::{admin, gateways, guard, head, health, ollama, openai, openapi, trace};

/// What answers on one listener.
pub(super) struct Service {
    shared: Arc<Shared>,
    routes: Routes,
    failures: Arc<Failures>,
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
        exchange.record.error = answered.as_ref().err().and_then(ApiError::reason);
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
            Route::Metrics => Ok(health::metrics(&shared.metrics, &shared.embedder)),
            Route::AdminModels => Ok(admin::models(&shared.embedder)),
            Route::AdminUpstreams => Ok(admin::upstreams(&shared.embedder)),
            Route::AdminPlugins => Ok(admin::plugins(shared)),
            Route::AdminConfig => Ok(admin::config(&shared.told.config)),
            Route::AdminKeys => Ok(admin::keys(&shared.keys)),
            Route::AdminCache => admin::forget(&shared.embedder, exchange.uri.query()).await,
            Route::OpenaiModels => Ok(openai::models(shared)),
            Route::OpenaiModel => {
                openai::one_model(shared, exchange, id.as_deref().unwrap_or_default()).await
            }
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
                ollama::show(shared, exchange, &body.bytes).await
            }
            Route::OllamaVersion => Ok(ollama::version()),
            Route::Gateway => Ok(gateways::about(shared)),
            Route::GatewaySpaces => {
                gateways::spaces(shared, exchange, id.as_deref().unwrap_or_default()).await
            }
            Route::GatewayTokenizer => gateways::tokenizer(shared, id.as_deref().unwrap_or_default()),
            Route::OllamaManage => Err(ollama::no_management(exchange.uri.path())),
            Route::OllamaGenerate => Err(ollama::no_generation(exchange.uri.path())),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::wire::json_response;

    #[test]
    fn head_gets_the_length_and_no_body() {
        let response = without_body(json_response(b"{}".to_vec()));
        assert_eq!(response.headers()[CONTENT_LENGTH], "2");
        assert_eq!(response.body().size_hint().exact(), Some(0));
    }
}
