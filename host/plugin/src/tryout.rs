//! A first call, on a text of our own, before any of a client's.

use std::sync::Arc;

use async_trait::async_trait;
use embergate_core::document::Document;
use embergate_core::model::{Embedding, ModelName, Purpose};
use embergate_core::tokenizer::Tokenizer;

use super::load::Fault;
use super::{Call, Plugin, PluginError, SpanEmbedder};

/// Two paragraphs with characters of one to four bytes.
const TEXT: &str =
    "A harbour café opens at high tide. 満潮は一日に二回あります。\n\nBoats 🚢 leave; the gate shuts.\n";
/// Tokens of a chunk, at most: as collections have it by default.
const MAX_TOKENS: u32 = 400;

impl Plugin {
    /// Has the plugin answer one call in each of its roles, which nobody counts. To refuse is an
    /// answer too.
    ///
    /// # Errors
    /// It trapped, was stopped, or broke the contract.
    pub(super) async fn try_out(&self) -> Result<(), Fault> {
        let Ok(model) = ModelName::new("smoke-test") else { return Ok(()) };
        let call = Call {
            model,
            purpose: Purpose::Document,
            max_tokens: MAX_TOKENS,
            tokenizer: Arc::new(Tokenizer::estimate()),
            language: None,
            embedder: Some(Arc::new(Alike)),
        };
        let document = [Document {
            id: "smoke-test.txt".into(),
            media_type: "text/plain".into(),
            text: TEXT.into(),
            metadata: Vec::new(),
        }];
        if self.info.is_preprocessor {
            answered(self.processed(&call, &document).await.map(drop))?;
        }
        if self.info.is_chunker {
            let answers = self.cut(&call, &document).await;
            answered(
                answers.and_then(|answers| answers.into_iter().try_for_each(|answer| answer.map(drop))),
            )?;
        }
        // What it has remembered of our text is of no use to anybody.
        self.instances.start_over();
        Ok(())
    }
}

fn answered(outcome: Result<(), PluginError>) -> Result<(), Fault> {
    let error = match outcome {
        Ok(()) | Err(PluginError::Refused { .. }) => return Ok(()),
        Err(error) => error,
    };
    let reason = format!("it fails a first call on a short text: {error}");
    Err(match error {
        PluginError::Trapped { inside, .. } | PluginError::Stopped { inside, .. } => Fault { reason, inside },
        _ => reason.into(),
    })
}

/// Gives all texts the same vector.
struct Alike;

#[async_trait]
impl SpanEmbedder for Alike {
    async fn embed(&self, _: &ModelName, texts: Vec<String>) -> Result<Vec<Embedding>, String> {
        texts.iter().map(|_| Embedding::new(vec![1.0; 8]).map_err(|error| error.to_string())).collect()
    }
}
