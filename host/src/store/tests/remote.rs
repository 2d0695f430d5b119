//! What only the remote store has to cope with: a server that is not there, that
//! fails, sets limits, and that others use too.

use embergate_test_support::qdrant::{Fault, QdrantSim};
use qdrant_client::qdrant::StrictModeConfig;

use super::*;

async fn opened(sim: &QdrantSim, folder: &Path) -> Arc<dyn Store> {
    open(&remote_config(folder, sim.url()), folder).await.unwrap().0
}

/// Writes one point while `faults` befall the server, and counts what reached it.
async fn check(faults: &[Fault], want_calls: usize, want_ok: bool) {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let store = opened(&sim, folder.path()).await;
    store.create(&collection("docs")).await.unwrap();
    sim.fail_writes(faults.iter().copied());
    let outcome = store.upsert("docs", vec![point(1, [1.0, 0.0, 0.0], &[1], "/a.md", 0)]).await;
    assert_eq!(outcome.is_ok(), want_ok, "{outcome:?}");
    assert_eq!(sim.writes().len(), want_calls);
    if want_ok {
        assert_eq!(store.count("docs", None).await.unwrap(), 1);
    }
    sim.stop().await;
}

#[tokio::test]
async fn a_write_is_sent_again_until_it_is_applied() {
    check(&[], 1, true).await;
    check(&[Fault::Unavailable], 2, true).await;
    check(&[Fault::AnswerLost], 2, true).await;
    check(&[Fault::WaitTimeout, Fault::WaitTimeout], 3, true).await;
    check(&[Fault::ClockRejected], 2, true).await;
    check(&[Fault::Exhausted(0), Fault::Exhausted(0)], 3, true).await;
}

#[tokio::test]
async fn a_write_that_never_is_applied_is_an_error() {
    check(&[Fault::WaitTimeout; 6], 6, false).await;
}

#[tokio::test]
async fn many_points_go_in_several_calls() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let store = opened(&sim, folder.path()).await;
    store.create(&collection("docs")).await.unwrap();
    let points = (0..300).map(|n| point(n, [1.0, 0.0, 0.0], &[1], "/a.md", 0)).collect();
    store.upsert("docs", points).await.unwrap();
    assert_eq!(sim.writes(), [256, 44]);
    assert_eq!(store.count("docs", None).await.unwrap(), 300);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let url = sim.url();
    sim.stop().await;
    let error = open(&remote_config(folder.path(), url.clone()), folder.path()).await.err().unwrap();
    assert!(matches!(&error, StoreError::Unreachable { url: named, .. } if *named == url), "{error}");
}

#[tokio::test]
async fn a_collection_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let client = qdrant_client::Qdrant::from_url(&sim.url()).skip_compatibility_check().build().unwrap();
    let foreign =
        qdrant_client::qdrant::CreateCollection { collection_name: "theirs".into(), ..Default::default() };
    client.create_collection(foreign).await.unwrap();
    let store = opened(&sim, folder.path()).await;
    assert_eq!(store.collections().await.unwrap(), []);
    let error = store.create(&collection("theirs")).await.unwrap_err();
    assert!(matches!(error, StoreError::NotOurs { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_url_and_a_missing_key_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { url: None, ..remote_config(folder.path(), String::new()) };
    assert!(matches!(open(&config, folder.path()).await.err().unwrap(), StoreError::NoUrl));
    let config = Config {
        api_key_file: Some(folder.path().join("key")),
        ..remote_config(folder.path(), "http://127.0.0.1:9".into())
    };
    let error = open(&config, folder.path()).await.err().unwrap();
    assert!(matches!(&error, StoreError::KeyFile { path, .. } if path.ends_with("key")), "{error}");
}

/// The threshold that the server has for a collection.
fn threshold(sim: &QdrantSim, name: &str) -> Option<u64> {
    sim.collection(name)?.config?.optimizer_config?.indexing_threshold
}

#[tokio::test]
async fn what_bulk_writing_puts_off_is_set_back_by_whoever_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let store = opened(&sim, folder.path()).await;
    store.create(&collection("docs@1")).await.unwrap();
    let before = threshold(&sim, "docs@1");
    store.tune("docs@1", Tuning::Bulk).await.unwrap();
    assert_eq!(threshold(&sim, "docs@1"), Some(0));
    // The run is killed, and another one begins in the middle of the work.
    let store = opened(&sim, folder.path()).await;
    assert_eq!(store.collection("docs@1").await.unwrap(), Some(collection("docs@1")));
    store.tune("docs@1", Tuning::Bulk).await.unwrap();
    store.tune("docs@1", Tuning::Serving).await.unwrap();
    assert_eq!(threshold(&sim, "docs@1"), before);
    store.tune("docs@1", Tuning::Serving).await.unwrap();
    assert_eq!(threshold(&sim, "docs@1"), before);
}

#[tokio::test]
async fn an_alias_of_another_program_is_neither_shown_nor_lost() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let client = qdrant_client::Qdrant::from_url(&sim.url()).skip_compatibility_check().build().unwrap();
    let foreign =
        qdrant_client::qdrant::CreateCollection { collection_name: "theirs".into(), ..Default::default() };
    client.create_collection(foreign).await.unwrap();
    client.create_alias(qdrant_client::qdrant::CreateAliasBuilder::new("theirs", "live")).await.unwrap();
    let store = opened(&sim, folder.path()).await;
    store.create(&collection("docs@1")).await.unwrap();
    store.set_aliases(vec![("docs".into(), Some("docs@1".into()))]).await.unwrap();
    assert_eq!(store.aliases().await.unwrap().into_keys().collect::<Vec<_>>(), ["docs"]);
    assert_eq!(sim.aliases().into_keys().collect::<Vec<_>>(), ["docs", "live"]);
    let error = store.set_aliases(vec![("theirs".into(), Some("docs@1".into()))]).await.unwrap_err();
    assert!(matches!(error, StoreError::NotOurs { .. }), "{error}");
}

