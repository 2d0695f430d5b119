//! Generations and the aliases that lead to them, in both stores.

use super::cases::{each_store, fill};
use super::*;

fn to(alias: &str, generation: &str) -> (String, Option<String>) {
    (alias.to_owned(), Some(generation.to_owned()))
}

#[tokio::test]
async fn an_alias_stands_for_the_generation_that_it_leads_to() {
    each_store(async |store, name| {
        let (first, second) = (generation(name, 1), generation(name, 2));
        fill(store, &first).await;
        store.create(&Collection { pipeline: "new".into(), ..collection(&second) }).await.unwrap();
        assert_eq!(store.collection(name).await.unwrap(), None);
        store.set_aliases(vec![to(name, &first)]).await.unwrap();
        assert_eq!(store.collection(name).await.unwrap(), Some(collection(&first)));
        assert_eq!(store.count(name, None).await.unwrap(), 4);
        store.upsert(name, vec![point(5, [1.0, 0.0, 0.0], &[1], "/c.md", 0)]).await.unwrap();
        store.set_payload(name, vec![(id(5), payload("/d.md", 0))]).await.unwrap();
        store.delete(name, Selection::Ids(vec![id(1)])).await.unwrap();
        assert_eq!(store.existing(&first, &[id(1), id(5)]).await.unwrap(), [id(5)]);
        store.create(&collection(name)).await.unwrap();
        // From one to the next in one step, and what served before stays within reach.
        store.set_aliases(vec![to(name, &second), to(&previous(name), name)]).await.unwrap();
        assert_eq!(store.count(name, None).await.unwrap(), 0);
        assert_eq!(store.count(&previous(name), None).await.unwrap(), 4);
        let aliases = store.aliases().await.unwrap();
        assert_eq!(aliases.get(name), Some(&second));
        assert_eq!(aliases.get(&previous(name)), Some(&first));
    })
    .await;
}

#[tokio::test]
async fn aliases_change_together_or_not_at_all() {
    each_store(async |store, name| {
        let first = generation(name, 1);
        fill(store, &first).await;
        store.set_aliases(vec![to(name, &first)]).await.unwrap();
        let changes = vec![(name.to_owned(), None), to(&previous(name), &generation(name, 9))];
        let error = store.set_aliases(changes).await.unwrap_err();
        assert!(matches!(error, StoreError::NoCollection { .. }), "{error}");
        assert_eq!(store.collection(name).await.unwrap(), Some(collection(&first)));
        store.set_aliases(vec![(name.to_owned(), None), (previous(name), None)]).await.unwrap();
        assert_eq!(store.collection(name).await.unwrap(), None);
        store.set_aliases(vec![]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn aliases_go_with_their_generation() {
    each_store(async |store, name| {
        let (first, second) = (generation(name, 1), generation(name, 2));
        fill(store, &first).await;
        fill(store, &second).await;
        store.set_aliases(vec![to(name, &second), to(&previous(name), &first)]).await.unwrap();
        store.drop_collection(&previous(name)).await.unwrap();
        assert!(!store.aliases().await.unwrap().contains_key(&previous(name)));
        assert_eq!(store.collection(&first).await.unwrap(), None);
        assert_eq!(store.count(name, None).await.unwrap(), 4);
        // One of the same name is another one.
        store.create(&Collection { dimensions: 5, ..collection(&first) }).await.unwrap();
        assert_eq!(store.count(&first, None).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_collection_without_generations_is_in_the_way_of_its_first_one() {
    each_store(async |store, name| {
        fill(store, name).await;
        let error = store.create(&collection(&generation(name, 1))).await.unwrap_err();
        assert!(matches!(error, StoreError::Taken { .. }), "{error}");
        for part in [name, &generation(name, 1), &format!("embergate collections delete {name}")] {
            assert!(error.to_string().contains(&format!("`{part}`")), "{error}");
        }
        fill(store, "free@1").await;
        let error = store.set_aliases(vec![to(name, "free@1")]).await.unwrap_err();
        assert!(matches!(error, StoreError::Taken { .. }), "{error}");
        store.drop_collection(name).await.unwrap();
        store.create(&collection(&generation(name, 1))).await.unwrap();
        store.set_aliases(vec![to(name, "free@1")]).await.unwrap();
        store.drop_collection("free@1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_named_with_collections_and_not_with_their_generations() {
    each_store(async |store, name| {
        store.create(&collection(&generation(name, 1))).await.unwrap();
        store.create(&collection(&generation(name, 2))).await.unwrap();
        let error = store.count("nowhere", None).await.unwrap_err().to_string();
        assert_eq!(error.matches(name).count(), 1, "{error}");
        let error = store.set_aliases(vec![to("a b", &generation(name, 1))]).await.unwrap_err();
        assert!(matches!(error, StoreError::Name { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_collection_is_tuned_any_number_of_times() {
    each_store(async |store, name| {
        let name = generation(name, 1);
        fill(store, &name).await;
        for tuning in [Tuning::Bulk, Tuning::Bulk, Tuning::Serving, Tuning::Serving] {
            store.tune(&name, tuning).await.unwrap();
            assert_eq!(store.count(&name, None).await.unwrap(), 4);
        }
        let error = store.tune("nowhere", Tuning::Bulk).await.unwrap_err();
        assert!(matches!(error, StoreError::NoCollection { .. }), "{error}");
    })
    .await;
}
