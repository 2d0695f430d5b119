//! The embedded store against a plain model: whatever is written, replaced and
//! deleted, in whatever order, words find what they should, with the same scores.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::embedded::opened;
use super::*;

/// Terms of all points and questions: few, so that points share them.
const N_TERMS: u32 = 10;

/// Points by id, each with its words.
type Model = BTreeMap<u128, SparseVector>;

#[derive(Clone, Debug)]
enum Act {
    Upsert(Vec<(u128, SparseVector)>),
    Delete(Vec<u128>),
    /// Those of one document.
    DeleteSource(u128),
}

/// Four points to a document.
fn source(n: u128) -> String {
    format!("/{}.md", n / 4)
}

fn words() -> impl Strategy<Value = SparseVector> {
    prop::collection::btree_map(0..N_TERMS, 0.1_f32..3.0, 0..6).prop_map(|words| {
        let (terms, weights) = words.into_iter().unzip();
        SparseVector { terms, weights }
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => prop::collection::vec((0_u128..60, words()), 1..5).prop_map(Act::Upsert),
        1 => prop::collection::vec((0_u128..60, words()), 30..60).prop_map(Act::Upsert),
        3 => prop::collection::vec(0_u128..60, 1..8).prop_map(Act::Delete),
        1 => (0_u128..15).prop_map(Act::DeleteSource),
    ]
}

async fn apply(act: Act, store: &dyn Store, model: &mut Model) {
    match act {
        Act::Upsert(points) => {
            let whole = points.iter().map(|(n, sparse)| Point {
                sparse: sparse.clone(),
                ..point(*n, [1.0, *n as f32, 0.0], &[], &source(*n), 0)
            });
            store.upsert("docs@1", whole.collect()).await.unwrap();
            model.extend(points);
        }
        Act::Delete(ids) => {
            let selection = Selection::Ids(ids.iter().copied().map(id).collect());
            store.delete("docs@1", selection).await.unwrap();
            model.retain(|n, _| !ids.contains(n));
        }
        Act::DeleteSource(document) => {
            let gone = source(4 * document);
            let filter = Filter::Equals("source".into(), gone.clone());
            store.delete("docs@1", Selection::Matching(filter)).await.unwrap();
            model.retain(|n, _| source(*n) != gone);
        }
    }
}

/// Scores by the definition: term by term, over all points.
fn scores(model: &Model, question: &SparseVector) -> Vec<(u128, f32)> {
    let weight =
        |sparse: &SparseVector, term: u32| Some(sparse.weights[sparse.terms.binary_search(&term).ok()?]);
    let n_points = model.len() as f32;
    let mut scores: BTreeMap<u128, f32> = BTreeMap::new();
    for (term, asked) in question.terms.iter().zip(&question.weights) {
        let found: Vec<_> = model.iter().filter_map(|(n, words)| Some((*n, weight(words, *term)?))).collect();
        let n_with = found.len() as f32;
        let factor = asked * (1.0 + (n_points - n_with + 0.5) / (n_with + 0.5)).ln();
        for (n, weight) in found {
            *scores.entry(n).or_default() += factor * weight;
        }
    }
    let mut scores: Vec<_> = scores.into_iter().collect();
    scores.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    scores
}

async fn check(store: &dyn Store, model: &Model, question: SparseVector, limit: usize) {
    let mut want = scores(model, &question);
    want.truncate(limit);
    let query = Query { probe: Probe::Sparse(question), filter: None, limit };
    let found = store.query("docs@1", query).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|hit| (hit.id.as_u128(), hit.score)).collect();
    assert_eq!(found, want);
    assert_eq!(store.count("docs@1", None).await.unwrap(), model.len() as u64);
}

/// Every point with the words that it should have.
async fn check_whole(store: &dyn Store, model: &Model) {
    let points = store.page("docs@1", None, 999).await.unwrap();
    let found: Model = points.into_iter().map(|point| (point.id.as_u128(), point.sparse)).collect();
    assert_eq!(&found, model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_writes_is_found_as_by_a_plain_model(
        acts in prop::collection::vec((act(), words(), 1_usize..80), 1..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (store, _state) = opened(folder.path()).await;
            store.create(&collection("docs@1")).await.unwrap();
            // Another one in the same file, which nothing of this may touch.
            store.create(&collection("other@1")).await.unwrap();
            store.upsert("other@1", vec![point(1, [1.0, 0.0, 0.0], &[1, 2, 3], "/0.md", 0)]).await.unwrap();
            let mut model = Model::new();
            for (act, question, limit) in acts {
                apply(act, store.as_ref(), &mut model).await;
                check(store.as_ref(), &model, question, limit).await;
            }
            check_whole(store.as_ref(), &model).await;
            assert_eq!(store.count("other@1", None).await.unwrap(), 1);
            store.drop_collection("docs@1").await.unwrap();
            let words = SparseVector { terms: vec![1], weights: vec![1.0] };
            let query = Query { probe: Probe::Sparse(words), filter: None, limit: 9 };
            assert_eq!(store.query("other@1", query).await.unwrap().len(), 1);
        });
    }
}

/// How many segments a collection of `sizes`, written one after another, is left with.
async fn n_segments(sizes: impl IntoIterator<Item = u128>) -> u32 {
    let folder = tempfile::tempdir().unwrap();
    let (store, _state) = opened(folder.path()).await;
    store.create(&collection("docs@1")).await.unwrap();
    let mut next = 0;
    for size in sizes {
        let points = (next..next + size).map(|n| point(n, [1.0, 0.0, 0.0], &[1, 2], "/a.md", 0));
        store.upsert("docs@1", points.collect()).await.unwrap();
        next += size;
    }
    assert_eq!(store.count("docs@1", None).await.unwrap(), next as u64);
    let file = super::embedded::stranger(folder.path());
    file.query_row("SELECT count(*) FROM segments", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn many_writes_leave_few_segments() {
    assert_eq!(n_segments([256; 3]).await, 3);
    assert!(n_segments([1; 100]).await <= 14);
    assert!(n_segments([64; 40]).await <= 14);
}

#[tokio::test]
async fn what_is_deleted_takes_no_room_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _state) = opened(folder.path()).await;
    store.create(&collection("docs@1")).await.unwrap();
    let terms: Vec<u32> = (0..200).collect();
    let points = |from: u128| (from..from + 100).map(|n| point(n, [1.0, 0.0, 0.0], &terms, "/a.md", 0));
    let file = super::embedded::stranger(folder.path());
    let written = || -> i64 {
        file.query_row("SELECT total(length(value)) FROM postings", [], |row| row.get::<_, f64>(0)).unwrap()
            as i64
    };
    store.upsert("docs@1", points(0).collect()).await.unwrap();
    let whole = written();
    for _ in 0..9 {
        store.upsert("docs@1", points(0).collect()).await.unwrap();
    }
    assert_eq!(written(), whole, "what replaces all of a segment leaves nothing of it");
    store.delete("docs@1", Selection::Ids((0..60).map(id).collect())).await.unwrap();
    assert!(written() < whole / 2, "{} of {whole}", written());
    store.delete("docs@1", Selection::Ids((60..100).map(id).collect())).await.unwrap();
    assert_eq!(written(), 0);
}
