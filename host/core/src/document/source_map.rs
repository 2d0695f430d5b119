//! The way from a preprocessed text back to the original file.
//!
//! A map is a list of pieces: runs of the edited text that either stand in the
//! source byte for byte or took the place of some of it. Starts and ends of the
//! pieces' sources never descend, so that a span of the edited text always maps
//! to one span of the source, and later spans to later ones.

use super::Span;

#[cfg(test)]
mod properties;

/// Puts `text` in the place of `span`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub span: Span,
    pub text: String,
}

/// A patch that does not fit its text or its neighbours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    #[error("patch {index} is at bytes {start} to {end}, outside the text or off its characters")]
    Span { index: usize, start: usize, end: usize },
    #[error("patch {index} starts at byte {start}, before the end of the patch before it at {previous}")]
    Order { index: usize, start: usize, previous: usize },
}

impl Patch {
    /// Checks that `patches` are ascending, apart, and on characters of `text`.
    /// Two insertions may share a place; they keep their order.
    pub fn check(text: &str, patches: &[Self]) -> Result<(), PatchError> {
        let mut previous = 0;
        for (index, Self { span, .. }) in patches.iter().enumerate() {
            if span.of(text).is_none() {
                return Err(PatchError::Span { index, start: span.start, end: span.end });
            }
            if span.start < previous {
                return Err(PatchError::Order { index, start: span.start, previous });
            }
            previous = span.end;
        }
        Ok(())
    }
}

/// Maps spans of an edited text to spans of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceMap {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The text has no way back.
    Replaced,
    Edited {
        pieces: Vec<Piece>,
        text_len: usize,
        source_len: usize,
    },
}

/// A run of the edited text, up to the start of the next one. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    start: usize,
    source: Span,
    /// The same bytes as its source; otherwise all of it stands for all of its source.
    verbatim: bool,
}

impl SourceMap {
    /// The map of a text of `len` bytes that nobody edited.
    pub fn identity(len: usize) -> Self {
        let mut pieces = Pieces::default();
        pieces.push(len, Span::new(0, len), true);
        Self { kind: Kind::Edited { pieces: pieces.list, text_len: len, source_len: len } }
    }

    /// The map of a text that took the place of the whole source: spans of it
    /// point nowhere else.
    pub fn replaced() -> Self {
        Self { kind: Kind::Replaced }
    }

    /// Returns whether spans of the text point into the extracted text only.
    pub fn is_replaced(&self) -> bool {
        self.kind == Kind::Replaced
    }

    /// Bytes of the source that stand in the text as they are; none where it was replaced as a whole.
    pub fn n_verbatim(&self) -> usize {
        match &self.kind {
            Kind::Replaced => 0,
            Kind::Edited { pieces, .. } => {
                pieces.iter().filter(|piece| piece.verbatim).map(|piece| piece.source.len()).sum()
            }
        }
    }

    /// Applies `patches` to `text`, which is the text that this map is for;
    /// returns the new text and its map to the same source. Takes linear time.
    ///
    /// # Errors
    /// The first patch that is out of order or does not fit `text`.
    pub fn apply(&self, text: &str, patches: &[Patch]) -> Result<(String, Self), PatchError> {
        Patch::check(text, patches)?;
        let mut edited = String::with_capacity(text.len());
        let mut walk = Walk::over(self);
        let mut pieces = Pieces::default();
        let mut at = 0;
        for Patch { span, text: new } in patches {
            edited.push_str(&text[at..span.start]);
            walk.copy(at..span.start, &mut pieces);
            edited.push_str(new);
            if let Some(source) = self.to_source(*span) {
                pieces.push(new.len(), source, false);
            }
            at = span.end;
        }
        edited.push_str(&text[at..]);
        walk.copy(at..text.len(), &mut pieces);

        let kind = match self.kind {
            Kind::Replaced => Kind::Replaced,
            Kind::Edited { source_len, .. } => {
                Kind::Edited { pieces: pieces.list, text_len: edited.len(), source_len }
            }
        };
        Ok((edited, Self { kind }))
    }

