//! The one place where an upstream's numbers become embeddings, or do not.

use std::sync::OnceLock;

use crate::model::Embedding;

use super::{Call, UpstreamError};

/// How many dimensions a model has: what its first checked answer had, for as
/// long as the process lives.
#[derive(Debug, Default)]
pub struct KnownDimensions(OnceLock<usize>);

impl KnownDimensions {
    /// Nothing before the first answer.
    pub fn get(&self) -> Option<usize> {
        self.0.get().copied()
    }

    /// Returns what is known, which is `got` when nothing was.
    pub(crate) fn learn(&self, got: usize) -> usize {
        *self.0.get_or_init(|| got)
    }
}

/// Accepts one finite vector with a norm above zero for each text, all of the
/// dimensions that the model has had before.
pub(super) fn embeddings(
    upstream: &str,
    call: &Call,
    vectors: Vec<Vec<f32>>,
) -> Result<Vec<Embedding>, UpstreamError> {
    let upstream = || upstream.to_owned();
    if vectors.len() != call.texts.len() {
        return Err(UpstreamError::Count {
            upstream: upstream(),
            sent: call.texts.len(),
            got: vectors.len(),
        });
    }
    let Some(first) = vectors.first().map(Vec::len) else {
        return Ok(Vec::new());
    };
    // Compared before anything is learnt: a ragged answer must not decide.
    let want = call.dimensions.get().unwrap_or(first);
    let wrong = |want, got| UpstreamError::Dimensions {
        upstream: upstream(),
        model: call.model.to_string(),
        want,
        got,
    };
    if let Some(odd) = vectors.iter().find(|vector| vector.len() != want) {
        return Err(wrong(want, odd.len()));
    }
    let embeddings = vectors
        .into_iter()
        .enumerate()
        .map(|(index, values)| {
            Embedding::new(values).map_err(|source| UpstreamError::Embedding {
                upstream: upstream(),
                index,
                source,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    match call.dimensions.learn(first) {
        known if known == first => Ok(embeddings),
        known => Err(wrong(known, first)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[track_caller]
    fn check(known: Option<usize>, n_texts: usize, vectors: &[&[f32]], want: Result<usize, &str>) {
        let dimensions = KnownDimensions::default();
        if let Some(known) = known {
            dimensions.learn(known);
        }
        let call = Call {
            model: "m".into(),
            texts: vec!["text".into(); n_texts],
            truncate: false,
            loading: Arc::default(),
            dimensions: Arc::new(dimensions),
            manner: crate::upstream::Manner::PLAIN,
            space: None,
        };
        let got = embeddings("u", &call, vectors.iter().map(|vector| vector.to_vec()).collect());
        assert_eq!(got.map(|all| all.len()).map_err(|error| error.class()), want);
        if want.is_err() {
            assert_eq!(call.dimensions.get(), known, "a refused answer teaches nothing");
        }
    }

    #[test]
    fn one_good_vector_for_each_text_is_accepted() {
        check(None, 2, &[&[1.0, 0.0], &[0.0, 1.0]], Ok(2));
        check(Some(2), 1, &[&[1.0, 0.0]], Ok(1));
    }

    #[test]
    fn a_short_and_a_long_list_are_refused() {
        check(None, 2, &[&[1.0]], Err("count"));
        check(None, 1, &[&[1.0], &[1.0]], Err("count"));
        check(None, 1, &[], Err("count"));
    }

    #[test]
    fn other_dimensions_than_before_are_refused() {
        check(Some(3), 1, &[&[1.0, 0.0]], Err("dimensions"));
        check(None, 2, &[&[1.0, 0.0], &[1.0]], Err("dimensions"));
    }

    #[test]
    fn zeros_and_what_is_not_finite_are_refused() {
        check(None, 1, &[&[0.0, 0.0]], Err("embedding"));
        check(None, 1, &[&[f32::INFINITY, 0.0]], Err("embedding"));
        check(None, 1, &[&[]], Err("embedding"));
    }
}
