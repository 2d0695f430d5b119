//! What both stores promise: each case runs against each of them, and against a
//! real server where `EMBERGATE_TEST_QDRANT` names one.

use embergate_test_support::qdrant::QdrantSim;

use super::*;

/// Runs a case against a new collection of its own in every store.
pub(super) async fn each_store(case: impl AsyncFn(&dyn Store, &str)) {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("test-{}", Uuid::new_v4());
    let sim = QdrantSim::spawn().await.unwrap();
    let mut configs = vec![embedded_config(folder.path()), remote_config(folder.path(), sim.url())];
    configs.extend(std::env::var("EMBERGATE_TEST_QDRANT").ok().map(|url| remote_config(folder.path(), url)));
    for config in configs {
        let (store, _state) = open(&config, folder.path()).await.unwrap();
        case(store.as_ref(), &name).await;
    }
}

/// Four points of two documents, three of them close to one another.
pub(super) async fn fill(store: &dyn Store, name: &str) {
    store.create(&collection(name)).await.unwrap();
    let points = vec![
        point(1, [1.0, 0.0, 0.0], &[1, 2], "/a.md", 0),
        point(2, [2.0, 2.0, 0.0], &[2, 4_000_000_000], "/a.md", 1),
        point(3, [0.0, 1.0, 0.0], &[2, 3], "/a.md", 2),
        point(4, [0.0, 0.0, 9.0], &[], "/b.md", 0),
    ];
    store.upsert(name, points).await.unwrap();
}

/// Ids and scores, rounded as far as two computers agree.
async fn ask(
    store: &dyn Store,
    name: &str,
    probe: Probe,
    filter: Option<Filter>,
    limit: usize,
) -> Vec<(u128, f32)> {
    let hits = store.query(name, Query { probe, filter, limit }).await.unwrap();
    hits.into_iter().map(|hit| (hit.id.as_u128(), (hit.score * 1e4).round() / 1e4)).collect()
}

fn dense(values: [f32; 3]) -> Probe {
    Probe::Dense(embedding(values))
}

fn sparse(terms: &[u32]) -> Probe {
    Probe::Sparse(SparseVector { terms: terms.to_vec(), weights: vec![1.0; terms.len()] })
}

/// Rounded as `ask` rounds.
const COS_45: f32 = 7071.0 / 1e4;

pub(super) fn equals(key: &str, value: &str) -> Filter {
    Filter::Equals(key.into(), value.into())
}

