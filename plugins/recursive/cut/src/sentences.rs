//! Sentence ends that UAX #29 gets wrong: abbreviations, initials, ordinals, and `…`.

/// Never end a sentence, in lower case and without their last stop.
const ABBREVIATIONS: &[&str] = &[
    // Turkish
    "alb", "av", "bkz", "bşk", "cad", "çev", "doç", "dr", "ecz", "ed", "gör", "haz", "hz", "krş", "mah",
    "müh", "op", "ör", "örn", "öğr", "prof", "sok", "uzm", "vb", "vd", "yrd", "yy", "yzb",
    // English
    "capt", "cf", "col", "e.g", "etc", "gov", "hon", "i.e", "jr", "lt", "messrs", "mr", "mrs", "ms", "mt",
    "rep", "rev", "sen", "sgt", "sr", "st", "viz", "vs",
];

/// The same, but only before a number.
const BEFORE_NUMBERS: &[&str] = &["ch", "eq", "fig", "md", "no", "nr", "p", "pp", "s", "sec", "vol"];

/// Languages, among those most written, that put a stop behind an ordinal.
const ORDINAL_LANGUAGES: &[&str] =
    &["az", "cs", "da", "de", "et", "fi", "hr", "hu", "is", "lv", "nb", "nn", "no", "pl", "sk", "sl", "tr"];

/// Returns whether `language` (BCP 47) writes `19. yüzyıl`.
pub(crate) fn writes_ordinals_with_a_stop(language: &str) -> bool {
    let primary = language.split(['-', '_']).next().unwrap_or(language).to_ascii_lowercase();
    ORDINAL_LANGUAGES.contains(&primary.as_str())
}

/// `ends` without false ones, and with those after `…`; ascending.
pub(crate) fn true_ends(text: &str, ends: &[u32], ordinals: bool) -> Vec<u32> {
    let mut ellipses = text.match_indices('…').filter_map(|(at, _)| after_ellipsis(text, at)).peekable();
    let mut result = Vec::with_capacity(ends.len());
    for &end in ends {
        while let Some(earlier) = ellipses.next_if(|&at| at <= end) {
            if earlier < end && result.last() != Some(&earlier) {
                result.push(earlier);
            }
        }
        if !is_false_end(text, end as usize, ordinals) {
            result.push(end);
        }
    }
    result
}

/// Where the sentence ends that stops at the `…` at `at`, if one does.
fn after_ellipsis(text: &str, at: usize) -> Option<u32> {
    let rest = &text[at + '…'.len_utf8()..];
    let next = rest.trim_start_matches([' ', '\u{a0}']);
    let first = next.chars().next()?;
    (next.len() < rest.len() && !first.is_lowercase()).then(|| (text.len() - next.len()) as u32)
}

fn is_false_end(text: &str, end: usize, ordinals: bool) -> bool {
    let head = text[..end].trim_end_matches([' ', '\t', '\u{a0}']);
    let Some(head) = head.strip_suffix('.') else { return false };
    let (word, before) = last_word(head);
    let next = text[end..].chars().next();
    if next.is_none() || word.is_empty() {
        return false;
    }
    is_initials(word)
        || is_listed(word, ABBREVIATIONS)
        || (next.is_some_and(char::is_numeric) && is_listed(word, BEFORE_NUMBERS))
        || (is_number(word) && (ordinals || before.is_none_or(|c| c == '\n')))
}

/// The letters, digits and inner stops that `head` ends with, and what stands
/// before them past any spaces that begin the line.
fn last_word(head: &str) -> (&str, Option<char>) {
    const LONGEST: usize = 24;
    let from = head.floor_char_boundary(head.len().saturating_sub(LONGEST));
    let tail = &head[from..];
    let word = tail.rsplit(|c: char| !(c.is_alphanumeric() || c == '.')).next().unwrap_or(tail);
    let before = tail[..tail.len() - word.len()].trim_end_matches([' ', '\t']).chars().next_back();
    // A word that fills the whole tail is no abbreviation.
    if word.len() == tail.len() && from > 0 { ("", before) } else { (word, before) }
}

/// `J`, `M.Ö`, `T.C`.
fn is_initials(word: &str) -> bool {
    word.split('.').all(|part| {
        let mut letters = part.chars();
        letters.next().is_some_and(char::is_uppercase) && letters.next().is_none()
    })
}

fn is_listed(word: &str, list: &[&str]) -> bool {
    let lower = word.to_lowercase();
    list.contains(&lower.as_str())
}

/// `19`, `IV`.
fn is_number(word: &str) -> bool {
    let is_short = word.len() <= 5;
    (word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit()))
        || (is_short && word.bytes().all(|b| matches!(b, b'I' | b'V' | b'X' | b'L')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` marks the ends that the host reports with `|`; `want` are the sentences that stay.
    #[track_caller]
    fn check(ordinals: bool, text: &str, want: &[&str]) {
        let mut ends = Vec::new();
        let mut plain = String::new();
        for part in text.split('|') {
            plain.push_str(part);
            ends.push(plain.len() as u32);
        }
        let mut start = 0;
        let mut got = Vec::new();
        for end in true_ends(&plain, &ends, ordinals) {
            got.push(&plain[start..end as usize]);
            start = end as usize;
        }
        assert_eq!(got, want);
    }

    #[test]
    fn a_plain_stop_ends_a_sentence() {
        check(false, "It rained. |We left.", &["It rained. ", "We left."]);
    }
    #[test]
    fn a_turkish_title_does_not() {
        check(
            true,
            "Bkz. |Prof. |Dr. |Ayşe Kaya. |Sonra gitti.",
            &["Bkz. Prof. Dr. Ayşe Kaya. ", "Sonra gitti."],
        );
    }
    #[test]
    fn an_era_does_not() {
        check(true, "M.Ö. |Anadolu.", &["M.Ö. Anadolu."]);
    }
    #[test]
    fn an_english_title_does_not() {
        check(
            false,
            "Mr. |Smith met J. |K. |Rowling. |Then left.",
            &["Mr. Smith met J. K. Rowling. ", "Then left."],
        );
    }
    #[test]
    fn an_ordinal_ends_nothing_where_ordinals_have_a_stop() {
        check(true, "Bu 19. |Yüzyıl ve II. |Mahmut.", &["Bu 19. Yüzyıl ve II. Mahmut."]);
    }
    #[test]
    fn a_number_ends_a_sentence_elsewhere() {
        check(false, "We were 19. |Then 20.", &["We were 19. ", "Then 20."]);
    }
    #[test]
    fn the_number_of_a_list_item_does_not() {
        check(false, "List:\n|1. |First.\n|2. |Second.", &["List:\n", "1. First.\n", "2. Second."]);
    }
    #[test]
    fn a_figure_keeps_its_number_but_no_is_a_word() {
        check(
            false,
            "See fig. |3 there. |He said no. |Then left.",
            &["See fig. 3 there. ", "He said no. ", "Then left."],
        );
    }
    #[test]
    fn three_dots_in_one_character_end_a_sentence_before_a_capital() {
        check(true, "Bekledi… Kimse gelmedi… ama kaldı.", &["Bekledi… ", "Kimse gelmedi… ama kaldı."]);
    }
    #[test]
    fn a_long_word_is_no_abbreviation() {
        check(
            false,
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.A. |Next.",
            &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.A. ", "Next."],
        );
    }
}
