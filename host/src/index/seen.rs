//! Which records of a collection a run has met: a bit for each, by its number
//! in the state. Ten million documents take little more than a megabyte.

/// Numbers of records, each met or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    words: Vec<u64>,
    n_seen: u64,
}

impl Seen {
    /// Returns whether `number` is met for the first time. Records have positive numbers.
    pub(super) fn meet(&mut self, number: i64) -> bool {
        let (word, bit) = place(number);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.n_seen += u64::from(is_new);
        is_new
    }

    pub(super) fn has(&self, number: i64) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many were met.
    pub(super) fn count(&self) -> u64 {
        self.n_seen
    }
}

fn place(number: i64) -> (usize, u64) {
    let number = usize::try_from(number).unwrap_or_default();
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_met_once() {
        let mut seen = Seen::default();
        assert!(seen.meet(1) && seen.meet(64) && seen.meet(1_000_000));
        assert!(!seen.meet(64));
        assert!(seen.has(1) && !seen.has(2) && !seen.has(9_999_999));
        assert_eq!(seen.count(), 3);
    }
}
