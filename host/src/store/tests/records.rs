//! What the indexer remembers: records of documents by source and by number,
//! roots, runs and speeds, and what older files say.

use std::collections::BTreeMap;

use super::embedded::{opened, stranger};
use super::*;

/// A file of format 2, as the version before wrote it: two collections over two files.
const FORMAT_2: &str = include_str!("format2.sql");

fn covered() -> Coverage {
    let omitted = BTreeMap::from([("front matter".to_owned(), 9)]);
    Coverage { n_source: 100, n_kept: 90, n_text: 95, n_chunked: 80, omitted }
}

fn record(source: &str) -> SourceRecord {
    SourceRecord {
        source: source.to_owned(),
        size: u64::MAX,
        modified: -5,
        content: [7; 32],
        pipeline: "p".to_owned(),
        points: vec![id(1), id(2)],
        coverage: Some(covered()),
        etag: Some("W/\"1\"".to_owned()),
        origin: "{\"url\":\"https://example.org\"}".to_owned(),
        encoding: Some("windows-1254".to_owned()),
        n_tokens: 41,
    }
}

/// A store's file as an older version left it.
fn older(folder: &Path, format: u32, change: &str) {
    let file = stranger(folder);
    file.execute_batch(FORMAT_2).unwrap();
    file.execute_batch(change).unwrap();
    file.pragma_update(None, "user_version", format).unwrap();
    file.pragma_update(None, "application_id", 0x456d_6247).unwrap();
}

#[tokio::test]
async fn a_collection_of_format_2_becomes_its_own_first_generation() {
    let folder = tempfile::tempdir().unwrap();
    older(folder.path(), 2, "");
    let (store, state) = opened(folder.path()).await;
    let leads = [("bread", "bread@1"), ("docs", "docs@1")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(store.aliases().await.unwrap(), BTreeMap::from(leads));
    let docs = store.collection("docs").await.unwrap().unwrap();
    assert_eq!((docs.name.as_str(), docs.pipeline.as_str(), docs.dimensions), ("docs@1", "", 256));
    assert_eq!(docs.language.as_deref(), Some("en"));

    let points = store.page("docs", None, 9).await.unwrap();
    let sources: Vec<&str> = points.iter().map(|point| point.payload.source.as_str()).collect();
    assert_eq!(sources, ["/docs/harbour.md", "/docs/bread.txt"]);
    assert!(points.iter().all(|point| !point.payload.text_hash.is_known()));
    let analyzer = crate::analyzer::Analyzer::new(Some("en"));
    assert_eq!(points[1].sparse, analyzer.document("Sourdough bread rests overnight."));
    let probe = Probe::Sparse(analyzer.query("mooring"));
    let found = store.query("docs", Query { probe, filter: None, limit: 9 }).await.unwrap();
    assert_eq!(found.iter().map(|hit| hit.id).collect::<Vec<_>>(), [points[0].id]);

    let record = state.source("docs@1", "/docs/harbour.md").await.unwrap().unwrap();
    assert_eq!((record.size, &record.points[..]), (98, &[points[0].id][..]));
    assert!(record.coverage.is_some());
    assert_eq!(state.sources("docs", "").await.unwrap(), []);
    // What is there already is brought up to date once.
    drop((store, state));
    let (store, state) = opened(folder.path()).await;
    assert_eq!(store.aliases().await.unwrap().len(), 2);
    assert_eq!(state.sources("docs@1", "").await.unwrap().len(), 2);
}

#[tokio::test]
async fn records_of_collections_in_qdrant_keep_their_names() {
    let folder = tempfile::tempdir().unwrap();
    older(folder.path(), 2, "UPDATE sources SET place = 'http://127.0.0.1:6334'");
    drop(opened(folder.path()).await);
    let names = "SELECT group_concat(collection) FROM documents";
    let names: String = stranger(folder.path()).query_row(names, [], |row| row.get(0)).unwrap();
    assert_eq!(names, "bread,docs,docs");
}

#[tokio::test]
async fn records_of_format_1_say_nothing_of_their_coverage() {
    let folder = tempfile::tempdir().unwrap();
    older(folder.path(), 1, "ALTER TABLE sources DROP COLUMN coverage");
    let (_store, state) = opened(folder.path()).await;
    let record = state.source("docs@1", "/docs/bread.txt").await.unwrap().unwrap();
    assert_eq!((record.size, &record.coverage), (33, &None));
    state.record("docs@1", vec![SourceRecord { coverage: Some(covered()), ..record }]).await.unwrap();
    assert_eq!(state.coverage("docs@1").await.unwrap(), covered());
}

#[tokio::test]
async fn records_of_documents_come_back_by_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    state.record("docs@1", ["/ş/b", "/ş/a", "/ş", "/t%"].map(record).to_vec()).await.unwrap();
    assert_eq!(state.sources("docs@1", "/ş/").await.unwrap(), [record("/ş/a"), record("/ş/b")]);
    assert_eq!(state.sources("docs@1", "").await.unwrap().len(), 4);
    assert_eq!(state.sources("docs@2", "").await.unwrap(), []);
    assert_eq!(state.source("docs@1", "/t%").await.unwrap(), Some(record("/t%")));
    state.forget("docs@1", vec!["/ş".into(), "/nowhere".into()]).await.unwrap();
    assert_eq!(state.source("docs@1", "/ş").await.unwrap(), None);
}

