//! Texts of a model whose preprocessor fails: what they get, what they are told, and what is kept.

use std::sync::Arc;
use std::time::Duration;

use embergate::embed::{EmbedAnswer, EmbedRequest, Embedder};
use embergate::index::{CollectionConfig, IndexRequest, Indexer, Summary};
use embergate::model::{ModelName, Purpose};
use embergate::plugin::{OnError, PluginConfig, Plugins};
use embergate_test_support::ollama::{OllamaSim, vector};

use super::{built, folder, table};

const MODEL: &str = "model";
const DIMENSIONS: usize = 8;

/// A model behind the hostile plugin, which `on_error` decides about.
async fn parts(sim: &OllamaSim, on_error: OnError) -> (Arc<Plugins>, Arc<Embedder>) {
    let folder = folder(&std::fs::read(built()).unwrap());
    let own = PluginConfig { on_error, ..table("") };
    let meek =
        PluginConfig { name: "meek".into(), file: Some("hostile.wasm".into()), ..table("meek = true") };
    let plugins = Arc::new(Plugins::load(&folder.config, &[own, meek]).await.unwrap());
    let upstream = format!("name = \"sim\"\nkind = \"ollama\"\nurl = \"{}\"", sim.url());
    let model = format!("name = \"{MODEL}\"\nupstreams = [\"sim\"]\npreprocess = [\"hostile\"]");
    let embedder = Embedder::spawn(
        Default::default(),
        vec![toml::from_str(&model).unwrap()],
        vec![toml::from_str(&upstream).unwrap()],
        Default::default(),
        Default::default(),
        Arc::clone(&plugins),
    );
    (plugins, embedder.unwrap())
}

async fn ask(embedder: &Embedder, texts: &[&str]) -> EmbedAnswer {
    let request = EmbedRequest {
        model: ModelName::new(MODEL).unwrap(),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        purpose: Purpose::Document,
        truncate: false,
        dimensions: None,
        lane: None,
        prepared: false,
        space: None,
        deadline: tokio::time::Instant::now() + Duration::from_secs(60),
    };
    embedder.embed(request).await.unwrap()
}

/// The one text of `answer` got the vector of `text`; `told` is what its detour is called.
#[track_caller]
fn check(answer: &EmbedAnswer, text: &str, told: Option<&str>) {
    assert_eq!(answer.embeddings[0].values(), vector(MODEL, text, DIMENSIONS));
    assert_eq!(answer.detours.keys().map(|words| &**words).next(), told);
}

const SKIPPED: Option<&str> = Some("plugin `hostile` failed and was skipped");

#[tokio::test]
async fn a_text_whose_preprocessor_was_skipped_is_not_kept_as_one_that_was_preprocessed() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let (_plugins, embedder) = parts(&sim, OnError::Skip).await;
    let first = ask(&embedder, &["trap first"]).await;
    check(&first, "trap first", SKIPPED);
    // An instance that has served a call does not trap on it.
    check(&ask(&embedder, &["keep"]).await, "keep", None);
    let healthy = ask(&embedder, &["trap first"]).await;
    check(&healthy, "2", None);
    assert_eq!(healthy.n_hits, 0);
    let known = ask(&embedder, &["trap first"]).await;
    check(&known, "2", None);
    assert_eq!(known.n_hits, 1);
}

#[tokio::test]
async fn a_text_whose_preprocessor_was_skipped_is_embedded_once_and_told_each_time() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let (_plugins, embedder) = parts(&sim, OnError::Skip).await;
    check(&ask(&embedder, &["trap"]).await, "trap", SKIPPED);
    let n_batches = sim.batches().len();
    check(&ask(&embedder, &["trap"]).await, "trap", SKIPPED);
    assert_eq!(sim.batches().len(), n_batches);
}

#[tokio::test]
async fn the_texts_of_a_detour_are_told_by_their_places() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let (_plugins, embedder) = parts(&sim, OnError::Skip).await;
    ask(&embedder, &["known"]).await;
    let answer = ask(&embedder, &["trap", "known", "beside it", "trap"]).await;
    assert_eq!(answer.detours.values().collect::<Vec<_>>(), [&[0, 2, 3]]);
}

#[tokio::test]
async fn a_text_that_another_plugin_did_is_kept_apart_too() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let (_plugins, embedder) = parts(&sim, OnError::Fallback("meek".into())).await;
    let told = Some("plugin `hostile` failed, and `meek` stood in");
    // The other one has served no call yet, and keeps it: it is meek.
    check(&ask(&embedder, &["trap first"]).await, "trap first", told);
    check(&ask(&embedder, &["keep"]).await, "keep", None);
    check(&ask(&embedder, &["trap first"]).await, "2", None);
}

async fn index(
    plugins: &Arc<Plugins>,
    embedder: &Arc<Embedder>,
    files: &[(&str, &str)],
    runs: usize,
) -> Vec<Summary> {
    let place = tempfile::tempdir().unwrap();
    let (store, state) = embergate::store::open(&Default::default(), place.path()).await.unwrap();
    let documents = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(documents.path().join(name), text).unwrap();
    }
    let collection: CollectionConfig =
        toml::from_str(&format!("name = \"notes\"\nmodel = \"{MODEL}\"")).unwrap();
    let indexer = Indexer {
        embedder: Arc::clone(embedder),
        plugins: Arc::clone(plugins),
        store,
        state,
        config: Default::default(),
    };
    let mut summaries = Vec::new();
    for _ in 0..runs {
        let roots = vec![embergate::index::Root::path(documents.path())];
        let request = IndexRequest { roots, collection: collection.clone(), limit: None };
        summaries.push(indexer.run(request, &mut |_| {}).await.unwrap());
    }
    summaries
}

#[tokio::test]
async fn a_document_whose_preprocessor_was_skipped_is_indexed_and_done_again_by_the_next_run() {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let (plugins, embedder) = parts(&sim, OnError::Skip).await;
    let summaries = index(&plugins, &embedder, &[("a.txt", "trap"), ("b.txt", "keep")], 2).await;
    let counts: Vec<_> = summaries
        .iter()
        .map(|sums| (sums.n_indexed, sums.n_unchanged, sums.n_failed, sums.n_embedded))
        .collect();
    // It is done again, and what came of it is the same as before: nothing is embedded.
    assert_eq!(counts, [(2, 0, 0, 2), (1, 1, 0, 0)]);
}
