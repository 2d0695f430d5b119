//! A whole gateway in this process, which another one asks over HTTP, and what can go wrong on the way.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use embergate::embed::Embedder;
use embergate::server::{Apis, Config};
use embergate::telemetry::Metrics;
use embergate_test_support::gate::{Gate, Held};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How a request for embeddings goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// It is answered so, with these headers, by whatever stands in between.
    Answer(u16, &'static [(&'static str, &'static str)], &'static str),
    /// Its connection is closed without a word.
    Close,
}

/// One list of texts that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn n_texts(&self) -> usize {
        self.body["input"].as_array().map_or(1, Vec::len)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A gateway at a port of its own. Dropping it ends it.
pub(crate) struct Far {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    apis: Mutex<Arc<Apis>>,
    gate: Gate,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    troubles: VecDeque<Trouble>,
    always: Option<Trouble>,
    /// In the place of what it says of itself.
    about: Option<String>,
    asked: Vec<Asked>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Far {
    pub(crate) async fn start(embedder: Arc<Embedder>) -> Self {
        let apis = Mutex::new(apis(embedder));
        let shared = Arc::new(Shared { apis, gate: Gate::default(), state: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, tasks: Mutex::new(tasks) }
    }

    /// Another gateway answers at the same port from now on.
    pub(crate) fn becomes(&self, embedder: Arc<Embedder>) {
        *self.shared.apis.lock().unwrap_or_else(PoisonError::into_inner) = apis(embedder);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next lists go wrong so, one each.
    pub(crate) fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.shared.lock().troubles.extend(troubles);
    }

    /// Every list goes wrong so, or none does from now on.
    pub(crate) fn always(&self, trouble: Option<Trouble>) {
        self.shared.lock().always = trouble;
    }

    /// It says this of itself.
    pub(crate) fn says(&self, about: &str) {
        self.shared.lock().about = Some(about.to_owned());
    }

    /// Lists wait here from now on.
    pub(crate) fn hold(&self) -> Held {
        self.shared.gate.hold()
    }

    /// The lists that arrived, those that went wrong too.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// Ends as a process that is killed does.
    pub(crate) async fn crash(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

fn apis(embedder: Arc<Embedder>) -> Arc<Apis> {
    Arc::new(Apis::new(Config::default(), &[], embedder, Metrics::install()).unwrap())
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, address)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request, address));
            let connection = hyper::server::conn::http1::Builder::new();
            // One that is cut ends with an error, which is its purpose.
            drop(connection.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the connection is to be cut")]
struct Cut;

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    address: SocketAddr,
) -> Result<Response<Full<Bytes>>, Cut> {
    let about = shared.lock().about.clone().filter(|_| request.uri().path() == "/api/embergate");
    if let Some(about) = about {
        return Ok(Response::new(Full::new(about.into())));
    }
    let (head, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "a test sends no more than it has")]
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    if head.uri.path() == "/v1/embeddings" {
        let asked =
            Asked { headers: head.headers.clone(), body: serde_json::from_slice(&body).unwrap_or_default() };
        let trouble = {
            let mut state = shared.lock();
            state.asked.push(asked);
            state.troubles.pop_front().or_else(|| state.always.clone())
        };
        match trouble {
            Some(Trouble::Answer(status, headers, body)) => {
                let response = Response::builder().status(status);
                let response = headers.iter().fold(response, |all, (name, value)| all.header(*name, *value));
                return Ok(response.body(Full::new(body.into())).unwrap());
            }
            Some(Trouble::Close) => return Err(Cut),
            None => shared.gate.pass().await,
        }
    }
    let request = Request::from_parts(head, Full::new(body));
    let apis = Arc::clone(&shared.apis.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(apis.answer(request, address).await)
}
