//! Token arrays: numbers of cl100k_base where texts are expected, turned back into texts.
//!
//! Clients that know OpenAI's models count tokens before they send, and then send
//! the tokens. What they mean is the text: it is embedded as if it had been sent.

mod arrays;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error};

use self::arrays::{Array, Arrays};
use super::error::ApiError;
use super::parsing::Parsing;
use super::wire::{self, Limits};
use crate::embed::EmbedError;
use crate::tokenizer::Cl100k;

/// Bytes of token arrays that are decoded on the spot; more would hold up other requests.
const MAX_INLINE: usize = 64 * 1024;

/// Bytes of text for each byte of a body, at most, once there are more than `MAX_INLINE` of
/// them. Prose has less than one; only runs of the same character have more than these.
const MAX_GROWTH: usize = 4;

/// Bytes of a character that can be missing at either end of an array.
const MAX_PART: usize = 3;

/// Texts that were sent as tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) texts: Vec<String>,
    /// Indexes of texts that had part of a character at an end, which was cut off.
    pub(super) cut: Vec<usize>,
}

/// Decodes `raw`, which is a JSON array: here where it is short, else on a thread that may take its time.
///
/// # Errors
/// Names the text and the token that are no text.
pub(super) async fn decoded(raw: Bytes, limits: Limits, parsing: &Parsing) -> Result<Decoded, ApiError> {
    let is_short = raw.len() <= MAX_INLINE;
    let decode = move || {
        let table = Cl100k::get().map_err(ApiError::internal)?;
        let raw = std::str::from_utf8(&raw).map_err(|_| ApiError::malformed("`input` is not UTF-8"))?;
        decode(raw, table, limits)
    };
    if is_short && Cl100k::is_ready() {
        return decode();
    }
    parsing.take_time(decode).await
}

/// `[1, 2]` is one text, `[[1], [2]]` are two.
fn decode(raw: &str, table: &Cl100k, limits: Limits) -> Result<Decoded, ApiError> {
    // Room for bodies was taken by what came, so what comes out may not be much more.
    let max_decoded = limits.max_decoded.min(raw.len().saturating_mul(MAX_GROWTH).max(MAX_INLINE));
    let limits = Limits { max_decoded, ..limits };
    let mut decoder =
        Decoder { table, limits, room: limits.max_decoded, decoded: Decoded::default(), got: 0, fault: None };
    let mut json = serde_json::Deserializer::from_str(raw);
    let read = match has_arrays(raw) {
        true => Arrays(&mut decoder).deserialize(&mut json),
        false => Array { decoder: &mut decoder, is_alone: true }.deserialize(&mut json),
    };
    match (decoder.fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Err(error)) => Err(wire::unreadable("input", &error)),
        (None, Ok(())) if limits.max_texts < decoder.got => {
            Err(ApiError::from(&EmbedError::TooManyTexts { got: decoder.got, max: limits.max_texts }))
        }
        (None, Ok(())) => Ok(decoder.decoded),
    }
}

/// Whether the first element of the array `raw` is an array itself.
fn has_arrays(raw: &str) -> bool {
    raw.strip_prefix('[').is_some_and(|rest| rest.trim_ascii_start().starts_with('['))
}

struct Decoder<'t> {
    table: &'t Cl100k,
    limits: Limits,
    /// Bytes that may still be decoded: a few bytes of JSON can stand for a hundred of text.
    room: usize,
    decoded: Decoded,
    /// Arrays read, those beyond the limit included.
    got: usize,
    /// Why reading was given up.
    fault: Option<ApiError>,
}

