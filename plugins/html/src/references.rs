//! Character references: `&amp;`, `&#305;`, and `&eacute` with the semicolon forgotten.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr_iter;

/// A reference in a text, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'t> {
    pub at: Range<usize>,
    pub text: Cow<'t, str>,
}

/// Finds the character references of `text`, ascending.
pub fn references(text: &str) -> impl Iterator<Item = Reference<'_>> {
    let bytes = text.as_bytes();
    memchr_iter(b'&', bytes).filter_map(move |start| {
        let candidate = &text[start..start + candidate_length(&bytes[start..])];
        let resolved = common(candidate).map_or_else(|| htmlize::unescape(candidate), Cow::Borrowed);
        if resolved == candidate {
            return None;
        }
        // `&ampere` is `&` and five letters that stand for themselves.
        let kept = candidate
            .bytes()
            .rev()
            .zip(resolved.bytes().rev())
            .take_while(|(a, b)| a == b && (a.is_ascii_alphanumeric() || *a == b';'));
        let kept = kept.count().min(resolved.len().saturating_sub(1));
        let text = match resolved {
            Cow::Borrowed(resolved) => Cow::Borrowed(&resolved[..resolved.len() - kept]),
            Cow::Owned(mut resolved) => {
                resolved.truncate(resolved.len() - kept);
                Cow::Owned(resolved)
            }
        };
        Some(Reference { at: start..start + candidate.len() - kept, text })
    })
}

/// The references that pages are full of, without a search.
fn common(candidate: &str) -> Option<&'static str> {
    match candidate {
        "&amp;" => Some("&"),
        "&lt;" => Some("<"),
        "&gt;" => Some(">"),
        "&quot;" => Some("\""),
        "&#39;" => Some("'"),
        "&nbsp;" => Some("\u{A0}"),
        _ => None,
    }
}

/// Returns the length of what could be the reference that `bytes` begins with. Longer names do
/// not exist; numbers may have any length.
fn candidate_length(bytes: &[u8]) -> usize {
    const LONGEST_NAME: usize = 40;
    let number = bytes.get(1) == Some(&b'#');
    let start = 1 + usize::from(number);
    let letters = bytes[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric());
    let n_letters = if number { letters.count() } else { letters.take(LONGEST_NAME).count() };
    let end = start + n_letters;
    end + usize::from(bytes.get(end) == Some(&b';'))
}

/// Resolves all references of `text`.
pub fn resolved(text: &str) -> Cow<'_, str> {
    htmlize::unescape(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[(&str, &str)]) {
        let found: Vec<_> =
            references(text).map(|found| (&text[found.at], found.text.into_owned())).collect();
        let want: Vec<_> = want.iter().map(|(at, text)| (*at, (*text).to_owned())).collect();
        assert_eq!(found, want);
    }

    #[test]
    fn names_and_numbers_are_found() {
        check(
            "a &amp; b &ccedil;&#305;&#x11F;",
            &[("&amp;", "&"), ("&ccedil;", "ç"), ("&#305;", "ı"), ("&#x11F;", "ğ")],
        );
    }

    #[test]
    fn a_forgotten_semicolon_is_forgiven_where_the_standard_does() {
        check(
            "&eacute &#233 &ampere &notit; &notin; &alpha",
            &[("&eacute", "é"), ("&#233", "é"), ("&amp", "&"), ("&not", "¬"), ("&notin;", "∉")],
        );
    }

    #[test]
    fn what_is_no_reference_stays() {
        check("AT&T & co; &; &#; &#x; &bogus; &", &[]);
    }

    #[test]
    fn numbers_out_of_range_become_the_replacement_character() {
        check(
            "&#0; &#xD800; &#x110000; &#99999999999999;",
            &[
                ("&#0;", "\u{FFFD}"),
                ("&#xD800;", "\u{FFFD}"),
                ("&#x110000;", "\u{FFFD}"),
                ("&#99999999999999;", "\u{FFFD}"),
            ],
        );
    }

    #[test]
    fn windows_numbers_mean_what_their_authors_meant() {
        check("&#146;", &[("&#146;", "\u{2019}")]);
    }
}
