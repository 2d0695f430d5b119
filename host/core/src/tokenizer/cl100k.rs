//! The tokens of cl100k_base, for clients that send numbers in the place of texts.

use std::sync::OnceLock;

/// One past the last number of the table, special tokens included.
const N_TOKENS: u32 = 100_277;

static TABLE: OnceLock<Result<Cl100k, String>> = OnceLock::new();

/// What each number stands for. About 1.2 MB: what the library keeps beside it,
/// for the way from texts to numbers, is dropped.
pub struct Cl100k {
    /// The bytes of all tokens, one after another.
    bytes: Vec<u8>,
    /// Where the bytes of each number end. Numbers that mean nothing have none.
    ends: Vec<u32>,
}

impl Cl100k {
    /// The table. The first call builds it, which takes long enough to keep it off
    /// threads that serve sockets; see [`is_ready`](Self::is_ready).
    ///
    /// # Errors
    /// The table inside the binary cannot be read.
    pub fn get() -> Result<&'static Self, &'static str> {
        TABLE.get_or_init(Self::build).as_ref().map_err(String::as_str)
    }

    /// Whether the table was built, so that `get` is immediate.
    pub fn is_ready() -> bool {
        TABLE.get().is_some()
    }

    /// The bytes that `token` stands for, at least one; they may be part of a character.
    pub fn token(&self, token: u32) -> Option<&[u8]> {
        let at = token as usize;
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(start..end).filter(|bytes| !bytes.is_empty())
    }

    fn build() -> Result<Self, String> {
        let library = tiktoken_rs::cl100k_base()
            .map_err(|error| format!("the table of cl100k_base cannot be read: {error:#}"))?;
        let mut table = Self { bytes: Vec::new(), ends: Vec::with_capacity(N_TOKENS as usize) };
        for token in 0..N_TOKENS {
            // Between the ordinary tokens and the last special one there are numbers without meaning.
            table.bytes.extend(library.decode_bytes(&[token]).unwrap_or_default());
            table.ends.push(table.bytes.len() as u32);
        }
        table.bytes.shrink_to_fit();
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(token: u32, want: Option<&[u8]>) {
        assert_eq!(Cl100k::get().unwrap().token(token), want);
    }

    #[test]
    fn words_bytes_and_special_tokens_have_their_numbers() {
        check(15339, Some(b"hello"));
        check(1917, Some(b" world"));
        check(0, Some(b"!"));
        check(156, Some(b"\xe0"));
        check(100_257, Some(b"<|endoftext|>"));
        check(100_276, Some(b"<|endofprompt|>"));
    }

    #[test]
    fn numbers_without_meaning_have_no_bytes() {
        check(100_256, None);
        check(100_261, None);
        check(100_277, None);
        check(u32::MAX, None);
    }

    #[test]
    fn the_table_says_the_same_as_the_library() {
        let library = tiktoken_rs::cl100k_base().unwrap();
        let table = Cl100k::get().unwrap();
        for token in 0..N_TOKENS {
            let want = library.decode_bytes(&[token]).ok();
            assert_eq!(table.token(token).map(<[u8]>::to_vec), want, "{token}");
        }
    }
}
