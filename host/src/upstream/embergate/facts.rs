//! What a gateway says of itself, and what becomes of it here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use super::lists::Bounds;
use crate::model::Purpose;
use crate::tokenizer::{Definition, Tokenizer};
use crate::upstream::{Card, Offered, PluginMark, embedded};

/// What is spoken here; a gateway that speaks another one cannot be worked with.
const PROTOCOL: u64 = 1;
/// Tokenizers of one gateway, at most; models with further ones are left out.
const MAX_TOKENIZERS: usize = 64;
/// Before the spaces of a model in its identity.
const MARK: &str = "embergate";

/// The answer of `/api/embergate`.
#[derive(Deserialize)]
pub(super) struct Facts {
    max_texts: usize,
    max_body: u64,
    default_model: Option<String>,
    models: Vec<ModelFacts>,
}

#[derive(Deserialize)]
struct ModelFacts {
    name: String,
    aliases: Vec<String>,
    dimensions: Option<usize>,
    max_tokens: Option<u32>,
    matryoshka: bool,
    truncate: Option<bool>,
    prompts: PromptFacts,
    preprocess: Vec<PluginFacts>,
    tokenizer: Option<String>,
}

#[derive(Deserialize)]
struct PromptFacts {
    query: String,
    document: String,
}

#[derive(Deserialize)]
struct PluginFacts {
    plugin: String,
    fingerprint: String,
}

impl Facts {
    /// Nothing where it is no gateway that says so.
    pub(super) fn read(body: &[u8]) -> Option<Result<Self, String>> {
        #[derive(Deserialize)]
        struct Speaker {
            embergate: String,
            protocol: u64,
        }
        let Speaker { embergate: version, protocol } = serde_json::from_slice(body).ok()?;
        if protocol != PROTOCOL {
            return Some(Err(format!(
                "it is Embergate {version} and speaks protocol {protocol}, this is {} and speaks {PROTOCOL}: install the same version at both ends",
                env!("CARGO_PKG_VERSION")
            )));
        }
        Some(
            serde_json::from_slice(body)
                .map_err(|error| format!("it says of itself what means nothing ({error})")),
        )
    }

    pub(super) fn bounds(&self) -> Bounds {
        let max_bytes = usize::try_from(self.max_body).unwrap_or(usize::MAX);
        Bounds { max_texts: self.max_texts.max(1), max_bytes }
    }

    /// The tokenizers of its models by their ids, within bounds.
    pub(super) fn tokenizers(&self) -> BTreeSet<&str> {
        let all: BTreeSet<&str> = self.models.iter().filter_map(|model| model.tokenizer.as_deref()).collect();
        if MAX_TOKENIZERS < all.len() {
            tracing::warn!(
                n_tokenizers = all.len(),
                "the gateway has too many tokenizers: models with those beyond {MAX_TOKENIZERS} are left out"
            );
        }
        all.into_iter().take(MAX_TOKENIZERS).collect()
    }

    /// Its models, those left out whose tokenizer is not known.
    pub(super) fn into_offered(self, tokenizers: &Tokenizers) -> Vec<Offered> {
        let Self { default_model, models, .. } = self;
        let offered = |model: ModelFacts| {
            let tokenizer = match &model.tokenizer {
                Some(id) => tokenizers.get(id)?,
                None => Arc::new(Tokenizer::estimate()),
            };
            let plugin = |PluginFacts { plugin, fingerprint }| PluginMark { name: plugin, fingerprint };
            let card = Card {
                aliases: model.aliases,
                is_default: default_model.as_deref() == Some(&*model.name),
                dimensions: model.dimensions,
                max_tokens: model.max_tokens,
                matryoshka: model.matryoshka,
                truncate: model.truncate,
                query_prompt: model.prompts.query,
                document_prompt: model.prompts.document,
                preprocessors: model.preprocess.into_iter().map(plugin).collect(),
                tokenizer,
            };
            let (name, context) = (model.name, card.max_tokens);
            Some(Offered { name, digest: None, embeds: Some(true), context, card: Some(Arc::new(card)) })
        };
        models.into_iter().filter_map(offered).collect()
    }
}

/// What a gateway's models count by, as far as it was fetched.
#[derive(Default)]
pub(super) struct Tokenizers(Mutex<HashMap<String, Arc<Tokenizer>>>);

impl Tokenizers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Tokenizer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether that of `id` is known; the one in the binary need not be fetched.
    pub(super) fn knows(&self, id: &str) -> bool {
        if self.lock().contains_key(id) {
            return true;
        }
        let built_in = Definition::new(embedded::TOKENIZER);
        let is_built_in = *built_in.id == *id;
        is_built_in
            && Tokenizer::from_bytes(embedded::MODEL_NAME, embedded::TOKENIZER)
                .map(|tokenizer| self.put(id.to_owned(), tokenizer))
                .is_ok()
    }

    fn get(&self, id: &str) -> Option<Arc<Tokenizer>> {
        self.lock().get(id).cloned()
    }

    /// Reads what was fetched as the tokenizer of `id`, on a thread that may take its time.
    pub(super) async fn learn(&self, id: String, bytes: Vec<u8>) -> Result<(), String> {
        let name = format!("tokenizers/{id}");
        let read = move || Tokenizer::from_bytes(&name, &bytes).map_err(|error| error.to_string());
        let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())??;
        match read.definition() {
            Some(definition) if *definition.id == *id => {
                self.put(id, read);
                Ok(())
            }
            _ => Err(format!("the tokenizer {id} arrived as another one")),
        }
    }

    fn put(&self, id: String, tokenizer: Tokenizer) {
        self.lock().insert(id, Arc::new(tokenizer));
    }

    /// Forgets all but those of `ids`.
    pub(super) fn keep(&self, ids: &BTreeSet<&str>) {
        self.lock().retain(|id, _| ids.contains(&**id));
    }
}

