//! Parts of a record → its text, with the way back: the text is an edit of the record as it
//! stands in the file, by which all but the parts is taken out.

use crate::document::{Patch, SourceMap, Span};

/// A part of a record that stands in it between quotes, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) span: Span,
    /// What is written in another way than it is meant: escapes, doubled quotes.
    pub(super) patches: Vec<Patch>,
}

impl Piece {
    pub(super) fn verbatim(start: usize, end: usize) -> Self {
        Self { span: Span::new(start, end), patches: Vec::new() }
    }

    /// What it means.
    pub(super) fn value(&self, record: &str) -> String {
        let mut value = String::with_capacity(self.span.len());
        let mut at = self.span.start;
        for Patch { span, text } in &self.patches {
            value.push_str(record.get(at..span.start).unwrap_or_default());
            value.push_str(text);
            at = span.end;
        }
        value.push_str(record.get(at..self.span.end).unwrap_or_default());
        value
    }
}

/// All `pieces` in the order of the record, with `between` them.
pub(super) fn joined(
    record: &str,
    mut pieces: Vec<Piece>,
    between: &str,
) -> Result<(String, SourceMap), String> {
    pieces.retain(|piece| !piece.span.is_empty());
    pieces.sort_by_key(|piece| (piece.span.start, piece.span.end));
    pieces.dedup_by_key(|piece| piece.span);
    let mut patches = Vec::new();
    let mut at = 0;
    for (index, piece) in pieces.into_iter().enumerate() {
        let text = if index == 0 { "" } else { between };
        patches.push(Patch { span: Span::new(at, piece.span.start), text: text.to_owned() });
        patches.extend(piece.patches);
        at = piece.span.end;
    }
    patches.push(Patch { span: Span::new(at, record.len()), text: String::new() });
    SourceMap::identity(record.len()).apply(record, &patches).map_err(|error| error.to_string())
}
