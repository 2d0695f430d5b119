//! OpenAI's protocol, as any server speaks it: `/v1/embeddings`.
//!
//! The protocol cannot say whether a long text may be cut: the server decides.

use std::fmt;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::http::{LIST_VECTORS, Peer};
use super::ollama::alone;
use super::{Answers, Backend, Call, Identity, Offered, UpstreamError, check};

pub(super) struct Openai {
    peer: Peer,
    /// `/v1`, or nothing where the configured URL ends with it.
    prefix: &'static str,
}

impl Openai {
    pub(super) fn new(peer: Peer) -> Self {
        let prefix = if peer.url.ends_with("/v1") { "" } else { "/v1" };
        Self { peer, prefix }
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

#[derive(Serialize)]
struct Request<'c> {
    model: &'c str,
    input: Vec<&'c str>,
    encoding_format: &'static str,
}

#[derive(Deserialize)]
pub(super) struct List {
    pub(super) data: Vec<Item>,
    usage: Option<Usage>,
}

impl List {
    /// The same with `vectors`, if each of its items has an empty one.
    fn filled(mut self, vectors: Vec<Vec<f32>>) -> Option<Self> {
        let are_empty = self.data.iter().all(|item| item.embedding.0.is_empty());
        if !are_empty || self.data.len() != vectors.len() {
            return None;
        }
        for (item, vector) in self.data.iter_mut().zip(vectors) {
            item.embedding.0 = vector;
        }
        Some(self)
    }
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Item {
    index: usize,
    embedding: Vector,
}

/// Ollama's own writes `null` where it has no model.
#[derive(Deserialize)]
struct ModelList {
    data: Option<Vec<ListedModel>>,
}

#[derive(Deserialize)]
struct ListedModel {
    id: String,
}

#[async_trait]
impl Backend for Openai {
    async fn embed(&self, call: Call) -> Result<Answers, UpstreamError> {
        let body = Request {
            model: &call.model,
            input: call.texts.iter().map(AsRef::as_ref).collect(),
            // Every server knows it, though some answer in base64 all the same.
            encoding_format: "float",
        };
        let request = self.peer.post(&self.path("/embeddings"), &body);
        let answer = self.peer.ask(request, call.texts.len()).await?;
        if !answer.status.is_success() {
            return alone(&call, self.peer.failure(&call.model, &answer));
        }
        let list = self.peer.parse_with_vectors(&answer, br#""embedding":"#, List::filled)?;
        let vectors = in_order(list.data).map_err(|reason| self.peer.nonsense(reason))?;
        let embeddings = check::embeddings(&self.peer.name, &call, vectors)?;
        let n_tokens = list.usage.and_then(|usage| usage.prompt_tokens);
        Ok(Answers { texts: embeddings.into_iter().map(Ok).collect(), n_tokens })
    }

    /// The protocol has no digest: a name at an address is all there is.
    async fn identity(&self, model: &str) -> Result<Identity, UpstreamError> {
        Ok(Identity { text: format!("openai {} {model}", self.peer.url), is_read: false })
    }

    fn tells_models_apart(&self) -> bool {
        false
    }

    /// The protocol names its models and says nothing else of them.
    async fn models(&self) -> Result<Vec<Offered>, UpstreamError> {
        let answer = self.peer.ask(self.peer.get(&self.path("/models")), LIST_VECTORS).await?;
        if !answer.status.is_success() {
            return Err(self.peer.failure("models", &answer));
        }
        let list: ModelList = self.peer.parse(&answer)?;
        let offered = |model: ListedModel| Offered {
            name: model.id,
            digest: None,
            embeds: None,
            context: None,
            card: None,
        };
        Ok(list.data.unwrap_or_default().into_iter().map(offered).collect())
    }

    async fn reach(&self) -> Result<(), UpstreamError> {
        // Not every server lists models; whatever it says, it is there.
        self.peer.ask(self.peer.get(&self.path("/models")), 8).await.map(|_| ())
    }
}

/// Puts vectors in the order of their `index`, each of which must be there once.
pub(super) fn in_order(items: Vec<Item>) -> Result<Vec<Vec<f32>>, String> {
    let mut places: Vec<Option<Vec<f32>>> = (0..items.len()).map(|_| None).collect();
    for item in items {
        match places.get_mut(item.index) {
            Some(place @ None) => *place = Some(item.embedding.0),
            Some(Some(_)) => return Err(format!("it has the index {} twice", item.index)),
            None => return Err(format!("it has the index {} among {}", item.index, places.len())),
        }
    }
    Ok(places.into_iter().flatten().collect())
}

/// Numbers, or the base64 of their little-endian bytes.
struct Vector(Vec<f32>);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VectorVisitor)
    }
}

struct VectorVisitor;

impl<'de> Visitor<'de> for VectorVisitor {
    type Value = Vector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers, or base64")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vector, A::Error> {
        let mut values = Vec::with_capacity(seq.size_hint().unwrap_or(1024).min(16_384));
        while let Some(value) = seq.next_element::<f32>()? {
            values.push(value);
        }
        Ok(Vector(values))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vector, E> {
        let bytes = STANDARD.decode(text).map_err(|error| E::custom(format!("base64: {error}")))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(E::custom(format!("{} bytes are no list of 4-byte numbers", bytes.len())));
        }
        Ok(Vector(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &str, want: Result<&[&[f32]], &str>) {
        let got = serde_json::from_str::<List>(&format!(r#"{{"object":"list","data":{data}}}"#))
            .map_err(|error| error.to_string())
            .and_then(|list| in_order(list.data));
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{got:?} instead of {want:?}"),
        }
    }

    #[test]
    fn what_comes_out_of_order_is_put_right() {
        check(
            r#"[{"index":1,"embedding":[0.5]},{"object":"embedding","index":0,"embedding":[0.25]}]"#,
            Ok(&[&[0.25], &[0.5]]),
        );
    }

    #[test]
    fn an_index_that_is_missing_or_there_twice_is_refused() {
        check(r#"[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]"#, Err("index 0 twice"));
        check(r#"[{"index":1,"embedding":[1]},{"index":2,"embedding":[1]}]"#, Err("index 2 among 2"));
        check(r#"[{"embedding":[1]}]"#, Err("missing field `index`"));
    }

    #[test]
    fn base64_is_read_as_numbers() {
        check(r#"[{"index":0,"embedding":"AACAPwAAAL8="}]"#, Ok(&[&[1.0, -0.5]]));
        check(r#"[{"index":0,"embedding":"AACAPwA="}]"#, Err("5 bytes"));
        check(r#"[{"index":0,"embedding":"?base"}]"#, Err("base64"));
        check(r#"[{"index":0,"embedding":null}]"#, Err("invalid type: null"));
    }
}
