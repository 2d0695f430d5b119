//! Collections from one store into the other and back, and imports that go wrong.

use embergate_test_support::qdrant::QdrantSim;

use super::cases::fill;
use super::*;

/// A store and its state, in a folder of their own.
struct Place {
    _folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    state: IndexState,
}

impl Place {
    async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, state) = open(&embedded_config(folder.path()), folder.path()).await.unwrap();
        Self { _folder: folder, store, state }
    }

    async fn remote(sim: &QdrantSim) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, state) = open(&remote_config(folder.path(), sim.url()), folder.path()).await.unwrap();
        Self { _folder: folder, store, state }
    }

    /// Two documents, one of which is recorded as indexed.
    async fn fill(&self) {
        fill(self.store.as_ref(), "docs@1").await;
        let whole = Point {
            dense: embedding([0.1, -0.7, 1e-3]),
            sparse: SparseVector { terms: vec![3, 70, u32::MAX], weights: vec![0.1, 1.7, 2.3] },
            ..point(9, [1.0, 0.0, 0.0], &[], "/ş.md", 3)
        };
        self.store.upsert("docs@1", vec![whole]).await.unwrap();
        self.store.set_aliases(vec![("docs".into(), Some("docs@1".into()))]).await.unwrap();
        self.state.record("docs@1", vec![record()]).await.unwrap();
        self.state.add_root("docs", "{\"path\":\"/\"}".to_owned()).await.unwrap();
    }

    async fn export(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        export(self.store.as_ref(), &self.state, "docs", &mut lines).await.unwrap();
        lines
    }

    async fn import(&self, lines: &[u8]) -> Result<Transferred, TransferError> {
        let import = Import::open(std::io::Cursor::new(lines.to_vec())).await?;
        import.run(self.store.as_ref(), &self.state, "docs").await
    }

    async fn points(&self, name: &str) -> Vec<Point> {
        self.store.page(name, None, 99).await.unwrap()
    }
}

fn record() -> SourceRecord {
    SourceRecord {
        source: "/a.md".to_owned(),
        size: 7,
        modified: -5,
        content: [7; 32],
        pipeline: "p".to_owned(),
        points: vec![id(1), id(2), id(3)],
        coverage: Some(Coverage { n_source: 9, n_kept: 8, n_text: 8, n_chunked: 7, ..Coverage::default() }),
        etag: Some("W/1".to_owned()),
        origin: "{}".to_owned(),
        encoding: Some("windows-1254".to_owned()),
        n_tokens: 41,
    }
}

fn replaced(lines: &[u8], old: &str, new: &str) -> Vec<u8> {
    let text = String::from_utf8(lines.to_vec()).unwrap();
    assert!(text.contains(old), "{old} is not in {text}");
    text.replacen(old, new, 1).into_bytes()
}

#[tokio::test]
async fn a_collection_goes_from_store_to_store_without_losing_a_bit() {
    let sim = QdrantSim::spawn().await.unwrap();
    let (one, other, third) = (Place::embedded().await, Place::remote(&sim).await, Place::embedded().await);
    one.fill().await;
    let lines = one.export().await;
    let done = other.import(&lines).await.unwrap();
    assert_eq!(done, Transferred { n_points: 5, n_sources: 1 });
    assert_eq!(other.points("docs").await, one.points("docs").await);
    let again = other.export().await;
    assert_eq!(String::from_utf8(again.clone()).unwrap(), String::from_utf8(lines).unwrap());
    third.import(&again).await.unwrap();
    assert_eq!(third.points("docs").await, one.points("docs").await);
    for place in [&other, &third] {
        let made = place.store.collection("docs").await.unwrap().unwrap();
        assert_eq!(made, Collection { name: "docs@1".into(), ..collection("docs@1") });
        assert_eq!(place.state.sources("docs@1", "").await.unwrap(), [record()]);
        assert_eq!(place.state.roots("docs").await.unwrap(), ["{\"path\":\"/\"}"]);
        assert!(place.state.imports("docs").await.unwrap().is_empty());
    }
    // Vectors are indexed again as before.
    let config = sim.collection("docs@1").unwrap().config.unwrap();
    assert_eq!(config.optimizer_config.unwrap().indexing_threshold, Some(20_000));
}

#[tokio::test]
async fn what_the_collection_had_stays_within_reach() {
    let place = Place::embedded().await;
    place.fill().await;
    let lines = place.export().await;
    place.store.delete("docs", Selection::Ids(vec![id(1)])).await.unwrap();
    place.import(&lines).await.unwrap();
    assert_eq!(place.store.collection("docs").await.unwrap().unwrap().name, "docs@2");
    assert_eq!((place.points("docs").await.len(), place.points("docs@previous").await.len()), (5, 4));
    assert_eq!(place.state.sources("docs@2", "").await.unwrap(), [record()]);
}

