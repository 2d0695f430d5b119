//! Tells by its count of tokens which texts an upstream has cut without a word.
//!
//! An upstream counts all texts of a call together. Where each text's own count
//! is known, that sum says where it cuts: at the limit `L` for which the sum of
//! `min(n, L)` is the one reported. Upstreams may count special tokens otherwise
//! than we do, by the same number for each text; which number is not known, so
//! that a text is called cut only if it was cut whatever that number is. Then no
//! such difference is taken for a cut, and no whole text for one that was cut.
//!
//! An upstream that counts something else than these tokens gives another limit
//! with every text, so a limit is believed where servers usually have theirs,
//! and elsewhere once texts of other lengths have given the same.

/// No server cuts at less: below this, the counts are of something else than our tokens.
const SHORTEST: u32 = 64;
/// Where servers cut unless told otherwise.
const USUAL: [u32; 3] = [512, 2048, 8192];

/// A limit that was found and is not believed yet, and the longest text that it was found by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Candidate {
    limit: u32,
    longest: u32,
}

impl Candidate {
    /// Whether `cuts`, found in texts of `counts`, are believed; remembers them if not.
    pub(super) fn confirms(&mut self, cuts: Cuts, counts: Counts) -> bool {
        if cuts.limit.is_power_of_two() || counts.max_tokens == Some(cuts.limit) {
            return true;
        }
        let longest = counts.n_tokens.iter().copied().max().unwrap_or_default();
        if self.limit == cuts.limit {
            return self.longest != longest;
        }
        *self = Self { limit: cuts.limit, longest };
        false
    }
}

/// What is known here of the texts of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts<'c> {
    /// Of each text, special tokens included.
    pub(super) n_tokens: &'c [u32],
    /// Counted by the model's own tokenizer.
    pub(super) is_exact: bool,
    /// Special tokens among those of each text.
    pub(super) n_special: u32,
    /// Tokens that the upstream was told to take.
    pub(super) max_tokens: Option<u32>,
}

/// Where an upstream has cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cuts {
    /// Tokens that it takes, as it counts them.
    pub(super) limit: u32,
    /// Texts of more tokens than this, as we count them, were cut for certain.
    whole: u32,
}

impl Cuts {
    pub(super) fn has_cut(&self, n_tokens: u32) -> bool {
        self.whole < n_tokens
    }
}

/// Finds where texts were cut if the upstream has embedded `reported` tokens of
/// them; nothing where that does not follow for certain.
pub(super) fn find(counts: Counts, reported: u64) -> Option<Cuts> {
    let cuts = if counts.is_exact { by_sum(counts, reported) } else { by_limit(counts, reported) }?;
    counts.n_tokens.iter().any(|n_tokens| cuts.has_cut(*n_tokens)).then_some(cuts)
}

/// The limits that explain the sum, one for each number of tokens by which the
/// upstream may count less in each text: its special ones, and one where a text
/// begins otherwise.
fn by_sum(counts: Counts, reported: u64) -> Option<Cuts> {
    let mut cuts: Option<Cuts> = None;
    for fewer in 0..=counts.n_special + 1 {
        let mut theirs: Vec<u32> =
            counts.n_tokens.iter().map(|n_tokens| n_tokens.saturating_sub(fewer)).collect();
        if theirs.iter().copied().map(u64::from).sum::<u64>() <= reported {
            return None;
        }
        theirs.sort_unstable();
        if let Some(limit) = limit(&theirs, reported).filter(|limit| SHORTEST <= *limit) {
            let cuts = cuts.get_or_insert(Cuts { limit, whole: 0 });
            cuts.whole = cuts.whole.max(limit + fewer);
        }
    }
    cuts
}

/// The `L` for which the sum of `min(n, L)` over the ascending `counts` is `sum`,
/// which is less than their own; nothing where that is no whole number.
fn limit(counts: &[u32], sum: u64) -> Option<u32> {
    let mut whole = 0_u64;
    for (index, n_tokens) in counts.iter().enumerate() {
        let n_cut = (counts.len() - index) as u64;
        let rest = sum.checked_sub(whole)?;
        if rest < n_cut * u64::from(*n_tokens) {
            return (rest % n_cut == 0).then(|| u32::try_from(rest / n_cut).ok()).flatten();
        }
        whole += u64::from(*n_tokens);
    }
    None
}

