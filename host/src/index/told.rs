//! What a run tells while it goes on, and what it comes to.

use std::collections::BTreeMap;

use crate::document::Coverage;

/// What became of a document that was indexed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    pub n_chunks: usize,
    /// Texts that a vector was made for.
    pub n_embedded: usize,
    /// New chunks whose vector was known from elsewhere.
    pub n_copied: usize,
    /// Tokens of what was embedded.
    pub n_tokens: u64,
    /// What its bytes were read as, where that is not UTF-8.
    pub encoding: Option<String>,
    /// Where its text went: proved before anything was written.
    pub coverage: Coverage,
}

/// What happened to one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do.
    Unchanged,
    Indexed(Box<Indexed>),
    /// It vanished, and its points with it.
    Removed,
    /// Left out, and why: not text, too large, a socket. Points of what it was before go.
    Skipped(String),
    /// It keeps the points that it had.
    Failed(String),
}

/// Told to whoever watches, as it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A generation is built beside the one that serves.
    Building {
        generation: String,
        beside: String,
        /// What is not as it was in the one that serves.
        why: &'static str,
    },
    /// What a run would do with a document.
    Planned {
        source: String,
        n_bytes: u64,
        is_new: bool,
        n_chunks: usize,
        /// Chunks whose points are there.
        n_kept: usize,
    },
    /// All that there is was counted, while the first of it may be done already.
    Found {
        n_documents: u64,
        n_bytes: u64,
    },
    Finished {
        source: String,
        n_bytes: u64,
        outcome: Outcome,
    },
}

/// Whether readers see what a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Served {
    /// It wrote the generation that serves.
    #[default]
    Already,
    /// It completed a new one, which took this one's place.
    Instead(String),
    /// It wrote one that does not serve yet, for this reason.
    NotYet(String),
}

/// Sums of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The generation that was written.
    pub generation: String,
    pub served: Served,
    /// Documents that were found, those that were left out or failed included.
    pub n_documents: u64,
    pub n_bytes: u64,
    pub n_unchanged: usize,
    pub n_indexed: usize,
    pub n_removed: usize,
    pub n_skipped: usize,
    pub n_failed: usize,
    /// Of the documents that were indexed, as is all that follows.
    pub n_chunks: usize,
    pub n_embedded: usize,
    pub n_copied: usize,
    /// Tokens of what was embedded.
    pub n_tokens: u64,
    pub coverage: Coverage,
    /// How many were read as what, where that is not UTF-8.
    pub encodings: BTreeMap<String, usize>,
}