    /// Returns where `span` of the edited text came from: the same bytes where it
    /// is verbatim, else the source of every patch that it touches. An empty span
    /// between two pieces maps to what was deleted there.
    ///
    /// Returns nothing where the text was replaced as a whole, and for a span
    /// that is not in the text. Takes logarithmic time.
    pub fn to_source(&self, span: Span) -> Option<Span> {
        let Kind::Edited { pieces, text_len, source_len } = &self.kind else { return None };
        if *text_len < span.end || span.end < span.start {
            return None;
        }
        if !span.is_empty() {
            let first = pieces.get(index_of(pieces, span.start)?)?;
            let last = pieces.get(index_of(pieces, span.end - 1)?)?;
            return Some(Span::new(first.source_at(span.start), last.source_end(span.end)));
        }
        let at = span.start;
        let next = if at < *text_len { index_of(pieces, at)? } else { pieces.len() };
        match pieces.get(next) {
            Some(piece) if piece.start < at => Some(Span::new(piece.source_at(at), piece.source_end(at))),
            piece => {
                let before = next.checked_sub(1).map_or(0, |index| pieces[index].source.end);
                let after = piece.map_or(*source_len, |piece| piece.source.start);
                Some(Span::new(before.min(after), before.max(after)))
            }
        }
    }
}

/// Returns the index of the piece that holds byte `at` of the text.
fn index_of(pieces: &[Piece], at: usize) -> Option<usize> {
    pieces.partition_point(|piece| piece.start <= at).checked_sub(1)
}

impl Piece {
    fn source_at(&self, at: usize) -> usize {
        if self.verbatim { self.source.start + (at - self.start) } else { self.source.start }
    }

    fn source_end(&self, end: usize) -> usize {
        if self.verbatim { self.source.start + (end - self.start) } else { self.source.end }
    }
}

/// Pieces under construction: empty ones are dropped, verbatim neighbours joined.
#[derive(Default)]
struct Pieces {
    list: Vec<Piece>,
    len: usize,
}

impl Pieces {
    fn push(&mut self, len: usize, source: Span, verbatim: bool) {
        if len == 0 {
            return;
        }
        let start = self.len;
        self.len += len;
        match self.list.last_mut() {
            Some(last) if verbatim && last.verbatim && last.source.end == source.start => {
                last.source.end = source.end;
            }
            _ => self.list.push(Piece { start, source, verbatim }),
        }
    }
}

/// Copies ascending ranges of a map's pieces.
struct Walk<'m> {
    pieces: &'m [Piece],
    text_len: usize,
}

impl<'m> Walk<'m> {
    fn over(map: &'m SourceMap) -> Self {
        match &map.kind {
            Kind::Replaced => Self { pieces: &[], text_len: 0 },
            Kind::Edited { pieces, text_len, .. } => Self { pieces, text_len: *text_len },
        }
    }

