//! Collections in one SQLite file: points, vectors, postings and the indexer's state.
//!
//! Vectors are searched by an exact scan, words by postings; right up to some
//! 200,000 chunks.

mod database;
mod points;
mod query;
mod sql;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{
    Collection, Filter, Hit, Payload, Point, Query, Selection, Store, StoreError, check_name, check_points,
    check_probe, check_same,
};

pub(super) use database::Database;

/// The embedded store.
pub(super) struct Sqlite {
    database: Database,
}

/// A collection with its number in the file.
pub(super) struct Stored {
    number: i64,
    collection: Collection,
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
            .read(move |connection| Ok(find(connection, &name)?.map(|stored| stored.collection)))
            .await
    }

    async fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        self.database.read(|connection| Ok(all(connection)?)).await
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        check_name(&collection.name)?;
        let collection = collection.clone();
        self.database
            .write(move |transaction| match find(transaction, &collection.name)? {
                Some(there) => check_same(&there.collection, &collection),
                None => Ok(insert(transaction, &collection)?),
            })
            .await
    }

    async fn drop_collection(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.database
            .write(move |transaction| {
                let stored = known(transaction, &name)?;
                transaction.execute("DELETE FROM collections WHERE number = ?1", [stored.number])?;
                Ok(())
            })
            .await
    }

    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        let name = collection.to_owned();
        self.database
            .write(move |transaction| {
                let stored = known(transaction, &name)?;
                check_points(&stored.collection, &points)?;
                Ok(points::upsert(transaction, stored.number, &points)?)
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

    async fn delete(&self, collection: &str, selection: Selection) -> Result<(), StoreError> {
        let name = collection.to_owned();
        self.database
            .write(move |transaction| {
                let stored = known(transaction, &name)?;
                match &selection {
                    Selection::Ids(ids) => Ok(points::delete(transaction, stored.number, ids)?),
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
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<Collection>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, name, model, dimensions, space, language FROM collections ORDER BY name",
    )?;
    let stored = statement.query_map([], from_row)?;
    stored.map(|stored| Ok(stored?.collection)).collect()
}

fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<Stored>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, name, model, dimensions, space, language FROM collections WHERE name = ?1",
    )?;
    statement.query_row([name], from_row).optional()
}

fn known(connection: &Connection, name: &str) -> Result<Stored, StoreError> {
    if let Some(stored) = find(connection, name)? {
        return Ok(stored);
    }
    Err(super::no_collection(name, &all(connection)?))
}

fn insert(connection: &Connection, collection: &Collection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO collections (name, model, dimensions, space, language) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    statement.execute(params![
        collection.name,
        collection.model,
        collection.dimensions as i64,
        collection.space,
        collection.language,
    ])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let collection = Collection {
        name: row.get(1)?,
        model: row.get(2)?,
        dimensions: row.get::<_, u32>(3)? as usize,
        space: row.get(4)?,
        language: row.get(5)?,
    };
    Ok(Stored { number: row.get(0)?, collection })
}
