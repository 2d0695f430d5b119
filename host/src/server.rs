//! The HTTP APIs: OpenAI's and Ollama's, health and metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::{Request, Response};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::embed::Embedder;
use crate::telemetry::Metrics;
use crate::units::ByteSize;

mod body;
mod error;
mod exchange;
mod guard;
mod health;
mod input;
mod listen;
mod observe;
mod ollama;
mod openai;
mod openapi;
mod options;
mod route;
mod service;
mod wire;

/// The `[server]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    /// A request's body, at most.
    pub max_body: ByteSize,
    /// Bodies of all requests under way together, at most; more are asked to come back.
    pub max_bodies: ByteSize,
    /// How long a body may take to arrive.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// A request's line and headers, at most; under 8 KiB counts as 8 KiB.
    pub max_head: ByteSize,
    /// How long a connection may stay without a request, and a request's head may
    /// take to arrive. Over HTTP/2, and before the first byte, up to twice that.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// Connections at once, at most; further ones wait in the system's queue.
    pub max_connections: usize,
    /// Requests at once over one HTTP/2 connection, at most.
    pub max_streams: u32,
    /// The longest time that a client may set for a request; `embed.timeout` is what it has without.
    #[serde(with = "humantime_serde")]
    pub max_timeout: Duration,
    /// How long `/readyz` may look for an upstream.
    #[serde(with = "humantime_serde")]
    pub ready_timeout: Duration,
    /// How long requests under way may take to end once the gateway stops.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// Names under which the gateway may be asked for, beside IP addresses,
    /// `localhost`, names without a dot and those under `.internal`; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may use the APIs, such as `https://notes.example.org`,
    /// beside those on this machine; `*` is any.
    pub allowed_origins: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8642)),
            max_body: ByteSize::mib(32),
            max_bodies: ByteSize::mib(256),
            body_timeout: Duration::from_secs(60),
            max_head: ByteSize::kib(64),
            head_timeout: Duration::from_secs(60),
            max_connections: 1024,
            max_streams: 100,
            max_timeout: Duration::from_secs(600),
            ready_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

/// The `[admin]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    pub listen: SocketAddr,
    /// Connections at once, at most: its own, so that metrics can be read while the APIs are full.
    pub max_connections: usize,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8643)), max_connections: 64 }
    }
}

/// Both listeners, bound.
pub struct Server {
    apis: listen::Listener,
    admin: listen::Listener,
    metrics: Metrics,
    tasks: TaskTracker,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address} (`{key}`)")]
    Bind {
        address: SocketAddr,
        key: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl Server {
    /// Binds both listeners; nothing is served until `run`.
    ///
    /// # Errors
    /// Names the address that cannot be had, and its key.
    pub async fn bind(
        config: Config,
        admin: AdminConfig,
        embedder: Arc<Embedder>,
        metrics: Metrics,
    ) -> Result<Self, ServerError> {
        let (apis_socket, apis_address) = bind(config.listen, "server.listen").await?;
        let (admin_socket, admin_address) = bind(admin.listen, "admin.listen").await?;
        let tasks = TaskTracker::new();
        let (apis_connections, config) = (config.max_connections, Arc::new(config));
        let shared = service::Shared::new(config.clone(), embedder, metrics.clone(), tasks.clone());
        let limits = listen::Limits::new(&config);
        Ok(Self {
            apis: listen::Listener {
                name: "apis",
                socket: apis_socket,
                address: apis_address,
                max_connections: apis_connections,
                limits,
                service: service::Service::new(shared.clone(), route::Routes::apis()),
            },
            admin: listen::Listener {
                name: "admin",
                socket: admin_socket,
                address: admin_address,
                max_connections: admin.max_connections,
                limits,
                service: service::Service::new(shared, route::Routes::admin()),
            },
            metrics,
            tasks,
        })
    }

    /// The addresses that were bound, the APIs' and the admin's: with port 0, the ones that the system chose.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.apis.address, self.admin.address)
    }

    /// Serves until `stop`, then answers what is under way, for `drain_timeout` at most, and returns.
    pub async fn run(self, stop: CancellationToken) {
        let Self { apis, admin, metrics, tasks } = self;
        tokio::join!(
            apis.serve(tasks.clone(), stop.clone()),
            admin.serve(tasks.clone(), stop.clone()),
            metrics.upkeep(stop),
        );
        tasks.close();
        tasks.wait().await;
    }
}

/// The APIs without a listener, for a program that has one of its own, and for tests.
pub struct Apis(service::Service);

impl Apis {
    /// Of `config`, what concerns listening and connections is not heeded.
    pub fn new(config: Config, embedder: Arc<Embedder>, metrics: Metrics) -> Self {
        let shared = service::Shared::new(Arc::new(config), embedder, metrics, TaskTracker::new());
        Self(service::Service::new(shared, route::Routes::apis()))
    }

    /// Answers one request of `peer`, whatever it is: what is wrong with it is in the answer.
    pub async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.0.answer(request, peer).await
    }
}

async fn bind(address: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), ServerError> {
    let refused = |source| ServerError::Bind { address, key, source };
    let socket = TcpListener::bind(address).await.map_err(refused)?;
    let bound = socket.local_addr().map_err(refused)?;
    Ok((socket, bound))
}
