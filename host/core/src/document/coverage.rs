//! The proof that no text was lost on the way from a document to its chunks, and
//! what it found: how much is in chunks, and how much was left out for which reason.

use std::collections::BTreeMap;

use super::Span;

/// Reasons that are told apart; bytes of further ones are summed as [`OTHER`].
const MAX_REASONS: usize = 16;
/// Bytes of a reason, at most: what follows is cut off.
const MAX_REASON: usize = 120;
/// Stands for all reasons beyond the first ones.
const OTHER: &str = "other reasons";

/// Where the bytes of a document, or of several, went. Whatever is in no chunk
/// and was not left out on purpose is white space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Bytes of the file's text, before preprocessors.
    pub n_source: u64,
    /// Of them, those that preprocessors left as they are; none where one put another text in its place.
    pub n_kept: u64,
    /// Bytes of the text that was cut.
    pub n_text: u64,
    /// Of them, those in a chunk.
    pub n_chunked: u64,
    /// Of them, those in no chunk that the chunker declared left out, by its reason.
    pub omitted: BTreeMap<String, u64>,
}

/// Text that is in no chunk and that was not declared left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes {start} to {end} have text that is in no chunk and not declared omitted")]
pub struct Gap {
    pub start: usize,
    pub end: usize,
}

impl Coverage {
    /// Proves that `chunks`, which start in ascending order and do not end before
    /// one another, and `omitted` cover all of `text` but white space. What is in
    /// a chunk counts as chunked, whatever was declared of it.
    ///
    /// # Errors
    /// The first gap with text in it.
    pub fn prove(
        text: &str,
        chunks: impl IntoIterator<Item = Span>,
        omitted: &[(Span, String)],
    ) -> Result<Self, Gap> {
        let mut omissions = Omissions::new(omitted);
        let mut coverage = Self::of_text(text.len());
        let mut at = 0;
        for chunk in chunks.into_iter().chain([Span::new(text.len(), text.len())]) {
            if at < chunk.start {
                coverage.account(text, Span::new(at, chunk.start), &mut omissions)?;
            }
            coverage.n_chunked += chunk.end.saturating_sub(at.max(chunk.start)) as u64;
            at = at.max(chunk.end);
        }
        Ok(coverage)
    }

    /// The coverage of a text of `len` bytes, all white space and by no plugin changed.
    pub fn of_text(len: usize) -> Self {
        let n = len as u64;
        Self { n_source: n, n_kept: n, n_text: n, ..Self::default() }
    }

    /// Bytes that were left out on purpose.
    pub fn n_omitted(&self) -> u64 {
        self.omitted.values().sum()
    }

    /// The share of the text that is in chunks, white space between them aside; 1 where there is none.
    pub fn share(&self) -> f64 {
        match self.n_chunked + self.n_omitted() {
            0 => 1.0,
            n_bytes => self.n_chunked as f64 / n_bytes as f64,
        }
    }

    /// Adds what was found of another document.
    pub fn add(&mut self, other: &Self) {
        self.n_source += other.n_source;
        self.n_kept += other.n_kept;
        self.n_text += other.n_text;
        self.n_chunked += other.n_chunked;
        for (reason, n_bytes) in &other.omitted {
            self.omit(reason, *n_bytes);
        }
    }

    /// Accounts for all of `gap`, which no chunk covers.
    fn account(&mut self, text: &str, gap: Span, omissions: &mut Omissions<'_>) -> Result<(), Gap> {
        let mut at = gap.start;
        while let Some((span, reason)) = omissions.next_within(gap) {
            must_be_blank(text, at, span.start)?;
            self.omit(reason, span.len() as u64);
            at = span.end;
        }
        must_be_blank(text, at, gap.end)
    }

    fn omit(&mut self, reason: &str, n_bytes: u64) {
        if n_bytes == 0 {
            return;
        }
        let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
        let is_room = self.omitted.len() < MAX_REASONS || self.omitted.contains_key(reason);
        let reason = if is_room { reason } else { OTHER };
        *self.omitted.entry(reason.to_owned()).or_default() += n_bytes;
    }
}

fn must_be_blank(text: &str, start: usize, end: usize) -> Result<(), Gap> {
    match text.get(start..end) {
        Some(between) if between.trim().is_empty() => Ok(()),
        _ => Err(Gap { start, end }),
    }
}

/// Declared omissions, each byte once: ascending and apart.
struct Omissions<'o> {
    parts: std::iter::Peekable<std::vec::IntoIter<(Span, &'o str)>>,
}

impl<'o> Omissions<'o> {
    fn new(omitted: &'o [(Span, String)]) -> Self {
        let mut sorted: Vec<_> = omitted.iter().map(|(span, reason)| (*span, reason.as_str())).collect();
        sorted.sort_by_key(|(span, _)| (span.start, span.end));
        let mut upto = 0;
        let mut parts = Vec::with_capacity(sorted.len());
        for (span, reason) in sorted {
            if upto < span.end {
                parts.push((Span::new(span.start.max(upto), span.end), reason));
                upto = span.end;
            }
        }
        Self { parts: parts.into_iter().peekable() }
    }

