//! The path from texts to embeddings, with the embedded model at its end.

mod swaps; // plugins that are replaced meanwhile

use super::*;
use crate::upstream::TextFault;
use crate::upstream::embedded::MODEL_NAME;

fn spawn(
    models: Vec<ModelConfig>,
    upstreams: Vec<crate::upstream::Config>,
) -> Result<Arc<Embedder>, SetupError> {
    let plugins = Arc::new(Plugins::none());
    Embedder::spawn(
        Config::default(),
        models,
        upstreams,
        crate::cache::Config::default(),
        crate::batcher::Config::default(),
        plugins,
    )
}

fn name() -> ModelName {
    ModelName::new(MODEL_NAME).unwrap()
}

fn request(texts: &[&str]) -> EmbedRequest {
    EmbedRequest {
        model: name(),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        purpose: Purpose::Document,
        truncate: false,
        dimensions: None,
        lane: None,
        prepared: false,
        space: None,
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

fn model_table(toml: &str) -> Vec<ModelConfig> {
    vec![toml::from_str(toml).unwrap()]
}

fn upstream_table(toml: &str) -> Vec<crate::upstream::Config> {
    vec![toml::from_str(toml).unwrap()]
}

#[tokio::test]
async fn without_configuration_the_embedded_model_answers() {
    let embedder = spawn(vec![], vec![]).unwrap();
    embedder.ready().await.unwrap();
    assert_eq!(embedder.dimensions(&name()).await.unwrap(), 256);
    let answer = embedder.embed(request(&["a cat", "a dog", "a cat"])).await.unwrap();
    assert_eq!(answer.embeddings[0], answer.embeddings[2]);
    assert_ne!(answer.embeddings[0], answer.embeddings[1]);
    assert_eq!(answer.n_hits, 0);
    let again = embedder.embed(request(&["a dog", "new", "a cat", "a cat"])).await.unwrap();
    assert_eq!(again.embeddings[0], answer.embeddings[1]);
    assert_eq!(again.embeddings[3], answer.embeddings[0]);
    assert_eq!(again.n_hits, 3);
}

#[tokio::test]
async fn usage_is_the_same_from_cache_and_upstream() {
    let embedder = spawn(vec![], vec![]).unwrap();
    let first = embedder.embed(request(&["some words to count", "more"])).await.unwrap();
    let second = embedder.embed(request(&["some words to count", "more"])).await.unwrap();
    assert_eq!((first.n_tokens, second.n_hits), (second.n_tokens, 2));
    assert!(0 < first.n_tokens);
}

#[tokio::test]
async fn what_was_waited_for_is_told_and_the_cache_is_no_wait() {
    let embedder = spawn(vec![], vec![]).unwrap();
    let fresh = embedder.embed(request(&["a cat", "a dog"])).await.unwrap();
    assert!(!fresh.spent.upstream.is_zero());
    assert_eq!(fresh.spent.plugin, Duration::ZERO);
    let known = embedder.embed(request(&["a dog", "a cat"])).await.unwrap();
    assert_eq!(known.spent, Spent::default());
    let mixed = embedder.embed(request(&["a dog", "a bird"])).await.unwrap();
    assert!(!mixed.spent.upstream.is_zero());
}

#[tokio::test]
async fn a_text_without_known_tokens_is_named_by_its_index() {
    let embedder = spawn(vec![], vec![]).unwrap();
    let error = embedder.embed(request(&["fine", "fine", "🜚"])).await.unwrap_err();
    assert!(matches!(error, EmbedError::Text { index: 2, fault: TextFault::NoKnownToken }), "{error}");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_before_it_costs() {
    let embedder = spawn(vec![], vec![]).unwrap();
    let refuse = async |request: EmbedRequest| embedder.embed(request).await.unwrap_err();
    assert!(matches!(refuse(request(&[])).await, EmbedError::NoTexts));
    assert!(matches!(refuse(request(&["a", ""])).await, EmbedError::EmptyText { index: 1 }));
    let many = vec!["a"; 2049];
    assert!(matches!(refuse(request(&many)).await, EmbedError::TooManyTexts { got: 2049, max: 2048 }));
    let other = ModelName::new("other").unwrap();
    assert!(matches!(
        refuse(EmbedRequest { model: other, ..request(&["a"]) }).await,
        EmbedError::UnknownModel(_)
    ));
    let fewer = EmbedRequest { dimensions: Some(64), ..request(&["a"]) };
    assert!(matches!(refuse(fewer).await, EmbedError::NotMatryoshka { have: 256, .. }));
    let more = EmbedRequest { dimensions: Some(257), ..request(&["a"]) };
    assert!(matches!(refuse(more).await, EmbedError::Dimensions { have: 256, want: 257, .. }));
}

#[tokio::test]
async fn fewer_dimensions_are_derived_where_the_model_allows() {
    let models = model_table(&format!("name = \"{MODEL_NAME}\"\nupstreams = [\"in\"]\nmatryoshka = true"));
    let embedder = spawn(models, upstream_table("name = \"in\"\nkind = \"embedded\"")).unwrap();
    let whole = embedder.embed(request(&["a cat"])).await.unwrap();
    let part = embedder.embed(EmbedRequest { dimensions: Some(64), ..request(&["a cat"]) }).await.unwrap();
    assert_eq!(part.embeddings[0], whole.embeddings[0].shortened(64).unwrap());
    assert_eq!(part.n_hits, 1);
}

#[tokio::test]
async fn a_prompt_changes_the_vector_and_the_space_of_its_purpose() {
    let models = model_table(&format!(
        "name = \"{MODEL_NAME}\"\nupstreams = [\"in\"]\nprompts = {{ query = \"query: \" }}"
    ));
    let embedder = spawn(models, upstream_table("name = \"in\"\nkind = \"embedded\"")).unwrap();
    let document = embedder.embed(request(&["a cat"])).await.unwrap();
    let query = EmbedRequest { purpose: Purpose::Query, ..request(&["a cat"]) };
    let query = embedder.embed(query).await.unwrap();
    assert_eq!(query.n_hits, 0);
    assert_ne!(query.embeddings, document.embeddings);
    let prompted = embedder.embed(request(&["query: a cat"])).await.unwrap();
    assert_eq!(query.embeddings, prompted.embeddings);
    let space = async |purpose| embedder.space(&name(), purpose, false).await.unwrap();
    assert_eq!(space(Purpose::Query).await.len(), 32);
    assert_ne!(space(Purpose::Query).await, space(Purpose::Document).await);
}

#[tokio::test]
async fn a_long_text_is_cut_only_where_that_was_asked() {
    let models = model_table(&format!("name = \"{MODEL_NAME}\"\nupstreams = [\"in\"]\nmax_tokens = 6"));
    let embedder = spawn(models, upstream_table("name = \"in\"\nkind = \"embedded\"")).unwrap();
    let long = "one two three four five six seven eight";
    let error = embedder.embed(request(&["short", long])).await.unwrap_err();
    assert!(matches!(error, EmbedError::TooLong { index: 1, max: 6, .. }), "{error}");
    let cut = EmbedRequest { truncate: true, ..request(&["short", long]) };
    let cut = embedder.embed(cut).await.unwrap();
    assert_eq!(cut.truncated, [1]);
    let whole = embedder.embed(request(&["one two three four"])).await.unwrap();
    assert_eq!(cut.embeddings[1], whole.embeddings[0]);
}

#[tokio::test]
async fn an_embedder_that_was_shut_down_takes_no_more() {
    let embedder = spawn(vec![], vec![]).unwrap();
    embedder.embed(request(&["a"])).await.unwrap();
    embedder.shutdown(Instant::now() + Duration::from_secs(5)).await;
    assert!(matches!(embedder.embed(request(&["a"])).await, Err(EmbedError::Overloaded { .. })));
}

#[track_caller]
fn check_setup(model: &str, upstream: &str, want: &str) {
    let error = spawn(model_table(model), upstream_table(upstream)).err().expect("an error").to_string();
    assert!(error.contains(want), "{error}");
}

#[test]
fn configuration_that_names_what_is_not_there_says_what_is() {
    let gpu = "name = \"gpu-1\"\nkind = \"ollama\"\nurl = \"http://127.0.0.1:1\"";
    check_setup("name = \"m\"\nupstreams = [\"gpu1\"]", gpu, "did you mean `gpu-1`?");
    check_setup("name = \"m\"\nupstreams = []", gpu, "there are: `gpu-1`");
    check_setup("name = \"a b\"\nupstreams = [\"gpu-1\"]", gpu, "a b");
    check_setup("name = \"m\"\nupstreams = [\"in\"]", "name = \"in\"\nkind = \"embedded\"", "upstream_name");
    check_setup("name = \"m\"\nupstreams = [\"u\"]", "name = \"u\"\nkind = \"openai\"", "has no `url`");
    check_setup(
        "name = \"m\"\nupstreams = [\"u\"]",
        "name = \"u\"\nkind = \"openai\"\nurl = \"localhost:1\"",
        "http://",
    );
}

#[tokio::test]
async fn parts_of_documents_are_embedded_like_prepared_documents() {
    let embedder = spawn(vec![], vec![]).unwrap();
    let texts = vec!["a cat".to_owned(), "a dog".to_owned()];
    let parts = crate::plugin::SpanEmbedder::embed(&*embedder, &name(), texts).await.unwrap();
    let answer = embedder.embed(request(&["a cat", "a dog"])).await.unwrap();
    assert_eq!(parts, answer.embeddings);
    let refused = crate::plugin::SpanEmbedder::embed(&*embedder, &name(), vec![String::new()]).await;
    assert_eq!(refused.unwrap_err(), "text 0 is empty");
}
