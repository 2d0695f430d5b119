//! Ollama's own protocol: `/api/embed`, because its `/v1/embeddings` cuts silently.

mod loading;
mod models;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use self::models::Shown;
use super::http::{LIST_VECTORS, Peer, text_fault};
use super::{Answers, Backend, Call, Identity, Offered, UpstreamError, check};

pub(super) struct Ollama {
    peer: Peer,
    shown: Shown,
}

impl Ollama {
    pub(super) fn new(peer: Peer) -> Self {
        Self { peer, shown: Shown::default() }
    }
}

#[derive(Serialize)]
struct Request<'c> {
    model: &'c str,
    input: Vec<&'c str>,
    truncate: bool,
    keep_alive: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<loading::Options>,
}

#[derive(Deserialize)]
struct Embeddings {
    embeddings: Vec<Vec<f32>>,
    /// Left out where it is 0.
    prompt_eval_count: Option<u64>,
}

impl Embeddings {
    /// The same with `vectors`, if it has none.
    fn filled(self, vectors: Vec<Vec<f32>>) -> Option<Self> {
        self.embeddings.is_empty().then_some(Self { embeddings: vectors, ..self })
    }
}

#[derive(Deserialize)]
struct Tags {
    models: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    digest: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[async_trait]
impl Backend for Ollama {
    async fn embed(&self, call: Call) -> Result<Answers, UpstreamError> {
        let body = Request {
            model: &call.model,
            input: call.texts.iter().map(AsRef::as_ref).collect(),
            truncate: call.truncate,
            keep_alive: loading::keep_alive(&call.loading),
            options: loading::options(&call.loading),
        };
        let answer = self.peer.ask(self.peer.post("/api/embed", &body), call.texts.len()).await?;
        if !answer.status.is_success() {
            return alone(&call, self.peer.failure(&call.model, &answer));
        }
        let body = self.peer.parse_with_vectors(&answer, br#""embeddings":"#, Embeddings::filled)?;
        let embeddings = check::embeddings(&self.peer.name, &call, body.embeddings)?;
        Ok(Answers { texts: embeddings.into_iter().map(Ok).collect(), n_tokens: body.prompt_eval_count })
    }

    /// The digest of the model's manifest, and the engine that computes: two
    /// engines may give one model's vectors differently.
    async fn identity(&self, model: &str) -> Result<Identity, UpstreamError> {
        let answer = self.peer.ask(self.peer.get("/api/tags"), LIST_VECTORS).await?;
        if !answer.status.is_success() {
            return Err(self.peer.failure(model, &answer));
        }
        let tags: Tags = self.peer.parse(&answer)?;
        let mut tags = tags.models.unwrap_or_default().into_iter();
        let Some(tag) = tags.find(|tag| same_model(&tag.name, model)) else {
            return Err(UpstreamError::NoModel { upstream: self.peer.name.clone(), model: model.to_owned() });
        };
        let answer = self.peer.ask(self.peer.get("/api/version"), 0).await?;
        let version: Version = self.peer.parse(&answer)?;
        let text = format!("ollama {} {}", engine(&version.version), tag.digest);
        Ok(Identity { text, is_read: true })
    }

    async fn models(&self) -> Result<Vec<Offered>, UpstreamError> {
        models::list(&self.peer, &self.shown).await
    }

    async fn reach(&self) -> Result<(), UpstreamError> {
        let answer = self.peer.ask(self.peer.get("/api/version"), 0).await?;
        self.peer.parse::<Version>(&answer).map(|_| ())
    }
}

/// What was said of the only text of a call is an answer to it.
pub(super) fn alone(call: &Call, error: UpstreamError) -> Result<Answers, UpstreamError> {
    match &error {
        UpstreamError::Refused { message, .. } if call.texts.len() == 1 => match text_fault(message) {
            Some(fault) => Ok(Answers { texts: vec![Err(fault)], n_tokens: None }),
            None => Err(error),
        },
        _ => Err(error),
    }
}

/// Ollama ignores case, and takes a name without a tag as `latest`.
fn same_model(a: &str, b: &str) -> bool {
    let whole = |name: &str| {
        let name = name.to_lowercase();
        let last = name.rsplit('/').next().unwrap_or_default();
        if last.contains(':') { name } else { format!("{name}:latest") }
    };
    whole(a) == whole(b)
}

/// The generation of what computes vectors: since 0.30 that is llama-server, for every model.
fn engine(version: &str) -> String {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(0)), Some(Ok(minor))) if minor < 30 => "runner".to_owned(),
        (Some(Ok(_)), Some(Ok(_))) => "llama-server".to_owned(),
        _ => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_ollama_does() {
        assert!(same_model("all-minilm:latest", "All-MiniLM"));
        assert!(same_model("hf.co/A/B:Q8_0", "hf.co/a/b:q8_0"));
        assert!(!same_model("qwen3-embedding:0.6b", "qwen3-embedding"));
        assert!(!same_model("host:1/model:latest", "host:1/other"));
        assert!(same_model("host:1/model:latest", "host:1/model"));
    }

    #[test]
    fn a_patch_release_is_the_same_engine() {
        assert_eq!(engine("0.30.1"), engine("0.34.2-rc1"));
        assert_ne!(engine("0.24.0"), engine("0.30.0"));
        assert_eq!(engine("vendored"), "vendored");
    }
}