    /// The next part, as far as it is in `gap`; one that goes on behind it comes again.
    fn next_within(&mut self, gap: Span) -> Option<(Span, &'o str)> {
        while let Some((span, reason)) = self.parts.peek_mut() {
            if gap.end <= span.start {
                return None;
            }
            let (part, reason) = (Span::new(span.start.max(gap.start), span.end.min(gap.end)), *reason);
            if gap.end < span.end {
                span.start = gap.end;
            } else {
                self.parts.next();
            }
            if !part.is_empty() {
                return Some((part, reason));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans(list: &[(usize, usize)]) -> Vec<Span> {
        list.iter().map(|&(start, end)| Span::new(start, end)).collect()
    }

    fn reasons(list: &[(usize, usize, &str)]) -> Vec<(Span, String)> {
        list.iter().map(|&(start, end, why)| (Span::new(start, end), why.to_owned())).collect()
    }

    const TEXT: &str = "one two  three";

    fn proved(chunks: &[(usize, usize)], omitted: &[(usize, usize, &str)]) -> Result<Coverage, Gap> {
        Coverage::prove(TEXT, spans(chunks), &reasons(omitted))
    }

    /// `want` are bytes in chunks, and bytes left out by reason.
    #[track_caller]
    fn check(chunks: &[(usize, usize)], omitted: &[(usize, usize, &str)], want: (u64, &[(&str, u64)])) {
        let found = proved(chunks, omitted).unwrap();
        let left_out: Vec<_> = found.omitted.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
        assert_eq!((found.n_chunked, left_out.as_slice()), want);
    }

    #[track_caller]
    fn check_gap(chunks: &[(usize, usize)], omitted: &[(usize, usize, &str)], start: usize, end: usize) {
        assert_eq!(proved(chunks, omitted), Err(Gap { start, end }));
    }

    #[test]
    fn what_is_in_two_chunks_counts_once() {
        check(&[(0, 7), (4, 14)], &[], (14, &[]));
    }

    #[test]
    fn white_space_between_chunks_is_no_gap() {
        check(&[(0, 3), (4, 7), (9, 14)], &[], (11, &[]));
    }

    #[test]
    fn what_is_left_out_is_summed_by_reason() {
        check(&[(4, 7)], &[(0, 3, "a"), (9, 12, "a"), (12, 14, "b")], (3, &[("a", 6), ("b", 2)]));
    }

    #[test]
    fn what_is_left_out_twice_counts_once() {
        check(&[(9, 14)], &[(0, 7, "all"), (2, 5, "within")], (5, &[("all", 7)]));
    }

    #[test]
    fn what_is_in_a_chunk_was_not_left_out() {
        check(&[(4, 7)], &[(0, 14, "all")], (3, &[("all", 11)]));
    }

    #[test]
    fn text_at_the_end_is_a_gap() {
        check_gap(&[(0, 7)], &[], 7, 14);
    }

    #[test]
    fn text_before_an_omission_is_a_gap() {
        check_gap(&[(0, 3)], &[(9, 14, "a")], 3, 9);
    }

    #[test]
    fn an_empty_text_is_covered_whole() {
        let coverage = Coverage::prove("", [], &[]).unwrap();
        assert_eq!((coverage.n_text, coverage.share()), (0, 1.0));
    }

    #[test]
    fn reasons_of_a_stranger_do_not_pile_up() {
        let mut coverage = Coverage::default();
        for index in 0..1_000 {
            coverage.omit(&format!("é{index}{}", "x".repeat(1_000)), 1);
        }
        assert_eq!((coverage.omitted.len(), coverage.n_omitted()), (MAX_REASONS + 1, 1_000));
        assert!(coverage.omitted.keys().all(|reason| reason.len() <= MAX_REASON));
    }

    /// What one byte is: in a chunk, left out, or neither.
    fn slowly(text: &str, chunks: &[Span], omitted: &[(Span, String)]) -> Option<(u64, u64)> {
        let (mut n_chunked, mut n_omitted) = (0, 0);
        for (at, byte) in text.bytes().enumerate() {
            let holds = |span: &Span| (span.start..span.end).contains(&at);
            if chunks.iter().any(holds) {
                n_chunked += 1;
            } else if omitted.iter().any(|(span, _)| holds(span)) {
                n_omitted += 1;
            } else if byte != b' ' {
                return None;
            }
        }
        Some((n_chunked, n_omitted))
    }

    proptest! {
        #[test]
        fn every_byte_is_accounted_for(
            text in "[ab ]{0,24}",
            starts in prop::collection::btree_set(0_usize..24, 0..5),
            lens in prop::collection::vec(1_usize..9, 5),
            omitted in prop::collection::vec((0_usize..24, 0_usize..24), 0..5),
        ) {
            let within = |at: usize| at.min(text.len());
            let mut chunks: Vec<Span> = Vec::new();
            for (start, len) in starts.into_iter().zip(lens).filter(|(start, _)| *start < text.len()) {
                let end = within(start + len).max(chunks.last().map_or(0, |before| before.end));
                chunks.push(Span::new(start, end));
            }
            let omitted: Vec<_> = omitted
                .into_iter()
                .map(|(a, b)| (Span::new(within(a.min(b)), within(a.max(b))), format!("{a}")))
                .collect();
            let got = Coverage::prove(&text, chunks.iter().copied(), &omitted).ok();
            let got = got.map(|found| (found.n_chunked, found.n_omitted()));
            prop_assert_eq!(got, slowly(&text, &chunks, &omitted));
        }
    }
}
