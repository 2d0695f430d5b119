//! The way from a preprocessed text back to the original file.
//!
//! A map is a list of pieces: runs of the edited text that either stand in the
//! source byte for byte or took the place of some of it. Starts and ends of the
//! pieces' sources never descend, so that a span of the edited text always maps
//! to one span of the source, and later spans to later ones.

use super::Span;

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
    use proptest::prelude::*;

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

    /// A text of `n` bytes and patches made from cuts, which may touch each other and be empty.
    fn edits(n: usize) -> impl Strategy<Value = Vec<Patch>> {
        let cuts = proptest::collection::vec((0..=n, "[A-Z]{0,4}"), 0..8);
        cuts.prop_map(|mut cuts| {
            cuts.sort();
            let pairs = cuts.chunks_exact(2);
            pairs
                .map(|pair| Patch { span: Span::new(pair[0].0, pair[1].0), text: pair[0].1.clone() })
                .collect()
        })
    }

    /// Lower-case bytes that are all different say where each came from.
    const SOURCE: &str = "abcdefghijklmnopqrstuvwxyz";

    proptest! {
        #[test]
        fn what_is_verbatim_is_found_where_it_was(first in edits(26), second in edits(12)) {
            let (text, map) = SourceMap::identity(26).apply(SOURCE, &first).unwrap();
            let second: Vec<_> = second.into_iter().filter(|patch| patch.span.end <= text.len()).collect();
            let (text, map) = map.apply(&text, &second).unwrap();
            for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_lowercase()) {
                let span = map.to_source(Span::new(at, at + 1)).unwrap();
                prop_assert_eq!(span.of(SOURCE).unwrap().as_bytes(), &[byte]);
            }
        }

        #[test]
        fn later_spans_map_to_later_sources(first in edits(26), second in edits(12)) {
            let (text, map) = SourceMap::identity(26).apply(SOURCE, &first).unwrap();
            let second: Vec<_> = second.into_iter().filter(|patch| patch.span.end <= text.len()).collect();
            let (text, map) = map.apply(&text, &second).unwrap();
            let mut last = Span::new(0, 0);
            for at in 0..text.len() {
                let span = map.to_source(Span::new(at, at + 1)).unwrap();
                prop_assert!(span.start <= span.end && span.end <= SOURCE.len());
                prop_assert!(last.start <= span.start && last.end <= span.end);
                last = span;
            }
        }

        #[test]
        fn a_composed_map_covers_what_two_maps_in_turn_give(first in edits(26), second in edits(12)) {
            let (middle, one) = SourceMap::identity(26).apply(SOURCE, &first).unwrap();
            let second: Vec<_> = second.into_iter().filter(|patch| patch.span.end <= middle.len()).collect();
            let (text, two) = SourceMap::identity(middle.len()).apply(&middle, &second).unwrap();
            let (_, composed) = one.apply(&middle, &second).unwrap();
            for start in 0..text.len() {
                for end in start + 1..=text.len() {
                    let span = Span::new(start, end);
                    let composed = composed.to_source(span).unwrap();
                    let in_turn = one.to_source(two.to_source(span).unwrap()).unwrap();
                    prop_assert!(composed.start <= in_turn.start && in_turn.end <= composed.end);
                }
            }
        }

        #[test]
        fn patching_in_two_rounds_is_patching_once(list in edits(26)) {
            let once = SourceMap::identity(26).apply(SOURCE, &list).unwrap();
            // The later half first, so that the places of the other half do not move.
            let (earlier, later) = list.split_at(list.len() / 2);
            let (text, map) = SourceMap::identity(26).apply(SOURCE, later).unwrap();
            prop_assert_eq!(map.apply(&text, earlier).unwrap().0, once.0);
        }
    }
}
