//! Cuts text at the largest boundary that fits; shared by the chunkers.
//!
//! Reading order: [`Text`] is what the gateway does for a plugin, [`Source`] is
//! a document whose boundaries are asked for when they are first needed, and
//! [`Source::cut`] packs a range of it under a limit. Nothing here knows of
//! WebAssembly, so all of it is tested natively.

mod boundaries;
mod pack;
mod sentences;
pub mod settings;
mod source;
#[cfg(feature = "testing")]
pub mod testing;

pub use pack::{Cuts, Job, overlap};
pub use source::Source;

/// Where [`Text::segment`] cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    Sentence,
    Word,
    Grapheme,
}

/// What the host does natively with the document in hand. Offsets are UTF-8 bytes.
pub trait Text {
    /// Ends of all segments, ascending; the last is the document's length.
    fn segment(&self, at: Boundary) -> Vec<u32>;

    /// One end for each token, never descending, on character boundaries.
    fn token_ends(&self) -> Vec<u32>;

    /// Tokens of each span, counted alone.
    fn count_tokens(&self, spans: &[Span]) -> Vec<u32>;

    /// Tokens of texts that are no part of the document.
    fn count_texts(&self, texts: &[String]) -> Vec<u32>;
}

/// A half-open range of bytes on character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The part of `text` that it names.
    pub fn of<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start..self.end]
    }
}

/// What a document's own form says about where it may be cut.
#[derive(Clone, Debug, Default)]
pub struct Structure {
    /// Where a new part begins, such as a heading; ascending. Stronger than any blank line.
    pub parts: Vec<usize>,
    /// What stays in one piece unless a chunk begins inside it; ascending by start.
    pub atoms: Vec<Span>,
}

impl Structure {
    /// Returns the atom that a cut at `at` would break.
    fn broken_by(&self, at: usize) -> Option<Span> {
        let after = self.atoms.partition_point(|atom| atom.start < at);
        // An atom may reach one character into the next one, so two can hold `at`.
        let candidates = &self.atoms[after.saturating_sub(2)..after];
        candidates.iter().rev().find(|atom| at < atom.end).copied()
    }
}
