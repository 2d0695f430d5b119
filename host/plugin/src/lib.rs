//! WebAssembly components: loaded, checked against the contract, lent for one
//! call at a time, and never trusted.
//!
//! `sources` finds components, `load`, `contract` and `compiled` make them ready, `grants`
//! says what each may want, and `life` follows their folder while the gateway runs.
//! `instance` lends them out, as many at once as there are `seats`, under the limits that
//! `state`, `engine` and `metering` enforce, in `turns` where calls take long; `imports` serves
//! them within their `quota`, in `surroundings` where nothing is, and `check` reads what they
//! answer. `breaker` takes a plugin out of service that fails again and again, and `on_error`
//! finds who stands in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use embergate_core::document::source_map::Patch;
use embergate_core::model::{Embedding, ModelName, Purpose};
use embergate_core::tokenizer::Tokenizer;
use embergate_core::units::ByteSize;
use serde::{Deserialize, Serialize};

mod bindings;
mod breaker;
mod call;
mod check;
mod compiled;
mod component_type;
mod contract;
mod engine;
mod error;
mod grants;
mod held;
mod imports;
mod inside;
mod instance;
mod life;
mod limits;
mod load;
mod metering;
mod offsets;
mod on_error;
mod per_core;
mod quota;
mod seats;
pub mod segment;
mod settings;
mod sources;
mod state;
mod surroundings;
mod tally;
mod tryout;
mod turns;
mod words;

pub use breaker::{BreakerConfig, Outage};
pub use compiled::Code;
pub use error::{At, Class, LimitMet, PluginError, Subject};
pub use held::Held;
pub use inside::{Inside, Output};
pub use life::{Change, Refused, Reload, Role, Use};
pub use limits::{Limits, OwnLimits};
pub use metering::Metering;
pub use on_error::{Instead, OnError, Processed, Split};
pub use tally::{Calls, LastError};

/// What log lines stand under: the name by which the gateway, and so `log.filter`, knows this package.
const LOG: &str = "embergate::plugin";

/// The `[plugins]` table: where plugins are, and the limits of those that set none.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Every `NAME.wasm` in it is the plugin NAME. May be missing.
    pub dir: PathBuf,
    /// Where compiled code is kept; the user's cache folder when absent.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of compiled code that are kept, at most.
    pub max_compiled: ByteSize,
    /// Whether every file needs the `sha256` of its table.
    pub require_pins: bool,
    /// Whether a file has to answer a first call before it serves.
    pub smoke_test: bool,
    /// Whether files that come, change or go while `serve` runs take effect.
    pub watch: bool,
    /// How long a file has to stay as it is before it is read.
    #[serde(with = "humantime_serde")]
    pub settle: Duration,
    /// How often the folder is looked at where the system tells of no change, at least.
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
    /// Of those that do not say it themselves.
    pub isolation: Isolation,
    pub metering: Metering,
    pub limits: Limits,
    pub breaker: BreakerConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: "plugins".into(),
            cache_dir: None,
            max_compiled: ByteSize::gib(1),
            require_pins: false,
            smoke_test: true,
            watch: true,
            settle: Duration::from_millis(500),
            look_every: Duration::from_secs(5),
            isolation: Isolation::default(),
            metering: Metering::default(),
            limits: Limits::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

/// How far calls of one plugin are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// An instance serves many calls, one at a time: what it remembers of one, the next may see.
    #[default]
    Shared,
    /// Each call gets an instance of its own.
    PerCall,
}

/// A `[[plugin]]` table.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    pub name: String,
    /// A file in `plugins.dir`, where it is not `NAME.wasm`.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Handed to the plugin's `start`.
    #[serde(default)]
    pub config: toml::Table,
    /// Such as `embed`.
    #[serde(default)]
    pub grants: Vec<String>,
    /// The file's SHA-256, in hexadecimal.
    #[serde(default)]
    pub sha256: Option<String>,
    #[serde(default)]
    pub on_error: OnError,
    /// As `[plugins]` says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    #[serde(default)]
    pub limits: Option<OwnLimits>,
}

/// What a call is about; the same for all its documents.
#[derive(Clone)]
pub struct Call {
    pub model: ModelName,
    pub purpose: Purpose,
    /// Tokens for one chunk and its prefix; prompt and special tokens are taken off.
    pub max_tokens: u32,
    pub tokenizer: Arc<Tokenizer>,
    /// BCP 47.
    pub language: Option<String>,
    /// Answers `embedder.embed-spans` for plugins that are granted it.
    pub embedder: Option<Arc<dyn SpanEmbedder>>,
}

/// Embeds parts of documents for a plugin with the grant `embed`; runs no plugin.
#[async_trait]
pub trait SpanEmbedder: Send + Sync {
    async fn embed(&self, model: &ModelName, texts: Vec<String>) -> Result<Vec<Embedding>, String>;
}

/// What a preprocessor wants done with one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    Keep,
    /// Ascending, not overlapping, on character boundaries.
    Patch(Vec<Patch>),
    Replace(String),
    Reject(String),
}

/// A preprocessor's checked answer for one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preprocessed {
    pub edit: Edit,
    pub media_type: Option<String>,
    pub metadata: Vec<(String, String)>,
}

