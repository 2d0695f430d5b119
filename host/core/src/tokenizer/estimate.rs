//! The estimate for models whose tokenizer is not known.
//!
//! Tokenizers of embedding models cut common words into one to two pieces of
//! four bytes on average, give scripts without spaces about a token a character,
//! and punctuation one each. A prefix never has more tokens than the whole, and
//! two texts together never more than each alone.

/// Bytes of a word or number that make a token.
const WORD_BYTES: usize = 4;

/// How much text is read between two looks at whether to go on.
const SLICE_BYTES: usize = 64 * 1024;

pub(super) fn count(text: &str) -> u32 {
    count_while(text, &mut || true).unwrap_or_default()
}

/// Nothing once `go_on` said so.
pub(super) fn count_while(text: &str, go_on: &mut dyn FnMut() -> bool) -> Option<u32> {
    let mut count = 0;
    each_end(text, go_on, |_| count += 1).then_some(count)
}

pub(super) fn ends(text: &str) -> Vec<u32> {
    ends_while(text, &mut || true).unwrap_or_default()
}

/// Nothing once `go_on` said so.
pub(super) fn ends_while(text: &str, go_on: &mut dyn FnMut() -> bool) -> Option<Vec<u32>> {
    let mut ends = Vec::with_capacity(text.len() / WORD_BYTES);
    each_end(text, go_on, |end| ends.push(end as u32)).then_some(ends)
}

/// Returns whether it went on to the end.
fn each_end(text: &str, go_on: &mut dyn FnMut() -> bool, mut each: impl FnMut(usize)) -> bool {
    let mut look_at = SLICE_BYTES;
    // Bytes of the token under way; it ends with its word at the latest.
    let mut open = 0;
    for (start, char) in text.char_indices() {
        if look_at <= start {
            look_at = start + SLICE_BYTES;
            if !go_on() {
                return false;
            }
        }
        let len = char.len_utf8();
        let end = start + len;
        if char.is_alphanumeric() && !is_unspaced(char) {
            open += len;
            if WORD_BYTES <= open {
                each(end);
                open = 0;
            }
            continue;
        }
        if open != 0 {
            each(start);
            open = 0;
        }
        if !char.is_whitespace() {
            each(end);
            if len == 4 {
                each(end);
            }
        }
    }
    if open != 0 {
        each(text.len());
    }
    true
}

/// Returns whether `char` is of a script that is written without spaces, or of
/// Hangul: Thai to Myanmar, Khmer, Kana, Han, Hangul.
fn is_unspaced(char: char) -> bool {
    matches!(
        char,
        '\u{0e00}'..='\u{0eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1100}'..='\u{11ff}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{2e80}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7af}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff66}'..='\u{ff9f}'
            | '\u{1b000}'..='\u{1b16f}'
            | '\u{20000}'..='\u{323af}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[u32]) {
        assert_eq!((ends(text), count(text) as usize), (want.to_vec(), want.len()));
    }

    #[test]
    fn a_word_has_a_token_for_every_four_bytes_begun() {
        check("kelp forests", &[4, 9, 12]);
    }

    #[test]
    fn letters_of_two_bytes_count_twice() {
        check("водоросль", &[4, 8, 12, 16, 18]);
    }

    #[test]
    fn a_sign_ends_a_word_and_is_a_token() {
        check("a-b!", &[1, 2, 3, 4]);
    }

    #[test]
    fn scripts_without_spaces_have_a_token_a_character() {
        check("海藻です", &[3, 6, 9, 12]);
    }

    #[test]
    fn an_emoji_is_two_tokens() {
        check("🌊", &[4, 4]);
    }

    #[test]
    fn a_long_text_can_be_given_up() {
        let text = "kelp ".repeat(SLICE_BYTES);
        assert_eq!((ends_while(&text, &mut || false), count_while(&text, &mut || false)), (None, None));
    }

    #[test]
    fn white_space_is_free() {
        check(" \n ", &[]);
    }

    proptest! {
        #[test]
        fn a_text_has_no_more_tokens_than_its_parts(a in "\\PC{0,20}", b in "\\PC{0,20}") {
            let whole = count(&format!("{a}{b}"));
            prop_assert!(count(&a).max(count(&b)) <= whole && whole <= count(&a) + count(&b));
        }
    }
}
