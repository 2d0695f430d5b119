//! From a place in a text to the byte of the file that it was read from, whatever its encoding.

use crate::document::Span;

/// How many bytes of the file stand for each character, without its byte order mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As many as in the text.
    Same,
    One,
    Utf16,
    Four,
    /// For each character in turn.
    Each(Box<[u8]>),
}

impl Layout {
    /// Where each of `spans` of `text` stands behind the mark, in one pass if their ends ascend.
    pub(super) fn spans(&self, text: &str, spans: &[Span]) -> Vec<Span> {
        let mut walk = Walk { layout: self, text, at: 0, n_chars: 0, in_file: 0 };
        spans.iter().map(|span| Span::new(walk.to(span.start), walk.to(span.end))).collect()
    }
}

/// Walks a text and the bytes that it came from side by side.
struct Walk<'t> {
    layout: &'t Layout,
    text: &'t str,
    at: usize,
    /// Characters before `at`.
    n_chars: usize,
    in_file: usize,
}

impl Walk<'_> {
    fn to(&mut self, offset: usize) -> usize {
        if *self.layout == Layout::Same {
            return offset;
        }
        let (from, to) = (self.at.min(offset), self.at.max(offset));
        let between = self.text.get(from..to).unwrap_or_default();
        let n_between = between.chars().count();
        if offset < self.at {
            self.n_chars -= n_between;
            self.in_file -= self.bytes_of(between, n_between);
        } else {
            self.in_file += self.bytes_of(between, n_between);
            self.n_chars += n_between;
        }
        self.at = offset;
        self.in_file
    }

    /// Of the `n_chars` characters of `text`, the first of which is the next one.
    fn bytes_of(&self, text: &str, n_chars: usize) -> usize {
        match self.layout {
            Layout::Same => text.len(),
            Layout::One => n_chars,
            Layout::Utf16 => text.chars().map(|character| 2 * character.len_utf16()).sum(),
            Layout::Four => 4 * n_chars,
            Layout::Each(lengths) => {
                let lengths = lengths.get(self.n_chars..self.n_chars + n_chars).unwrap_or_default();
                lengths.iter().map(|length| usize::from(*length)).sum()
            }
        }
    }
}
