//! A gateway in this process, and a client that sends any bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use embergate::config::Config;
use embergate::embed::Embedder;
use embergate::plugin::Plugins;
use embergate::server::{Server, Told};
use embergate::telemetry::Metrics;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The model that is inside the binary, under the name that the cases use.
pub(crate) const EMBEDDED: &str = r#"
[[upstream]]
name = "inside"
kind = "embedded"

[[model]]
name = "test-embed"
upstream_name = "static-embed-en-256"
upstreams = ["inside"]
max_tokens = 8192
"#;

/// A gateway on ports that the system chose. Stops when dropped; `stop` waits for its end.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    client: reqwest::Client,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null where the text is no JSON.
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Gateway {
    /// Starts a gateway with the configuration `toml`.
    pub(crate) async fn start(toml: &str) -> Self {
        // The second call finds the first one's.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut config: Config = toml::from_str(toml).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        config.server.listen = any_port;
        config.admin.listen = any_port;
        let told = Told { config: config.to_toml().into(), ..Told::default() };
        let metrics = Metrics::install();
        let plugins = Arc::new(Plugins::none());
        let embedder = Embedder::spawn(
            config.embed,
            config.models,
            config.upstreams,
            config.cache,
            config.batcher,
            plugins,
        )
        .unwrap();
        let server =
            Server::bind(config.server, config.admin, &config.keys, told, embedder, metrics).await.unwrap();
        let (address, admin) = server.addresses();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).build().unwrap();
        Self { address, admin, client, stop, running }
    }

    /// Sends one request to the APIs.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        self.ask_at(self.address, method, path, headers, body).await
    }

    pub(crate) async fn ask_at(
        &self,
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let request = self
            .client
            .request(method.parse().unwrap(), format!("http://{address}{path}"))
            .headers(headers.collect())
            .body(body);
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, json }
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json")], body.into()).await
    }

    /// Asks the gateway to stop, and waits for nothing.
    pub(crate) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the gateway and waits until it has ended.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.running).await.unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
