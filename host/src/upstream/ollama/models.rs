//! Which models an Ollama has, and which of them embed.
//!
//! Since 0.30 the list says it all. Before, each model is asked about once, and
//! what it said is remembered by its digest.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::upstream::http::{LIST_VECTORS, Peer};
use crate::upstream::{Offered, UpstreamError};

/// Models asked about at once: they are read from disk at the upstream.
const AT_ONCE: usize = 4;
/// Models asked about in one look, at most; the others have their turn in the next ones.
const MAX_SHOWN: usize = 128;
/// Digests remembered, at most. Beyond it all are forgotten and asked again.
const MAX_REMEMBERED: usize = 4096;

/// What models said of themselves, by digest.
#[derive(Default)]
pub(super) struct Shown(Mutex<HashMap<String, Facts>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    embeds: Option<bool>,
    context: Option<u32>,
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Facts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, digest: &str) -> Option<Facts> {
        self.lock().get(digest).copied()
    }

    fn put(&self, digest: &str, facts: Facts) {
        let mut known = self.lock();
        if MAX_REMEMBERED <= known.len() {
            known.clear();
        }
        known.insert(digest.to_owned(), facts);
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
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    context_length: Option<u32>,
}

#[derive(Serialize)]
struct Question<'n> {
    model: &'n str,
}

#[derive(Deserialize)]
struct Card {
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    model_info: Map<String, Value>,
}

/// Asks `peer` for its models.
pub(super) async fn list(peer: &Peer, shown: &Shown) -> Result<Vec<Offered>, UpstreamError> {
    let answer = peer.ask(peer.get("/api/tags"), LIST_VECTORS).await?;
    if !answer.status.is_success() {
        return Err(peer.failure("tags", &answer));
    }
    let tags = peer.parse::<Tags>(&answer)?.models.unwrap_or_default();
    let unknown = tags.iter().filter(|tag| tag.capabilities.is_none() && shown.get(&tag.digest).is_none());
    stream::iter(unknown.take(MAX_SHOWN))
        .for_each_concurrent(AT_ONCE, |tag| async {
            if let Some(facts) = show(peer, &tag.name).await {
                shown.put(&tag.digest, facts);
            }
        })
        .await;
    Ok(tags.into_iter().map(|tag| offered(tag, shown)).collect())
}

fn offered(tag: Tag, shown: &Shown) -> Offered {
    let facts = match &tag.capabilities {
        Some(capabilities) => {
            Facts { embeds: Some(embeds(capabilities)), context: tag.details.context_length }
        }
        None => shown.get(&tag.digest).unwrap_or_default(),
    };
    let context = facts.context.filter(|tokens| 0 < *tokens);
    Offered { name: tag.name, digest: Some(tag.digest), embeds: facts.embeds, context, card: None }
}

/// What a model says of itself. One that cannot be asked about is no reason to
/// do without the others: it is asked again next time.
async fn show(peer: &Peer, model: &str) -> Option<Facts> {
    let answer = peer.ask(peer.post_quick("/api/show", &Question { model }), LIST_VECTORS).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    peer.parse::<Card>(&answer).ok().map(|card| facts(&card))
}

/// Versions without capabilities still tell how a model pools, which only those that embed do.
fn facts(card: &Card) -> Facts {
    let arch = card.model_info.get("general.architecture").and_then(Value::as_str).unwrap_or_default();
    let info = |key: &str| card.model_info.get(&format!("{arch}.{key}"));
    let embeds = match &card.capabilities {
        Some(capabilities) => embeds(capabilities),
        None => info("pooling_type").is_some_and(|pooling| !pooling.is_null()),
    };
    let context = info("context_length").and_then(Value::as_u64).and_then(|tokens| tokens.try_into().ok());
    Facts { embeds: Some(embeds), context }
}

fn embeds(capabilities: &[String]) -> bool {
    capabilities.iter().any(|capability| capability == "embedding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_tag(tag: &str, embeds: Option<bool>, context: Option<u32>) {
        let tag: Tag = serde_json::from_str(tag).unwrap();
        let offered = offered(tag, &Shown::default());
        assert_eq!((offered.embeds, offered.context), (embeds, context));
    }

    #[track_caller]
    fn check_card(card: &str, embeds: bool, context: Option<u32>) {
        let card: Card = serde_json::from_str(card).unwrap();
        assert_eq!(facts(&card), Facts { embeds: Some(embeds), context });
    }

    #[test]
    fn a_list_with_capabilities_says_what_embeds() {
        check_tag(
            r#"{"name":"bge-m3:latest","digest":"d","capabilities":["embedding"],"details":{"context_length":8192}}"#,
            Some(true),
            Some(8192),
        );
        check_tag(
            r#"{"name":"llama3:latest","digest":"d","capabilities":["completion","tools"],"details":{}}"#,
            Some(false),
            None,
        );
    }

    #[test]
    fn a_list_without_capabilities_says_nothing() {
        check_tag(r#"{"name":"llama3:latest","digest":"d"}"#, None, None);
    }

    #[test]
    fn a_card_says_it_by_capability_or_by_pooling() {
        let info =
            r#""model_info":{"general.architecture":"bert","bert.context_length":512,"bert.pooling_type":1}"#;
        check_card(&format!("{{{info}}}"), true, Some(512));
        check_card(&format!("{{\"capabilities\":[\"completion\"],{info}}}"), false, Some(512));
        check_card(r#"{"capabilities":["embedding"]}"#, true, None);
        check_card(
            r#"{"model_info":{"general.architecture":"llama","llama.context_length":8192}}"#,
            false,
            Some(8192),
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let shown = Shown::default();
        for number in 0..=MAX_REMEMBERED {
            shown.put(&number.to_string(), Facts::default());
        }
        assert!(shown.lock().len() <= MAX_REMEMBERED);
        assert_eq!(shown.get(&MAX_REMEMBERED.to_string()), Some(Facts::default()));
    }
}