#[tokio::test]
async fn creating_twice_changes_nothing_and_other_properties_are_refused() {
    each_store(async |store, name| {
        assert_eq!(store.collection(name).await.unwrap(), None);
        store.create(&collection(name)).await.unwrap();
        store.create(&collection(name)).await.unwrap();
        assert_eq!(store.collection(name).await.unwrap(), Some(collection(name)));
        assert!(store.collections().await.unwrap().contains(&collection(name)));
        let other = Collection { dimensions: 4, ..collection(name) };
        let error = store.create(&other).await.unwrap_err().to_string();
        assert!(error.contains("dimensions `3`, not `4`"), "{error}");
        let other = Collection { language: None, ..collection(name) };
        let error = store.create(&other).await.unwrap_err().to_string();
        assert!(error.contains("language `tr`, not `none`"), "{error}");
        let other = Collection { pipeline: "89ab".to_owned(), ..collection(name) };
        let error = store.create(&other).await.unwrap_err().to_string();
        assert!(error.contains("pipeline `4567`, not `89ab`"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_no_name_is_refused() {
    each_store(async |store, _| {
        for name in ["", "a/b", "..", "ş", &"x".repeat(129)] {
            let error = store.create(&collection(name)).await.unwrap_err();
            assert!(matches!(error, StoreError::Name { .. }), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_collection_that_is_not_there_is_named_with_those_that_are() {
    each_store(async |store, name| {
        store.create(&collection(name)).await.unwrap();
        let error = store.count("nowhere", None).await.unwrap_err().to_string();
        assert!(error.contains("`nowhere`") && error.contains(name), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_nearest_come_first_with_their_cosines_and_payloads() {
    each_store(async |store, name| {
        fill(store, name).await;
        let got = ask(store, name, dense([3.0, 0.0, 0.0]), None, 2).await;
        assert_eq!(got, [(1, 1.0), (2, COS_45)]);
        let query = Query { probe: dense([1.0, 0.0, 0.0]), filter: None, limit: 1 };
        assert_eq!(store.query(name, query).await.unwrap()[0].payload, payload("/a.md", 0));
    })
    .await;
}

#[tokio::test]
async fn equal_scores_come_in_the_order_of_ids() {
    each_store(async |store, name| {
        fill(store, name).await;
        let got = ask(store, name, dense([1.0, 1.0, 0.0]), None, 9).await;
        assert_eq!(got, [(2, 1.0), (1, COS_45), (3, COS_45), (4, 0.0)]);
    })
    .await;
}

#[tokio::test]
async fn rare_words_count_for_more() {
    each_store(async |store, name| {
        fill(store, name).await;
        // ln(1 + 3.5/1.5) for a word of one point of four, ln(1 + 1.5/3.5) for one of three.
        let got = ask(store, name, sparse(&[2, 4_000_000_000]), None, 9).await;
        assert_eq!(got, [(2, 1.5606), (1, 0.3567), (3, 0.3567)]);
        assert_eq!(ask(store, name, sparse(&[77]), None, 9).await, []);
    })
    .await;
}

#[tokio::test]
async fn filters_choose_the_same_points_for_every_use() {
    let range = |key: &str, at_least, at_most| Filter::Range { key: key.into(), at_least, at_most };
    let cases: Vec<(Filter, &[u128])> = vec![
        (equals("source", "/a.md"), &[1, 2, 3]),
        (equals("source", "/A.md"), &[]),
        (equals("title", "Kelp"), &[1, 4]),
        (equals("ordinal", "1"), &[2]),
        (equals("metadata.author", "Ayşe"), &[1, 2, 3, 4]),
        (equals("metadata.editor", "Ayşe"), &[]),
        (Filter::AnyOf("source".into(), vec!["/b.md".into(), "/c.md".into()]), &[4]),
        (Filter::AnyOf("source".into(), vec![]), &[]),
        (range("line", Some(8.0), Some(9.0)), &[2, 3]),
        (range("ordinal", Some(1.5), None), &[3]),
        (range("metadata.year", None, Some(2000.0)), &[1, 4]),
        (Filter::Not(Box::new(equals("title", "Kelp"))), &[2, 3]),
        (Filter::And(vec![equals("source", "/a.md"), equals("title", "Kelp")]), &[1]),
        (Filter::Or(vec![equals("source", "/b.md"), equals("ordinal", "2")]), &[3, 4]),
        (Filter::And(vec![]), &[1, 2, 3, 4]),
        (Filter::Or(vec![]), &[]),
        (Filter::Ids(vec![id(4), id(2), id(99)]), &[2, 4]),
        (Filter::Ids(vec![]), &[]),
        (Filter::And(vec![equals("source", "/a.md"), Filter::Ids(vec![id(3), id(4)])]), &[3]),
        (Filter::Not(Box::new(Filter::Ids(vec![id(1)]))), &[2, 3, 4]),
    ];
    each_store(async |store, name| {
        fill(store, name).await;
        for (filter, want) in &cases {
            let found = ask(store, name, dense([1.0, 1.0, 1.0]), Some(filter.clone()), 9).await;
            let mut found: Vec<u128> = found.into_iter().map(|(id, _)| id).collect();
            found.sort_unstable();
            assert_eq!(found, *want, "{filter:?}");
            assert_eq!(
                store.count(name, Some(filter.clone())).await.unwrap(),
                want.len() as u64,
                "{filter:?}"
            );
        }
        let both = Filter::Ids(vec![id(3), id(4)]);
        let words = ask(store, name, sparse(&[2]), Some(both.clone()), 9).await;
        assert_eq!(words, [(3, 0.3567)], "one without a word in common has no score");
        assert_eq!(ask(store, name, dense([0.0, 1.0, 0.0]), Some(both), 9).await, [(3, 1.0), (4, 0.0)]);
        let words = ask(store, name, sparse(&[2]), Some(equals("ordinal", "2")), 9).await;
        assert_eq!(words, [(3, 0.3567)], "rarity counts all points, whatever the filter");
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_refused() {
    each_store(async |store, name| {
        fill(store, name).await;
        let range = Filter::Range { key: "source".into(), at_least: None, at_most: None };
        for filter in [equals("sorce", "x"), equals("line", "seven"), range] {
            let error = store.count(name, Some(filter)).await.unwrap_err();
            assert!(matches!(error, StoreError::Filter { .. }), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_point_of_the_same_id_is_replaced_whole() {
    each_store(async |store, name| {
        fill(store, name).await;
        store.upsert(name, vec![point(1, [0.0, 0.0, 1.0], &[3], "/c.md", 5)]).await.unwrap();
        assert_eq!(store.count(name, None).await.unwrap(), 4);
        assert_eq!(ask(store, name, sparse(&[1]), None, 9).await, []);
        assert_eq!(ask(store, name, dense([0.0, 0.0, 1.0]), None, 2).await, [(1, 1.0), (4, 1.0)]);
        assert_eq!(store.count(name, Some(equals("source", "/c.md"))).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn one_point_of_other_dimensions_refuses_all_of_them() {
    each_store(async |store, name| {
        store.create(&collection(name)).await.unwrap();
        let mut wrong = point(2, [1.0, 0.0, 0.0], &[], "/a.md", 1);
        wrong.dense = Embedding::new(vec![1.0, 2.0]).unwrap();
        let points = vec![point(1, [1.0, 0.0, 0.0], &[], "/a.md", 0), wrong];
        let error = store.upsert(name, points).await.unwrap_err();
        assert!(matches!(error, StoreError::Dimensions { want: 3, got: 2, .. }), "{error}");
        assert_eq!(store.count(name, None).await.unwrap(), 0);
        let probe = Probe::Dense(Embedding::new(vec![1.0]).unwrap());
        let error = store.query(name, Query { probe, filter: None, limit: 1 }).await.unwrap_err();
        assert!(matches!(error, StoreError::Dimensions { want: 3, got: 1, .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn words_that_are_in_no_order_refuse_all_points() {
    each_store(async |store, name| {
        store.create(&collection(name)).await.unwrap();
        for (terms, weights) in [(vec![5, 5], vec![1.0, 1.0]), (vec![5], vec![]), (vec![5], vec![f32::NAN])] {
            let mut wrong = point(2, [1.0, 0.0, 0.0], &[], "/a.md", 1);
            wrong.sparse = SparseVector { terms, weights };
            let points = vec![point(1, [1.0, 0.0, 0.0], &[1], "/a.md", 0), wrong];
            let error = store.upsert(name, points).await.unwrap_err();
            assert!(matches!(error, StoreError::Words { .. }), "{error}");
        }
        assert_eq!(store.count(name, None).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn of_several_points_with_one_id_the_last_is_kept() {
    each_store(async |store, name| {
        store.create(&collection(name)).await.unwrap();
        let points = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]].map(|values| point(1, values, &[1], "/a.md", 0));
        store.upsert(name, points.to_vec()).await.unwrap();
        assert_eq!(store.count(name, None).await.unwrap(), 1);
        assert_eq!(ask(store, name, dense([0.0, 1.0, 0.0]), None, 9).await, [(1, 1.0)]);
        assert_eq!(ask(store, name, sparse(&[1]), None, 9).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_what_is_not_there_is_no_error() {
    each_store(async |store, name| {
        fill(store, name).await;
        store.delete(name, Selection::Ids(vec![id(1), id(99)])).await.unwrap();
        assert_eq!(store.existing(name, &[id(4), id(1), id(2)]).await.unwrap(), [id(4), id(2)]);
        store.delete(name, Selection::Matching(equals("source", "/a.md"))).await.unwrap();
        assert_eq!(store.count(name, None).await.unwrap(), 1);
        assert_eq!(ask(store, name, sparse(&[2]), None, 9).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_payload_changes_and_the_vectors_stay() {
    each_store(async |store, name| {
        fill(store, name).await;
        let moved = Payload { title: None, metadata: vec![], ..payload("/moved.md", 3) };
        store.set_payload(name, vec![(id(1), moved.clone()), (id(99), moved.clone())]).await.unwrap();
        assert_eq!(store.count(name, None).await.unwrap(), 4);
        assert_eq!(store.count(name, Some(equals("metadata.author", "Ayşe"))).await.unwrap(), 3);
        let query = Query { probe: dense([1.0, 0.0, 0.0]), filter: None, limit: 1 };
        let hit = store.query(name, query).await.unwrap().remove(0);
        assert_eq!((hit.id, hit.payload), (id(1), moved));
    })
    .await;
}

#[tokio::test]
async fn collections_do_not_see_one_another() {
    each_store(async |store, name| {
        fill(store, name).await;
        let other = format!("{name}-b");
        store.create(&collection(&other)).await.unwrap();
        store.upsert(&other, vec![point(1, [0.0, 1.0, 0.0], &[1], "/b.md", 0)]).await.unwrap();
        assert_eq!(ask(store, &other, dense([1.0, 0.0, 0.0]), None, 9).await, [(1, 0.0)]);
        assert_eq!(ask(store, &other, sparse(&[2]), None, 9).await, []);
        let ids = Filter::Ids(vec![id(1), id(2)]);
        assert_eq!(store.count(&other, Some(ids.clone())).await.unwrap(), 1);
        assert_eq!(ask(store, &other, dense([1.0, 0.0, 0.0]), Some(ids), 9).await, [(1, 0.0)]);
        store.delete(&other, Selection::Ids(vec![id(1)])).await.unwrap();
        assert_eq!(store.count(name, None).await.unwrap(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_collection_is_dropped_with_its_points_and_alone() {
    each_store(async |store, name| {
        let other = format!("{name}-other");
        fill(store, name).await;
        fill(store, &other).await;
        store.drop_collection(name).await.unwrap();
        assert_eq!(store.collection(name).await.unwrap(), None);
        let error = store.drop_collection(name).await.unwrap_err();
        assert!(matches!(error, StoreError::NoCollection { .. }), "{error}");
        assert_eq!(store.count(&other, None).await.unwrap(), 4);
        store.create(&collection(name)).await.unwrap();
        assert_eq!(store.count(name, None).await.unwrap(), 0);
        assert_eq!(ask(store, name, sparse(&[2]), None, 9).await, []);
        store.drop_collection(name).await.unwrap();
        store.drop_collection(&other).await.unwrap();
    })
    .await;
}
