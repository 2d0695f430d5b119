//! Documents and their chunks, and the way from a chunk back to the original file.

pub mod coverage;
pub mod source_map;

pub use coverage::Coverage;
pub use source_map::{Patch, PatchError, SourceMap};

/// A text with a name and what is known about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// A path, a URL or a key; empty for a text of a request.
    pub id: String,
    /// Such as `text/markdown`.
    pub media_type: String,
    pub text: String,
    pub metadata: Vec<(String, String)>,
}

/// A half-open range of a text in UTF-8 bytes: `start` is in it, `end` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Bytes in the span; nothing when it runs backwards.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Returns the part of `text`, or nothing where the span is off its
    /// characters or its end.
    pub fn of(self, text: &str) -> Option<&str> {
        text.get(self.start..self.end)
    }
}

/// A piece of a document as a chunker cut it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it stands in the text that was cut.
    pub span: Span,
    /// Embedded before the chunk's text, and no part of it: a heading path, say.
    pub prefix: Option<String>,
    /// What a search shows in its place, in the text that was cut.
    pub window: Option<Span>,
    pub metadata: Vec<(String, String)>,
    /// Tokens of prefix and text together, as the model's tokenizer counts.
    pub n_tokens: u32,
}

/// What a chunker made of one document: proved to cover it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    pub chunks: Vec<Chunk>,
    /// What is left out on purpose, and why.
    pub omitted: Vec<(Span, String)>,
    /// The proof; of preprocessors it knows nothing.
    pub coverage: Coverage,
}

impl Chunk {
    /// Returns what is embedded: the prefix, then the chunk's text.
    pub fn embedded_text(&self, document: &str) -> String {
        let text = self.span.of(document).unwrap_or_default();
        match &self.prefix {
            Some(prefix) => format!("{prefix}{text}"),
            None => text.to_owned(),
        }
    }
}
