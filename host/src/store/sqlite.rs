//! Collections in one SQLite file: points, vectors, postings and the indexer's state.
//!
//! Vectors are searched by an exact scan, words by postings; right up to some
//! 200,000 chunks.

mod bytes;
mod database;
mod generations;
mod points;
mod postings;
mod query;
mod schema;
mod segments;
mod sql;
mod words;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use uuid::Uuid;

use self::generations::{all, create, known};
use super::checks::{check_points, check_probe};
use super::names::check_stored_name;
use super::{Collection, Filter, Hit, Payload, Point, Query, Selection, Store, StoreError, TextHash, Tuning};
use crate::model::Embedding;

pub(super) use database::Database;

/// The embedded store.
pub(super) struct Sqlite {
    database: Database,
}

impl Sqlite {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        let name = name.to_owned();
        self.database
            .read(move |connection| Ok(generations::find(connection, &name)?.map(|stored| stored.collection)))
            .await
    }

    async fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        self.database.read(|connection| Ok(all(connection)?)).await
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        check_stored_name(&collection.name)?;
        let collection = collection.clone();
        self.database.write(move |transaction| create(transaction, &collection)).await
    }

    async fn drop_collection(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.database
            .write(move |transaction| {
                let stored = known(transaction, &name)?;
                points::delete_all(transaction, stored.number)?;
                transaction.execute("DELETE FROM collections WHERE number = ?1", [stored.number])?;
                Ok(())
            })
            .await
    }

    async fn aliases(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.database.read(|connection| Ok(generations::aliases(connection)?)).await
    }

    async fn set_aliases(&self, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        changes.iter().try_for_each(|(alias, _)| check_stored_name(alias))?;
        self.database.write(move |transaction| generations::set_aliases(transaction, changes)).await
    }

    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        let name = collection.to_owned();
        self.database
            .write(move |transaction| {
                let stored = known(transaction, &name)?;
                check_points(&stored.collection, &points)?;
                points::upsert(transaction, stored.number, &points)
            })
            .await
    }

    async fn query(&self, collection: &str, query: Query) -> Result<Vec<Hit>, StoreError> {
        let name = collection.to_owned();
        self.database
            .read(move |connection| {
                // One snapshot for scores and payloads, whatever is written meanwhile.
                let snapshot = connection.unchecked_transaction()?;
                let stored = known(&snapshot, &name)?;
                check_probe(&stored.collection, &query.probe)?;
                query::run(&snapshot, stored.number, &query)
            })
            .await
    }

    async fn existing(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let (name, ids) = (collection.to_owned(), ids.to_vec());
        self.database
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let stored = known(&snapshot, &name)?;
                Ok(points::existing(&snapshot, stored.number, &ids)?)
            })
            .await
    }

    async fn known_vectors(
        &self,
        collection: &str,
        texts: &[TextHash],
    ) -> Result<HashMap<TextHash, Embedding>, StoreError> {
        let (name, texts) = (collection.to_owned(), texts.to_vec());
        self.database
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let stored = known(&snapshot, &name)?;
                points::known_vectors(&snapshot, stored.number, &texts)
            })
            .await
    }

    async fn points(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        let (name, ids) = (collection.to_owned(), ids.to_vec());
        self.database
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let stored = known(&snapshot, &name)?;
                points::by_ids(&snapshot, stored.number, &ids)
            })
            .await
    }

    async fn page(
        &self,
        collection: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Point>, StoreError> {
        let name = collection.to_owned();
        self.database
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let stored = known(&snapshot, &name)?;
                points::page(&snapshot, stored.number, after, limit)
            })
            .await
    }

    async fn delete(&self, collection: &str, selection: Selection) -> Result<(), StoreError> {
        let name = collection.to_owned();
        self.database
            .write(move |transaction| {
                let stored = known(transaction, &name)?;
                match &selection {
                    Selection::Ids(ids) => points::delete(transaction, stored.number, ids),
                    Selection::Matching(filter) => {
                        points::delete_matching(transaction, stored.number, filter)
                    }
                }
            })
            .await
    }

    async fn count(&self, collection: &str, filter: Option<Filter>) -> Result<u64, StoreError> {
        let name = collection.to_owned();
        self.database
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let stored = known(&snapshot, &name)?;
                points::count(&snapshot, stored.number, filter.as_ref())
            })
            .await
    }

    async fn set_payload(&self, collection: &str, payloads: Vec<(Uuid, Payload)>) -> Result<(), StoreError> {
        let name = collection.to_owned();
        self.database
            .write(move |transaction| {
                let stored = known(transaction, &name)?;
                Ok(points::set_payloads(transaction, stored.number, &payloads)?)
            })
            .await
    }

    /// Nothing has to be prepared in a file: this only says where there is no such collection.
    async fn tune(&self, collection: &str, _: Tuning) -> Result<(), StoreError> {
        let name = collection.to_owned();
        self.database.read(move |connection| known(connection, &name).map(drop)).await
    }
}
