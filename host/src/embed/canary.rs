//! A text whose vector is known: whether an upstream embeds at all, and whether its
//! vectors are those of the others.

use std::sync::Arc;

use crate::model::{Embedding, Purpose};
use crate::upstream::{Backend, Call, Loading, Manner, UpstreamError};

/// The text of every canary.
pub const CANARY: &str = "A canary sings while the air is good.";
/// The cosine below which two vectors of one text are of two models. Ollama takes
/// the same limit in its own tests for "the same".
const SAME: f64 = 0.999;

/// How one model's canary is asked for.
#[derive(Clone, Debug)]
pub(super) struct Canary {
    /// The model's name at the upstreams.
    pub(super) model: Arc<str>,
    /// As in every other call of the model: Ollama loads a model anew where it differs.
    pub(super) loading: Arc<Loading>,
}

impl Canary {
    /// Has `backend` embed the canary; it goes through no queue and into no cache.
    ///
    /// # Errors
    /// That of the call, or what the upstream said of the text.
    pub(super) async fn ask(
        &self,
        upstream: &str,
        backend: &dyn Backend,
    ) -> Result<Embedding, UpstreamError> {
        let call = Call {
            model: self.model.clone(),
            texts: vec![CANARY.into()],
            truncate: false,
            loading: self.loading.clone(),
            // Its own: a stranger's first answer must not decide for the model.
            dimensions: Arc::default(),
            // A gateway lets every key do that which may embed documents.
            manner: Manner { purpose: Purpose::Document, prepared: false, is_bulk: false },
            space: None,
        };
        let fault = |message: String| UpstreamError::Fault { upstream: upstream.to_owned(), message };
        let outcome = backend.embed(call).await.and_then(|answers| match answers.texts.into_iter().next() {
            Some(Ok(embedding)) => Ok(embedding),
            Some(Err(refused)) => Err(fault(format!("the canary cannot be embedded: {refused}"))),
            None => Err(fault("the canary has no answer".to_owned())),
        });
        let word = if outcome.is_ok() { "answered" } else { "failed" };
        metrics::counter!("embergate_canaries_total", "upstream" => upstream.to_owned(), "outcome" => word)
            .increment(1);
        outcome
    }
}

/// Whether two vectors of the canary are of the same model.
pub(super) fn are_same(a: &Embedding, b: &Embedding) -> bool {
    a.dimensions() == b.dimensions() && SAME <= cosine(a.values(), b.values())
}

/// The canary that most of `heard` agree with. Where that is no majority, it is the
/// one that agrees with what was `known` before, else the first.
pub(super) fn elect<'e>(heard: &[&'e Embedding], known: Option<&Embedding>) -> Option<&'e Embedding> {
    let votes = |canary: &Embedding| heard.iter().filter(|other| are_same(canary, other)).count();
    let most = heard.iter().map(|canary| votes(canary)).max()?;
    let may_win = || heard.iter().filter(|canary| votes(canary) == most);
    let is_known = |canary: &&&&Embedding| known.is_some_and(|known| are_same(known, canary));
    may_win().find(|canary| is_known(&canary)).or_else(|| may_win().next()).copied()
}

/// In 64 bits: the limit is nearer to 1 than sums of 32 bits are exact.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector `degrees` away from the first axis.
    fn at(degrees: f32) -> Embedding {
        Embedding::new(vec![degrees.to_radians().cos(), degrees.to_radians().sin()]).unwrap()
    }

    #[track_caller]
    fn check(heard: &[f32], known: Option<f32>, want: Option<f32>) {
        let heard: Vec<Embedding> = heard.iter().copied().map(at).collect();
        let elected = elect(&heard.iter().collect::<Vec<_>>(), known.map(at).as_ref());
        assert_eq!(elected, want.map(at).as_ref());
    }

    #[test]
    fn vectors_are_the_same_up_to_a_cosine_of_0_999() {
        assert!(are_same(&at(0.0), &at(2.5)), "0.99905");
        assert!(!are_same(&at(0.0), &at(2.6)), "0.99897");
        let longer = Embedding::new(vec![3.0, 0.0]).unwrap();
        assert!(are_same(&at(0.0), &longer), "length is no direction");
        assert!(!are_same(&at(0.0), &Embedding::new(vec![1.0, 0.0, 0.0]).unwrap()));
    }

    #[test]
    fn most_canaries_decide_and_in_doubt_the_known_one() {
        check(&[], None, None);
        check(&[90.0, 0.0, 1.0], None, Some(0.0));
        check(&[90.0, 0.0, 1.0], Some(90.0), Some(0.0));
        check(&[90.0, 0.0], None, Some(90.0));
        check(&[90.0, 0.0], Some(1.0), Some(0.0));
        check(&[90.0, 0.0], Some(45.0), Some(90.0));
    }
}
