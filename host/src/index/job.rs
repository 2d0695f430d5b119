//! What holds for one run: the collection, its plugins and the limits, with the
//! parts that tasks of the run share.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;
use uuid::Uuid;

use super::recipe::{Recipe, Recipes};
use super::source::{Assumed, Found, Item, Origin, Reader, media};
use super::{CollectionConfig, Config, IndexError, Indexer};
use crate::analyzer::Analyzer;
use crate::cache::Space;
use crate::embed::{EmbedError, EmbedRequest, Embedder, Lane, Model};
use crate::model::{Embedding, ModelName, Purpose};
use crate::plugin::{Call, SpanEmbedder};
use crate::store::{Collection, SourceRecord, Store, StoreError};

/// Tokens of a chunk where the collection does not say.
const MAX_TOKENS: u32 = 400;

pub(super) struct Job {
    pub(super) collection: Collection,
    pub(super) call: Call,
    pub(super) analyzer: Analyzer,
    pub(super) config: Config,
    pub(super) reader: Reader,
    recipes: Recipes,
    embedder: Arc<Embedder>,
    store: Arc<dyn Store>,
    /// Waits for plugins since one of them answered.
    plugin_waits: AtomicU32,
}

impl Job {
    /// Finds out all that can be wrong before anything is written.
    pub(super) async fn new(
        indexer: &Indexer,
        collection: &CollectionConfig,
        items: &[Item],
    ) -> Result<Self, IndexError> {
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
        let media_types = media_types(items);
        let recipes = Recipes::new(&indexer.plugins, collection, &model.preprocess, &common, media_types)?;
        if let Some(differing) = model.differing(recipes.preprocessors()) {
            return Err(IndexError::PluginDiffers { collection: collection.name.clone(), differing });
        }
        Ok(Self {
            collection: Collection {
                name: collection.name.clone(),
                model: name.to_string(),
                dimensions: embedder.dimensions(&name).await?,
                space: embedder.space(&name, Purpose::Document, true).await?,
                language: collection.language.clone(),
                pipeline: String::new(),
            },
            call: Call {
                model: name,
                purpose: Purpose::Document,
                max_tokens,
                tokenizer: Arc::clone(&model.tokenizer),
                language: collection.language.clone(),
                embedder: Some(Arc::clone(embedder) as Arc<dyn SpanEmbedder>),
            },
            analyzer: Analyzer::new(collection.language.as_deref()),
            config: indexer.config.clone(),
            reader: Reader::new(&indexer.config, collection.language.as_deref()),
            recipes,
            embedder: Arc::clone(embedder),
            store: Arc::clone(&indexer.store),
            plugin_waits: AtomicU32::new(0),
        })
    }

    pub(super) fn recipe(&self, file: &Found) -> Option<&Recipe> {
        self.recipes.of(file.media_type)
    }

    /// Returns whether a file is as it was recorded, as far as can be told without reading it.
    pub(super) fn is_unchanged(&self, file: &Found, record: &SourceRecord) -> bool {
        let same_file = (file.size, file.modified) == (record.size, record.modified);
        same_file && self.recipe(file).is_some_and(|recipe| recipe.fingerprint == record.pipeline)
    }

    /// Embeds texts that have been through their preprocessors. Where too much
    /// is waiting, asks again when told to, a bounded number of times.
    pub(super) async fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        let mut repeats = 0;
        loop {
            let deadline = Instant::now() + self.config.timeout;
            let request =
                EmbedRequest::prepared(self.call.model.clone(), texts.to_vec(), Lane::Bulk, deadline);
            // A model that changes during a run must not mix its vectors with those of before.
            let request = EmbedRequest { space: Space::from_hex(&self.collection.space), ..request };
            match self.embedder.embed(request).await {
                Err(EmbedError::Overloaded { retry_after }) if repeats < self.config.max_repeats => {
                    repeats += 1;
                    tokio::time::sleep(retry_after).await;
                }
                answer => return answer.map(|answer| answer.embeddings),
            }
        }
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

/// Those of documents that were found; of pages it is not known before they are fetched.
fn media_types(items: &[Item]) -> BTreeSet<&'static str> {
    let mut media_types = BTreeSet::new();
    for item in items {
        match item {
            Item::Document(Found { origin: Origin::Url { .. }, .. }) => media_types.extend(media::all()),
            Item::Document(found) => drop(media_types.insert(found.media_type)),
            Item::Skipped { .. } | Item::Failed { .. } => {}
        }
    }
    media_types
}