/// Estimates tell of a single text that is clearly longer than what was
/// embedded, where that is exactly what servers cut at.
fn by_limit(counts: Counts, reported: u64) -> Option<Cuts> {
    if counts.n_tokens.len() != 1 {
        return None;
    }
    let limit = u32::try_from(reported).ok()?;
    let is_usual = USUAL.contains(&limit) || counts.max_tokens == Some(limit);
    let whole = limit.saturating_add(limit / 4);
    (is_usual && SHORTEST <= limit).then_some(Cuts { limit, whole })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXACT: Counts<'_> = Counts { n_tokens: &[], is_exact: true, n_special: 2, max_tokens: Some(8192) };

    fn cut(counts: Counts, reported: u64) -> Vec<u32> {
        let cuts = find(counts, reported);
        counts.n_tokens.iter().copied().filter(|n| cuts.is_some_and(|cuts| cuts.has_cut(*n))).collect()
    }

    #[track_caller]
    fn check(n_tokens: &[u32], reported: u64, want: &[u32]) {
        assert_eq!(cut(Counts { n_tokens, ..EXACT }, reported), want);
    }

    #[test]
    fn what_was_embedded_whole_was_not_cut() {
        check(&[10, 3000, 500], 3510, &[]);
        check(&[100], 0, &[]);
        check(&[], 5, &[]);
    }

    #[test]
    fn texts_over_the_limit_are_found() {
        check(&[5000], 2048, &[5000]);
        check(&[10, 5000, 500], 10 + 2048 + 500, &[5000]);
        check(&[10, 5000, 2000, 3000], 10 + 2048 + 2000 + 2048, &[5000, 3000]);
        check(&[4000, 4000], 4096, &[4000, 4000]);
    }

    #[test]
    fn special_tokens_that_are_counted_otherwise_are_no_cut() {
        for fewer in 0..=3 {
            check(&[100, 200, 300], 600 - 3 * fewer, &[]);
            check(&[100; 32], 3200 - 32 * fewer, &[]);
        }
        check(&[100, 200, 300], 600 + 9, &[]);
    }

    #[test]
    fn a_text_that_may_be_whole_is_not_called_cut() {
        check(&[2050], 2048, &[]);
        check(&[2051], 2048, &[]);
        check(&[2052], 2048, &[2052]);
    }

    #[test]
    fn a_sum_that_no_limit_explains_says_nothing() {
        check(&[3000, 3001, 5000], 8, &[]);
        check(&[40], 20, &[]);
    }

    #[track_caller]
    fn check_estimate(n_tokens: &[u32], max_tokens: Option<u32>, reported: u64, want: &[u32]) {
        let counts = Counts { n_tokens, is_exact: false, n_special: 2, max_tokens };
        assert_eq!(cut(counts, reported), want);
    }

    #[test]
    fn an_estimate_tells_of_a_single_text_at_a_usual_limit_only() {
        check_estimate(&[5000], None, 2048, &[5000]);
        check_estimate(&[5000], None, 2047, &[]);
        check_estimate(&[5000], Some(1024), 1024, &[5000]);
        check_estimate(&[5000], None, 1024, &[]);
        check_estimate(&[2500], None, 2048, &[]);
        check_estimate(&[5000, 10], None, 2048, &[]);
        check_estimate(&[5000], Some(4), 4, &[]);
    }

    #[track_caller]
    fn check_belief(candidate: &mut Candidate, n_tokens: &[u32], reported: u64, want: bool) {
        let counts = Counts { n_tokens, ..EXACT };
        assert_eq!(candidate.confirms(find(counts, reported).unwrap(), counts), want, "{n_tokens:?}");
    }

    #[test]
    fn a_usual_limit_is_believed_at_once_and_another_once_it_is_confirmed() {
        let mut candidate = Candidate::default();
        check_belief(&mut candidate, &[5000], 2048, true);
        check_belief(&mut candidate, &[9000], 8192, true);
        check_belief(&mut candidate, &[5000], 2500, false);
        check_belief(&mut candidate, &[5000], 2500, false);
        check_belief(&mut candidate, &[6000], 2500, true);
        check_belief(&mut candidate, &[7000], 2500, true);
    }

    #[test]
    fn a_server_that_counts_something_else_is_never_believed() {
        let mut candidate = Candidate::default();
        for n_tokens in (1000..2000).step_by(6) {
            check_belief(&mut candidate, &[n_tokens], u64::from(n_tokens / 2 + 1) | 1, false);
        }
    }

    proptest! {
        /// Whatever the upstream counts less in each text, none that it took whole is called cut.
        #[test]
        fn no_whole_text_is_called_cut(
            n_tokens in prop::collection::vec(3_u32..6000, 1..40),
            limit in SHORTEST..6000,
            n_special in 0_u32..4,
            fewer in 0_u32..5,
        ) {
            let fewer = fewer.min(n_special + 1);
            let theirs = |n_tokens: u32| n_tokens.saturating_sub(fewer);
            let reported = n_tokens.iter().map(|n| u64::from(theirs(*n).min(limit))).sum();
            let counts = Counts { n_tokens: &n_tokens, n_special, ..EXACT };
            for n_tokens in cut(counts, reported) {
                prop_assert!(limit < theirs(n_tokens));
            }
        }

        /// What is far enough over the limit is found, and the limit with it.
        #[test]
        fn a_text_far_over_the_limit_is_found(
            short in prop::collection::vec(3_u32..SHORTEST, 0..31),
            limit in SHORTEST..4000,
            n_special in 0_u32..4,
        ) {
            // Each other text may be counted less by as much, and all of that may be hidden in this one.
            let long = limit + (n_special + 1) * (short.len() as u32 + 1) + 1;
            let n_tokens: Vec<u32> = short.iter().copied().chain([long]).collect();
            let reported = n_tokens.iter().map(|n| u64::from((*n).min(limit))).sum();
            let counts = Counts { n_tokens: &n_tokens, n_special, ..EXACT };
            prop_assert_eq!(find(counts, reported).map(|cuts| cuts.limit), Some(limit));
            prop_assert_eq!(cut(counts, reported), [long]);
        }

        /// The limit explains the sum, or there is none.
        #[test]
        fn the_limit_explains_the_sum(mut counts in prop::collection::vec(1_u32..500, 1..12), part in 0.0..1.0) {
            counts.sort_unstable();
            let whole: u64 = counts.iter().copied().map(u64::from).sum();
            let sum = (whole as f64 * part) as u64;
            let of = |limit: u32| counts.iter().map(|n| u64::from((*n).min(limit))).sum::<u64>();
            match limit(&counts, sum) {
                Some(limit) => prop_assert_eq!(of(limit), sum),
                None => prop_assert!((0..500).all(|limit| of(limit) != sum)),
            }
        }
    }
}
