//! Puts the parts together: the one place that knows all of them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, Folders};
use crate::embed::{Embedder, SetupError};
use crate::index::{CollectionConfig, Indexer};
use crate::plugin::{PluginError, Plugins, Reload, Role, Use};
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
    /// Follows the folder of plugins, where that was asked for.
    following: OnceLock<AbortOnDropHandle<()>>,
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
        check_plugins(&uses(&config), &plugins)?;
        let embedder = Embedder::spawn(
            crate::embed::Config { health: config.health.clone(), ..config.embed.clone() },
            config.models.clone(),
            config.upstreams.clone(),
            config.cache.clone(),
            config.batcher.clone(),
            plugins.clone(),
        )?;
        let (data_dir, following) = (folders.data.clone(), OnceLock::new());
        Ok(Self { config, plugins, embedder, metrics, data_dir, following })
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

    /// Binds the listeners; nothing is served until the server runs. Models are looked for, and
    /// the folder of plugins is followed, from now on.
    pub async fn bind(&self) -> Result<Server, AppError> {
        self.embedder.discover();
        self.following.get_or_init(|| self.follow_plugins());
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

    fn follow_plugins(&self) -> AbortOnDropHandle<()> {
        let (plugins, embedder, uses) = (self.plugins.clone(), self.embedder.clone(), uses(&self.config));
        let follow = async move {
            let changed = |change: &crate::plugin::Change<'_>| {
                if matches!(change.reload, Reload::Loaded | Reload::Replaced | Reload::Removed) {
                    embedder.follow_plugins();
                }
            };
            plugins.follow(uses, changed).await;
        };
        AbortOnDropHandle::new(tokio::spawn(follow))
    }

    /// Lets what is under way end, for `server.drain_timeout` at most.
    pub async fn stop(&self) {
        if let Some(following) = self.following.get() {
            following.abort();
        }
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

/// Who names which plugin, and what for.
fn uses(config: &Config) -> Vec<Use> {
    let used =
        |plugin: &String, role, user: &str| Use { plugin: plugin.clone(), role, user: user.to_owned() };
    let mut uses = Vec::new();
    for model in &config.models {
        let user = format!("model `{}`", model.name);
        uses.extend(model.preprocess.iter().map(|name| used(name, Role::Preprocessor, &user)));
    }
    for collection in &config.collections {
        for rule in &collection.rules {
            let user = format!("collection `{}`, for `{}`,", collection.name, rule.media_type);
            uses.push(used(&rule.chunker, Role::Chunker, &user));
            uses.extend(rule.preprocess.iter().flatten().map(|name| used(name, Role::Preprocessor, &user)));
        }
    }
    uses
}

/// Finds plugins that are named and not there, or have not the role that they are named for.
fn check_plugins(uses: &[Use], plugins: &Plugins) -> Result<(), AppError> {
    for Use { plugin, role, user } in uses {
        let found = match role {
            Role::Preprocessor => plugins.preprocessor(plugin),
            Role::Chunker => plugins.chunker(plugin),
        };
        found.map_err(|source| AppError::PluginUse {
            user: user.clone(),
            plugin: plugin.clone(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// reqwest is built without a choice of its own. Installing twice is harmless: the first one stays.
fn install_crypto() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
