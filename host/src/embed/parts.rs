//! Embeds parts of documents for plugins that are granted it.

use async_trait::async_trait;
use tokio::time::Instant;

use super::{EmbedRequest, Embedder, Lane};
use crate::model::{Embedding, ModelName};
use crate::plugin::SpanEmbedder;

/// Texts of documents, in the bulk lane, past the preprocessors: no plugin runs,
/// so a plugin can't call itself. The plugin's own time bounds it from outside.
#[async_trait]
impl SpanEmbedder for Embedder {
    async fn embed(&self, model: &ModelName, texts: Vec<String>) -> Result<Vec<Embedding>, String> {
        let mut embeddings = Vec::with_capacity(texts.len());
        for part in texts.chunks(self.config.max_texts.max(1)) {
            let deadline = Instant::now() + self.config.timeout;
            let request = EmbedRequest::prepared(model.clone(), part.to_vec(), Lane::Bulk, deadline);
            let answer = Self::embed(self, request).await.map_err(|error| error.to_string())?;
            embeddings.extend(answer.embeddings);
        }
        Ok(embeddings)
    }
}
