//! Puts the parts together: the one place that knows all of them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{Config, Folders};
use crate::embed::{Embedder, SetupError};
use crate::index::{CollectionConfig, Indexer};
use crate::plugin::{PluginError, Plugins};
use crate::search::Searcher;
use crate::server::{PluginRule, Server, ServerError, Told};
use crate::store::{IndexState, Store, StoreError};
use crate::telemetry::Metrics;

/// The running parts that every command needs; stores and listeners are opened when asked for.
pub struct App {
    pub config: Config,
    pub plugins: Arc<Plugins>,
    pub embedder: Arc<Embedder>,
    metrics: Metrics,
    data_dir: PathBuf,
}

/// Why the parts do not go together.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("{user} names the plugin `{plugin}`")]
    PluginUse {
        user: String,
        plugin: String,
        #[source]
        source: Box<PluginError>,
    },
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl App {
    /// Loads the plugins, checks that those that are named are there, and starts the embedder.
    ///
    /// # Errors
    /// What the configuration names and is not there, or does not fit.
    pub async fn start(config: Config, folders: &Folders) -> Result<Self, AppError> {
        install_crypto();
        let metrics = Metrics::install();
        let plugins = Arc::new(load_plugins(&config, folders).await?);
        check_plugins(&config, &plugins)?;
        let embedder = Embedder::spawn(
            crate::embed::Config { health: config.health.clone(), ..config.embed.clone() },
            config.models.clone(),
            config.upstreams.clone(),
            config.cache.clone(),
            config.batcher.clone(),
            plugins.clone(),
        )?;
        Ok(Self { config, plugins, embedder, metrics, data_dir: folders.data.clone() })
    }

    /// Opens the store that the configuration names.
    pub async fn open_store(&self) -> Result<(Arc<dyn Store>, IndexState), AppError> {
        Ok(crate::store::open(&self.config.store, &self.data_dir).await?)
    }

    pub fn indexer(&self, store: Arc<dyn Store>, state: IndexState) -> Indexer {
        let (embedder, plugins) = (self.embedder.clone(), self.plugins.clone());
        Indexer { embedder, plugins, store, state, config: self.config.index.clone() }
    }

    pub fn searcher(&self, store: Arc<dyn Store>) -> Searcher {
        Searcher { embedder: self.embedder.clone(), store }
    }

    /// Finds what is wrong with the certificates, without a listener.
    pub fn check_certificates(&self) -> Result<(), AppError> {
        Ok(crate::server::check_certificates(&self.config.server, &self.config.admin)?)
    }

    /// Binds the listeners; nothing is served until the server runs. Models are looked for from now on.
    pub async fn bind(&self) -> Result<Server, AppError> {
        self.embedder.discover();
        let Config { mut server, admin, keys, upstreams, .. } = self.config.clone();
        let n_calls = upstreams.iter().map(|upstream| upstream.max_in_flight).sum();
        crate::server::allow_open_files(&mut server, &admin, n_calls);
        let told = Told {
            config: self.config.to_toml().into(),
            plugins: self.plugins.clone(),
            rules: plugin_rules(&self.config.collections),
        };
        let (embedder, metrics) = (self.embedder.clone(), self.metrics.clone());
        Ok(Server::bind(server, admin, &keys, told, embedder, metrics).await?)
    }

    /// Lets what is under way end, for `server.drain_timeout` at most.
    pub async fn stop(&self) {
        self.embedder.shutdown(Instant::now() + self.config.server.drain_timeout).await;
    }
}

/// Loads bundled and configured plugins, compiled code kept in the user's cache folder by default.
pub async fn load_plugins(config: &Config, folders: &Folders) -> Result<Plugins, PluginError> {
    Plugins::load(&plugin_config(config, folders), &config.plugin).await
}

/// The `[plugins]` table with the folder for compiled code filled in.
pub fn plugin_config(config: &Config, folders: &Folders) -> crate::plugin::Config {
    let mut plugins = config.plugins.clone();
    plugins.cache_dir.get_or_insert_with(|| folders.cache.join("plugins"));
    plugins
}

/// The rules of collections, once for each plugin that one names.
fn plugin_rules(collections: &[CollectionConfig]) -> Vec<PluginRule> {
    let mut all = Vec::new();
    for collection in collections {
        for rule in &collection.rules {
            let named = rule.preprocess.iter().flatten().chain([&rule.chunker]);
            all.extend(named.map(|plugin| PluginRule {
                plugin: plugin.clone(),
                collection: collection.name.clone(),
                media_type: rule.media_type.clone(),
            }));
        }
    }
    all
}

/// Finds plugins that are named and not there, or have not the role that they are named for.
fn check_plugins(config: &Config, plugins: &Plugins) -> Result<(), AppError> {
    for model in &config.models {
        for name in &model.preprocess {
            named_by(|| format!("model `{}`", model.name), name, plugins.preprocessor(name))?;
        }
    }
    for collection in &config.collections {
        for rule in &collection.rules {
            let user = || format!("collection `{}`, for `{}`,", collection.name, rule.media_type);
            named_by(user, &rule.chunker, plugins.chunker(&rule.chunker))?;
            for name in rule.preprocess.iter().flatten() {
                named_by(user, name, plugins.preprocessor(name))?;
            }
        }
    }
    Ok(())
}

fn named_by<P>(
    user: impl Fn() -> String,
    plugin: &str,
    found: Result<P, PluginError>,
) -> Result<(), AppError> {
    match found {
        Ok(_) => Ok(()),
        Err(source) => {
            Err(AppError::PluginUse { user: user(), plugin: plugin.to_owned(), source: Box::new(source) })
        }
    }
}

/// reqwest is built without a choice of its own. Installing twice is harmless: the first one stays.
fn install_crypto() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
