//! How a gateway serves a model: what another one has to know to prepare texts for it.

use std::fmt;
use std::sync::Arc;

use crate::tokenizer::Tokenizer;

/// What a gateway says of one of its models.
#[derive(Clone)]
pub struct Card {
    /// Other names that lead to it there.
    pub aliases: Vec<String>,
    /// It is what a request gets there that names no model.
    pub is_default: bool,
    /// Nothing before something was embedded there.
    pub dimensions: Option<usize>,
    pub max_tokens: Option<u32>,
    pub matryoshka: bool,
    pub truncate: Option<bool>,
    pub query_prompt: String,
    pub document_prompt: String,
    /// What its texts go through there, in that order.
    pub preprocessors: Vec<PluginMark>,
    pub tokenizer: Arc<Tokenizer>,
}

/// A plugin, and what tells it from another one of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginMark {
    pub name: String,
    pub fingerprint: String,
}

impl Card {
    fn tokenizer_id(&self) -> Option<&str> {
        self.tokenizer.definition().map(|definition| &*definition.id)
    }
}

/// Dimensions are no part of it: they become known some time, and change nothing.
impl PartialEq for Card {
    fn eq(&self, other: &Self) -> bool {
        let facts = |card: &Self| (card.is_default, card.max_tokens, card.matryoshka, card.truncate);
        facts(self) == facts(other)
            && self.aliases == other.aliases
            && self.query_prompt == other.query_prompt
            && self.document_prompt == other.document_prompt
            && self.preprocessors == other.preprocessors
            && self.tokenizer_id() == other.tokenizer_id()
    }
}

impl Eq for Card {}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card")
            .field("max_tokens", &self.max_tokens)
            .field("preprocessors", &self.preprocessors)
            .field("tokenizer", &self.tokenizer_id())
            .finish_non_exhaustive()
    }
}
