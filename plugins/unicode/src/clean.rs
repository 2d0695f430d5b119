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
            dirty: false,
            after_letter: false,
            hyphens_stay_before: 0,
            cleaned: Cleaned::default(),
        }
    }

    /// Moves to the next character that is not plain ASCII, and returns whether there is one.
    fn skip_plain_ascii(&mut self) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        let n_plain = rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len());
        if n_plain != 0 {
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
        let composed: String =
            if self.options.nfkc { self.segment.nfkc().collect() } else { self.segment.nfc().collect() };
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