impl Decoder<'_> {
    fn give_up<E: Error>(&mut self, fault: ApiError) -> E {
        self.fault = Some(fault);
        E::custom("given up")
    }

    fn invalid<E: Error>(&mut self, message: String) -> E {
        self.give_up(ApiError::invalid("input", message))
    }

    /// The bytes of `token`, which is at `position` of the text `index`.
    fn bytes(&mut self, token: u32, position: usize) -> Result<&[u8], ApiError> {
        let index = self.decoded.texts.len();
        let bytes = self.table.token(token).ok_or_else(|| {
            let message = format!(
                "token {position} of text {index} is {token}, which cl100k_base does not have: \
                 send texts, or tokens of cl100k_base"
            );
            ApiError::invalid("input", message)
        })?;
        self.room = self.room.checked_sub(bytes.len()).ok_or_else(|| {
            let max = self.limits.max_decoded;
            ApiError::too_large(format!(
                "the texts that were sent as tokens are longer than {max} bytes: \
                 send fewer at once, or send texts"
            ))
        })?;
        Ok(bytes)
    }

    /// Takes the next text, from the bytes of all its tokens.
    fn finish(&mut self, bytes: Vec<u8>) -> Result<(), ApiError> {
        let index = self.decoded.texts.len();
        if bytes.is_empty() {
            return Err(ApiError::from(&EmbedError::EmptyText { index }));
        }
        let (text, was_cut) = whole_characters(bytes).ok_or_else(|| {
            let message =
                format!("the tokens of text {index} are no UTF-8, and not only at an end: send texts");
            ApiError::invalid("input", message)
        })?;
        if text.is_empty() {
            let message = format!("the tokens of text {index} are only part of a character");
            return Err(ApiError::invalid("input", message));
        }
        if was_cut {
            self.decoded.cut.push(index);
        }
        self.decoded.texts.push(text);
        Ok(())
    }
}

