//! Counts tokens: by the model's own tokenizer where it is known, else by an estimate.

use std::path::Path;
use std::sync::Arc;

use tokenizers::PostProcessor;

use self::words::Words;

mod cl100k;
mod estimate;
mod words;

pub use self::cl100k::Cl100k;

/// What counts the tokens of one model. Cheap to share behind an `Arc`.
pub struct Tokenizer {
    kind: Kind,
}

enum Kind {
    Exact(Box<Exact>),
    Estimate,
}

struct Exact {
    tokenizer: tokenizers::Tokenizer,
    definition: Definition,
    /// Present where white space always ends a token, so that words can be remembered.
    words: Option<Words>,
}

/// What a tokenizer was made from, for whoever should count as it does.
#[derive(Clone)]
pub struct Definition {
    /// Follows from the bytes: 64 hexadecimal digits.
    pub id: Arc<str>,
    /// A `tokenizer.json`.
    pub bytes: Arc<[u8]>,
}

impl Definition {
    pub fn new(bytes: &[u8]) -> Self {
        Self { id: blake3::hash(bytes).to_hex().as_str().into(), bytes: bytes.into() }
    }
}

/// A tokenizer file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("cannot read the tokenizer file `{path}`")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is no tokenizer in the format of Hugging Face's `tokenizer.json`: {reason}")]
    Format { path: String, reason: String },
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Truncation and padding in it are switched off.
    ///
    /// # Errors
    /// A file that cannot be read, or is no tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::from_bytes(&name, &bytes),
            Err(source) => Err(TokenizerError::Read { path: name, source }),
        }
    }

    /// The same from memory; `name` is for errors.
    ///
    /// # Errors
    /// Bytes that are no tokenizer.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        let format = |reason: String| TokenizerError::Format { path: name.to_owned(), reason };
        let mut tokenizer =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| format(error.to_string()))?;
        tokenizer.with_truncation(None).map_err(|error| format(error.to_string()))?;
        tokenizer.with_padding(None);
        let definition = serde_json::from_slice(bytes).map_err(|error| format(error.to_string()))?;
        let words = words::apart(&definition).then(Words::default);
        let definition = Definition::new(bytes);
        Ok(Self { kind: Kind::Exact(Box::new(Exact { tokenizer, definition, words })) })
    }

    /// What it was made from; nothing where tokens are estimated.
    pub fn definition(&self) -> Option<&Definition> {
        match &self.kind {
            Kind::Exact(exact) => Some(&exact.definition),
            Kind::Estimate => None,
        }
    }

    /// Counts by an estimate that needs no file: a token for every four bytes
    /// begun of a word or number, one for every character of a script that is
    /// written without spaces, one for every other sign, and two for a sign of
    /// four bytes, such as an emoji. White space is free.
    pub fn estimate() -> Self {
        Self { kind: Kind::Estimate }
    }

    /// Returns false where tokens are estimated.
    pub fn is_exact(&self) -> bool {
        matches!(self.kind, Kind::Exact(_))
    }

    /// Special tokens that the model adds to every text, such as `[CLS]` and
    /// `[SEP]`; two where the model's tokenizer is not known.
    pub fn n_special(&self) -> u32 {
        match &self.kind {
            Kind::Exact(exact) => {
                let processor = exact.tokenizer.get_post_processor();
                processor.map_or(0, |processor| processor.added_tokens(false) as u32)
            }
            Kind::Estimate => 2,
        }
    }

    /// Tokens of `text`, without special ones.
    pub fn count(&self, text: &str) -> u32 {
        self.count_while(text, &mut || true).unwrap_or_default()
    }

    /// The same, asking `go_on` as [`Tokenizer::ends_while`] does.
    pub fn count_while(&self, text: &str, go_on: &mut dyn FnMut() -> bool) -> Option<u32> {
        match &self.kind {
            Kind::Exact(exact) => exact.count_while(text, go_on),
            Kind::Estimate => estimate::count_while(text, go_on),
        }
    }

    /// The end of each token in UTF-8 bytes, never descending; a token that
    /// ends inside a character gets that character's end.
    pub fn ends(&self, text: &str) -> Vec<u32> {
        self.ends_while(text, &mut || true).unwrap_or_default()
    }

    /// The same, asking `go_on` between parts of a long text where the tokenizer
    /// can stop; returns nothing once it was told to.
    pub fn ends_while(&self, text: &str, go_on: &mut dyn FnMut() -> bool) -> Option<Vec<u32>> {
        match &self.kind {
            Kind::Exact(exact) => exact.ends_while(text, go_on),
            Kind::Estimate => estimate::ends_while(text, go_on),
        }
    }

    /// The longest prefix of `text` that ends with a token and has at most
    /// `max_tokens` when it is counted alone; all of `text` where it fits.
    pub fn truncated<'t>(&self, text: &'t str, max_tokens: u32) -> &'t str {
        let ends = self.ends(text);
        if ends.len() <= max_tokens as usize {
            return text;
        }
        // A word that is cut may be made of other, more tokens than before.
        ends[..max_tokens as usize]
            .iter()
            .rev()
            .map(|end| &text[..*end as usize])
            .find(|prefix| self.count(prefix) <= max_tokens)
            .unwrap_or_default()
    }
}

