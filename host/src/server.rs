//! The HTTP APIs: OpenAI's and Ollama's, health and metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::embed::Embedder;
use crate::telemetry::Metrics;
use crate::units::ByteSize;

/// The `[server]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    /// A request's body, at most.
    pub max_body: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8642)), max_body: ByteSize::mib(32) }
    }
}

/// The `[admin]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8643)) }
    }
}

/// Both listeners, bound.
pub struct Server {}

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
    pub async fn bind(
        _config: Config,
        _admin: AdminConfig,
        _embedder: Arc<Embedder>,
        _metrics: Metrics,
    ) -> Result<Self, ServerError> {
        todo!()
    }

    /// The addresses that were bound, the APIs' and the admin's: with port 0, the ones that the system chose.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        todo!()
    }

    /// Serves until `stop`, then answers what is under way and returns.
    pub async fn run(self, _stop: CancellationToken) {
        todo!()
    }
}
