//! Texts → lists that the gateway takes: within its bounds on texts and on bytes.

use std::ops::Range;
use std::sync::Arc;

/// What a gateway takes in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) max_texts: usize,
    /// Of a body.
    pub(super) max_bytes: usize,
}

impl Default for Bounds {
    /// What every gateway takes as it is delivered.
    fn default() -> Self {
        Self { max_texts: 2048, max_bytes: 32 * 1024 * 1024 }
    }
}

/// Bytes of a body beside its texts, more than enough.
const AROUND: usize = 4096;

/// Splits `texts` into as few lists as there can be in their order; a text that is too long for
/// any list is an error with its index.
pub(super) fn split(texts: &[Arc<str>], bounds: Bounds) -> impl Iterator<Item = Result<Range<usize>, usize>> {
    let room = bounds.max_bytes.saturating_sub(AROUND);
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = texts.get(start)?;
        let mut n_bytes = written(first);
        if room < n_bytes {
            start += 1;
            return Some(Err(start - 1));
        }
        let more = texts[start + 1..].iter().take(bounds.max_texts.max(1) - 1).take_while(|text| {
            n_bytes += written(text);
            n_bytes <= room
        });
        let list = start..start + 1 + more.count();
        start = list.end;
        Some(Ok(list))
    })
}

/// Bytes of `text` in a list of JSON.
fn written(text: &str) -> usize {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.as_bytes().iter().map(escaped).sum::<usize>() + 3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(texts: &[&str], max_texts: usize, room: usize, want: &[&[&str]]) {
        let texts: Vec<Arc<str>> = texts.iter().map(|text| (*text).into()).collect();
        let lists: Vec<Vec<&str>> = split(&texts, Bounds { max_texts, max_bytes: room + AROUND })
            .map(|list| match list {
                Ok(list) => texts[list].iter().map(AsRef::as_ref).collect(),
                Err(index) => vec!["too long", &*texts[index]],
            })
            .collect();
        assert_eq!(lists, want);
    }

    #[test]
    fn a_list_is_full_by_texts_or_by_bytes() {
        check(&["a", "b", "c"], 2, 100, &[&["a", "b"], &["c"]]);
        check(&["aaaa", "bbbb", "c"], 9, 14, &[&["aaaa", "bbbb"], &["c"]]);
        check(&[], 9, 100, &[]);
    }

    #[test]
    fn a_text_that_no_list_takes_is_told() {
        check(&["a", "0123456789", "b"], 9, 10, &[&["a"], &["too long", "0123456789"], &["b"]]);
    }

    proptest! {
        #[test]
        fn a_text_is_as_long_as_it_is_written(text in "\\PC{0,20}|[\\x00-\\x20\"\\\\]{0,20}") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(written(&text), json.len() + 1);
        }
    }
}
