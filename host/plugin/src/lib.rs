//! WebAssembly components: loaded, checked against the contract, lent for one
//! call at a time, and never trusted.
//!
//! `load` finds components, `contract` and `compiled` make them ready, `instance`
//! lends them out under the limits that `state` and `engine` enforce, `imports`
//! serves them within their `quota`, in `surroundings` where nothing is, and `check`
//! reads what they answer. `grants` says what each may want.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use embergate_core::document::source_map::Patch;
use embergate_core::model::{Embedding, ModelName, Purpose};
use embergate_core::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

mod bindings;
mod call;
mod check;
mod compiled;
mod component_type;
mod contract;
mod engine;
mod grants;
mod held;
mod imports;
mod instance;
mod limits;
mod load;
mod offsets;
mod quota;
pub mod segment;
mod settings;
mod state;
mod surroundings;

pub use held::Held;
pub use limits::{Limits, OwnLimits};

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
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self { dir: "plugins".into(), cache_dir: None, limits: Limits::default() }
    }
}

/// A `[[plugin]]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
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

/// All plugins that are loaded, by name.
pub struct Plugins {
    plugins: BTreeMap<String, Arc<Plugin>>,
}

/// One loaded plugin.
pub struct Plugin {
    runtime: Arc<engine::Runtime>,
    instances: instance::Instances,
    info: PluginInfo,
    fingerprint: String,
    limits: Limits,
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
    pub grants: Vec<String>,
    pub needs_embedder: bool,
}

/// Why a call brought nothing. A plugin that refuses gave an answer; one that
/// traps has a bug; one that is stopped met a limit of ours.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("there is no plugin `{name}`; there are: {known}")]
    Unknown { name: String, known: String },
    #[error("plugin `{plugin}` is no {role}")]
    Role { plugin: String, role: &'static str },
    #[error("cannot load plugin `{plugin}` from {source_name}: {reason}")]
    Load { plugin: String, source_name: String, reason: String },
    #[error("plugin `{plugin}` {version} refused: {message}")]
    Refused { plugin: String, version: String, message: String },
    #[error("plugin `{plugin}` {version} trapped in `{function}`: {reason}{stderr}")]
    Trapped { plugin: String, version: String, function: &'static str, reason: String, stderr: String },
    #[error("plugin `{plugin}` {version} was stopped in `{function}` after {after:?}: {limit}")]
    Stopped { plugin: String, version: String, function: &'static str, after: Duration, limit: String },
    #[error(
        "plugin `{plugin}` {version} broke the contract in `{function}` on document `{document}`: {reason}"
    )]
    Contract { plugin: String, version: String, function: &'static str, document: String, reason: String },
    #[error("plugin `{plugin}` has no instance free within {within:?}")]
    Busy { plugin: String, within: Duration },
}

impl Plugins {
    /// No plugins at all.
    pub fn none() -> Self {
        Self { plugins: BTreeMap::new() }
    }

    /// Loads the bundled plugins, those in `config.dir` over them, and those of `tables`.
    ///
    /// # Errors
    /// The first plugin that cannot be loaded, with what its author or the operator can do.
    pub async fn load(config: &Config, tables: &[PluginConfig]) -> Result<Self, PluginError> {
        Ok(Self { plugins: load::load(config, tables).await? })
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
        self.plugins.values().map(|plugin| plugin.info.clone()).collect()
    }

    fn find(
        &self,
        name: &str,
        role: &'static str,
        has_role: impl Fn(&PluginInfo) -> bool,
    ) -> Result<Arc<Plugin>, PluginError> {
        let Some(plugin) = self.plugins.get(name) else {
            let with_role = self.plugins.values().filter(|plugin| has_role(&plugin.info));
            let known: Vec<_> = with_role.map(|plugin| plugin.name()).collect();
            return Err(PluginError::Unknown { name: name.to_owned(), known: known.join(", ") });
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
}
