//! The way from a preprocessed text back to the original file.

use super::Span;

/// Puts `text` in the place of `span`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub span: Span,
    pub text: String,
}

/// Maps spans of an edited text to spans of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceMap {}
