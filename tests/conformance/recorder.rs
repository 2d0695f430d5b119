//! Stands between a client and a gateway, and writes down which requests came and how they were answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const MAX_BODY: usize = 1024 * 1024;

/// Passes on what it gets. Dropping it ends its connections.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<(String, u16)>>>,
    /// Aborted when dropped.
    _tasks: JoinSet<()>,
}

impl Recorder {
    /// Listens on a port that the system chose, in front of `gateway`.
    pub(crate) async fn start(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, gateway, seen.clone()));
        Self { address, seen, _tasks: tasks }
    }

    /// The statuses with which requests for `model` were answered, in the order of the answers.
    pub(crate) fn statuses(&self, model: &str) -> Vec<u16> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(asked, _)| asked == model).map(|(_, status)| *status).collect()
    }

    /// Forgets what it has seen.
    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

async fn serve(listener: TcpListener, gateway: SocketAddr, seen: Arc<Mutex<Vec<(String, u16)>>>) {
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).build().unwrap();
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (client, seen) = (client.clone(), seen.clone());
        let service = service_fn(move |request| pass_on(client.clone(), gateway, seen.clone(), request));
        connections.spawn(async move {
            let builder = hyper::server::conn::http1::Builder::new();
            // A client that leaves is none of the recorder's business.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass_on(
    client: reqwest::Client,
    gateway: SocketAddr,
    seen: Arc<Mutex<Vec<(String, u16)>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    let body = Limited::new(body, MAX_BODY).collect().await.unwrap().to_bytes();
    let model = serde_json::from_slice::<Value>(&body).unwrap_or_default()["model"].clone();
    let mut headers = parts.headers;
    headers.remove("host");
    let url = format!("http://{gateway}{}", parts.uri);
    let answer = client.request(parts.method, url).headers(headers).body(body).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Full::new(answer.bytes().await.unwrap()));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    seen.lock().unwrap().push((model.as_str().unwrap_or_default().to_owned(), status.as_u16()));
    Ok(response)
}
