//! Runs of the indexer that are stopped, repeated, or given files that are none.

use std::path::Path;
use std::sync::Arc;

use embergate::document::Coverage;
use embergate::index::{CollectionConfig, Indexed, Outcome, Served, Summary};
use embergate::store::{Store, StoreError};
use embergate_test_support::qdrant::QdrantSim;

use crate::index_parts::{
    COLLECTION, Guard, Guarded, Parts, Place, Stop, Stopping, collection, run, run_limited, run_with,
};

const MODEL: &str = "static-embed-en-256";

pub(crate) fn paragraph(topic: &str, number: usize) -> String {
    format!(
        "Paragraph {number} is about {topic}: how it is made, who looks after it, what the weather does to it, and why nobody remembers the tide of that day."
    )
}

pub(crate) fn paragraphs(topic: &str, numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(|number| paragraph(topic, number)).collect::<Vec<_>>().join("\n\n")
}

pub(crate) fn write(folder: &Path, files: &[(&str, String)]) {
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

pub(crate) fn before(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    write(
        folder,
        &[
            ("bread.txt", paragraphs("bread", 0..4)),
            ("gone.txt", paragraphs("fog", 0..2)),
            ("same.md", format!("# Same\n\n{}", paragraphs("salt", [1, 1, 2]))),
            ("soup.html", format!("<h1>Soup</h1><p>{}</p>", paragraph("soup", 1))),
            ("whole.txt", paragraphs("wool", 0..2)),
        ],
    );
}

pub(crate) fn after(folder: &Path) {
    std::fs::remove_file(folder.join("gone.txt")).unwrap();
    write(
        folder,
        &[
            ("bread.txt", paragraphs("bread", [9, 0, 2, 3])),
            ("new.txt", paragraphs("paint", 0..2)),
            ("same.md", format!("# Same\n\n{}", paragraphs("salt", [1, 2]))),
            ("whole.txt", String::new()),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_vanished_is_indexed_anew() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    let first = run(&parts.indexer(&place), folder.path()).await.unwrap();
    place.store.drop_collection(COLLECTION).await.unwrap();
    assert_eq!(run(&parts.indexer(&place), folder.path()).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexing_twice_changes_nothing() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    let first = run(&parts.indexer(&place), folder.path()).await.unwrap();
    assert_eq!((first.n_documents, first.n_indexed, first.n_failed), (5, 5, 0));
    assert_eq!(first.n_chunks as u64, place.count().await);
    let points = place.points().await;
    let second = run(&parts.indexer(&place), folder.path()).await.unwrap();
    let want = Summary {
        n_documents: 5,
        n_bytes: first.n_bytes,
        n_unchanged: 5,
        generation: first.generation,
        ..Summary::default()
    };
    assert_eq!(second, want);
    assert_eq!(place.points().await, points);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_paragraph_that_changed_is_embedded() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &[("bread.txt", paragraphs("bread", 0..6))]);
    let first = run(&parts.indexer(&place), folder.path()).await.unwrap();
    assert_eq!((first.n_chunks, first.n_embedded), (6, 6));
    write(folder.path(), &[("bread.txt", paragraphs("bread", [8, 0, 1, 9, 3, 4, 5]))]);
    let second = run(&parts.indexer(&place), folder.path()).await.unwrap();
    assert_eq!((second.n_chunks, second.n_embedded), (7, 2));
    let lines: Vec<_> = place.payloads().await.iter().map(|payload| payload.line).collect();
    assert_eq!(lines, [1, 3, 5, 7, 9, 11, 13]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_moved_is_found_in_its_new_place_only() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &[("old.txt", paragraphs("bread", 0..2))]);
    run(&parts.indexer(&place), folder.path()).await.unwrap();
    std::fs::rename(folder.path().join("old.txt"), folder.path().join("new.txt")).unwrap();
    let summary = run(&parts.indexer(&place), folder.path()).await.unwrap();
    assert_eq!((summary.n_removed, summary.n_indexed), (1, 1));
    let payloads = place.payloads().await;
    assert_eq!(payloads.len(), 2);
    assert!(payloads.iter().all(|payload| payload.source.ends_with("/new.txt")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_leads_to_its_text_in_the_file() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    let text =
        format!("{}\n\nİğneli Iğdır'ın çayı 🌊\r\n\r\n{}", paragraph("bread", 1), paragraph("ağaç", 2));
    let utf16: Vec<u8> = format!("\u{FEFF}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    write(
        folder.path(),
        &[("plain.txt", text.replace('\r', "")), ("mark.txt", format!("\u{FEFF}{text}").replace('\r', ""))],
    );
    std::fs::write(folder.path().join("wide.txt"), utf16).unwrap();
    run(&parts.indexer(&place), folder.path()).await.unwrap();
    let payloads = place.payloads().await;
    assert!(6 <= payloads.len());
    for payload in payloads {
        let bytes = std::fs::read(&payload.source).unwrap();
        let span = payload.span.unwrap();
        let slice = &bytes[span.start..span.end];
        let slice = if payload.source.ends_with("wide.txt") {
            let units: Vec<_> = slice.chunks(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            String::from_utf16(&units).unwrap().replace('\r', "")
        } else {
            String::from_utf8(slice.to_vec()).unwrap()
        };
        assert_eq!(slice, payload.text, "{}", payload.source);
    }
}

/// All of `text` is in chunks.
fn whole(text: &str) -> Coverage {
    Coverage { n_chunked: text.len() as u64, ..Coverage::of_text(text.len()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_is_reported_and_the_rest_is_indexed() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &[("good.txt", paragraph("bread", 1)), ("empty.txt", String::new())]);
    std::fs::write(folder.path().join("odd.bin"), b"odd\0").unwrap();
    std::fs::write(folder.path().join("picture.png"), b"\x89PNG\0\0").unwrap();
    std::fs::File::create(folder.path().join("large.txt")).unwrap().set_len(65 << 20).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s.sock")).unwrap();
    let (_, outcomes) = run_with(&parts.indexer(&place), folder.path(), collection(MODEL)).await.unwrap();
    let skipped = |reason: &str| Outcome::Skipped(reason.to_owned());
    let Outcome::Indexed(indexed) = &outcomes[1].1 else { panic!("{outcomes:?}") };
    let good = Indexed {
        n_chunks: 1,
        n_embedded: 1,
        n_tokens: indexed.n_tokens,
        coverage: whole(&paragraph("bread", 1)),
        ..Indexed::default()
    };
    let want = [
        ("empty.txt", Outcome::Indexed(Box::default())),
        ("good.txt", Outcome::Indexed(Box::new(good))),
        ("large.txt", skipped("it has 68157440 bytes, more than the 67108864 of `index.max_file`")),
        ("odd.bin", skipped("it is not text: there is a zero byte at offset 3")),
        ("picture.png", skipped("it is a PNG picture, not text")),
        ("s.sock", skipped("it is a socket, not a file")),
    ];
    let outcomes: Vec<_> = outcomes.iter().map(|(name, outcome)| (name.as_str(), outcome.clone())).collect();
    assert_eq!(outcomes, want);
}

/// Stops the store at every operation of a run that adds, changes and removes
/// documents, and runs again: the store is that of one clean run.
async fn check_stopping(stop: Stop) {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    after(folder.path());
    let clean = Place::new().await;
    run(&parts.indexer(&clean), folder.path()).await.unwrap();
    let want = clean.points().await;
    assert!(20 <= want.len());
    for n_operations in 0.. {
        let place = Place::new().await;
        before(folder.path());
        run(&parts.indexer(&place), folder.path()).await.unwrap();
        after(folder.path());
        let stopping = Arc::new(Stopping::after(Arc::clone(&place.store), n_operations, stop));
        let mut indexer = parts.indexer(&place);
        indexer.store = Arc::clone(&stopping) as Arc<dyn Store>;
        let ended = tokio::select! {
            ended = run(&indexer, folder.path()) => ended.is_ok(),
            () = stopping.guard.stopped.notified() => false,
        };
        run(&parts.indexer(&place), folder.path()).await.unwrap();
        assert_eq!(place.points().await, want, "stopped {stop:?} operation {n_operations}");
        if ended {
            assert!(10 <= n_operations, "a run of {n_operations} operations proves little");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_at_any_operation_leaves_nothing_wrong() {
    check_stopping(Stop::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_whose_answer_is_lost_leaves_nothing_wrong() {
    check_stopping(Stop::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_dropped_at_any_operation_leaves_nothing_wrong() {
    check_stopping(Stop::Never).await;
}

/// A run stopped while it wrote one version, then the file changed again: no
/// point of the version in between stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn points_of_a_version_that_was_never_finished_do_not_stay_behind() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    for n_operations in 0..12 {
        let place = Place::new().await;
        write(folder.path(), &[("bread.txt", paragraphs("bread", 0..4))]);
        let mut indexer = parts.indexer(&place);
        indexer.store = Arc::new(Stopping::after(Arc::clone(&place.store), n_operations, Stop::Before));
        drop(run(&indexer, folder.path()).await);
        write(folder.path(), &[("bread.txt", paragraphs("rope", 0..2))]);
        run(&parts.indexer(&place), folder.path()).await.unwrap();
        assert_eq!(place.count().await, 2, "stopped at operation {n_operations}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_search_finds_its_file_first() {
    let (parts, place) = (Parts::new().await, Place::new().await);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/corpus");
    let mut collection = collection(MODEL);
    collection.max_tokens = None;
    let (summary, outcomes) = run_with(&parts.indexer(&place), &corpus, collection).await.unwrap();
    assert_eq!((summary.n_indexed, summary.n_failed, summary.n_skipped), (31, 0, 0), "{outcomes:?}");
    let store = Arc::clone(&place.store);
    let searcher = embergate::search::Searcher { embedder: Arc::clone(&parts.embedder), store };
    for line in include_str!("../../examples/searches.txt").lines() {
        let (question, want) = line.split_once('\t').unwrap();
        let found = searcher
            .search(embergate::search::SearchRequest {
                collection: crate::index_parts::COLLECTION.to_owned(),
                question: question.to_owned(),
                limit: 3,
                ranking: embergate::search::Ranking::Hybrid,
                filter: None,
            })
            .await
            .unwrap();
        let found: Vec<_> = found.found.iter().map(|found| (found.score, &found.payload.source)).collect();
        assert!(found[0].1.ends_with(want), "{question}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_embedded_keeps_its_old_points() {
    let sim = embergate_test_support::ollama::OllamaSim::start(&[("sim-embed", 8)]).await;
    let parts = Parts::new().await.with_ollama(&sim.url(), "sim-embed");
    let (place, folder) = (Place::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &[("bread.txt", paragraphs("bread", 0..2))]);
    run_with(&parts.indexer(&place), folder.path(), collection("sim-embed")).await.unwrap();
    let points = place.points().await;
    sim.fail_always(embergate_test_support::ollama::Fault::crash());
    write(folder.path(), &[("bread.txt", paragraphs("rope", 0..2))]);
    let (summary, outcomes) =
        run_with(&parts.indexer(&place), folder.path(), collection("sim-embed")).await.unwrap();
    assert_eq!(summary.n_failed, 1, "{outcomes:?}");
    assert_eq!(place.points().await, points);
    sim.heal();
    run_with(&parts.indexer(&place), folder.path(), collection("sim-embed")).await.unwrap();
    let payloads = place.payloads().await;
    assert!(!payloads.is_empty());
    assert!(payloads.iter().all(|payload| !payload.text.contains("bread")), "{payloads:?}");
}

/// One document fewer is met, and one more is recorded, than are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_vanished_goes_although_another_became_binary() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    before(folder.path());
    run(&parts.indexer(&place), folder.path()).await.unwrap();
    std::fs::write(folder.path().join("bread.txt"), b"\0\0").unwrap();
    std::fs::remove_file(folder.path().join("gone.txt")).unwrap();
    let summary = run(&parts.indexer(&place), folder.path()).await.unwrap();
    assert_eq!((summary.n_skipped, summary.n_removed), (1, 1));
    let left = place.payloads().await;
    assert!(left.iter().all(|payload| !payload.text.contains("bread") && !payload.text.contains("fog")));
}

/// What is read and left as it is takes no part of the limit.
#[tokio::test(flavor = "multi_thread")]
async fn runs_with_a_limit_come_past_documents_that_are_no_text() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    for name in ["a.bin", "b.bin", "c.bin"] {
        std::fs::write(folder.path().join(name), b"\0\0").unwrap();
    }
    write(folder.path(), &[("d.txt", paragraph("bread", 1)), ("e.txt", paragraph("rope", 1))]);
    for n_indexed in [1, 1, 0] {
        let (summary, _) =
            run_limited(&parts.indexer(&place), folder.path(), collection(MODEL), Some(1)).await.unwrap();
        assert_eq!((summary.n_indexed, summary.n_failed), (n_indexed, 0));
    }
    assert_eq!(place.count().await, 2);
}

/// Lets a question for known vectors pass only when something was deleted.
#[derive(Default)]
struct AfterDeletion(tokio::sync::SetOnce<()>);

impl Guard for AfterDeletion {
    async fn run<T: Send>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if name == "known_vectors" {
            self.0.wait().await;
        }
        let answer = operation.await;
        if name == "delete" {
            drop(self.0.set(()));
        }
        answer
    }
}

/// The later document is looked at before the earlier one loses the text, and the store is asked after.
#[tokio::test(flavor = "multi_thread")]
async fn text_that_moves_to_a_later_document_is_not_embedded_again() {
    let (parts, place, folder) = (Parts::new().await, Place::new().await, tempfile::tempdir().unwrap());
    write(folder.path(), &[("a.txt", paragraphs("bread", 0..3)), ("b.txt", paragraphs("rope", 0..1))]);
    run(&parts.indexer(&place), folder.path()).await.unwrap();
    let moved = format!("{}\n\n{}", paragraph("rope", 0), paragraph("bread", 2));
    write(folder.path(), &[("a.txt", paragraphs("bread", 0..2)), ("b.txt", moved)]);
    let mut indexer = parts.indexer(&place);
    indexer.config.batch_documents = 1;
    indexer.store = Arc::new(Guarded { inner: Arc::clone(&place.store), guard: AfterDeletion::default() });
    let summary = run(&indexer, folder.path()).await.unwrap();
    assert_eq!((summary.n_indexed, summary.n_embedded, summary.n_copied), (2, 0, 1));
}

/// A run was stopped while it removed a document, which is then there again as
/// it was, its time included.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_comes_back_while_it_is_removed_has_its_points() {
    let (parts, folder) = (Parts::new().await, tempfile::tempdir().unwrap());
    let (gone, aside) = (folder.path().join("docs/gone.txt"), folder.path().join("aside"));
    let docs = folder.path().join("docs");
    std::fs::create_dir(&docs).unwrap();
    before(&docs);
    std::fs::File::options().write(true).open(&gone).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    for n_operations in 0.. {
        let place = Place::new().await;
        run(&parts.indexer(&place), &docs).await.unwrap();
        let want = place.points().await;
        std::fs::rename(&gone, &aside).unwrap();
        let mut indexer = parts.indexer(&place);
        indexer.store = Arc::new(Stopping::after(Arc::clone(&place.store), n_operations, Stop::After));
        let ended = run(&indexer, &docs).await.is_ok();
        std::fs::rename(&aside, &gone).unwrap();
        run(&parts.indexer(&place), &docs).await.unwrap();
        assert_eq!(place.points().await, want, "stopped after {n_operations} operations");
        if ended {
            return;
        }
    }
}

/// The state is lost, and what is given is not all that the serving generation has.
#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_lacks_documents_does_not_serve_where_the_state_was_lost() {
    let sim = QdrantSim::spawn().await.unwrap();
    let (parts, place, folder) = (Parts::new().await, Place::on(&sim).await, tempfile::tempdir().unwrap());
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for folder in [&one, &other] {
        std::fs::create_dir(folder).unwrap();
        before(folder);
        run(&parts.indexer(&place), folder).await.unwrap();
    }
    let want = place.contents().await;
    let changed = CollectionConfig { max_tokens: Some(60), ..collection(MODEL) };
    let place = Place::on(&sim).await;
    let (summary, _) = run_with(&parts.indexer(&place), &one, changed.clone()).await.unwrap();
    assert!(matches!(summary.served, Served::NotYet(_)), "{:?}", summary.served);
    assert_eq!(place.contents().await.points, want.points);
    run_with(&parts.indexer(&place), &other, changed).await.unwrap();
    assert_ne!(place.contents().await.properties, want.properties);
}
