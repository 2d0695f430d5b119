//! Letters without case and without marks: `Ğ`, `ğ` and `g` are one.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::decompose_compatible;

/// Lower-case. `İ` becomes a plain `i`.
pub(super) fn lower(word: &str) -> String {
    word.nfc()
        .map(|letter| match letter {
            'İ' => 'i',
            '’' => '\'',
            letter => letter,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// Lower-case, and Latin letters without their marks: `İ`, `I`, `ı` and `i` are all `i`.
///
/// Other scripts keep their marks: in many they are vowels.
pub(super) fn full(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    let mut after_latin = false;
    for letter in word.nfc() {
        if is_mark(letter) {
            if !after_latin {
                folded.push(letter);
            }
            continue;
        }
        after_latin = is_latin(letter);
        push_folded(letter, &mut folded);
    }
    folded
}

fn push_folded(letter: char, folded: &mut String) {
    match letter {
        'ı' | 'İ' => folded.push('i'),
        'ß' | 'ẞ' => folded.push_str("ss"),
        'æ' | 'Æ' => folded.push_str("ae"),
        'œ' | 'Œ' => folded.push_str("oe"),
        'ø' | 'Ø' => folded.push('o'),
        'ł' | 'Ł' => folded.push('l'),
        'đ' | 'Đ' | 'ð' | 'Ð' => folded.push('d'),
        'þ' | 'Þ' => folded.push_str("th"),
        '’' => folded.push('\''),
        letter if letter.is_ascii() => folded.push(letter.to_ascii_lowercase()),
        letter if is_latin(letter) => decompose_compatible(letter, |part| {
            if !is_mark(part) {
                folded.extend(part.to_lowercase());
            }
        }),
        letter => folded.extend(letter.to_lowercase()),
    }
}

/// Combining diacritical marks.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

/// Latin letters, their ligatures, and full and half width forms.
fn is_latin(letter: char) -> bool {
    letter.is_ascii_alphabetic()
        || matches!(letter,
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{fb00}'..='\u{fb06}' | '\u{ff00}'..='\u{ffef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, want: &str) {
        assert_eq!(full(word), want);
    }

    #[test]
    fn latin_letters_lose_case_and_marks() {
        check("ÇĞİÖŞÜçğıöşüâîû", "cgiosucgiosuaiu");
        check("Łódź", "lodz");
        check("i\u{307}", "i");
    }

    #[test]
    fn other_scripts_keep_their_marks() {
        check("Йод", "йод");
        check("हिन्दी", "हिन्दी");
        check("ΑΒΓ", "αβγ");
    }

    #[test]
    fn folding_twice_changes_nothing() {
        for word in ["İstanbul’da", "Straße", "ﬁ", "Ｗｉｄｅ", "ǅ"] {
            assert_eq!(full(&full(word)), full(word));
        }
    }
}
