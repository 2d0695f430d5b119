//! An exact scan over vectors: products with whatever vector instructions the
//! processor has, and the best of them.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use pulp::Arch;
use uuid::Uuid;

/// Products summed side by side: what the widest registers take, four times.
const LANES: usize = 64;

/// The sum of products of `query` and the little-endian `f32`s in `bytes`.
///
/// What one has and the other has not counts for nothing.
pub fn dot(arch: Arch, query: &[f32], bytes: &[u8]) -> f32 {
    let (values, _) = bytes.as_chunks::<4>();
    arch.dispatch(
        #[inline(always)]
        || {
            let mut sums = [0.0_f32; LANES];
            let (query_rows, query_rest) = query.as_chunks::<LANES>();
            let (value_rows, value_rest) = values.as_chunks::<LANES>();
            for (query, value) in query_rows.iter().zip(value_rows) {
                for lane in 0..LANES {
                    sums[lane] += query[lane] * f32::from_le_bytes(value[lane]);
                }
            }
            let rest = query_rest.iter().zip(value_rest);
            let rest: f32 = rest.map(|(query, value)| query * f32::from_le_bytes(*value)).sum();
            sums.iter().sum::<f32>() + rest
        },
    )
}

/// How far the square of a norm may be from 1 for a vector to count as
/// normalised: as Qdrant has it, so that both stores keep the same bits.
const NORMAL: f64 = 1e-6;

/// A vector of norm 1 in the same direction. One that has it already stays as it is, to the bit.
pub(super) fn normalised(values: &[f32]) -> Vec<f32> {
    let square = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    if (square - 1.0).abs() <= NORMAL {
        return values.to_vec();
    }
    let norm = square.sqrt();
    values.iter().map(|value| (f64::from(*value) / norm) as f32).collect()
}

/// A point's number in the store, with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    pub score: f32,
    pub id: Uuid,
    pub number: i64,
}

impl Eq for Scored {}

impl Ord for Scored {
    /// The better one is less: a higher score, then a lower id.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the best of what it is shown, `limit` of them at most.
pub(super) struct Best {
    heap: BinaryHeap<Scored>,
    limit: usize,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self { heap: BinaryHeap::new(), limit }
    }

    pub(super) fn show(&mut self, scored: Scored) {
        if self.heap.len() < self.limit {
            self.heap.push(scored);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && scored < *worst
        {
            *worst = scored;
        }
    }

    /// Whether a point of this score may still be among the best.
    pub(super) fn may_take(&self, score: f32) -> bool {
        self.heap.len() < self.limit || self.heap.peek().is_some_and(|worst| worst.score <= score)
    }

    pub(super) fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    proptest! {
        #[test]
        fn products_are_those_of_a_plain_loop(pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..300)) {
            let (one, other): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let plain: f64 = pairs.iter().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let got = f64::from(dot(Arch::new(), &one, &bytes(&other)));
            prop_assert!((got - plain).abs() < 1e-4, "{got} and {plain}");
        }

        #[test]
        fn what_is_normal_stays_as_it_is(values in prop::collection::vec(-1e6_f32..1e6, 1..300)) {
            prop_assume!(values.iter().any(|value| 1e-3 < value.abs()));
            let once = normalised(&values);
            prop_assert_eq!(normalised(&once), once);
        }

        #[test]
        fn the_best_are_the_first_of_all_sorted(scores in prop::collection::vec(0_u8..5, 0..50), limit in 0_usize..20) {
            let mut all: Vec<Scored> = scores
                .iter()
                .enumerate()
                .map(|(n, score)| Scored { score: f32::from(*score), id: Uuid::from_u128(n as u128 * 7919 % 64), number: n as i64 })
                .collect();
            let mut best = Best::new(limit);
            all.iter().for_each(|scored| best.show(*scored));
            all.sort();
            all.truncate(limit);
            prop_assert_eq!(best.into_sorted(), all);
        }
    }
}
