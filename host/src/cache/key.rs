//! What tells one entry from another: space and text, and how much of the text was embedded.

use std::hash::{Hash, Hasher};

use super::shelf::Stamp;

/// Everything but the text that changes a vector, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space([u8; 32]);

impl Space {
    /// Every part counts, and so do the borders between parts.
    pub fn new(parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The space that [`Space::to_hex`] gives `hex` for; nothing where there is none.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits: &[u8; 32] = hex.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(16 * high? + low?).ok()?;
        }
        Some(Self(bytes))
    }

    /// Half of it, as 32 hexadecimal digits: for records that people may see.
    pub fn to_hex(self) -> String {
        blake3::Hash::from(self.0).to_hex()[..32].to_owned()
    }
}

/// Where the embedding of one exact text in one space is found.
///
/// Whether a text may be cut matters only for one that is too long, and few are. So it is
/// no part of the space: a vector that is proved to be of the whole text is kept under the
/// key that all requests look at, and any other under a key that only those look at which
/// take a vector of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey {
    hash: [u8; 32],
    pub(super) stamp: Stamp,
    may_be_cut: bool,
}

impl CacheKey {
    /// The key of vectors that are of all of `text`.
    pub fn new(space: &Space, stamp: Stamp, text: &str) -> Self {
        // The space has a fixed length, so that no other pair runs together to the same bytes.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&space.0);
        hasher.update(text.as_bytes());
        Self { hash: *hasher.finalize().as_bytes(), stamp, may_be_cut: false }
    }

    /// The key of vectors of the same text that are of a part, or may be.
    pub fn of_a_part(self) -> Self {
        Self { may_be_cut: true, ..self }
    }

    /// The key of vectors of the same text that went another way than the space says: `mark` tells which.
    pub fn by_detour(self, mark: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.hash);
        hasher.update(mark.as_bytes());
        Self { hash: *hasher.finalize().as_bytes(), ..self }
    }

    /// The key of vectors of the same text that are of all of it.
    pub fn of_all(self) -> Self {
        Self { may_be_cut: false, ..self }
    }
}

impl Hash for CacheKey {
    /// Eight bytes of a hash are enough for a table.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.hash;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ u64::from(self.may_be_cut));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_borders_between_parts_of_a_space_count() {
        assert_ne!(Space::new(&["ab", "c"]), Space::new(&["a", "bc"]));
        assert_ne!(Space::new(&["a"]), Space::new(&["a", ""]));
    }

    #[test]
    fn a_space_that_is_read_is_written_as_it_was() {
        let hex = Space::new(&["a"]).to_hex();
        assert_eq!(Space::from_hex(&hex).unwrap().to_hex(), hex);
        for wrong in ["", "0", &hex[1..], &hex.replace(|_| true, "g"), &"é".repeat(16)] {
            assert_eq!(Space::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_detour_has_a_key_of_its_own() {
        let key = CacheKey::new(&Space::new(&[]), Stamp::default(), "text");
        assert_ne!(key, key.by_detour(""));
        assert_ne!(key.by_detour("a"), key.by_detour("b"));
        assert_eq!(key.of_a_part().by_detour("a").of_all(), key.by_detour("a"));
    }

    #[test]
    fn a_part_of_a_text_has_another_key_than_all_of_it() {
        let all = CacheKey::new(&Space::new(&[]), Stamp::default(), "text");
        assert_ne!(all, all.of_a_part());
        assert_eq!(all, all.of_a_part().of_all());
    }
}
