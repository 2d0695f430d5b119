//! How much one call may have embedded, with the grant `embed`.

use super::Limits;
use super::imports::SLICE_BYTES;

/// What the call under way has left.
pub(super) struct Quota {
    max_texts: u32,
    passes: u32,
    texts: usize,
    bytes: usize,
}

impl Quota {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { max_texts: limits.embed_texts, passes: limits.embed_passes, texts: 0, bytes: 0 }
    }

    /// Gives the next call all of it.
    pub(super) fn begin(&mut self) {
        (self.texts, self.bytes) = (0, 0);
    }

    /// Takes `n_texts` of `n_bytes` together off a call on documents of `in_all` bytes.
    ///
    /// # Errors
    /// Which limit that would break, and the way out. Nothing is taken then.
    pub(super) fn take(&mut self, n_texts: usize, n_bytes: usize, in_all: usize) -> Result<(), String> {
        let (texts, bytes) = (self.texts.saturating_add(n_texts), self.bytes.saturating_add(n_bytes));
        if (self.max_texts as usize) < texts {
            return Err(format!(
                "one call may have {} texts embedded, and this would be {texts}: ask for fewer, or raise `embed_texts` in its limits",
                self.max_texts
            ));
        }
        if in_all.saturating_mul(self.passes as usize).max(SLICE_BYTES) < bytes {
            return Err(format!(
                "one call may have its {in_all} bytes embedded {} times over, and this would be {bytes} bytes: ask for less, or raise `embed_passes` in its limits",
                self.passes
            ));
        }
        (self.texts, self.bytes) = (texts, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota() -> Quota {
        Quota::new(&Limits { embed_texts: 3, embed_passes: 2, ..Limits::default() })
    }

    #[test]
    fn texts_are_counted_over_a_whole_call() {
        let mut quota = quota();
        assert_eq!([quota.take(2, 9, 9), quota.take(1, 9, 9)], [Ok(()), Ok(())]);
        let why = quota.take(1, 9, 9).unwrap_err();
        assert!(why.starts_with("one call may have 3 texts embedded, and this would be 4"), "{why}");
    }

    #[test]
    fn the_next_call_has_all_of_it_again() {
        let mut quota = quota();
        quota.take(3, 9, 9).unwrap();
        quota.begin();
        assert_eq!(quota.take(3, 9, 9), Ok(()));
    }

    #[test]
    fn what_is_refused_is_not_taken() {
        let mut quota = quota();
        quota.take(4, 9, 9).unwrap_err();
        assert_eq!(quota.take(3, 9, 9), Ok(()));
    }

    #[test]
    fn a_document_is_embedded_so_many_times_over_and_a_short_one_more_often() {
        let mut quota = quota();
        assert_eq!(quota.take(1, SLICE_BYTES, 1), Ok(()));
        quota.begin();
        let why = quota.take(1, 200_001, 100_000).unwrap_err();
        assert!(why.contains("its 100000 bytes embedded 2 times over, and this would be 200001"), "{why}");
    }
}
