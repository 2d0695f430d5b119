//! Keys and their hashes: made, hashed, compared, and never shown.
//!
//! Keys are 256 random bits of our own making, so a plain SHA-256 is enough to
//! keep: nobody guesses what has been hashed, at any speed. Slow hashes are for
//! passwords, which people choose, and would only make every request slow.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// What our keys begin with, so that people and scanners for secrets know them.
const PREFIX: &str = "emb_";

/// Random bytes in a key.
const KEY_BYTES: usize = 32;

/// Digits of a hash that are shown: enough to tell keys apart.
const SHOWN_DIGITS: usize = 8;

/// A key as its owner has it. Prints as nothing: showing it takes [`Secret::reveal`].
pub struct Secret(String);

/// The system has no random bytes to give.
#[derive(Debug, thiserror::Error)]
#[error("the system's random source gives nothing")]
pub struct NoRandomness;

impl Secret {
    /// Makes a key from the system's random source.
    pub fn new() -> Result<Self, NoRandomness> {
        let mut bytes = [0; KEY_BYTES];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The key itself, for the one time that it is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a key. Compared in constant time, so there is no `==`.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let bytes = pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
        Some(Self(bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()?))
    }
}

impl ConstantTimeEq for KeyHash {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// What stands as `sha256` in the configuration. It may be a key that was put
/// there by mistake, so no error repeats it, and what shows it shortens it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct WrittenHash(String);

/// Why a text is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    #[error("is shortened, as `config show` shows it")]
    Shortened,
    #[error("is no SHA-256")]
    NotHex,
}

impl WrittenHash {
    /// # Errors
    /// Anything but 64 hexadecimal digits.
    pub fn parse(&self) -> Result<KeyHash, HashError> {
        match KeyHash::from_hex(&self.0) {
            Some(hash) => Ok(hash),
            None if self.0.ends_with('…') => Err(HashError::Shortened),
            None => Err(HashError::NotHex),
        }
    }

    /// The first digits of a hash, and nothing of what is none.
    fn shortened(&self) -> String {
        let shown = self.parse().map(|hash| hash.to_hex()).unwrap_or_default();
        format!("{}…", shown.get(..SHOWN_DIGITS).unwrap_or_default())
    }
}

impl Serialize for WrittenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shortened())
    }
}

impl fmt::Debug for WrittenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shortened())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of the empty text, as anybody can look up.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn check(written: &str, want: Result<&str, HashError>) {
        let written = WrittenHash(written.to_owned());
        assert_eq!(written.parse().map(|hash| hash.to_hex()), want.map(str::to_owned));
    }

    #[test]
    fn a_hash_is_64_hexadecimal_digits_large_or_small() {
        check(EMPTY, Ok(EMPTY));
        check(&EMPTY.to_uppercase(), Ok(EMPTY));
        assert_eq!(KeyHash::of(b"").to_hex(), EMPTY);
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in ["", &EMPTY[1..], &EMPTY[2..], &format!("{EMPTY}00"), &EMPTY.replace('e', "é")] {
            check(wrong, Err(HashError::NotHex));
        }
        check(&EMPTY.replace('e', "+"), Err(HashError::NotHex));
        check("e3b0c442…", Err(HashError::Shortened));
    }

    #[test]
    fn a_hash_is_shown_shortened_and_a_key_in_its_place_not_at_all() {
        assert_eq!(format!("{:?}", WrittenHash(EMPTY.to_owned())), "e3b0c442…");
        assert_eq!(format!("{:?}", WrittenHash("emb_oops".to_owned())), "…");
    }

    #[test]
    fn a_new_key_is_like_no_other_and_prints_as_nothing() {
        let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert!(!bool::from(one.hash().ct_eq(&other.hash())));
        let (prefix, rest) = one.reveal().split_at(4);
        assert_eq!((prefix, URL_SAFE_NO_PAD.decode(rest).unwrap().len()), (PREFIX, 32));
        assert_eq!(format!("{one:?}"), "Secret(…)");
    }
}
