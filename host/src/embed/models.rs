//! Which models there are, and which of them a client's word means.

use std::sync::Arc;

use super::served::Served;
use super::{EmbedError, Embedder, Prompts, names};
use crate::model::{ModelName, Purpose};
use crate::plugin::Plugin;
use crate::tokenizer::Tokenizer;
use crate::upstream::PluginMark;

/// One model as it is served.
pub struct Model {
    pub name: ModelName,
    /// Other names that lead to it.
    pub aliases: Vec<String>,
    /// Its name at the upstreams.
    pub upstream_name: String,
    /// Names of the upstreams that may be asked.
    pub upstreams: Vec<String>,
    pub tokenizer: Arc<Tokenizer>,
    /// Tokens that the model takes, special ones included; unknown where nobody said.
    pub max_tokens: Option<u32>,
    pub prompts: Prompts,
    pub preprocess: Vec<String>,
    /// Whether texts that are too long are cut where a request does not say.
    pub truncate: Option<bool>,
    /// A request that names no model gets it at the gateway that serves it.
    pub is_default_there: bool,
    /// Where it is served by another gateway: the plugins that its texts go through there.
    pub there: Option<Vec<PluginMark>>,
}

/// How a model is served at this moment.
pub struct Described {
    pub model: Arc<Model>,
    /// In the order in which texts go through them.
    pub preprocessors: Vec<PluginMark>,
    /// Nothing before the first answer.
    pub dimensions: Option<usize>,
    pub matryoshka: bool,
}

/// A plugin that is another one here than at the gateway that serves a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    pub plugin: String,
    pub here: String,
    pub there: String,
}

impl Model {
    /// The first of `plugins` that is another one where the model's texts go through it: what it
    /// has prepared here would not fit what is prepared there.
    pub fn differing<'p>(&self, plugins: impl IntoIterator<Item = &'p Plugin>) -> Option<Differing> {
        let there = self.there.as_deref()?;
        plugins.into_iter().find_map(|plugin| {
            let mark = there.iter().find(|mark| mark.name == plugin.name())?;
            let differs = mark.fingerprint != plugin.fingerprint();
            differs.then(|| Differing {
                plugin: mark.name.clone(),
                here: plugin.fingerprint().to_owned(),
                there: mark.fingerprint.clone(),
            })
        })
    }

    fn named(&self) -> names::Named<'_> {
        names::Named {
            name: self.name.as_str(),
            aliases: &self.aliases,
            has_query_prompt: self.prompts.query != self.prompts.document,
        }
    }
}

/// What a client's word for a model leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub name: ModelName,
    /// Where the word says it, as `NAME:query` does.
    pub purpose: Option<Purpose>,
}

impl Embedder {
    /// The model of exactly this name, as far as is known at this moment.
    pub fn model(&self, name: &ModelName) -> Option<Arc<Model>> {
        self.catalog.get(name).map(|served| served.model.clone())
    }

    /// All models that are known at this moment, by name.
    pub fn models(&self) -> Vec<Arc<Model>> {
        self.catalog.all().values().map(|served| served.model.clone()).collect()
    }

    /// The model of this name, however it is written; see [`Embedder::find_by`].
    pub async fn find(&self, name: &ModelName) -> Option<Arc<Model>> {
        let found = self.find_by(|| self.resolve(name.as_str())).await?;
        self.model(&found.name)
    }

    /// Why nothing is known of `name`: there is no such model, or the upstream that
    /// may have it could not be asked yet, and may be later.
    pub fn unknown(&self, name: ModelName) -> EmbedError {
        self.discovery.unseen().map_or(EmbedError::UnknownModel(name), EmbedError::Upstream)
    }

    /// Why an upstream has never said which models it has: what nobody knows may be there.
    pub fn unseen(&self) -> Option<Arc<crate::upstream::UpstreamError>> {
        self.discovery.unseen()
    }

    /// What `find` finds among the models that are known. Where that is nothing,
    /// upstreams are asked for models they may have got meanwhile, and `find` is
    /// called again whenever one has answered, for `discover_wait` at most.
    ///
    /// However many wait, an upstream is asked once in two seconds.
    pub async fn find_by<T>(&self, find: impl Fn() -> Option<T>) -> Option<T> {
        self.discovery.find_by(find).await
    }

    /// The model that a client means by `asked`: its name, one of its aliases, either
    /// with or without `:latest`, behind `embed/`, before `:query` or `:document`;
    /// an empty word is the default model.
    pub fn resolve(&self, asked: &str) -> Option<Resolved> {
        let asked = match (asked, &self.config.default_model) {
            ("", Some(default)) => default,
            _ => asked,
        };
        // Most clients write the name as it is, which is what would be looked for first.
        if let Some(name) = ModelName::new(asked).ok().filter(|name| self.catalog.get(name).is_some()) {
            return Some(Resolved { name, purpose: None });
        }
        let models = self.models();
        let (name, purpose) = names::resolve(asked, models.iter().map(|model| model.named()))?;
        Some(Resolved { name: ModelName::new(name).ok()?, purpose })
    }

    /// Every word that lists of models show; each leads to a model.
    pub fn listed(&self) -> Vec<String> {
        names::listed(self.models().iter().map(|model| model.named()))
    }

    pub(super) async fn served(&self, model: &ModelName) -> Result<Arc<Served>, EmbedError> {
        let found = self.find_by(|| self.catalog.get(model)).await;
        found.ok_or_else(|| self.unknown(model.clone()))
    }
}
