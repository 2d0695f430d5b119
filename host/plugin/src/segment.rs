//! Where paragraphs, sentences, words and graphemes end: what `text.segment` answers.
//!
//! Plain functions of a text, so that a plugin's logic can be tested natively
//! against what the gateway gives it.

use icu_segmenter::options::{SentenceBreakInvariantOptions, WordBreakInvariantOptions};
use icu_segmenter::{GraphemeClusterSegmenter, SentenceSegmenter, WordSegmenter};

/// Segments between two looks at whether to go on.
const LOOK_EVERY: usize = 1_024;

/// How a long text is handed to a segmenter, which cannot stop before its next segment ends.
#[derive(Clone, Copy)]
struct Slices {
    /// A longer segment ends where its slice does.
    n_bytes: usize,
    /// Ends this near to a slice's end may not be ends where more of the text is seen.
    n_unsure: usize,
}

const SLICES: Slices = Slices { n_bytes: 64 * 1024, n_unsure: 1024 };

/// What a text is cut at. Of sentences, words and graphemes, none is longer than 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// After a paragraph separator, or after line ends with nothing but white
    /// space on the lines between them.
    Paragraph,
    /// By Unicode Standard Annex #29; a line end is an end.
    Sentence,
    /// By Unicode Standard Annex #29, and by dictionary or model for scripts
    /// without spaces. Spaces and signs are segments of their own.
    Word,
    /// By Unicode Standard Annex #29: what a reader takes for one character.
    Grapheme,
}

/// Returns the ends of all segments of `text` in bytes, ascending; the last is
/// the text's length, and an empty text has none.
pub fn segment(text: &str, at: Boundary) -> Vec<u32> {
    segment_while(text, at, &mut || true).unwrap_or_default()
}

/// The same, asking `go_on` from time to time; returns nothing once it was told to stop.
pub fn segment_while(text: &str, at: Boundary, go_on: &mut dyn FnMut() -> bool) -> Option<Vec<u32>> {
    match at {
        Boundary::Paragraph => ends(paragraphs(text), go_on),
        Boundary::Sentence => {
            let segmenter = SentenceSegmenter::new(SentenceBreakInvariantOptions::default());
            slices_ends(text, SLICES, |slice| segmenter.segment_str(slice), go_on)
        }
        Boundary::Word => {
            let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
            slices_ends(text, SLICES, |slice| segmenter.segment_str(slice), go_on)
        }
        Boundary::Grapheme => {
            let segmenter = GraphemeClusterSegmenter::new();
            slices_ends(text, SLICES, |slice| segmenter.segment_str(slice), go_on)
        }
    }
}

fn ends(breaks: impl Iterator<Item = usize>, go_on: &mut dyn FnMut() -> bool) -> Option<Vec<u32>> {
    let mut ends = Vec::new();
    // The segmenters name the start of the text as well.
    for (index, end) in breaks.filter(|end| *end != 0).enumerate() {
        if index % LOOK_EVERY == LOOK_EVERY - 1 && !go_on() {
            return None;
        }
        ends.push(end as u32);
    }
    Some(ends)
}

/// The ends of what `breaks` finds in one slice after another. Each begins at an end, as the text
/// does, so that it is cut as if nothing stood before it, which is how all of it is cut.
fn slices_ends<'t, B: Iterator<Item = usize>>(
    text: &'t str,
    slices: Slices,
    breaks: impl Fn(&'t str) -> B,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    let mut start = 0;
    while start < text.len() {
        if start != 0 && !go_on() {
            return None;
        }
        let stop = text.ceil_char_boundary(start.saturating_add(slices.n_bytes));
        let slice = &text[start..stop];
        let sure = if stop == text.len() { slice.len() } else { slice.len() - slices.n_unsure };
        let found = ends(breaks(slice).take_while(|end| *end <= sure), go_on)?;
        let last = found.last().map_or(slice.len(), |end| *end as usize);
        all.extend(found.iter().map(|end| start as u32 + end));
        if found.is_empty() {
            all.push(stop as u32);
        }
        start += last;
    }
    Some(all)
}

