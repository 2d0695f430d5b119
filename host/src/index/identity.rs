//! What makes a chunk, and a way of making chunks, the same as before.

use std::collections::HashMap;

use uuid::Uuid;

use crate::analyzer::Analyzer;
use crate::store::TextHash;

/// The name space of chunk ids. Never changes, or everything is embedded anew.
const NAMESPACE: Uuid = Uuid::from_u128(0x3f1c_6d0a_92b7_5e48_8c1d_e7a0_4b96_f253);

/// Rises when the host makes other points of the same chunks.
const VERSION: u32 = 2;

/// Gives the chunks of one document their ids, in the order of the document.
///
/// An id follows from the source, from what is embedded, and from how often the
/// same came before it. So a paragraph put before a chunk leaves its id alone.
/// What else decides about a point (space, pipeline, analyzer) is the same in
/// all of a generation.
#[derive(Debug)]
pub(super) struct Ids<'s> {
    source: &'s str,
    occurrences: HashMap<TextHash, u32>,
}

impl<'s> Ids<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self { source, occurrences: HashMap::new() }
    }

    pub(super) fn next(&mut self, text: &TextHash) -> Uuid {
        let occurrence = self.occurrences.entry(*text).or_insert(0);
        let mut name = Vec::with_capacity(self.source.len() + 20);
        name.extend_from_slice(text.as_bytes());
        name.extend_from_slice(&occurrence.to_le_bytes());
        name.extend_from_slice(self.source.as_bytes());
        *occurrence += 1;
        Uuid::new_v5(&NAMESPACE, &name)
    }
}

/// Hashes what decides how documents become points. Parts are told apart:
/// `("ab", "c")` and `("a", "bc")` differ.
#[derive(Debug)]
pub(super) struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    pub(super) fn new() -> Self {
        Self(blake3::Hasher::new()).with(&VERSION.to_string()).with(&Analyzer::VERSION.to_string())
    }

    pub(super) fn with(mut self, part: &str) -> Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part.as_bytes());
        self
    }

    /// 32 hexadecimal digits.
    pub(super) fn finish(self) -> String {
        let hex = self.0.finalize().to_hex();
        hex.chars().take(32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(source: &str, texts: &[&str]) -> Vec<Uuid> {
        let mut ids = Ids::new(source);
        texts.iter().map(|text| ids.next(&TextHash::of(text))).collect()
    }

    #[test]
    fn a_paragraph_put_before_a_chunk_leaves_its_id_alone() {
        assert_eq!(ids("/a", &["one", "two"])[1], ids("/a", &["new", "one", "two"])[2]);
    }

    #[test]
    fn the_same_text_twice_has_two_ids() {
        let ids = ids("/a", &["same", "same"]);
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn two_documents_share_no_id() {
        assert_ne!(ids("/a", &["same"]), ids("/b", &["same"]));
    }

    #[test]
    fn ids_are_the_same_on_every_machine() {
        assert_eq!(ids("/a", &["one"])[0].get_version_num(), 5);
        assert_eq!(ids("/a", &["one"]), ids("/a", &["one"]));
    }

    #[test]
    fn parts_of_a_fingerprint_are_told_apart() {
        let of = |parts: [&str; 2]| Fingerprint::new().with(parts[0]).with(parts[1]).finish();
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
        assert_eq!(of(["ab", "c"]).len(), 32);
    }
}