/// Imports what is wrong, and looks that nothing is left of it.
async fn check(lines: Vec<u8>, want: &str) {
    let place = Place::embedded().await;
    let error = place.import(&lines).await.unwrap_err();
    assert!(error.to_string().contains(want), "`{want}` is not in: {error}");
    assert_eq!(place.store.collections().await.unwrap(), []);
    assert!(place.state.imports("docs").await.unwrap().is_empty());
    assert_eq!(place.state.sources("docs@1", "").await.unwrap(), []);
    assert!(place.state.roots("docs").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_an_import_is_said_and_nothing_is_left_of_it() {
    let place = Place::embedded().await;
    place.fill().await;
    let lines = place.export().await;
    let n_lines = lines.iter().filter(|byte| **byte == b'\n').count();
    let without_last: Vec<u8> =
        lines.split_inclusive(|byte| *byte == b'\n').take(n_lines - 1).flatten().copied().collect();
    check(Vec::new(), "no header").await;
    check(b"kelp\n".to_vec(), "no header").await;
    check(without_last.clone(), "was cut").await;
    check(without_last[..without_last.len() - 9].to_vec(), &format!("line {}", n_lines - 1)).await;
    check(replaced(&lines, "\"points\":5", "\"points\":6"), "tells of 6").await;
    check(replaced(&lines, "\"version\":1", "\"version\":9"), "version 9").await;
    check(replaced(&lines, "\"dimensions\":3", "\"dimensions\":4"), "3 dimensions, not 4").await;
    check(replaced(&lines, "\"dense\":\"", "\"dense\":\"!"), "line 4 of the import").await;
    check(replaced(&lines, "\"content\":\"07", "\"content\":\"x"), "line 3 of the import").await;
    check(replaced(&lines, &id(2).to_string(), "2"), "line 3 of the import").await;
    let second = id(2).to_string();
    let text = String::from_utf8(lines.clone()).unwrap();
    let twice = text.replace(&format!("\"id\":\"{second}"), &format!("\"id\":\"{}", id(1)));
    check(twice.into_bytes(), "4 ids").await;
}

#[tokio::test]
async fn another_model_space_or_dimension_is_refused_before_anything_is_written() {
    let place = Place::embedded().await;
    place.fill().await;
    let lines = place.export().await;
    for (old, new, want) in [
        ("\"model\":\"test-model\"", "\"model\":\"other\"", "model `test-model`, not `other`"),
        ("\"space\":\"0123\"", "\"space\":\"4567\"", "space `0123`, not `4567`"),
        ("\"dimensions\":3", "\"dimensions\":4", "dimensions `3`, not `4`"),
    ] {
        let error = place.import(&replaced(&lines, old, new)).await.unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("`docs`"), "{error}");
    }
    assert_eq!(place.store.collections().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_import_that_was_killed_is_not_seen_and_begins_anew() {
    let place = Place::embedded().await;
    place.fill().await;
    let lines = place.export().await;
    // As a killed one leaves it: some records, some points, no alias.
    place.state.begin_import("docs@2").await.unwrap();
    place.store.create(&Collection { pipeline: "half".into(), ..collection("docs@2") }).await.unwrap();
    place.store.upsert("docs@2", vec![point(77, [1.0, 0.0, 0.0], &[1], "/z.md", 0)]).await.unwrap();
    place.state.record("docs@2", vec![SourceRecord { pipeline: String::new(), ..record() }]).await.unwrap();
    place.state.stage("docs@2", vec![SourceRecord { source: "/z.md".into(), ..record() }]).await.unwrap();
    assert_eq!(place.points("docs").await.len(), 5);
    assert_eq!(place.state.imports("docs").await.unwrap(), ["docs@2"]);
    place.import(&lines).await.unwrap();
    assert_eq!(place.points("docs").await, place.points("docs@1").await);
    assert_eq!(place.state.sources("docs@2", "").await.unwrap(), [record()]);
    // The collection is deleted after one was killed.
    place.state.begin_import("docs@9").await.unwrap();
    place.state.forget_history("docs").await.unwrap();
    assert!(place.state.imports("docs").await.unwrap().is_empty());
    // Killed between the alias and the note that it is done.
    place.state.begin_import("docs@2").await.unwrap();
    place.import(&lines).await.unwrap();
    assert_eq!(place.points("docs@previous").await.len(), 5);
    assert_eq!(place.store.collection("docs").await.unwrap().unwrap().name, "docs@3");
}

#[tokio::test]
async fn nobody_indexes_while_a_collection_is_exported() {
    let place = Place::embedded().await;
    place.fill().await;
    let _held = place.state.lock("docs").unwrap();
    let error = export(place.store.as_ref(), &place.state, "docs", Vec::new()).await.unwrap_err();
    assert!(matches!(error, TransferError::Store(StoreError::Locked { .. })), "{error}");
    let error = export(place.store.as_ref(), &place.state, "nowhere", Vec::new()).await.unwrap_err();
    assert!(matches!(error, TransferError::Store(StoreError::NoCollection { .. })), "{error}");
}
