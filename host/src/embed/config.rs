//! The `[[model]]` tables and the `[embed]` table.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::HealthConfig;
use crate::model::Purpose;
use crate::upstream::{self, KeepAlive};

/// A `[[model]]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// What clients ask for.
    pub name: String,
    /// Other names that lead to it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its name at the upstreams, where that differs.
    #[serde(default)]
    pub upstream_name: Option<String>,
    /// Names of `[[upstream]]` tables.
    pub upstreams: Vec<String>,
    #[serde(default)]
    pub preprocess: Vec<String>,
    #[serde(default)]
    pub prompts: Option<Prompts>,
    /// A `tokenizer.json`; tokens are estimated without one.
    #[serde(default)]
    pub tokenizer: Option<std::path::PathBuf>,
    /// Tokens that the model takes, its special ones included.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// How long Ollama keeps it loaded after a call; an hour when absent.
    #[serde(default)]
    pub keep_alive: Option<KeepAlive>,
    /// How Ollama loads it, beyond what follows from `max_tokens`.
    #[serde(default)]
    pub options: Option<upstream::Options>,
    /// Whether the model was trained so that a prefix of a vector is a vector (matryoshka).
    #[serde(default)]
    pub matryoshka: Option<bool>,
    /// Whether texts that are too long are cut where a request does not say;
    /// as each API does when absent: OpenAI's refuses them, Ollama's cuts.
    #[serde(default)]
    pub truncate: Option<bool>,
}

/// What is put before a text, by its purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prompts {
    pub query: String,
    pub document: String,
}

impl Prompts {
    /// What is put before a text of this purpose; nothing for [`Purpose::None`].
    pub fn of(&self, purpose: Purpose) -> &str {
        match purpose {
            Purpose::Query => &self.query,
            Purpose::Document => &self.document,
            Purpose::None => "",
        }
    }
}

/// The `[embed]` table: bounds of a request, and of the search for models.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Texts in one request, at most.
    pub max_texts: usize,
    /// How long a request may take where the client sets no time.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The model of a request that names none; without it, such a request is refused.
    pub default_model: Option<String>,
    pub token_arrays: TokenArrays,
    /// How often upstreams are asked which models they have.
    #[serde(with = "humantime_serde")]
    pub discover_every: Duration,
    /// How long a request for a model that is not known may wait until upstreams were asked for it.
    #[serde(with = "humantime_serde")]
    pub discover_wait: Duration,
    /// Models that are found at upstreams, at most; further ones are not served.
    pub max_discovered: usize,
    /// The `[health]` table.
    #[serde(skip)]
    pub health: HealthConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_texts: 2048,
            timeout: Duration::from_secs(60),
            default_model: None,
            token_arrays: TokenArrays::Cl100k,
            discover_every: Duration::from_secs(30),
            discover_wait: Duration::from_secs(5),
            max_discovered: 100,
            health: HealthConfig::default(),
        }
    }
}

/// What becomes of numbers where OpenAI's API expects texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenArrays {
    /// They are tokens of cl100k_base, as clients make them that think of OpenAI's models.
    Cl100k,
    /// They are refused.
    Off,
}
