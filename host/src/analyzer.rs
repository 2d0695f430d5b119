//! Turns text into a sparse vector for ranking by words: what BM25 needs.
//!
//! The same terms and weights go to both stores, so that they rank alike; the
//! store applies the inverse document frequency when it is asked.

/// Term ids, ascending, and a weight for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    pub terms: Vec<u32>,
    pub weights: Vec<f32>,
}

/// Splits, folds and stems the words of one language.
#[derive(Clone, Debug)]
pub struct Analyzer {}

impl Analyzer {
    /// Part of a collection's fingerprint: rises when terms or weights change.
    pub const VERSION: u32 = 1;

    /// `language` is BCP 47 (`tr`, `en`, …); without one, words are folded and not stemmed.
    pub fn new(_language: Option<&str>) -> Self {
        todo!()
    }

    /// The vector of a chunk: each term's frequency saturated as in BM25
    /// (k1 = 1.2, b = 0.75, an average length of 256 terms, as Qdrant's own `bm25` has them).
    pub fn document(&self, _text: &str) -> SparseVector {
        todo!()
    }

    /// The vector of a question: each of its terms once, with weight 1.
    pub fn query(&self, _text: &str) -> SparseVector {
        todo!()
    }
}