fn paragraphs(text: &str) -> impl Iterator<Item = usize> {
    let mut after_blank = false;
    let mut start = 0;
    let starts = text.split_inclusive(['\n', '\u{2029}']).filter_map(move |line| {
        let at = start;
        start += line.len();
        let blank = line.trim().is_empty();
        let begins = after_blank && !blank;
        after_blank = blank && (after_blank || at != 0) || line.ends_with('\u{2029}');
        begins.then_some(at)
    });
    starts.chain((!text.is_empty()).then_some(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(at: Boundary, text: &str, want: &[&str]) {
        let mut start = 0;
        let segments: Vec<_> = segment(text, at)
            .into_iter()
            .map(|end| &text[std::mem::replace(&mut start, end as usize)..end as usize])
            .collect();
        assert_eq!(segments, want);
    }

    #[test]
    fn a_blank_line_ends_a_paragraph() {
        check(Boundary::Paragraph, "one\ntwo\n\nthree", &["one\ntwo\n\n", "three"]);
    }

    #[test]
    fn white_space_on_a_line_leaves_it_blank() {
        check(Boundary::Paragraph, "one\r\n \t\r\n\r\ntwo\r\n", &["one\r\n \t\r\n\r\n", "two\r\n"]);
    }

    #[test]
    fn a_paragraph_separator_ends_a_paragraph() {
        check(Boundary::Paragraph, "one\u{2029}two", &["one\u{2029}", "two"]);
    }

    #[test]
    fn blank_lines_before_the_text_belong_to_the_first_paragraph() {
        check(Boundary::Paragraph, "\none", &["\none"]);
    }

    #[test]
    fn a_full_stop_ends_a_sentence() {
        check(Boundary::Sentence, "One. Two?  Three", &["One. ", "Two?  ", "Three"]);
    }

    #[test]
    fn spaces_and_signs_are_words_of_their_own() {
        check(Boundary::Word, "kelp, twice", &["kelp", ",", " ", "twice"]);
    }

    #[test]
    fn a_letter_and_its_accent_are_one_grapheme() {
        check(Boundary::Grapheme, "e\u{301}a", &["e\u{301}", "a"]);
    }

    #[test]
    fn an_empty_text_has_no_segments() {
        check(Boundary::Word, "", &[]);
    }

    #[test]
    fn a_segment_without_an_end_has_one_after_64_kib() {
        for (at, text) in [
            (Boundary::Sentence, "kelp ".repeat(40_000)),
            (Boundary::Word, "k".repeat(200_000)),
            (Boundary::Grapheme, format!("e{}", "\u{301}".repeat(100_000))),
        ] {
            let ends = segment(&text, at);
            assert!(ends.windows(2).all(|pair| (pair[1] - pair[0]) as usize <= SLICES.n_bytes + 4), "{at:?}");
            assert_eq!(ends.last().copied(), Some(text.len() as u32));
        }
    }

    #[test]
    fn a_text_of_one_segment_can_be_given_up() {
        let text = "ภาษาไทย".repeat(10_000);
        for at in [Boundary::Sentence, Boundary::Grapheme] {
            assert_eq!(segment_while(&text, at, &mut || false), None);
        }
    }

    proptest! {
        #[test]
        fn slices_end_where_the_whole_does(text in "[a-z .\n\r\u{2029}é海🌊\u{301}]{0,1500}") {
            let slices = Slices { n_bytes: 512, n_unsure: 256 };
            let sentences = SentenceSegmenter::new(SentenceBreakInvariantOptions::default());
            let words = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
            let graphemes = GraphemeClusterSegmenter::new();
            let sliced = slices_ends(&text, slices, |slice| sentences.segment_str(slice), &mut || true);
            prop_assert_eq!(sliced, Some(segment(&text, Boundary::Sentence)));
            let sliced = slices_ends(&text, slices, |slice| words.segment_str(slice), &mut || true);
            prop_assert_eq!(sliced, Some(segment(&text, Boundary::Word)));
            let sliced = slices_ends(&text, slices, |slice| graphemes.segment_str(slice), &mut || true);
            prop_assert_eq!(sliced, Some(segment(&text, Boundary::Grapheme)));
        }

        #[test]
        fn segments_cover_the_text_on_characters(text in "[a-z .\n\r\u{2029}é海]{0,40}") {
            for at in [Boundary::Paragraph, Boundary::Sentence, Boundary::Word, Boundary::Grapheme] {
                let ends = segment(&text, at);
                prop_assert!(ends.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(ends.iter().all(|end| text.is_char_boundary(*end as usize)));
                prop_assert_eq!(ends.last().copied().unwrap_or(0) as usize, text.len());
            }
        }
    }
}