/// The plugins that serve at this moment. Who holds one that was replaced goes on with it until done.
pub struct Plugins {
    serving: ArcSwap<BTreeMap<String, Arc<Plugin>>>,
    /// Nothing where nothing is ever loaded.
    life: Option<life::Life>,
}

/// One loaded plugin.
pub struct Plugin {
    runtime: Arc<engine::Runtime>,
    instances: instance::Instances,
    info: PluginInfo,
    fingerprint: String,
    limits: Limits,
    breaker: breaker::Breaker,
    on_error: OnError,
    /// The one that `on_error` names, as it is loaded now.
    fallback: Mutex<Option<Arc<Self>>>,
    loaded_at: SystemTime,
    tally: Arc<tally::Tally>,
    /// Whether the texts of a call have to be kept at hand for its imports.
    uses_text: bool,
}

/// What is known of a plugin, for people.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    pub name: String,
    pub version: String,
    pub about: String,
    pub is_preprocessor: bool,
    pub is_chunker: bool,
    /// A path, or `bundled`.
    pub source: String,
    pub sha256: String,
    /// When it was loaded.
    pub code: Code,
    pub grants: Vec<String>,
    pub needs_embedder: bool,
}

/// What is known of a plugin that is loaded, and of its calls.
#[derive(Clone, Debug)]
pub struct PluginStatus {
    pub info: PluginInfo,
    /// Of its component, its configuration and its grants.
    pub fingerprint: String,
    pub limits: Limits,
    pub loaded_at: SystemTime,
    pub calls: Calls,
    /// Nothing where it is in service.
    pub outage: Option<Outage>,
}

impl PluginInfo {
    /// Nothing where it is bundled.
    pub fn file(&self) -> Option<&str> {
        sources::file_of(&self.source)
    }
}

impl Plugins {
    /// No plugins at all.
    pub fn none() -> Self {
        Self { serving: ArcSwap::default(), life: None }
    }

    /// Loads the bundled plugins, those in `config.dir` over them, and those of `tables`.
    ///
    /// # Errors
    /// The first plugin that cannot be loaded, with what its author or the operator can do.
    pub async fn load(config: &Config, tables: &[PluginConfig]) -> Result<Self, PluginError> {
        // What changes from here on is seen as a change.
        let seen = life::look(config, tables);
        let found = sources::find(config, tables)?;
        let loader = load::Loader::new(config, tables, &found)?;
        let serving = ArcSwap::from_pointee(loader.load_all(found).await?);
        Ok(Self { serving, life: Some(life::Life::new(loader, seen)) })
    }

    /// Follows the folder of plugins for as long as it is polled: files that come, change or go
    /// take effect, unless they are no good or `uses` says that they are needed. `changed` is
    /// told of each, once it serves.
    ///
    /// Returns at once where there is nothing to follow, and else never.
    pub async fn follow(&self, uses: Vec<Use>, changed: impl Fn(&Change<'_>) + Send + Sync) {
        if let Some(life) = &self.life {
            life.follow(&self.serving, uses, &changed).await;
        }
    }

    /// Files that are there and do not serve, and why, by the names that they would have.
    pub fn refused(&self) -> Vec<Refused> {
        self.life.as_ref().map(life::Life::refused).unwrap_or_default()
    }

    /// Loads one file as a plugin of its name and checks it, as `plugin check` does.
    ///
    /// # Errors
    /// What is wrong with it, and the way out.
    pub async fn check(
        config: &Config,
        file: &std::path::Path,
        grants: &[String],
    ) -> Result<PluginInfo, PluginError> {
        load::load_file(config, file, grants).await
    }

    /// # Errors
    /// There is no such plugin, or it is no preprocessor.
    pub fn preprocessor(&self, name: &str) -> Result<Arc<Plugin>, PluginError> {
        self.find(name, "preprocessor", |info| info.is_preprocessor)
    }

    /// # Errors
    /// There is no such plugin, or it is no chunker.
    pub fn chunker(&self, name: &str) -> Result<Arc<Plugin>, PluginError> {
        self.find(name, "chunker", |info| info.is_chunker)
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<PluginInfo> {
        self.serving.load().values().map(|plugin| plugin.info.clone()).collect()
    }

    /// All of them with what became of their calls, by name.
    pub fn status(&self) -> Vec<PluginStatus> {
        self.serving.load().values().map(|plugin| plugin.status()).collect()
    }

    fn find(
        &self,
        name: &str,
        role: &'static str,
        has_role: impl Fn(&PluginInfo) -> bool,
    ) -> Result<Arc<Plugin>, PluginError> {
        let serving = self.serving.load();
        let Some(plugin) = serving.get(name) else {
            let with_role = serving.values().filter(|plugin| has_role(&plugin.info));
            let known: Vec<_> = with_role.map(|plugin| plugin.name()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(PluginError::Unknown { name: name.to_owned(), role, known });
        };
        if !has_role(&plugin.info) {
            return Err(PluginError::Role { plugin: name.to_owned(), role });
        }
        Ok(Arc::clone(plugin))
    }
}

impl Plugin {
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Changes when the component, its configuration or its grants change: 32 hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub fn status(&self) -> PluginStatus {
        PluginStatus {
            info: self.info.clone(),
            fingerprint: self.fingerprint.clone(),
            limits: self.limits.clone(),
            loaded_at: self.loaded_at,
            calls: self.tally.calls(),
            outage: self.outage(),
        }
    }
}
