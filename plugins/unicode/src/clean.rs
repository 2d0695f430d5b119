//! What is done to a text: one pass that finds the places where it must change.
//!
//! - Characters are composed (NFC; on request NFKC).
//! - Line ends (CR LF, CR, VT, FF, NEL, U+2028, U+2029) become LF; a no-break space, a space.
//! - The other control characters go, except the tab; so do U+200B, U+2060, U+180E and U+FEFF.
//! - Controls of the writing direction go, and are counted: they can hide what a text says.
//! - A soft hyphen goes where it stands between two letters, and takes one line end after it along;
//!   elsewhere it stays, since in broken files it is all that separates two words.
//! - The joiners U+200C and U+200D stay: emoji, Persian and Indic scripts need them.
//!
//! Cleaning what is clean changes nothing. Time is linear in the text's length; text that
//! is plain ASCII is only scanned.

use unicode_normalization::char::{canonical_combining_class, decompose_compatible, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

use crate::options::Options;

/// Puts `text` in the place of the bytes from `start` to `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// How to clean a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Ascending, not overlapping, on character boundaries, and none without effect.
    pub patches: Vec<Patch>,
    /// Controls of the writing direction that were removed.
    pub n_bidi_controls: usize,
}

/// Finds what must change in `text`.
pub fn clean(text: &str, options: Options) -> Cleaned {
    let mut cleaner = Cleaner::new(text, options);
    while cleaner.skip_plain_ascii() {
        cleaner.take_char();
    }
    cleaner.finish()
}

const SOFT_HYPHEN: char = '\u{AD}';

/// Walks through a text in segments: each begins with a character that never merges with what
/// stands before it, so that a segment can be normalised alone.
struct Cleaner<'t> {
    text: &'t str,
    options: Options,
    /// The next character's offset.
    at: usize,
    segment_start: usize,
    /// The segment as far as it was read, before composition.
    segment: String,
    /// The segment before, composed; kept for its room.
    composed: String,
    /// Whether the segment may come out different.
    dirty: bool,
    /// Whether the last character was a letter; marks and removed characters don't count.
    after_letter: bool,
    /// Soft hyphens before this offset are known to stay.
    hyphens_stay_before: usize,
    cleaned: Cleaned,
}

impl<'t> Cleaner<'t> {
    fn new(text: &'t str, options: Options) -> Self {
        Self {
            text,
            options,
            at: 0,
            segment_start: 0,
            segment: String::new(),
            composed: String::new(),
            dirty: false,
            after_letter: false,
            hyphens_stay_before: 0,
            cleaned: Cleaned::default(),
        }
    }

