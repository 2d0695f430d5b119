//! What tells whether a text was embedded before.

use std::fmt;

/// The first 16 bytes of the BLAKE3 hash of an embedded text: prompt aside, all
/// that decides its vector within one space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextHash([u8; 16]);

impl TextHash {
    /// That of a point from before hashes were kept. No text has it.
    pub const UNKNOWN: Self = Self([0; 16]);

    pub fn of(embedded_text: &str) -> Self {
        let hash = blake3::hash(embedded_text.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        Self(bytes)
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub fn is_known(&self) -> bool {
        *self != Self::UNKNOWN
    }

    /// Reads the form that `Display` writes.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits = (hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hex)?;
        u128::from_str_radix(digits, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for TextHash {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = TextHash::of("kelp");
        assert!(blake3::hash(b"kelp").to_hex().starts_with(&hash.to_string()));
        assert_eq!(TextHash::from_hex(&hash.to_string()), Some(hash));
        for other in ["", "0", &"g".repeat(32), &format!("+{}", "0".repeat(31))] {
            assert_eq!(TextHash::from_hex(other), None, "{other}");
        }
    }

    #[test]
    fn no_text_has_the_hash_of_none() {
        assert!(!TextHash::default().is_known());
        assert!(TextHash::of("").is_known());
    }
}