#[tokio::test]
async fn of_many_points_only_the_last_call_waits_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let store = opened(&sim, folder.path()).await;
    store.create(&collection("docs@1")).await.unwrap();
    let points = (0..600).map(|n| point(n, [1.0, 0.0, 0.0], &[1], "/a.md", 0)).collect();
    store.upsert("docs@1", points).await.unwrap();
    assert_eq!(sim.waits(), [false, false, true]);
    store.delete("docs@1", Selection::Ids(vec![id(1)])).await.unwrap();
    assert_eq!(sim.waits().last(), Some(&true));
}

#[tokio::test]
async fn a_batch_that_is_refused_is_said_with_the_servers_words() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let store = opened(&sim, folder.path()).await;
    store.create(&collection("docs@1")).await.unwrap();
    sim.fail_writes([Fault::Refused]);
    let points = vec![point(1, [1.0, 0.0, 0.0], &[1], "/a.md", 0)];
    let error = store.upsert("docs@1", points).await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused { reason, .. } if reason.contains("refused")), "{error}");
    assert_eq!(sim.writes().len(), 1, "what is refused once is refused again");
}

#[tokio::test]
async fn a_write_that_was_applied_before_the_client_gave_up_is_sent_again_and_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let config = Config { timeout: Duration::ZERO, ..remote_config(folder.path(), sim.url()) };
    let (store, _state) = open(&config, folder.path()).await.unwrap();
    store.create(&collection("docs@1")).await.unwrap();
    sim.fail_writes([Fault::Silent]);
    store.upsert("docs@1", vec![point(1, [1.0, 0.0, 0.0], &[1], "/a.md", 0)]).await.unwrap();
    assert_eq!((sim.writes().len(), store.count("docs@1", None).await.unwrap()), (2, 1));
    assert_eq!(store.page("docs@1", None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_servers_limits_are_read_and_respected() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    sim.set_strict_mode(StrictModeConfig {
        upsert_max_batchsize: Some(7),
        max_query_limit: Some(5),
        condition_max_size: Some(3),
        max_timeout: Some(9),
        max_payload_index_count: Some(2),
        ..StrictModeConfig::default()
    });
    let store = opened(&sim, folder.path()).await;
    store.create(&collection("docs@1")).await.unwrap();
    store.create(&collection("docs@1")).await.unwrap();
    let mut indexed: Vec<_> = sim.collection("docs@1").unwrap().payload_schema.into_keys().collect();
    indexed.sort();
    assert_eq!(indexed, ["source", "text_hash"]);
    let points = (0..20).map(|n| point(n, [1.0, 0.0, 0.0], &[1], "/a.md", n as u32)).collect();
    store.upsert("docs@1", points).await.unwrap();
    assert_eq!(sim.writes(), [7, 7, 6]);
    assert_eq!(store.page("docs@1", None, 99).await.unwrap().len(), 20);
    let texts: Vec<_> = (0..20).map(|n| TextHash::of(&format!("chunk {n} of /a.md"))).collect();
    assert_eq!(store.known_vectors("docs@1", &texts).await.unwrap().len(), 20);
    let query = Query { probe: Probe::Dense(embedding([1.0, 0.0, 0.0])), filter: None, limit: 50 };
    assert_eq!(store.query("docs@1", query).await.unwrap().len(), 5);
}

#[tokio::test]
async fn smaller_vectors_are_made_by_choice_and_the_best_compared_by_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    let query = || Query { probe: Probe::Dense(embedding([1.0, 0.0, 0.0])), filter: None, limit: 5 };
    let quantised = |name: &str| sim.collection(name).unwrap().config.unwrap().quantization_config;
    let plain = opened(&sim, folder.path()).await;
    plain.create(&collection("docs@1")).await.unwrap();
    plain.query("docs@1", query()).await.unwrap();
    assert_eq!((quantised("docs@1"), sim.rescored()), (None, None));
    let config = Config { quantisation: Quantisation::Scalar, ..remote_config(folder.path(), sim.url()) };
    let (store, _state) = open(&config, folder.path()).await.unwrap();
    store.create(&collection("docs@2")).await.unwrap();
    assert!(quantised("docs@2").is_some());
    // Whatever the configuration of whoever asks says.
    plain.query("docs@2", query()).await.unwrap();
    assert_eq!(sim.rescored(), Some(true));
}

#[tokio::test]
async fn a_key_that_is_missing_or_wrong_is_said_and_the_right_one_lets_in() {
    let folder = tempfile::tempdir().unwrap();
    let sim = QdrantSim::spawn().await.unwrap();
    sim.require_key("s3cret");
    let file = folder.path().join("key");
    let with_key = || Config { api_key_file: Some(file.clone()), ..remote_config(folder.path(), sim.url()) };
    let without = opened(&sim, folder.path()).await;
    let error = without.collections().await.unwrap_err();
    assert!(matches!(error, StoreError::Key { .. }), "{error}");
    std::fs::write(&file, "wrong").unwrap();
    let (store, _state) = open(&with_key(), folder.path()).await.unwrap();
    let error = store.collections().await.unwrap_err().to_string();
    assert!(error.contains("store.api_key_file"), "{error}");
    std::fs::write(&file, "s3cret\n").unwrap();
    let (store, _state) = open(&with_key(), folder.path()).await.unwrap();
    store.create(&collection("docs@1")).await.unwrap();
    store.set_aliases(vec![("docs".into(), Some("docs@1".into()))]).await.unwrap();
    assert_eq!(store.count("docs", None).await.unwrap(), 0);
}
