//! Points read back whole, by id, in pages and by what they were made of, in both stores.

use super::cases::{each_store, equals, fill};
use super::*;

/// One whose numbers have no exact form, and metadata in an order of their own.
fn odd(n: u128) -> Point {
    let metadata = [("z", "1"), ("a", "2"), ("z", "3"), ("a", "1")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let point = point(n, [0.1, -0.7, 1e-3], &[3, 70, 4_000_000_000], "/odd.md", 2);
    let sparse = SparseVector { weights: vec![0.1, 1.7, 2.3], ..point.sparse };
    Point { sparse, payload: Payload { metadata, ..point.payload }, ..point }
}

#[tokio::test]
async fn points_come_back_whole_and_in_the_order_asked_for() {
    each_store(async |store, name| {
        fill(store, name).await;
        store.upsert(name, vec![odd(9)]).await.unwrap();
        let points = store.points(name, &[id(9), id(77), id(4), id(2)]).await.unwrap();
        assert_eq!(points.iter().map(|point| point.id).collect::<Vec<_>>(), [id(9), id(4), id(2)]);
        assert_eq!((&points[0].sparse, &points[0].payload), (&odd(9).sparse, &odd(9).payload));
        assert_eq!(points[1].dense, embedding([0.0, 0.0, 1.0]));
        assert_eq!(points[1].sparse, SparseVector::default());
        assert_eq!(points[2].sparse.terms, [2, 4_000_000_000]);
    })
    .await;
}

#[tokio::test]
async fn storing_what_was_read_changes_no_bit() {
    each_store(async |store, name| {
        fill(store, name).await;
        store.upsert(name, vec![odd(9)]).await.unwrap();
        let before = store.page(name, None, 99).await.unwrap();
        store.upsert(name, before.clone()).await.unwrap();
        assert_eq!(store.page(name, None, 99).await.unwrap(), before);
    })
    .await;
}

#[tokio::test]
async fn both_stores_keep_the_same_bits() {
    let all = std::sync::Mutex::new(Vec::new());
    each_store(async |store, name| {
        fill(store, name).await;
        store.upsert(name, vec![odd(9)]).await.unwrap();
        let points = store.page(name, None, 99).await.unwrap();
        all.lock().unwrap().push(points);
    })
    .await;
    let all = all.into_inner().unwrap();
    assert!(all.iter().all(|points| *points == all[0]), "{all:?}");
}

#[tokio::test]
async fn pages_come_in_the_order_of_ids() {
    each_store(async |store, name| {
        store.create(&collection(name)).await.unwrap();
        let ids = [3, 1 << 90, 2, u128::MAX, 0, 1 << 64];
        let points = ids.map(|n| point(n, [1.0, 0.0, 0.0], &[1], "/a.md", 0));
        store.upsert(name, points.to_vec()).await.unwrap();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.page(name, after, 2).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            seen.extend(page.iter().map(|point| point.id.as_u128()));
        }
        assert_eq!(seen, [0, 2, 3, 1 << 64, 1 << 90, u128::MAX]);
        assert_eq!(store.page(name, None, 0).await.unwrap(), []);
        // More than one call may carry.
        let many = (1_000..1_600).map(|n| point(n, [1.0, 0.0, 0.0], &[], "/b.md", 0)).collect();
        store.upsert(name, many).await.unwrap();
        assert_eq!(store.page(name, Some(id(3)), 599).await.unwrap().len(), 599);
        assert_eq!(store.page(name, Some(id(999)), 9_999).await.unwrap().len(), 603);
    })
    .await;
}

#[tokio::test]
async fn vectors_are_found_by_what_was_embedded() {
    each_store(async |store, name| {
        fill(store, name).await;
        let hash = |text: &str| TextHash::of(text);
        let (first, last) = (hash("chunk 0 of /a.md"), hash("chunk 0 of /b.md"));
        let texts = [first, hash("nothing"), last, TextHash::UNKNOWN, first];
        let known = store.known_vectors(name, &texts).await.unwrap();
        let want = [(first, embedding([1.0, 0.0, 0.0])), (last, embedding([0.0, 0.0, 1.0]))];
        assert_eq!(known, HashMap::from(want));
        assert_eq!(store.known_vectors(name, &[]).await.unwrap(), HashMap::new());

        // The hash follows the payload, and goes with its point.
        let renamed = Payload { text_hash: hash("renamed"), ..payload("/a.md", 0) };
        store.set_payload(name, vec![(id(1), renamed)]).await.unwrap();
        store.delete(name, Selection::Matching(equals("source", "/b.md"))).await.unwrap();
        let known = store.known_vectors(name, &[first, last, hash("renamed")]).await.unwrap();
        assert_eq!(known.into_keys().collect::<Vec<_>>(), [hash("renamed")]);
    })
    .await;
}

#[tokio::test]
async fn a_text_that_thousands_of_points_have_hides_no_other() {
    each_store(async |store, name| {
        store.create(&collection(name)).await.unwrap();
        let same = Payload { text_hash: TextHash::of("same"), ..payload("/a.md", 0) };
        let points =
            (0..600).map(|n| Point { payload: same.clone(), ..point(n, [1.0, 0.0, 0.0], &[], "/a.md", 0) });
        store.upsert(name, points.collect()).await.unwrap();
        store.upsert(name, vec![point(u128::MAX, [0.0, 1.0, 0.0], &[], "/b.md", 0)]).await.unwrap();
        let texts = [TextHash::of("same"), TextHash::of("chunk 0 of /b.md")];
        let known = store.known_vectors(name, &texts).await.unwrap();
        assert_eq!(known[&texts[0]], embedding([1.0, 0.0, 0.0]));
        assert_eq!(known[&texts[1]], embedding([0.0, 1.0, 0.0]));
    })
    .await;
}
