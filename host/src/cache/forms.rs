//! Vectors as they are written in JSON, kept beside those that are asked for again.
//!
//! To write a thousand numbers as text takes longer than all the rest of an answer
//! from memory.

use std::sync::Arc;

use super::{Config, OVERHEAD};
use crate::model::Embedding;

/// Texts of vectors, within a number of bytes.
///
/// A form is that of one vector in memory, and is found by whoever holds that vector:
/// so it lengthens the life of no entry of the cache.
pub struct Forms(Option<moka::sync::Cache<usize, Arc<Form>>>);

struct Form {
    /// Held, so that no other vector comes to lie at its address.
    embedding: Embedding,
    json: Box<[u8]>,
}

impl Forms {
    pub fn new(config: &Config) -> Self {
        let max_bytes = config.max_encoded.as_u64();
        Self((0 < max_bytes).then(|| {
            moka::sync::Cache::builder()
                .max_capacity(max_bytes)
                .weigher(|_, form: &Arc<Form>| weight(form))
                .time_to_live(config.time_to_live.min(super::MAX_TIME))
                .build()
        }))
    }

    /// Appends `embedding` to `out` as `write` writes it, which is called unless that
    /// is known. For vectors that the cache holds: others are not met again.
    pub fn append(&self, out: &mut Vec<u8>, embedding: &Embedding, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(forms) = &self.0 else { return write(out) };
        let address = embedding.values().as_ptr().addr();
        if let Some(form) = forms.get(&address) {
            out.extend_from_slice(&form.json);
            return;
        }
        let start = out.len();
        write(out);
        let json = out[start..].into();
        forms.insert(address, Arc::new(Form { embedding: embedding.clone(), json }));
    }

    /// Throws away all of them.
    pub fn clear(&self) {
        if let Some(forms) = &self.0 {
            forms.invalidate_all();
            forms.run_pending_tasks();
        }
    }
}

fn weight(form: &Form) -> u32 {
    let bytes = form.json.len() + size_of_val(form.embedding.values()) + OVERHEAD;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ByteSize;

    fn forms(max_bytes: u64) -> Forms {
        Forms::new(&Config { max_encoded: ByteSize::b(max_bytes), ..Config::default() })
    }

    fn embedding(value: f32) -> Embedding {
        Embedding::new(vec![value]).unwrap()
    }

    /// What is appended for `embedding`, where `word` is what it would be written as.
    fn appended(forms: &Forms, embedding: &Embedding, word: &str) -> String {
        let mut out = b"[".to_vec();
        forms.append(&mut out, embedding, |out| out.extend_from_slice(word.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_vector_is_written_once_until_all_are_thrown_away() {
        let (forms, vector) = (forms(1 << 20), embedding(1.0));
        assert_eq!(appended(&forms, &vector, "first"), "[first");
        assert_eq!(appended(&forms, &vector, "second"), "[first");
        assert_eq!(appended(&forms, &vector.clone(), "second"), "[first");
        assert_eq!(appended(&forms, &embedding(1.0), "another"), "[another");
        forms.clear();
        assert_eq!(appended(&forms, &vector, "third"), "[third");
    }

    #[test]
    fn no_vector_is_taken_for_one_that_is_gone() {
        let forms = forms(1 << 20);
        for number in 0..1000 {
            let word = number.to_string();
            assert_eq!(appended(&forms, &embedding(1.0 + number as f32), &word), format!("[{word}"));
        }
    }

    #[test]
    fn without_room_each_is_written_anew() {
        let (forms, vector) = (forms(0), embedding(1.0));
        assert_eq!(appended(&forms, &vector, "first"), "[first");
        assert_eq!(appended(&forms, &vector, "second"), "[second");
    }
}
