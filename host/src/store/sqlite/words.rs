//! A point's sparse vector as one blob, beside what the postings say of it.

use super::bytes::{put, take, take_four};
use crate::analyzer::SparseVector;

/// Weights are few, however many terms have them: each is written once, and
/// terms as what they are more than the one before.
pub(super) fn to_bytes(vector: &SparseVector) -> Vec<u8> {
    let mut weights: Vec<u32> = Vec::new();
    let mut places = Vec::with_capacity(vector.weights.len());
    for bits in vector.weights.iter().map(|weight| weight.to_bits()) {
        let place = weights.iter().position(|known| *known == bits).unwrap_or_else(|| {
            weights.push(bits);
            weights.len() - 1
        });
        places.push(place as u32);
    }
    let mut bytes = Vec::with_capacity(4 * weights.len() + 6 * places.len() + 4);
    put(&mut bytes, weights.len() as u32);
    weights.iter().for_each(|bits| bytes.extend_from_slice(&bits.to_le_bytes()));
    let mut before = 0;
    for (term, place) in vector.terms.iter().zip(places) {
        put(&mut bytes, term.wrapping_sub(before));
        put(&mut bytes, place);
        before = *term;
    }
    bytes
}

/// Nothing where it is none.
pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<SparseVector> {
    let bytes = &mut bytes;
    let n_weights = take(bytes)? as usize;
    let mut weights = Vec::new();
    for _ in 0..n_weights {
        weights.push(f32::from_le_bytes(take_four(bytes)?));
    }
    let mut vector = SparseVector::default();
    let mut term = 0_u32;
    while !bytes.is_empty() {
        term = term.wrapping_add(take(bytes)?);
        vector.terms.push(term);
        vector.weights.push(*weights.get(take(bytes)? as usize)?);
    }
    Some(vector)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_vector_comes_back_as_it_was(words in prop::collection::btree_map(any::<u32>(), 0.1_f32..3.0, 0..50)) {
            let (terms, weights) = words.into_iter().unzip();
            let vector = SparseVector { terms, weights };
            prop_assert_eq!(from_bytes(&to_bytes(&vector)), Some(vector));
        }

        #[test]
        fn any_bytes_give_a_vector_or_none(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            if let Some(vector) = from_bytes(&bytes) {
                prop_assert_eq!(vector.terms.len(), vector.weights.len());
            }
        }
    }

    #[test]
    fn a_weight_that_many_terms_have_is_written_once() {
        let vector = SparseVector { terms: (0..100).collect(), weights: vec![1.5; 100] };
        assert!(to_bytes(&vector).len() < 210);
    }
}
