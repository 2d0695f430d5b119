//! Remembers the tokens of words, for tokenizers that never look past white space.
//!
//! Most words of a text were seen before, and looking one up costs a small part
//! of what encoding it costs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Words that one memo keeps before it starts again.
const MAX_WORDS: usize = 32_768;
/// Longer runs without white space are encoded each time.
const MAX_WORD_BYTES: usize = 64;
/// Memos that are kept for the next text; more texts at once use new ones.
const MAX_MEMOS: usize = 4;
/// How much text is read between two looks at whether to go on.
const SLICE_BYTES: usize = 64 * 1024;

/// Ends of each word's tokens, within the word.
type Memo = HashMap<Box<str>, Box<[u32]>>;

/// Memos, each lent to one text at a time.
#[derive(Default)]
pub(super) struct Words {
    free: Mutex<Vec<Memo>>,
}

/// Returns whether white space always ends a token of the tokenizer that
/// `definition` defines, whatever stands on either side of it: then a text's
/// tokens are those of its words.
///
/// Says so only of parts that are known to work on characters or words alone.
pub(super) fn apart(definition: &Value) -> bool {
    let pre_tokenizer = definition["pre_tokenizer"]["type"].as_str();
    let by_words = matches!(pre_tokenizer, Some("BertPreTokenizer" | "Whitespace" | "WhitespaceSplit"));
    by_words && works_on_characters(&definition["normalizer"]) && added_are_plain(&definition["added_tokens"])
}

fn works_on_characters(normalizer: &Value) -> bool {
    match normalizer["type"].as_str() {
        Some("Sequence") => {
            normalizer["normalizers"].as_array().is_some_and(|all| all.iter().all(works_on_characters))
        }
        Some("BertNormalizer" | "Lowercase" | "StripAccents" | "NFC" | "NFD" | "NFKC" | "NFKD") => true,
        _ => normalizer.is_null(),
    }
}

/// Added tokens are searched in the text as it is, before it is cut into words.
fn added_are_plain(added: &Value) -> bool {
    let plain = |token: &Value| {
        let content = token["content"].as_str().unwrap_or(" ");
        token["lstrip"] == false && token["rstrip"] == false && !content.contains(char::is_whitespace)
    };
    added.as_array().is_none_or(|added| added.iter().all(plain))
}

impl Words {
    /// Hands each word of `text` to `each`: where it starts, and the ends of its
    /// tokens, in it. Returns false when `go_on` said to stop.
    pub(super) fn each(
        &self,
        text: &str,
        go_on: &mut dyn FnMut() -> bool,
        encode: impl Fn(&str) -> Vec<u32>,
        mut each: impl FnMut(usize, &[u32]),
    ) -> bool {
        let mut memo = self.lock().pop().unwrap_or_default();
        let mut look_at = SLICE_BYTES;
        let mut done = true;
        for (start, word) in words(text) {
            if look_at <= start {
                look_at = start + SLICE_BYTES;
                if !go_on() {
                    done = false;
                    break;
                }
            }
            if let Some(ends) = memo.get(word) {
                each(start, ends);
                continue;
            }
            let ends = encode(word);
            each(start, &ends);
            if word.len() <= MAX_WORD_BYTES {
                if memo.len() == MAX_WORDS {
                    memo.clear();
                }
                memo.insert(word.into(), ends.into());
            }
        }
        let mut free = self.lock();
        if free.len() < MAX_MEMOS {
            free.push(memo);
        }
        done
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Memo>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts at the four characters that every normalizer takes for white space: some
/// drop others, such as U+0085, and join the words on both sides.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let mut start = 0;
    text.as_bytes().split(is_space).filter_map(move |word| {
        let at = start;
        start += word.len() + 1;
        (!word.is_empty()).then(|| (at, &text[at..at + word.len()]))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bert() -> Value {
        json!({
            "added_tokens": [{"content": "[CLS]", "lstrip": false, "rstrip": false}],
            "normalizer": {"type": "BertNormalizer"},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
        })
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), want: bool) {
        let mut definition = bert();
        change(&mut definition);
        assert_eq!(apart(&definition), want);
    }

    #[test]
    fn bert_s_words_stand_apart() {
        check(|_| (), true);
    }

    #[test]
    fn byte_level_tokens_take_in_the_space_before_them() {
        check(|it| it["pre_tokenizer"]["type"] = "ByteLevel".into(), false);
    }

    #[test]
    fn a_normalizer_that_puts_something_before_the_text_sees_all_of_it() {
        check(|it| it["normalizer"] = json!({"type": "Prepend", "prepend": "▁"}), false);
    }

    #[test]
    fn a_sequence_is_as_good_as_its_worst_member() {
        let members = json!([{"type": "NFC"}, {"type": "Strip"}]);
        check(|it| it["normalizer"] = json!({"type": "Sequence", "normalizers": members}), false);
    }

    #[test]
    fn an_added_token_that_swallows_spaces_sees_past_them() {
        check(|it| it["added_tokens"][0]["lstrip"] = true.into(), false);
    }

    #[test]
    fn the_same_word_is_encoded_once() {
        let encoded = std::cell::Cell::new(0);
        let mut seen = Vec::new();
        let encode = |word: &str| {
            encoded.set(encoded.get() + 1);
            vec![word.len() as u32]
        };
        Words::default()
            .each("a bb\na", &mut || true, encode, |start, ends| seen.push((start, ends.to_vec())));
        assert_eq!((encoded.get(), seen), (2, vec![(0, vec![1]), (2, vec![2]), (5, vec![1])]));
    }
}
