//! Models as everybody talks about them: a name, a purpose, an embedding.

use std::fmt;
use std::sync::Arc;

/// A model's name as clients write it, such as `qwen3-embedding:0.6b`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Arc<str>);

/// A text that cannot name a model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ModelNameError {
    #[error("a model's name is empty")]
    Empty,
    #[error("the model name `{name}` has `{character}` in it: use letters, digits and any of `-_.:/@`")]
    Character { name: String, character: char },
    #[error("the model name is {length} bytes long, more than {max}")]
    TooLong { length: usize, max: usize },
}

impl ModelName {
    /// Bytes in a name, at most.
    pub const MAX_LENGTH: usize = 255;

    /// Accepts letters, digits and any of `-_.:/@`.
    ///
    /// # Errors
    /// Says which character does not belong.
    pub fn new(name: &str) -> Result<Self, ModelNameError> {
        if name.is_empty() {
            return Err(ModelNameError::Empty);
        }
        if name.len() > Self::MAX_LENGTH {
            return Err(ModelNameError::TooLong { length: name.len(), max: Self::MAX_LENGTH });
        }
        let stranger = name.chars().find(|c| !(c.is_alphanumeric() || "-_.:/@".contains(*c)));
        match stranger {
            Some(character) => Err(ModelNameError::Character { name: name.to_owned(), character }),
            None => Ok(Self(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a text is for. Many models embed a question and a passage differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A question, or whatever else is searched with.
    Query,
    /// Something to be found.
    Document,
    /// Whoever asks has put a prompt before the text, or wants none: the model
    /// gets the text as it is. Plugins know no such purpose, and are told `document`.
    None,
}

impl Purpose {
    /// The word used in headers and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Document => "document",
            Self::None => "none",
        }
    }

    /// The same in the words of the plugin contract, which has no third one.
    pub fn for_plugins(self) -> Self {
        match self {
            Self::Query => Self::Query,
            Self::Document | Self::None => Self::Document,
        }
    }
}

/// One vector, finite, not empty and with a norm above zero. Clones share memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Arc<[f32]>);

/// Numbers that are no embedding.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EmbeddingError {
    #[error("the vector is empty")]
    Empty,
    #[error("the vector has a NaN or an infinity at index {index}")]
    NotFinite { index: usize },
    #[error("the vector is all zeros")]
    Zero,
}

impl Embedding {
    /// Accepts finite numbers that are not all zero.
    ///
    /// # Errors
    /// Says what is wrong with the first number that does not belong.
    pub fn new(values: impl Into<Arc<[f32]>>) -> Result<Self, EmbeddingError> {
        let values = values.into();
        if values.is_empty() {
            return Err(EmbeddingError::Empty);
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(EmbeddingError::NotFinite { index });
        }
        if values.iter().all(|value| *value == 0.0) {
            return Err(EmbeddingError::Zero);
        }
        Ok(Self(values))
    }

    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Numbers in the vector.
    pub fn dimensions(&self) -> usize {
        self.0.len()
    }

    /// Returns the first `dimensions` numbers, scaled to a norm of 1: what
    /// matryoshka training makes possible.
    ///
    /// Asking for at least as many as there are returns the vector as it is.
    ///
    /// # Errors
    /// The prefix may be empty or all zeros.
    pub fn shortened(&self, dimensions: usize) -> Result<Self, EmbeddingError> {
        if self.dimensions() <= dimensions {
            return Ok(self.clone());
        }
        let prefix = &self.0[..dimensions];
        let norm = prefix.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Err(if prefix.is_empty() { EmbeddingError::Empty } else { EmbeddingError::Zero });
        }
        Self::new(prefix.iter().map(|value| (f64::from(*value) / norm) as f32).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(name: &str, want: Result<(), ModelNameError>) {
        assert_eq!(ModelName::new(name).map(|_| ()), want);
    }

    #[test]
    fn names_of_ollama_and_of_hubs_are_accepted() {
        check_name("qwen3-embedding:0.6b", Ok(()));
        check_name("hf.co/Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0", Ok(()));
    }

    #[test]
    fn a_name_with_a_space_says_which_character() {
        check_name("bad name!", Err(ModelNameError::Character { name: "bad name!".into(), character: ' ' }));
        check_name("", Err(ModelNameError::Empty));
    }

    #[test]
    fn a_vector_that_is_no_embedding_is_refused() {
        assert_eq!(Embedding::new(Vec::new()), Err(EmbeddingError::Empty));
        assert_eq!(Embedding::new(vec![1.0, f32::NAN]), Err(EmbeddingError::NotFinite { index: 1 }));
        assert_eq!(Embedding::new(vec![0.0, -0.0]), Err(EmbeddingError::Zero));
    }

    #[test]
    fn a_shortened_vector_has_norm_one() {
        let embedding = Embedding::new(vec![3.0, 4.0, 12.0]).unwrap();
        assert_eq!(embedding.shortened(2).unwrap().values(), [0.6, 0.8]);
        assert_eq!(embedding.shortened(3).unwrap(), embedding);
        assert_eq!(embedding.shortened(0), Err(EmbeddingError::Empty));
    }
}