/// The answer of `/api/embergate/spaces/NAME`: fingerprints of all that changes a vector of the
/// model but the text.
#[derive(Deserialize)]
pub(super) struct Spaces {
    query: String,
    query_prepared: String,
    document: String,
    document_prepared: String,
    none: String,
    none_prepared: String,
}

impl Spaces {
    /// All of them in one line, from which [`space_of`] takes them again.
    pub(super) fn identity(&self) -> Result<String, String> {
        let all = [
            &self.query,
            &self.query_prepared,
            &self.document,
            &self.document_prepared,
            &self.none,
            &self.none_prepared,
        ];
        let is_space = |word: &str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        match all.iter().find(|word| !is_space(word)) {
            None => Ok(format!("{MARK} {}", all.map(String::as_str).join(" "))),
            Some(_) => Err("a space is not 32 hexadecimal digits".to_owned()),
        }
    }
}

/// The space in the identity of a gateway's model; nothing where it is another upstream's.
pub fn space_of(identity: &str, purpose: Purpose, prepared: bool) -> Option<&str> {
    let mut words = identity.split(' ');
    words.next().filter(|mark| *mark == MARK)?;
    let purpose = match purpose {
        Purpose::Query => 0,
        Purpose::Document => 1,
        Purpose::None => 2,
    };
    words.nth(2 * purpose + usize::from(prepared))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(protocol: u64) -> String {
        serde_json::json!({
            "embergate": "9.9.9", "protocol": protocol, "max_texts": 7, "max_body": 1000,
            "default_model": "m", "models": [{
                "name": "m", "aliases": ["n"], "dimensions": null, "max_tokens": 512, "matryoshka": true,
                "truncate": null, "prompts": {"query": "q: ", "document": ""},
                "preprocess": [{"plugin": "unicode", "fingerprint": "00"}], "tokenizer": null, "later": 1
            }]
        })
        .to_string()
    }

    #[test]
    fn what_a_gateway_says_of_a_model_is_offered() {
        let facts = Facts::read(facts(1).as_bytes()).unwrap().unwrap();
        assert_eq!(facts.bounds(), Bounds { max_texts: 7, max_bytes: 1000 });
        let offered = facts.into_offered(&Tokenizers::default());
        let card = offered[0].card.as_ref().unwrap();
        assert!(card.is_default && !card.tokenizer.is_exact());
        assert_eq!((&*card.query_prompt, card.max_tokens), ("q: ", Some(512)));
        let mark = PluginMark { name: "unicode".into(), fingerprint: "00".into() };
        assert_eq!(card.preprocessors, [mark]);
    }

    #[test]
    fn another_protocol_names_both_versions() {
        let Some(Err(reason)) = Facts::read(facts(2).as_bytes()) else { panic!("it was understood") };
        assert!(reason.contains("9.9.9 and speaks protocol 2") && reason.contains("speaks 1"), "{reason}");
    }

    #[test]
    fn what_is_no_gateway_says_nothing() {
        for body in ["", "<html>", "{}", r#"{"version":"0.30.0"}"#, r#"{"embergate":"0.1.0"}"#] {
            assert!(Facts::read(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn each_space_comes_back_out_of_the_identity() {
        let space = |number: u32| format!("{number:032x}");
        let [query, query_prepared, document, document_prepared, none, none_prepared] =
            [0, 1, 2, 3, 4, 5].map(space);
        let spaces = Spaces { query, query_prepared, document, document_prepared, none, none_prepared };
        let identity = spaces.identity().unwrap();
        for (at, purpose) in [Purpose::Query, Purpose::Document, Purpose::None].into_iter().enumerate() {
            for prepared in [false, true] {
                let want = space(2 * at as u32 + u32::from(prepared));
                assert_eq!(space_of(&identity, purpose, prepared), Some(&*want));
            }
        }
        assert_eq!(space_of("embedded 00", Purpose::Query, false), None);
        assert!(Spaces { query: "xyz".into(), ..spaces }.identity().is_err());
    }

    #[tokio::test]
    async fn a_tokenizer_is_kept_under_its_own_id_alone() {
        let tokenizers = Tokenizers::default();
        let id = Definition::new(embedded::TOKENIZER).id.to_string();
        assert!(tokenizers.knows(&id) && !tokenizers.knows("00"));
        tokenizers.keep(&BTreeSet::new());
        assert!(tokenizers.get(&id).is_none());
        let other = tokenizers.learn("00".into(), embedded::TOKENIZER.to_vec()).await;
        assert!(other.unwrap_err().contains("another one"));
        assert!(tokenizers.learn("00".into(), b"{}".to_vec()).await.unwrap_err().contains("no tokenizer"));
    }
}
