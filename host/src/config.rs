//! The configuration: one file, defaults for all that it leaves out.

use serde::Deserialize;

/// The whole file. The `Default` impls of the parts are the table of defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: crate::server::Config,
    pub admin: crate::server::AdminConfig,
    pub embed: crate::embed::Config,
    pub cache: crate::cache::Config,
    pub batcher: crate::batcher::Config,
    pub plugins: crate::plugin::Config,
    pub store: crate::store::Config,
    pub index: crate::index::Config,
    #[serde(rename = "upstream")]
    pub upstreams: Vec<crate::upstream::Config>,
    #[serde(rename = "model")]
    pub models: Vec<crate::embed::ModelConfig>,
    #[serde(rename = "plugin")]
    pub plugin: Vec<crate::plugin::PluginConfig>,
    #[serde(rename = "collection")]
    pub collections: Vec<crate::index::CollectionConfig>,
}
