//! An embedder in front of simulated servers.

use std::sync::Arc;
use std::time::Duration;

use embergate::embed::{EmbedAnswer, EmbedError, EmbedRequest, Embedder, SetupError};
use embergate::model::{ModelName, Purpose};
use embergate::plugin::Plugins;
use embergate_test_support::ollama;
use tokio::time::Instant;

pub(crate) const MODEL: &str = "sim-embed";
pub(crate) const DIMENSIONS: usize = 8;
/// Of one call: long enough for a busy machine, though one test waits for it to pass.
const TIMEOUT: &str = "2s";

/// Serves [`MODEL`] from the upstreams at `urls`.
pub(crate) fn embedder(kind: &'static str, urls: &[String]) -> Arc<Embedder> {
    embedder_with(kind, urls, "", Default::default()).unwrap()
}

/// The same with more keys in the model's table.
pub(crate) fn embedder_with(
    kind: &'static str,
    urls: &[String],
    keys: &str,
    batcher: embergate::batcher::Config,
) -> Result<Arc<Embedder>, SetupError> {
    Setup { kind, keys: keys.to_owned(), batcher, ..Setup::default() }.embedder(urls)
}

/// What a test wants to have otherwise.
pub(crate) struct Setup {
    pub(crate) kind: &'static str,
    /// More keys in the model's table.
    pub(crate) keys: String,
    /// Of one upstream call.
    pub(crate) timeout: &'static str,
    pub(crate) config: embergate::embed::Config,
    pub(crate) cache: embergate::cache::Config,
    pub(crate) batcher: embergate::batcher::Config,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            kind: "ollama",
            keys: String::new(),
            timeout: TIMEOUT,
            config: Default::default(),
            cache: Default::default(),
            batcher: Default::default(),
        }
    }
}

impl Setup {
    /// Serves [`MODEL`] from the upstreams at `urls`.
    pub(crate) fn embedder(self, urls: &[String]) -> Result<Arc<Embedder>, SetupError> {
        let Self { kind, keys, timeout, config, cache, batcher } = self;
        let upstreams = urls.iter().enumerate().map(|(number, url)| {
            let table = format!(
                "name = \"up-{number}\"\nkind = \"{kind}\"\nurl = \"{url}\"\ntimeout = \"{timeout}\""
            );
            toml::from_str(&table).unwrap()
        });
        let names: Vec<String> = (0..urls.len()).map(|number| format!("up-{number}")).collect();
        let model = format!("name = \"{MODEL}\"\nupstreams = {names:?}\n{keys}");
        Embedder::spawn(
            config,
            vec![toml::from_str(&model).unwrap()],
            upstreams.collect(),
            cache,
            batcher,
            Arc::new(Plugins::none()),
        )
    }
}

pub(crate) fn request(texts: &[impl AsRef<str>]) -> EmbedRequest {
    EmbedRequest {
        model: ModelName::new(MODEL).unwrap(),
        texts: texts.iter().map(|text| text.as_ref().to_owned()).collect(),
        purpose: Purpose::Document,
        truncate: false,
        dimensions: None,
        lane: None,
        prepared: false,
        space: None,
        deadline: Instant::now() + Duration::from_secs(20),
    }
}

/// Every text has its own vector, in its own place.
#[track_caller]
pub(crate) fn assert_right(texts: &[impl AsRef<str>], answer: Result<EmbedAnswer, EmbedError>) {
    let answer = answer.unwrap();
    assert_eq!(answer.embeddings.len(), texts.len());
    for (text, embedding) in texts.iter().zip(&answer.embeddings) {
        assert_eq!(embedding.values(), ollama::vector(MODEL, text.as_ref(), DIMENSIONS), "{}", text.as_ref());
    }
}

/// The first `dimensions` numbers of a vector, with a norm of 1.
pub(crate) fn shortened(vector: &[f32], dimensions: usize) -> Vec<f32> {
    if vector.len() <= dimensions {
        return vector.to_vec();
    }
    let first: Vec<f64> = vector.iter().take(dimensions).copied().map(f64::from).collect();
    let norm = first.iter().map(|value| value * value).sum::<f64>().sqrt();
    first.iter().map(|value| (value / norm) as f32).collect()
}
