//! What holds for one run: the collection, its plugins and the limits, with the
//! parts that tasks of the run share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;
use uuid::Uuid;

use super::budget::Budget;
use super::claims::Claims;
use super::patience::patiently;
use super::recent::Recent;
use super::recipe::{Recipe, Recipes};
use super::source::{Assumed, Found, Reader};
use super::{CollectionConfig, Config, IndexError, Indexer};
use crate::analyzer::Analyzer;
use crate::cache::Space;
use crate::embed::{EmbedError, EmbedRequest, Embedder, Lane, Model};
use crate::model::{Embedding, ModelName, Purpose};
use crate::plugin::{Call, SpanEmbedder};
use crate::store::{Collection, Stamped, Store, StoreError, TextHash};
use crate::units::ByteSize;

/// Tokens of a chunk where the collection does not say.
const MAX_TOKENS: u32 = 400;

pub(super) struct Job {
    /// As the generation is that the run writes, under that one's name.
    pub(super) collection: Collection,
    /// Generations of the same space, whose vectors may be copied.
    pub(super) known_in: Vec<String>,
    pub(super) call: Call,
    pub(super) analyzer: Analyzer,
    pub(super) config: Config,
    pub(super) reader: Reader,
    pub(super) budget: Budget,
    pub(super) recent: Recent,
    pub(super) claims: Claims,
    /// Documents that this run may write anew, at most.
    pub(super) limit: Option<u64>,
    recipes: Recipes,
    embedder: Arc<Embedder>,
    store: Arc<dyn Store>,
    /// Waits for plugins since one of them answered.
    plugin_waits: AtomicU32,
}

impl Job {
    /// Finds out all that can be wrong before anything is written.
    pub(super) async fn new(indexer: &Indexer, collection: &CollectionConfig) -> Result<Self, IndexError> {
        let embedder = &indexer.embedder;
        let name = ModelName::new(&collection.model)
            .map_err(|source| IndexError::Model { collection: collection.name.clone(), source })?;
        let model = embedder.find(&name).await.ok_or_else(|| embedder.unknown(name))?;
        let name = model.name.clone();
        let max_tokens = max_tokens(collection, &model)?;
        let mut common = vec![max_tokens.to_string(), collection.language.clone().unwrap_or_default()];
        if indexer.config.encoding != Assumed::Detect {
            common.push(indexer.config.encoding.to_string());
        }
        let recipes = Recipes::new(Arc::clone(&indexer.plugins), collection, &model.preprocess, common)?;
        if let Some(differing) = model.differing(recipes.preprocessors().iter().map(|plugin| &**plugin)) {
            return Err(IndexError::PluginDiffers { collection: collection.name.clone(), differing });
        }
        let config = indexer.config.clone();
        let ByteSize(remembered) = config.remembered;
        Ok(Self {
            collection: Collection {
                name: collection.name.clone(),
                model: name.to_string(),
                dimensions: patiently(config.max_repeats, || embedder.dimensions(&name)).await?,
                space: embedder.space(&name, Purpose::Document, true).await?,
                language: collection.language.clone(),
                pipeline: recipes.fingerprint(),
            },
            known_in: Vec::new(),
            call: Call {
                model: name,
                purpose: Purpose::Document,
                max_tokens,
                tokenizer: Arc::clone(&model.tokenizer),
                language: collection.language.clone(),
                embedder: Some(Arc::clone(embedder) as Arc<dyn SpanEmbedder>),
            },
            analyzer: Analyzer::new(collection.language.as_deref()),
            budget: Budget::new(config.max_held_tokens),
            recent: Recent::new(usize::try_from(remembered).unwrap_or(usize::MAX)),
            claims: Claims::default(),
            limit: None,
            reader: Reader::new(&config, collection.language.as_deref()),
            config,
            recipes,
            embedder: Arc::clone(embedder),
            store: Arc::clone(&indexer.store),
            plugin_waits: AtomicU32::new(0),
        })
    }

    /// What is done with documents of a media type, or what keeps it from being done.
    pub(super) fn recipe(&self, media_type: &str) -> Result<Arc<Recipe>, String> {
        self.recipes.of(media_type)
    }

    /// Returns whether a document is as it was recorded, as far as can be told without reading it.
    pub(super) fn is_unchanged(&self, found: &Found, stamp: &Stamped) -> bool {
        let is_same = (found.size, found.modified) == (stamp.size, stamp.modified);
        is_same && self.recipe(found.media_type).is_ok_and(|recipe| recipe.fingerprint == stamp.pipeline)
    }

    /// Embeds texts that have been through their preprocessors.
    pub(super) async fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        let ask = || {
            let deadline = Instant::now() + self.config.timeout;
            let model = self.call.model.clone();
            let request = EmbedRequest::prepared(model, texts.to_vec(), Lane::Bulk, deadline);
            // A model that changes during a run must not mix its vectors with those of before.
            let space = Space::from_hex(&self.collection.space);
            self.embedder.embed(EmbedRequest { space, ..request })
        };
        patiently(self.config.max_repeats, ask).await.map(|answer| answer.embeddings)
    }

    /// Takes one of the waits for plugins that are out of service, if any is left.
    pub(super) fn may_wait_for_plugins(&self) -> bool {
        self.plugin_waits.fetch_add(1, Ordering::Relaxed) < self.config.max_repeats
    }

    pub(super) fn plugins_answer(&self) {
        self.plugin_waits.store(0, Ordering::Relaxed);
    }

    /// Which of `ids` are stored, asked for in lists of bounded size.
    pub(super) async fn existing(&self, ids: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
        let mut existing = HashSet::with_capacity(ids.len());
        for ids in ids.chunks(self.config.batch_texts.max(1)) {
            existing.extend(self.store.existing(&self.collection.name, ids).await?);
        }
        Ok(existing)
    }

    /// Vectors of texts that the store has, asked for in lists of bounded size.
    pub(super) async fn known_vectors(
        &self,
        texts: &[TextHash],
    ) -> Result<HashMap<TextHash, Embedding>, StoreError> {
        let mut known = HashMap::new();
        for collection in &self.known_in {
            let unknown: Vec<_> = texts.iter().filter(|text| !known.contains_key(*text)).copied().collect();
            for texts in unknown.chunks(self.config.batch_texts.max(1)) {
                known.extend(self.store.known_vectors(collection, texts).await?);
            }
        }
        Ok(known)
    }
}

/// Tokens for a chunk and its prefix: as configured, at most what the model
/// takes beside its prompt and special tokens.
fn max_tokens(collection: &CollectionConfig, model: &Model) -> Result<u32, IndexError> {
    let taken = model.tokenizer.n_special() + model.tokenizer.count(&model.prompts.document);
    let room = model.max_tokens.unwrap_or(u32::MAX).saturating_sub(taken);
    match collection.max_tokens.unwrap_or(MAX_TOKENS).min(room) {
        0 => Err(IndexError::NoRoom {
            collection: collection.name.clone(),
            model: model.name.clone(),
            max: model.max_tokens.unwrap_or_default(),
            taken,
        }),
        max_tokens => Ok(max_tokens),
    }
}
