//! Cuts text into words, and scripts that are written without spaces into pairs
//! of characters.

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;

/// What a text is cut into.
pub(super) enum Piece<'t> {
    Word(&'t str),
    /// Two neighbours of a script without spaces; one where it stands alone.
    Bigram(&'t str),
}

/// Hands every piece of `text` to `take`, in order.
pub(super) fn split<'t>(text: &'t str, mut take: impl FnMut(Piece<'t>)) {
    let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
    for (run, is_spaceless) in runs(text) {
        if is_spaceless {
            bigrams(run, &mut take);
            continue;
        }
        let mut start = 0;
        for (end, kind) in segmenter.segment_str(run).iter_with_word_type() {
            if kind.is_word_like() {
                parts(&run[start..end], &mut take);
            }
            start = end;
        }
    }
}

/// Cuts where writing with spaces and writing without them meet.
fn runs(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_spaceless = is_spaceless(rest.chars().next()?);
        let end = rest.find(|c| self::is_spaceless(c) != is_spaceless).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some((run, is_spaceless))
    })
}

fn bigrams<'t>(run: &'t str, take: &mut impl FnMut(Piece<'t>)) {
    let mut starts = run.char_indices().map(|(start, _)| start);
    let Some(mut first) = starts.next() else { return };
    let Some(mut second) = starts.next() else {
        return take(Piece::Bigram(run));
    };
    for third in starts.chain([run.len()]) {
        take(Piece::Bigram(&run[first..third]));
        (first, second) = (second, third);
    }
}

/// Cuts a name such as `set_payload` or `embergate.toml` where its words meet,
/// and leaves numbers whole.
fn parts<'t>(word: &'t str, take: &mut impl FnMut(Piece<'t>)) {
    if word.chars().all(|c| c.is_numeric() || ".,٫٬".contains(c)) {
        return take(Piece::Word(word));
    }
    for part in word.split(['_', '.', ':', '·', ',']).filter(|part| part.contains(char::is_alphanumeric)) {
        take(Piece::Word(part));
    }
}

/// Scripts whose writers put no space between words: Thai, Lao, Myanmar, Khmer,
/// Hiragana, Katakana and Han.
fn is_spaceless(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let mut got = Vec::new();
        split(text, |piece| match piece {
            Piece::Word(part) | Piece::Bigram(part) => got.push(part),
        });
        assert_eq!(got, want);
    }

    #[test]
    fn words_come_without_signs() {
        check("Kelp, it's 3.5 m tall!", &["Kelp", "it's", "3.5", "m", "tall"]);
    }

    #[test]
    fn names_are_cut_where_their_words_meet() {
        check("store.set_payload", &["store", "set", "payload"]);
    }

    #[test]
    fn pairs_overlap_and_stop_where_the_script_changes() {
        check("東京都 and 猫", &["東京", "京都", "and", "猫"]);
        check("ab東京", &["ab", "東京"]);
    }
}
