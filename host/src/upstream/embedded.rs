//! The model inside the binary: a static embedding table, for a first try without a server.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use model2vec_rs::model::StaticModel;

use crate::model::Embedding;

use super::{Answers, Backend, Call, Identity, Offered, TextFault, UpstreamError, check};

/// What the model is called, at its upstream and by default to clients.
pub const MODEL_NAME: &str = "static-embed-en-256";
/// Its `tokenizer.json`.
pub const TOKENIZER: &[u8] = include_bytes!("../../../model/tokenizer.json");
const WEIGHTS: &[u8] = include_bytes!("../../../model/model.safetensors");
const CONFIG: &[u8] = include_bytes!("../../../model/config.json");

/// Bytes of text above which a call leaves the threads that serve sockets.
const INLINE_BYTES: usize = 32 * 1024;

static MODEL: OnceLock<Result<StaticModel, String>> = OnceLock::new();

/// Loaded once for each process, when first asked.
fn model() -> Result<&'static StaticModel, String> {
    MODEL
        .get_or_init(|| {
            StaticModel::from_bytes(TOKENIZER, WEIGHTS, CONFIG, None)
                .map_err(|error| format!("the embedded model does not load: {error:#}"))
        })
        .as_ref()
        .map_err(Clone::clone)
}

/// Hash of all that makes up the model.
fn digest() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let mut hasher = blake3::Hasher::new();
        for part in [TOKENIZER, WEIGHTS, CONFIG] {
            hasher.update(blake3::hash(part).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    })
}

pub(super) struct Embedded {
    upstream: String,
}

impl Embedded {
    pub(super) fn new(upstream: String) -> Self {
        Self { upstream }
    }

    fn fault(&self, message: String) -> UpstreamError {
        UpstreamError::Fault { upstream: self.upstream.clone(), message }
    }

    fn known(&self, model: &str) -> Result<(), UpstreamError> {
        match model {
            MODEL_NAME => Ok(()),
            _ => Err(UpstreamError::NoModel { upstream: self.upstream.clone(), model: model.to_owned() }),
        }
    }
}

#[async_trait]
impl Backend for Embedded {
    async fn embed(&self, call: Call) -> Result<Answers, UpstreamError> {
        self.known(&call.model)?;
        let texts = call.texts.clone();
        let vectors =
            aside(&texts.clone(), move || vectors(&texts)).await.map_err(|error| self.fault(error))?;
        Ok(Answers { texts: self.checked(call, vectors)?, n_tokens: None })
    }

    async fn identity(&self, model: &str) -> Result<Identity, UpstreamError> {
        self.known(model)?;
        Ok(Identity { text: format!("embedded {}", digest()), is_read: true })
    }

    async fn models(&self) -> Result<Vec<Offered>, UpstreamError> {
        let digest = Some(digest().to_owned());
        let name = MODEL_NAME.to_owned();
        Ok(vec![Offered { name, digest, embeds: Some(true), context: None, card: None }])
    }

    async fn reach(&self) -> Result<(), UpstreamError> {
        Ok(())
    }
}

impl Embedded {
    /// All zeros means that no token of a text is known, which is an answer to
    /// that text; the others are checked as everybody's.
    fn checked(
        &self,
        call: Call,
        vectors: Vec<Vec<f32>>,
    ) -> Result<Vec<Result<Embedding, TextFault>>, UpstreamError> {
        let is_known: Vec<bool> =
            vectors.iter().map(|vector| vector.iter().any(|value| *value != 0.0)).collect();
        let known_vectors =
            vectors.into_iter().zip(&is_known).filter_map(|(vector, known)| known.then_some(vector));
        let texts =
            call.texts.iter().zip(&is_known).filter(|(_, known)| **known).map(|(text, _)| text.clone());
        let call = Call { texts: texts.collect(), ..call };
        let mut embeddings = check::embeddings(&self.upstream, &call, known_vectors.collect())?.into_iter();
        let answers = is_known.into_iter().map(|known| {
            let embedding = if known { embeddings.next() } else { None };
            embedding.ok_or(TextFault::NoKnownToken)
        });
        Ok(answers.collect())
    }
}

/// One vector for each text, however long it is.
fn vectors(texts: &[Arc<str>]) -> Result<Vec<Vec<f32>>, String> {
    let model = model()?;
    let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
    let flat = model.encode_flat_with_args(&texts, None);
    Ok(flat.chunks_exact(model.dim()).map(<[f32]>::to_vec).collect())
}

/// Runs `work` where it delays nobody: here if it is small and the model is loaded, else on a thread for such things.
async fn aside<T: Send + 'static>(
    texts: &[Arc<str>],
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let n_bytes: usize = texts.iter().map(|text| text.len()).sum();
    if n_bytes <= INLINE_BYTES && MODEL.get().is_some() {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(format!("the embedded model stopped: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn embed(texts: &[&str]) -> Vec<Result<Embedding, TextFault>> {
        let call = Call {
            model: MODEL_NAME.into(),
            texts: texts.iter().map(|text| (*text).into()).collect(),
            truncate: false,
            loading: Arc::default(),
            dimensions: Arc::default(),
            manner: crate::upstream::Manner::PLAIN,
            space: None,
        };
        Embedded::new("embedded".into()).embed(call).await.unwrap().texts
    }

    fn cosine(a: &Embedding, b: &Embedding) -> f32 {
        a.values().iter().zip(b.values()).map(|(a, b)| a * b).sum()
    }

    #[tokio::test]
    async fn texts_of_one_subject_are_nearer_than_others() {
        let all = embed(&["a cat sleeps on the sofa", "kittens nap on a couch", "interest rates rose"]).await;
        let [cat, kitten, rates] = [0, 1, 2].map(|index| all[index].clone().unwrap());
        assert_eq!(cat.dimensions(), 256);
        assert!(cosine(&cat, &rates) + 0.2 < cosine(&cat, &kitten));
    }

    #[tokio::test]
    async fn a_text_without_known_tokens_fails_alone() {
        let all = embed(&["first", "🜚🜛", "", "last"]).await;
        assert_eq!(all[1], Err(TextFault::NoKnownToken));
        assert_eq!(all[2], Err(TextFault::NoKnownToken));
        assert_eq!(all[0], embed(&["first"]).await[0]);
        assert_eq!(all[3], embed(&["last"]).await[0]);
    }

    #[tokio::test]
    async fn the_end_of_a_long_text_counts() {
        let long = "river ".repeat(20_000);
        let all = embed(&[&long, &format!("{long}{}", "banknote ".repeat(20_000))]).await;
        assert!(cosine(all[0].as_ref().unwrap(), all[1].as_ref().unwrap()) < 0.95);
    }

    #[tokio::test]
    async fn another_model_is_not_there() {
        let embedded = Embedded::new("embedded".into());
        assert_eq!(embedded.identity("other").await.unwrap_err().class(), "no_model");
    }
}
