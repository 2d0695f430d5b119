//! Vectors as lists of numbers, which are kept as they were written where they are asked for again.

use std::sync::Arc;

use crate::cache::Forms;
use crate::embed::EmbedAnswer;
use crate::model::Embedding;

/// Writes the vectors of one answer.
pub(super) struct Numbers(Option<Arc<Forms>>);

impl Numbers {
    /// For `answer`, in which vectors have the `dimensions` that were asked for. What was
    /// embedded just now may never be asked for again, and what was shortened is a vector
    /// of this answer alone.
    pub(super) fn of(answer: &EmbedAnswer, dimensions: Option<usize>, forms: &Arc<Forms>) -> Self {
        let are_known = answer.n_hits == answer.embeddings.len() && dimensions.is_none();
        Self(are_known.then(|| forms.clone()))
    }

    /// Appends the numbers in brackets.
    pub(super) fn write(&self, out: &mut Vec<u8>, embedding: &Embedding) {
        match &self.0 {
            Some(forms) => forms.append(out, embedding, |out| write(out, embedding.values())),
            None => write(out, embedding.values()),
        }
    }
}

/// Appends `values` with as few digits as read back the same. By `ryu`, which is faster at it
/// than `serde_json`; an embedding is finite.
fn write(out: &mut Vec<u8>, values: &[f32]) {
    let mut buffer = ryu::Buffer::new();
    let mut before = b'[';
    for value in values {
        out.push(before);
        out.extend_from_slice(buffer.format_finite(*value).as_bytes());
        before = b',';
    }
    out.push(b']');
}

#[cfg(test)]
impl Numbers {
    pub(super) fn unkept() -> Self {
        Self(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back_the_same(bits: Vec<u32>) {
            let finite = |bits: &u32| Some(f32::from_bits(*bits)).filter(|value| value.is_finite());
            let values: Vec<f32> = [1.0].into_iter().chain(bits.iter().filter_map(finite)).collect();
            let mut out = Vec::new();
            write(&mut out, &values);
            let texts: Vec<Box<serde_json::value::RawValue>> = serde_json::from_slice(&out).unwrap();
            let read: Vec<u32> = texts.iter().map(|text| text.get().parse::<f32>().unwrap().to_bits()).collect();
            prop_assert_eq!(read, values.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        }
    }
}