    fn copy(&mut self, range: std::ops::Range<usize>, into: &mut Pieces) {
        while let [piece, rest @ ..] = self.pieces {
            let piece_end = rest.first().map_or(self.text_len, |next| next.start);
            let start = piece.start.max(range.start);
            let end = piece_end.min(range.end);
            if start < end {
                let source = Span::new(piece.source_at(start), piece.source_end(end));
                into.push(end - start, source, piece.verbatim);
            }
            if range.end < piece_end {
                return;
            }
            self.pieces = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patches(list: &[(usize, usize, &str)]) -> Vec<Patch> {
        list.iter()
            .map(|&(start, end, text)| Patch { span: Span::new(start, end), text: text.to_owned() })
            .collect()
    }

    /// Applies the rounds of patches in turn, then maps the only occurrence of `find` back.
    #[track_caller]
    fn check(source: &str, rounds: &[&[(usize, usize, &str)]], find: &str, want: &str) {
        let mut text = source.to_owned();
        let mut map = SourceMap::identity(source.len());
        for round in rounds {
            (text, map) = map.apply(&text, &patches(round)).unwrap();
        }
        let start = text.find(find).unwrap_or_else(|| panic!("`{find}` is not in `{text}`"));
        let span = map.to_source(Span::new(start, start + find.len())).unwrap();
        assert_eq!(span.of(source), Some(want), "in {map:?}");
    }

    #[track_caller]
    fn check_refused(text: &str, list: &[(usize, usize, &str)], want: PatchError) {
        assert_eq!(SourceMap::identity(text.len()).apply(text, &patches(list)).unwrap_err(), want);
    }

    #[test]
    fn verbatim_text_maps_to_the_same_bytes() {
        check("one two three", &[&[(4, 7, "2")]], "three", "three");
    }

    #[test]
    fn replaced_text_maps_to_all_that_it_stands_for() {
        check("a &amp; b", &[&[(2, 7, "&")]], "&", "&amp;");
    }

    #[test]
    fn a_span_over_both_covers_both() {
        check("a &amp; b", &[&[(2, 7, "&")]], "& b", "&amp; b");
    }

    #[test]
    fn a_span_across_a_deletion_covers_it() {
        check("<b>bold</b> text", &[&[(0, 3, ""), (7, 11, "")]], "bold text", "bold</b> text");
    }

    #[test]
    fn a_part_of_a_replacement_maps_to_all_of_its_source() {
        check("x HTML y", &[&[(2, 6, "hypertext")]], "text", "HTML");
    }

    #[test]
    fn an_insertion_maps_to_its_place() {
        check("ab", &[&[(1, 1, "-")]], "-", "");
    }

    #[test]
    fn an_insertion_where_text_was_deleted_maps_to_the_deleted_text() {
        check("keep drop keep", &[&[(4, 10, "")], &[(4, 4, " ")]], " ", " drop ");
    }

    #[test]
    fn a_patch_inside_an_earlier_replacement_maps_to_that_one_s_source() {
        check("x &hellip; y", &[&[(2, 10, "...")], &[(3, 4, "-")]], "-", "&hellip;");
    }

    #[test]
    fn a_later_patch_over_old_and_new_text_covers_both() {
        check("a &amp; b", &[&[(2, 7, "&")], &[(2, 5, "and c")]], "and c", "&amp; b");
    }

    #[test]
    fn two_insertions_at_one_place_keep_their_order() {
        let (text, _) = SourceMap::identity(2).apply("ab", &patches(&[(1, 1, "1"), (1, 1, "2")])).unwrap();
        assert_eq!(text, "a12b");
    }

    #[test]
    fn all_of_a_text_that_became_empty_maps_to_all_of_it() {
        let (text, map) = SourceMap::identity(3).apply("abc", &patches(&[(0, 3, "")])).unwrap();
        assert_eq!((text.as_str(), map.to_source(Span::new(0, 0))), ("", Some(Span::new(0, 3))));
    }

    #[test]
    fn what_no_patch_touched_is_verbatim() {
        let (text, map) = SourceMap::identity(9).apply("a &amp; b", &patches(&[(2, 7, "&")])).unwrap();
        assert_eq!(map.n_verbatim(), 4);
        let (_, map) = map.apply(&text, &patches(&[(0, 1, ""), (5, 5, "!")])).unwrap();
        assert_eq!((map.n_verbatim(), SourceMap::replaced().n_verbatim()), (3, 0));
    }

    #[test]
    fn a_replaced_text_points_nowhere_even_when_patched() {
        let (_, map) = SourceMap::replaced().apply("new", &patches(&[(0, 1, "N")])).unwrap();
        assert!(map.is_replaced());
        assert_eq!(map.to_source(Span::new(0, 1)), None);
    }

    #[test]
    fn a_span_outside_the_text_maps_to_nothing() {
        assert_eq!(SourceMap::identity(3).to_source(Span::new(2, 4)), None);
    }

    #[test]
    fn patches_that_overlap_are_refused() {
        let error = PatchError::Order { index: 1, start: 1, previous: 2 };
        check_refused("abc", &[(0, 2, ""), (1, 3, "")], error);
    }

    #[test]
    fn a_patch_inside_a_character_is_refused() {
        check_refused("é", &[(0, 1, "")], PatchError::Span { index: 0, start: 0, end: 1 });
    }

    #[test]
    fn a_patch_that_runs_backwards_is_refused() {
        check_refused("abc", &[(2, 1, "")], PatchError::Span { index: 0, start: 2, end: 1 });
    }
}
