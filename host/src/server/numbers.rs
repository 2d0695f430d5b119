//! Vectors as lists of numbers, which are kept as they were written where they are asked for again.

use std::sync::Arc;

use super::wire;
use crate::cache::Forms;
use crate::embed::EmbedAnswer;
use crate::model::Embedding;

/// Writes the vectors of one answer.
pub(super) struct Numbers(Option<Arc<Forms>>);

impl Numbers {
    /// For `answer`, in which vectors have the `dimensions` that were asked for. What was
    /// embedded just now may never be asked for again, and what was shortened is a vector
    /// of this answer alone.
    pub(super) fn of(answer: &EmbedAnswer, dimensions: Option<usize>, forms: &Arc<Forms>) -> Self {
        let are_known = answer.n_hits == answer.embeddings.len() && dimensions.is_none();
        Self(are_known.then(|| forms.clone()))
    }

    /// Appends the numbers in brackets.
    pub(super) fn write(&self, out: &mut Vec<u8>, embedding: &Embedding) {
        let write = |out: &mut Vec<u8>| wire::write_json(out, embedding.values());
        match &self.0 {
            Some(forms) => forms.append(out, embedding, write),
            None => write(out),
        }
    }
}

#[cfg(test)]
impl Numbers {
    pub(super) fn unkept() -> Self {
        Self(None)
    }
}
