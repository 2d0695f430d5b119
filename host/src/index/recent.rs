//! Vectors that a run has just made or taken away, by their text: a paragraph
//! that moves between documents, or stands in many, is embedded once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::model::Embedding;
use crate::store::TextHash;

/// What a kept vector costs beside its numbers.
const OVERHEAD: usize = 96;

/// A bounded number of bytes of vectors; those that nobody asked for go first.
///
/// Two halves: what is asked for moves to the young one, and when that is full
/// the old one is dropped and the young one grows old.
#[derive(Debug)]
pub(super) struct Recent {
    halves: Mutex<Halves>,
    max_half: usize,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<TextHash, Embedding>,
    n_bytes: usize,
    old: HashMap<TextHash, Embedding>,
}

impl Recent {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { halves: Mutex::default(), max_half: max_bytes / 2 }
    }

    pub(super) fn get(&self, text: &TextHash) -> Option<Embedding> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(embedding) = halves.young.get(text) {
            return Some(embedding.clone());
        }
        let embedding = halves.old.remove(text)?;
        halves.put(*text, embedding.clone(), self.max_half);
        Some(embedding)
    }

    pub(super) fn put(&self, text: TextHash, embedding: Embedding) {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner).put(text, embedding, self.max_half);
    }
}

impl Halves {
    fn put(&mut self, text: TextHash, embedding: Embedding, max_half: usize) {
        let n_bytes = OVERHEAD + 4 * embedding.dimensions();
        if self.young.insert(text, embedding).is_none() {
            self.n_bytes += n_bytes;
        }
        if max_half < self.n_bytes {
            self.old = std::mem::take(&mut self.young);
            self.n_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(value: f32) -> Embedding {
        Embedding::new(vec![value, 1.0]).unwrap()
    }

    fn text(number: usize) -> TextHash {
        TextHash::of(&number.to_string())
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_bounded() {
        let recent = Recent::new(20 * (OVERHEAD + 8));
        recent.put(text(0), embedding(0.5));
        for number in 1..1_000 {
            recent.put(text(number), embedding(number as f32));
            assert_eq!(recent.get(&text(0)), Some(embedding(0.5)));
        }
        assert_eq!(recent.get(&text(1)), None);
        let halves = recent.halves.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 22);
    }
}
