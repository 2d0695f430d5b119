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

use self::keys::Keys;
use crate::embed::Embedder;
use crate::plugin::Plugins;
use crate::telemetry::Metrics;
use crate::units::ByteSize;

mod admin;
mod answers;
mod body;
mod error;
mod exchange;
mod failures;
mod gateways;
mod guard;
mod head;
mod health;
mod input;
mod keys;
mod listen;
mod notices;
mod numbers;
mod observe;
mod ollama;
mod open_files;
mod openai;
mod openapi;
mod options;
mod parsing;
mod route;
mod service;
mod shared;
mod timing;
mod tls;
mod tokens;
mod trace;
mod wire;

pub use keys::{HashError, KeyConfig, KeyHash, NoRandomness, Right, Secret, WrittenHash};
pub use tls::{TlsConfig, TlsError};

/// The `[server]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    /// A request's body, at most.
    pub max_body: ByteSize,
    /// Bodies of all requests under way together, at most; more are asked to come back.
    pub max_bodies: ByteSize,
    /// Answers of all requests under way together, at most; further ones wait.
    pub max_answers: ByteSize,
    /// Arrays and objects in one another in a JSON body, at most, the body itself included.
    pub max_json_depth: usize,
    /// Bodies over 256 KiB that are parsed at once, at most; half of the processors where absent.
    pub max_parsers: Option<usize>,
    /// How long a body may take to arrive.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// A request's line and headers, at most; under 8 KiB counts as 8 KiB.
    pub max_head: ByteSize,
    /// Headers of a request, at most.
    pub max_headers: usize,
    /// A request's path and query, at most.
    pub max_uri: ByteSize,
    /// How long a request's head may take to arrive; before a connection's first
    /// one, the first byte and the handshake count too.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// How long a connection may stay without another request.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// How long a client may take for each further 256 KiB of its answer.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Connections at once, at most; a further one gets the place of the one that
    /// has waited longest without a request under way.
    pub max_connections: usize,
    /// Requests at once over one HTTP/2 connection, at most.
    pub max_streams: u32,
    /// The longest time that a client may set for a request; `embed.timeout` is what it has without.
    #[serde(with = "humantime_serde")]
    pub max_timeout: Duration,
    /// How long `/readyz` may look for an upstream; a list of models takes half of it.
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
    /// Whether the access log and spans name clients by their IP address.
    pub log_client_address: bool,
    /// Without it, HTTP is spoken in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8642)),
            max_body: ByteSize::mib(32),
            max_bodies: ByteSize::mib(256),
            max_answers: ByteSize::mib(256),
            max_json_depth: 32,
            max_parsers: None,
            body_timeout: Duration::from_secs(60),
            max_head: ByteSize::kib(64),
            max_headers: 100,
            max_uri: ByteSize::kib(8),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            write_timeout: Duration::from_secs(30),
            max_connections: 1024,
            max_streams: 100,
            max_timeout: Duration::from_secs(600),
            ready_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            log_client_address: false,
            tls: None,
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
    /// Without it, HTTP is spoken in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8643)), max_connections: 64, tls: None }
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
    #[error("`sha256` of key `{key}` {source}")]
    KeyHash { key: String, source: HashError },
    #[error("[{table}.tls] makes no TLS")]
    Tls {
        table: &'static str,
        #[source]
        source: TlsError,
    },
}

/// What the admin API tells beside what the embedder knows.
pub struct Told {
    /// The configuration, as `config show` prints it.
    pub config: Bytes,
    pub plugins: Arc<Plugins>,
    pub rules: Vec<PluginRule>,
}

/// A rule of a `[[collection]]` table that names a plugin.
pub struct PluginRule {
    pub plugin: String,
    pub collection: String,
    pub media_type: String,
}

impl Default for Told {
    /// Nothing at all.
    fn default() -> Self {
        Self { config: Bytes::new(), plugins: Arc::new(Plugins::none()), rules: Vec::new() }
    }
}