#[tokio::test]
async fn a_record_keeps_its_number_and_no_number_is_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    let first = state.record("docs@1", ["/a", "/b"].map(record).to_vec()).await.unwrap();
    let again = state.record("docs@1", ["/b", "/c", "/a"].map(record).to_vec()).await.unwrap();
    assert_eq!([again[2], again[0]], first[..]);
    state.forget("docs@1", vec!["/c".into()]).await.unwrap();
    let new = state.record("docs@1", vec![record("/d")]).await.unwrap();
    assert!(again[1] < new[0], "{again:?} {new:?}");
    assert_ne!(state.record("docs@2", vec![record("/a")]).await.unwrap(), [first[0]]);
}

#[tokio::test]
async fn a_list_of_documents_is_looked_up_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    let numbers = state.record("docs@1", ["/a", "/b"].map(record).to_vec()).await.unwrap();
    let sources = ["/b", "/nowhere", "/a"].map(str::to_owned);
    let found = state.look_up("docs@1", &sources).await.unwrap();
    assert_eq!(found, [Some((numbers[1], record("/b"))), None, Some((numbers[0], record("/a")))]);
    let stamps = state.stamps("docs@1", &sources).await.unwrap();
    let SourceRecord { size, modified, content, pipeline, etag, .. } = record("/b");
    let want = Stamped { number: numbers[1], size, modified, content, pipeline, etag };
    assert_eq!((&stamps[0], &stamps[1]), (&Some(want), &None));
    assert_eq!(state.stamps("docs@2", &sources).await.unwrap(), [None, None, None]);
}

#[tokio::test]
async fn records_come_in_pages_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    state.record("other@1", ["/x", "/a"].map(record).to_vec()).await.unwrap();
    state.record("docs@1", ["/c", "/a"].map(record).to_vec()).await.unwrap();
    state.record("other@1", vec![record("/y")]).await.unwrap();
    state.record("docs@1", vec![record("/b")]).await.unwrap();
    let mut sources = Vec::new();
    let mut after = 0;
    loop {
        let page = state.page("docs@1", after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        sources.extend(page.into_iter().map(|(_, record)| record.source));
    }
    assert_eq!(sources, ["/c", "/a", "/b"]);
}

#[tokio::test]
async fn what_became_of_the_text_of_a_generation_is_summed() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    let records = vec![
        SourceRecord { size: 1, ..record("/a") },
        SourceRecord { size: 2, coverage: None, ..record("/b") },
        SourceRecord { size: 4, ..record("/c") },
    ];
    state.record("docs@1", records).await.unwrap();
    state.record("other@1", vec![record("/a")]).await.unwrap();
    let sum = state.coverage("docs@1").await.unwrap();
    assert_eq!((sum.n_source, sum.n_chunked, sum.n_omitted()), (200, 160, 18));
    assert_eq!(state.coverage("nowhere").await.unwrap(), Coverage::default());
    let n_points = 3 * record("/a").points.len() as u64;
    let want = Totals { n_documents: 3, n_bytes: 7, n_tokens: 123, n_points };
    assert_eq!(state.totals("docs@1").await.unwrap(), want);
    assert_eq!(state.totals("nowhere").await.unwrap(), Totals::default());
}

#[tokio::test]
async fn all_records_of_one_generation_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    state.record("docs@1", vec![record("/a")]).await.unwrap();
    state.record("docs@2", vec![record("/a")]).await.unwrap();
    state.forget_all("docs@1").await.unwrap();
    assert_eq!(state.sources("docs@1", "").await.unwrap(), []);
    assert_eq!(state.sources("docs@2", "").await.unwrap().len(), 1);
}

#[tokio::test]
async fn roots_are_remembered_once_each_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    for root in ["\"/b\"", "\"/a\"", "\"/b\""] {
        state.add_root("docs", root.to_owned()).await.unwrap();
    }
    state.add_root("other", "\"/c\"".to_owned()).await.unwrap();
    assert_eq!(state.roots("docs").await.unwrap(), ["\"/b\"", "\"/a\""]);
    state.remove_root("docs", "\"/b\"").await.unwrap();
    state.remove_root("docs", "\"/nowhere\"").await.unwrap();
    assert_eq!(state.roots("docs").await.unwrap(), ["\"/a\""]);
    state.forget_history("docs").await.unwrap();
    assert!(state.roots("docs").await.unwrap().is_empty());
    assert_eq!(state.roots("other").await.unwrap(), ["\"/c\""]);
}

#[tokio::test]
async fn the_last_twenty_runs_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    let run = |began| Run { began, ended: began + 1, outcome: "done".into(), summary: "{}".into() };
    state.record_run("other", run(99)).await.unwrap();
    for began in 0..25 {
        state.record_run("docs", run(began)).await.unwrap();
    }
    let runs = state.runs("docs").await.unwrap();
    assert_eq!((runs.len(), &runs[0], &runs[19]), (20, &run(24), &run(5)));
    assert_eq!(state.runs("other").await.unwrap(), [run(99)]);
    state.forget_history("docs").await.unwrap();
    assert_eq!(state.runs("docs").await.unwrap(), []);
}

#[tokio::test]
async fn the_last_speed_of_a_model_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    assert_eq!(state.speed("m").await.unwrap(), None);
    let speed = |n_tokens, seconds| Speed { n_tokens, seconds };
    state.set_speed("m", speed(10, 2.5)).await.unwrap();
    state.set_speed("m", speed(1_000_000, 7.25)).await.unwrap();
    assert_eq!(state.speed("m").await.unwrap(), Some(speed(1_000_000, 7.25)));
}