impl Exact {
    fn count_while(&self, text: &str, go_on: &mut dyn FnMut() -> bool) -> Option<u32> {
        let Some(words) = &self.words else { return Some(self.count_whole(text)) };
        let mut count = 0;
        let done =
            words.each(text, go_on, |word| self.ends_whole(word), |_, ends| count += ends.len() as u32);
        done.then_some(count)
    }

    fn ends_while(&self, text: &str, go_on: &mut dyn FnMut() -> bool) -> Option<Vec<u32>> {
        let Some(words) = &self.words else { return Some(self.ends_whole(text)) };
        let mut all = Vec::with_capacity(text.len() / 4);
        let done = words.each(
            text,
            go_on,
            |word| self.ends_whole(word),
            |start, ends| all.extend(ends.iter().map(|end| start as u32 + end)),
        );
        done.then_some(all)
    }

    /// A text that the tokenizer cannot encode is estimated.
    fn count_whole(&self, text: &str) -> u32 {
        match self.tokenizer.encode_fast(text, false) {
            Ok(encoding) => encoding.len() as u32,
            Err(_) => estimate::count(text),
        }
    }

    fn ends_whole(&self, text: &str) -> Vec<u32> {
        let Ok(encoding) = self.tokenizer.encode(text, false) else { return estimate::ends(text) };
        let mut last = 0;
        let ends = encoding.get_offsets().iter().map(|&(_, end)| {
            last = text.ceil_char_boundary(end).max(last);
            last as u32
        });
        ends.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn model() -> Tokenizer {
        Tokenizer::from_bytes("the embedded model", include_bytes!("../../../model/tokenizer.json")).unwrap()
    }

    #[track_caller]
    fn check_pieces(text: &str, want: &[&str]) {
        let ends = model().ends(text);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let pieces: Vec<_> =
            starts.zip(&ends).map(|(start, end)| text[start as usize..*end as usize].trim()).collect();
        assert_eq!(pieces, want);
        assert_eq!(model().count(text) as usize, want.len());
    }

    #[test]
    fn words_are_split_as_the_model_splits_them() {
        check_pieces("Embedding kelp, twice.", &["Em", "bed", "ding", "ke", "lp", ",", "twice", "."]);
    }

    #[test]
    fn white_space_has_no_tokens() {
        check_pieces(" \n\t ", &[]);
    }

    #[test]
    fn special_tokens_are_counted_apart() {
        assert_eq!((model().n_special(), model().count("kelp")), (2, 2));
    }

    #[test]
    fn a_text_is_truncated_to_what_fits() {
        assert_eq!(model().truncated("one two three", 2), "one two");
    }

    #[test]
    fn a_text_that_fits_is_not_touched() {
        assert_eq!(model().truncated("one two ", 2), "one two ");
    }

    #[test]
    fn nothing_fits_into_no_tokens() {
        assert_eq!(model().truncated("one", 0), "");
    }

    #[test]
    fn truncation_in_the_file_is_switched_off() {
        let mut file: serde_json::Value =
            serde_json::from_slice(include_bytes!("../../../model/tokenizer.json")).unwrap();
        file["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0
        });
        let tokenizer = Tokenizer::from_bytes("cut", file.to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.count("one two three four five six"), 6);
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_named() {
        let error = Tokenizer::from_bytes("notes.json", b"{}").err().unwrap();
        assert!(error.to_string().starts_with("`notes.json` is no tokenizer"), "{error}");
    }

    #[test]
    fn a_long_text_can_be_given_up() {
        let text = "kelp ".repeat(100_000);
        assert_eq!(model().ends_while(&text, &mut || false), None);
        assert_eq!(model().count_while(&text, &mut || false), None);
    }

    /// Everything that normalizer and pre-tokenizer treat in a way of its own.
    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-zA-Z]{1,12}",
            "[ \t\r\n]{1,3}",
            "\\PC{0,6}",
            Just("\u{85}".to_owned()),
            Just("\u{a0}\u{2028}".to_owned()),
            Just("e\u{301}".to_owned()),
            Just("\u{301}".to_owned()),
            Just("İI\u{307}ßſΣς".to_owned()),
            Just("漢字かな한국어".to_owned()),
            Just("[CLS]".to_owned()),
            Just("[ SEP ]".to_owned()),
            Just("\u{0}\u{fffd}\u{200b}".to_owned()),
            Just("x".repeat(120)),
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn counting_by_words_is_counting_the_whole(text in text()) {
            let tokenizer = model();
            let Kind::Exact(exact) = &tokenizer.kind else { unreachable!() };
            prop_assert!(exact.words.is_some());
            prop_assert_eq!(tokenizer.ends(&text), exact.ends_whole(&text));
            prop_assert_eq!(tokenizer.count(&text), exact.count_whole(&text));
        }

        #[test]
        fn ends_are_on_characters_and_never_descend(text in text()) {
            for tokenizer in [model(), Tokenizer::estimate()] {
                let ends = tokenizer.ends(&text);
                prop_assert!(ends.is_sorted());
                prop_assert!(ends.iter().all(|end| text.is_char_boundary(*end as usize)));
                prop_assert_eq!(tokenizer.count(&text) as usize, ends.len());
            }
        }

        #[test]
        fn a_truncated_text_has_at_most_the_tokens_asked_for(text in text(), max in 0u32..20) {
            for tokenizer in [model(), Tokenizer::estimate()] {
                prop_assert!(tokenizer.count(tokenizer.truncated(&text, max)) <= max);
            }
        }
    }
}