impl Server {
    /// Binds both listeners; nothing is served until `run`. The admin API tells what is `told`.
    ///
    /// # Errors
    /// Names the address that cannot be had, and its key; the API key that has no
    /// hash; or what is wrong with a certificate.
    pub async fn bind(
        config: Config,
        admin: AdminConfig,
        keys: &[KeyConfig],
        told: Told,
        embedder: Arc<Embedder>,
        metrics: Metrics,
    ) -> Result<Self, ServerError> {
        let keys = Keys::new(keys).map_err(|(key, source)| ServerError::KeyHash { key, source })?;
        let apis_tls = tls(config.tls.clone(), "server")?;
        let admin_tls = tls(admin.tls.clone(), "admin")?;
        let (apis_socket, apis_address) = bind(config.listen, "server.listen").await?;
        let (admin_socket, admin_address) = bind(admin.listen, "admin.listen").await?;
        for (address, key, tls) in
            [(apis_address, "server.listen", &apis_tls), (admin_address, "admin.listen", &admin_tls)]
        {
            if let Some(exposure) = keys::exposure(address, &keys, tls.is_some()) {
                tracing::warn!(%address, key, "{exposure}");
            }
        }
        let tasks = TaskTracker::new();
        let (apis_connections, config) = (config.max_connections, Arc::new(config));
        let shared =
            shared::Shared::new(config.clone(), keys, told, embedder, metrics.clone(), tasks.clone());
        let limits = listen::Limits::new(&config);
        Ok(Self {
            apis: listen::Listener {
                name: "apis",
                socket: apis_socket,
                address: apis_address,
                max_connections: apis_connections,
                limits,
                tls: apis_tls,
                service: service::Service::new(shared.clone(), route::Routes::apis()),
            },
            admin: listen::Listener {
                name: "admin",
                socket: admin_socket,
                address: admin_address,
                max_connections: admin.max_connections,
                limits,
                tls: admin_tls,
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

    /// Whether each listener speaks TLS, the APIs' and the admin's.
    pub fn speaks_tls(&self) -> (bool, bool) {
        (self.apis.tls.is_some(), self.admin.tls.is_some())
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

/// Reads the certificates that the listeners would speak TLS with.
///
/// # Errors
/// Names the table, the file, and what is wrong with it.
pub fn check_certificates(config: &Config, admin: &AdminConfig) -> Result<(), ServerError> {
    tls(config.tls.clone(), "server")?;
    tls(admin.tls.clone(), "admin")?;
    Ok(())
}

/// Lets the process open the files that both listeners and `n_calls` to upstreams need at
/// once; where the system refuses, `config` has fewer connections afterwards.
pub fn allow_open_files(config: &mut Config, admin: &AdminConfig, n_calls: usize) {
    config.max_connections = open_files::allow(config.max_connections, admin.max_connections + n_calls);
}

fn tls(config: Option<TlsConfig>, table: &'static str) -> Result<Option<tls::Tls>, ServerError> {
    config.map(tls::Tls::new).transpose().map_err(|source| ServerError::Tls { table, source })
}

/// The APIs without a listener, for a program that has one of its own, and for tests.
pub struct Apis(service::Service);

impl Apis {
    /// Of `config`, what concerns listening and connections is not heeded. Without
    /// `keys` none is asked for.
    ///
    /// # Errors
    /// The hash of a key is none.
    pub fn new(
        config: Config,
        keys: &[KeyConfig],
        embedder: Arc<Embedder>,
        metrics: Metrics,
    ) -> Result<Self, ServerError> {
        let keys = Keys::new(keys).map_err(|(key, source)| ServerError::KeyHash { key, source })?;
        let (config, tasks) = (Arc::new(config), TaskTracker::new());
        let shared = shared::Shared::new(config, keys, Told::default(), embedder, metrics, tasks);
        Ok(Self(service::Service::new(shared, route::Routes::apis())))
    }

    /// Answers one request of a client at `address`, whatever it is: what is wrong with it is in the answer.
    pub async fn answer<B>(&self, request: Request<B>, address: SocketAddr) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.0.answer(request, exchange::Peer { address, over_tls: false }).await
    }
}

async fn bind(address: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), ServerError> {
    let refused = |source| ServerError::Bind { address, key, source };
    let socket = TcpListener::bind(address).await.map_err(refused)?;
    let bound = socket.local_addr().map_err(refused)?;
    Ok((socket, bound))
}