    /// Moves to the next character that is not plain ASCII, and returns whether there is one.
    fn skip_plain_ascii(&mut self) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        let n_plain = n_plain(rest);
        if n_plain != 0 {
            self.begin_segment(self.at);
            self.at += n_plain;
            let last = char::from(rest[n_plain - 1]);
            self.begin_segment(self.at - 1);
            self.segment.push(last);
            self.after_letter = last.is_ascii_alphabetic();
        }
        n_plain < rest.len()
    }

    fn take_char(&mut self) {
        let mut chars = self.text[self.at..].chars();
        let Some(char) = chars.next() else { return };
        if char == SOFT_HYPHEN && self.skip_hyphenation() {
            return;
        }
        let start = self.at;
        self.at += char.len_utf8();
        self.cleaned.n_bidi_controls += usize::from(is_bidi_control(char));
        match fate(char) {
            Fate::Goes => self.dirty = true,
            // The LF of a CR LF is what stays.
            Fate::Becomes(_) if char == '\r' && chars.next() == Some('\n') => self.dirty = true,
            Fate::Becomes(char) => {
                self.put(char, start);
                self.dirty = true;
            }
            Fate::Stays => self.put(char, start),
        }
    }

    /// Removes soft hyphens between two letters, and one line end among them. Returns false
    /// where the one at hand has to stay.
    fn skip_hyphenation(&mut self) -> bool {
        if !self.after_letter || self.at < self.hyphens_stay_before {
            return false;
        }
        let run = &self.text[self.at..];
        let length = hyphenation_length(run);
        let next = run[length..].chars().next();
        if !next.is_some_and(|char| self.begins_with_letter(char)) {
            self.hyphens_stay_before = self.at + length;
            return false;
        }
        self.cleaned.n_bidi_controls += run[..length].chars().filter(|char| is_bidi_control(*char)).count();
        self.at += length;
        self.dirty = true;
        true
    }

    fn put(&mut self, char: char, start: usize) {
        if self.joins_what_precedes(char) {
            self.dirty = true;
        } else {
            self.begin_segment(start);
        }
        self.segment.push(char);
        self.note_letter(char);
    }

    /// Ends the segment before `start` and begins the next one there.
    fn begin_segment(&mut self, start: usize) {
        if self.dirty {
            self.compose_segment(start);
            self.dirty = false;
        }
        self.segment.clear();
        self.segment_start = start;
    }

    fn compose_segment(&mut self, end: usize) {
        let mut composed = std::mem::take(&mut self.composed);
        composed.clear();
        if self.options.nfkc {
            composed.extend(self.segment.nfkc());
        } else {
            composed.extend(self.segment.nfc());
        }
        let original = &self.text[self.segment_start..end];
        let prefix = common_prefix(original, &composed);
        let suffix = common_suffix(&original[prefix..], &composed[prefix..]);
        let patch = Patch {
            start: self.segment_start + prefix,
            end: end - suffix,
            text: composed[prefix..composed.len() - suffix].to_owned(),
        };
        if patch.start != patch.end || !patch.text.is_empty() {
            self.cleaned.patches.push(patch);
        }
        self.composed = composed;
    }

    fn finish(mut self) -> Cleaned {
        self.begin_segment(self.text.len());
        self.cleaned
    }

    fn joins_what_precedes(&self, char: char) -> bool {
        let quick = if self.options.nfkc {
            is_nfkc_quick(std::iter::once(char))
        } else if char < '\u{300}' {
            IsNormalized::Yes
        } else {
            is_nfc_quick(std::iter::once(char))
        };
        quick != IsNormalized::Yes || canonical_combining_class(char) != 0
    }

    fn note_letter(&mut self, char: char) {
        let after_letter = &mut self.after_letter;
        let mut note = |char: char| {
            if char.is_alphabetic() {
                *after_letter = true;
            } else if char != SOFT_HYPHEN && !is_combining_mark(char) {
                *after_letter = false;
            }
        };
        if self.options.nfkc { decompose_compatible(char, note) } else { note(char) }
    }

    fn begins_with_letter(&self, char: char) -> bool {
        let mut first = None;
        if self.options.nfkc {
            decompose_compatible(char, |char| first = first.or(Some(char)));
        }
        let first = first.unwrap_or(char);
        first.is_alphabetic() && !is_combining_mark(first)
    }
}

/// Returns the length of what may vanish with the soft hyphen that `text` begins with: soft
/// hyphens, characters that go anyway, and one line end.
fn hyphenation_length(text: &str) -> usize {
    let mut line_ended = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if is_line_end(char) {
            if line_ended {
                return at;
            }
            line_ended = true;
            if char == '\r' {
                chars.next_if(|(_, char)| *char == '\n');
            }
        } else if char != SOFT_HYPHEN && fate(char) != Fate::Goes {
            return at;
        }
    }
    text.len()
}

/// What becomes of a character before composition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Becomes(char),
    Goes,
}

fn fate(char: char) -> Fate {
    match char {
        '\n' | '\t' => Fate::Stays,
        _ if is_line_end(char) => Fate::Becomes('\n'),
        '\u{A0}' => Fate::Becomes(' '),
        '\u{200B}' | '\u{2060}' | '\u{180E}' | '\u{FEFF}' => Fate::Goes,
        _ if char.is_control() || is_bidi_control(char) => Fate::Goes,
        _ => Fate::Stays,
    }
}

/// Returns how many bytes that are plain `bytes` begins with.
fn n_plain(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks();
    let n_words = words.iter().take_while(|word| all_print(u64::from_le_bytes(**word))).count();
    let rest = &bytes[8 * n_words..];
    bytes.len() - rest.len() + rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len())
}

/// Whether all eight bytes of `word` are from `' '` to `'~'`: the highest bit of a sum or a
/// difference tells it of each byte, see "Bit Twiddling Hacks", "Determine if a word has a byte
/// less than n".
fn all_print(word: u64) -> bool {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = EACH << 7;
    let too_small = word.wrapping_sub(EACH * b' ' as u64);
    let too_large = word.wrapping_add(EACH);
    (too_small | too_large | word) & HIGHEST == 0
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n')
}