/// The text of `bytes`, and whether it lost part of a character at an end: a client
/// that splits a long text between two tokens may split a character. Nothing where
/// other bytes are no text.
fn whole_characters(mut bytes: Vec<u8>) -> Option<(String, bool)> {
    let is_continuation = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    let head = bytes.iter().take(MAX_PART).take_while(is_continuation).count();
    bytes.drain(..head);
    let end = match std::str::from_utf8(&bytes) {
        Ok(text) => text.len(),
        // Bytes that could still become a character.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return None,
    };
    let was_cut = 0 < head || end < bytes.len();
    bytes.truncate(end);
    Some((String::from_utf8(bytes).ok()?, was_cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::TokenArrays;

    const LIMITS: Limits =
        Limits { max_depth: 32, max_texts: 3, max_decoded: 200, token_arrays: TokenArrays::Cl100k };

    fn decode(raw: &str) -> Result<Decoded, ApiError> {
        super::decode(raw, Cl100k::get().unwrap(), LIMITS)
    }

    /// `cut` are the texts that lost part of a character.
    #[track_caller]
    fn check(raw: &str, texts: &[&str], cut: &[usize]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(decode(raw), Ok(Decoded { texts, cut: cut.to_vec() }));
    }

    #[track_caller]
    fn check_refused(raw: &str, status: u16, said: &str) {
        let error = decode(raw).unwrap_err();
        assert_eq!(error.status, status);
        assert!(format!("{error:?}").contains(said), "{error:?}");
    }

    /// The tokens of each text in JSON, as a client makes them.
    fn tokens(text: &str) -> Vec<u32> {
        tiktoken_rs::cl100k_base().unwrap().encode_ordinary(text)
    }

    #[test]
    fn one_array_is_one_text_and_a_list_of_arrays_is_a_list() {
        check("[15339, 1917]", &["hello world"], &[]);
        check("[[15339], [1917]]", &["hello", " world"], &[]);
        check("[ [ 15339 ,1917 ] ]", &["hello world"], &[]);
    }

    #[test]
    fn any_text_comes_back_as_it_was() {
        for text in ["日本語 🧪 é \u{200d}", "a\0b\r\n\t", "<|endoftext|>", "ﷺ"] {
            check(&serde_json::to_string(&tokens(text)).unwrap(), &[text], &[]);
        }
        check("[15339, 100257]", &["hello<|endoftext|>"], &[]);
    }

    #[test]
    fn a_character_that_was_cut_at_an_end_is_left_out_and_told() {
        let split = tokens("a🧪b");
        let [a, .., b] = split.as_slice() else { panic!("{split:?}") };
        let (head, tail) = split.split_at(2);
        assert!(3 < split.len(), "the character must be more than one token: {split:?}");
        check(&serde_json::to_string(&[head, tail]).unwrap(), &["a", "b"], &[0, 1]);
        check_refused(&serde_json::to_string(&[a, &split[1], b]).unwrap(), 400, "text 0 are no UTF-8");
        check_refused(&serde_json::to_string(&[&[*a], &split[1..2]]).unwrap(), 400, "text 1 are only part");
    }

    #[test]
    fn at_most_three_bytes_of_a_character_are_cut() {
        let check = |bytes: &[u8], want: Option<(&str, bool)>| {
            let want = want.map(|(text, was_cut)| (text.to_owned(), was_cut));
            assert_eq!(whole_characters(bytes.to_vec()), want, "{bytes:?}");
        };
        check(b"abc", Some(("abc", false)));
        check(b"\x9f\xa7\xaaabc\xf0\x9f\xa7", Some(("abc", true)));
        check(b"\xaa\x9f\xa7\xaaabc", None);
        check(b"a\xffb", None);
        check(b"a\xff", None);
        check(b"\xa7", Some(("", true)));
    }

    #[test]
    fn a_whole_number_is_a_token_however_it_is_written() {
        check("[15339.0, 1.917e3]", &["hello world"], &[]);
        check("[-0, -0.0]", &["!!"], &[]);
    }

    #[test]
    fn a_number_that_is_no_token_is_named_with_its_place() {
        check_refused(
            "[[999999999]]",
            400,
            "token 0 of text 0 is 999999999, which cl100k_base does not have",
        );
        check_refused("[[15339], [1917, 100256]]", 400, "token 1 of text 1 is 100256");
        check_refused("[15339, -1]", 400, "a number that is no token at index 1");
        check_refused("[1.5]", 400, "a number that is no token at index 0");
        for wrong in ["4294967296", "4294967296.0", "1e300", "-1.0"] {
            check_refused(&format!("[{wrong}]"), 400, "a number that is no token at index 0");
        }
        check_refused("[[1], [1, 18446744073709551616]]", 400, "text 1 of `input` has a number");
        check_refused("[1, 1e999]", 400, "`input` cannot be read");
    }

    #[test]
    fn texts_and_tokens_do_not_go_together() {
        check_refused(r#"[1, "a"]"#, 400, "a string at index 1 among tokens");
        check_refused(r#"[[1], "a"]"#, 400, "a string at index 1 among token arrays");
        check_refused("[[1], 2]", 400, "a number at index 1 among token arrays");
        check_refused(r#"[["a"]]"#, 400, "text 0 of `input` has a string at index 0");
        check_refused("[[[1]]]", 400, "text 0 of `input` has an array at index 0");
        check_refused("[1, null]", 400, "null at index 1");
        check_refused("[1, {}]", 400, "an object at index 1");
        check_refused("[[1], {}]", 400, "an object at index 1");
        check_refused("[[1], true]", 400, "a boolean at index 1");
    }

    #[test]
    fn an_empty_array_is_an_empty_text() {
        check_refused("[[]]", 400, "text 0 is empty");
        check_refused("[[1], [], [2]]", 400, "text 1 is empty");
    }

    #[test]
    fn more_arrays_than_allowed_are_counted_and_not_decoded() {
        check("[[0], [1], [2]]", &["!", "\"", "#"], &[]);
        check_refused("[[0], [1], [2], [3], [999999999]]", 400, "5 texts, more than 3");
    }

    #[test]
    fn numbers_cannot_be_blown_up_to_more_than_a_body() {
        let longest = tokens(&" ".repeat(64));
        assert_eq!(longest.len(), 1, "{longest:?}");
        let spaces = longest[0];
        check(&format!("[{spaces}, {spaces}, {spaces}]"), &[&" ".repeat(192)], &[]);
        check_refused(&format!("[[{spaces}, {spaces}], [{spaces}, {spaces}]]"), 413, "longer than 200 bytes");
    }

    #[test]
    fn long_arrays_give_little_more_text_than_they_are_long() {
        let limits = Limits { max_decoded: usize::MAX, ..LIMITS };
        let check = |text: &str, n_tokens: usize, is_taken: bool| {
            let raw = serde_json::to_string(&tokens(text).repeat(n_tokens)).unwrap();
            let decoded = super::decode(&raw, Cl100k::get().unwrap(), limits);
            assert_eq!(decoded.is_ok(), is_taken, "{} bytes as {}", text.len() * n_tokens, raw.len());
        };
        check(" internationalization", 10_000, true);
        check(&" ".repeat(64), MAX_INLINE / 64, true);
        check(&" ".repeat(64), MAX_INLINE / 64 + 1, false);
    }
}