fn is_line_end(char: char) -> bool {
    matches!(char, '\n' | '\u{B}' | '\u{C}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_bidi_control(char: char) -> bool {
    matches!(char, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(char, _)| char.len_utf8()).sum()
}

fn common_suffix(a: &str, b: &str) -> usize {
    a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).map(|(char, _)| char.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NFC: Options = Options { nfkc: false };
    const NFKC: Options = Options { nfkc: true };

    fn apply(text: &str, patches: &[Patch]) -> String {
        let mut applied = String::new();
        let mut from = 0;
        for patch in patches {
            assert!(from <= patch.start && patch.start <= patch.end, "{patches:?}");
            assert!(text.get(patch.start..patch.end) != Some(&patch.text), "no effect: {patch:?}");
            applied.push_str(&text[from..patch.start]);
            applied.push_str(&patch.text);
            from = patch.end;
        }
        applied + &text[from..]
    }

    fn cleaned(text: &str, options: Options) -> String {
        apply(text, &clean(text, options).patches)
    }

    /// The same by another way: over the whole text, one rule after the other, with no segments.
    fn reference(text: &str, options: Options) -> String {
        let text = text.replace("\r\n", "\n");
        let mapped: Vec<char> = text
            .chars()
            .filter_map(|char| match fate(char) {
                Fate::Stays => Some(char),
                Fate::Becomes(char) => Some(char),
                Fate::Goes => None,
            })
            .collect();
        let mut kept = String::new();
        let mut at = 0;
        while at < mapped.len() {
            let run = mapped[at..].iter().take_while(|char| matches!(char, '\u{AD}' | '\n')).count();
            let newlines = mapped[at..at + run].iter().filter(|char| **char == '\n').count();
            let before =
                decomposed(&kept, options).chars().rev().find(|char| *char == '\n' || !is_transparent(*char));
            let after =
                mapped.get(at + run).and_then(|char| decomposed(&char.to_string(), options).chars().next());
            let joins = mapped[at] == SOFT_HYPHEN
                && newlines <= 1
                && before.is_some_and(char::is_alphabetic)
                && after.is_some_and(|char| char.is_alphabetic() && !is_combining_mark(char));
            if joins {
                at += run;
            } else {
                kept.push(mapped[at]);
                at += 1;
            }
        }
        if options.nfkc { kept.nfkc().collect() } else { kept.nfc().collect() }
    }

    #[test]
    fn plain_bytes_are_counted_up_to_the_first_that_is_not() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut bytes = [b'~'; 20];
                bytes[at] = byte;
                assert_eq!(n_plain(&bytes), if is_plain(byte) { 20 } else { at }, "{byte} at {at}");
            }
        }
    }

    fn is_transparent(char: char) -> bool {
        char == SOFT_HYPHEN || is_combining_mark(char) && !char.is_alphabetic()
    }

    fn decomposed(text: &str, options: Options) -> String {
        if options.nfkc { text.nfkd().collect() } else { text.to_owned() }
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(cleaned(text, NFC), want);
        assert_eq!(cleaned(want, NFC), want, "not the same when cleaned again");
    }

    #[track_caller]
    fn check_nfkc(text: &str, want: &str) {
        assert_eq!(cleaned(text, NFKC), want);
    }

    #[track_caller]
    fn check_kept(text: &str) {
        assert_eq!(clean(text, NFC), Cleaned::default());
    }

    #[test]
    fn clean_text_is_kept() {
        check_kept("");
        check_kept("plain\tASCII\n");
        check_kept("Iğdır'da çay, 東京 한국어 हिन्दी ไทย עברית");
    }

    #[test]
    fn decomposed_letters_are_composed() {
        check("e\u{301}", "é");
        check("DI\u{307}YARBAKIR", "DİYARBAKIR");
        check("\u{1112}\u{1161}\u{11AB}", "한");
    }

    #[test]
    fn a_turkish_i_with_a_dot_above_has_no_composed_form() {
        check_kept("i\u{307}");
    }

    #[test]
    fn marks_come_in_canonical_order() {
        check("q\u{307}\u{323}", "q\u{323}\u{307}");
    }

    #[test]
    fn a_patch_is_no_larger_than_what_changes() {
        let patches = clean("cafe\u{301} au lait\u{200B}!", NFC).patches;
        assert_eq!(
            patches,
            [Patch { start: 3, end: 6, text: "é".into() }, Patch { start: 14, end: 17, text: String::new() },]
        );
    }

    #[test]
    fn line_ends_become_lf() {
        check("a\r\nb\rc\u{85}d\u{2028}e\u{2029}f\u{B}g\u{C}h\r\r\n", "a\nb\nc\nd\ne\nf\ng\nh\n\n");
    }

    #[test]
    fn invisible_characters_and_controls_go() {
        check("\u{FEFF}a\u{200B}b\u{2060}c\u{180E}d\0e\u{1B}f\u{9F}g\u{7F}", "abcdefg");
    }

    #[test]
    fn a_removed_character_does_not_part_letter_and_accent() {
        check("e\u{200B}\u{301}", "é");
    }

    #[test]
    fn a_no_break_space_becomes_a_space() {
        check("100\u{A0}km", "100 km");
    }

    #[test]
    fn joiners_stay() {
        check_kept("👨\u{200D}👩\u{200D}👧 می\u{200C}خواهم क्\u{200D}ष");
    }

    #[test]
    fn direction_controls_go_and_are_counted() {
        let cleaned = clean("a\u{202E}b\u{2066}c\u{200F}\u{61C}", NFC);
        assert_eq!(
            (apply("a\u{202E}b\u{2066}c\u{200F}\u{61C}", &cleaned.patches), cleaned.n_bidi_controls),
            ("abc".into(), 4)
        );
    }

    #[test]
    fn a_direction_control_beside_a_soft_hyphen_is_counted_too() {
        assert_eq!(clean("a\u{AD}\u{200E}b", NFC).n_bidi_controls, 1);
        assert_eq!(clean("1\u{AD}\u{200E}b", NFC).n_bidi_controls, 1);
    }

    #[test]
    fn a_soft_hyphen_between_letters_goes() {
        check("Donau\u{AD}dampf\u{AD}schiff", "Donaudampfschiff");
    }

    #[test]
    fn a_word_hyphenated_over_a_line_end_is_joined() {
        check("Donau\u{AD}\ndampf", "Donaudampf");
        check("Donau\u{AD}\r\ndampf", "Donaudampf");
    }

    #[test]
    fn a_soft_hyphen_anywhere_else_stays() {
        check_kept("10\u{AD}20 a\u{AD} b \u{AD}c d\u{AD}\n\ne f\u{AD}");
    }

    #[test]
    fn compatibility_forms_fold_only_on_request() {
        check_kept("ﬁ ① ² Ａ");
        check_nfkc("ﬁ ① ² Ａ", "fi 1 2 A");
    }

    #[test]
    fn long_adversaries_take_linear_time() {
        // A quadratic way would take minutes.
        let marks = "a".to_owned() + &"\u{301}\u{323}".repeat(50_000);
        let hyphens = "a".to_owned() + &"\u{AD}".repeat(100_000) + "1";
        let hidden = "a".to_owned() + &"\u{AD}\u{200B}".repeat(100_000) + "1";
        for text in [marks, hyphens, hidden, "İ".repeat(500_000), "I\u{307}".repeat(200_000)] {
            let once = cleaned(&text, NFC);
            assert_eq!(cleaned(&once, NFC), once);
        }
    }

    /// Characters whose company matters.
    fn tricky() -> impl Strategy<Value = String> {
        let chars = prop::sample::select(
            "ab1 \n\r\t\u{AD}\u{AD}\u{200B}\u{FEFF}\u{202E}\u{A0}\u{85}\u{2028}\0\u{301}\u{307}\u{323}\u{338}\u{345}\
             e=Iiı\u{1100}\u{1161}\u{11A8}가\u{958}\u{93C}क\u{9C7}\u{9BE}\u{FF9E}ﬁ①℡ﾊ\u{FB1D}\u{2126}\u{344}\u{200D}👩½ª㏀İαᾳ´"
                .chars()
                .collect::<Vec<_>>(),
        );
        prop::collection::vec(chars, 0..24).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn patches_give_what_the_whole_text_gives(text in prop_oneof![tricky(), any::<String>()], nfkc: bool) {
            let options = Options { nfkc };
            prop_assert_eq!(cleaned(&text, options), reference(&text, options));
        }

        #[test]
        fn cleaning_twice_changes_nothing_more(text in prop_oneof![tricky(), any::<String>()], nfkc: bool) {
            let options = Options { nfkc };
            let once = cleaned(&text, options);
            prop_assert_eq!(clean(&once, options).patches, []);
        }

        #[test]
        fn lines_are_cleaned_alike_alone_and_together(a in tricky(), b in tricky()) {
            let together = cleaned(&format!("{a}.\n{b}"), NFC);
            prop_assert_eq!(together, format!("{}\n{}", cleaned(&format!("{a}."), NFC), cleaned(&b, NFC)));
        }
    }
}
