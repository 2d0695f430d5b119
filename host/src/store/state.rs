//! The indexer's memory of documents, in SQLite whichever store holds the points.

use std::path::{Path, PathBuf};

use rusqlite::{Row, params};
use uuid::Uuid;

use super::sqlite::Database;
use super::{IndexLock, SourceRecord, StoreError, check_name, coverage};
use crate::document::Coverage;

/// The indexer's memory and its lock, in SQLite whichever store holds the points.
#[derive(Clone)]
pub struct IndexState {
    database: Database,
    locks: PathBuf,
    /// Qdrant's URL: what is known of one server says nothing about another.
    place: String,
}

impl IndexState {
    pub(super) fn new(database: Database, folder: &Path, place: String) -> Self {
        Self { database, locks: folder.join("locks"), place }
    }

    /// Refuses at once when another indexer works on the collection.
    ///
    /// # Errors
    /// `Locked` names the process that holds it.
    pub fn lock(&self, collection: &str) -> Result<IndexLock, StoreError> {
        check_name(collection)?;
        IndexLock::take(&self.locks, collection)
    }

    /// All documents of a collection whose source begins with `prefix`, by source.
    pub async fn sources(&self, collection: &str, prefix: &str) -> Result<Vec<SourceRecord>, StoreError> {
        let (place, collection, prefix) = (self.place.clone(), collection.to_owned(), prefix.to_owned());
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT source, size, modified, content, pipeline, points, coverage FROM sources
                     WHERE place = ?1 AND collection = ?2 AND source >= ?3
                       AND substr(source, 1, length(?3)) = ?3
                     ORDER BY source",
                )?;
                let records = statement.query_map(params![place, collection, prefix], from_row)?;
                Ok(records.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Where the text of all documents of a collection went, of those that it is known of.
    pub async fn coverage(&self, collection: &str) -> Result<Coverage, StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT coverage FROM sources
                     WHERE place = ?1 AND collection = ?2 AND coverage IS NOT NULL",
                )?;
                let mut sum = Coverage::default();
                let mut rows = statement.query(params![place, collection])?;
                while let Some(row) = rows.next()? {
                    if let Some(found) = coverage::from_json(&row.get::<_, String>(0)?) {
                        sum.add(&found);
                    }
                }
                Ok(sum)
            })
            .await
    }

    pub async fn source(&self, collection: &str, source: &str) -> Result<Option<SourceRecord>, StoreError> {
        let (place, collection, source) = (self.place.clone(), collection.to_owned(), source.to_owned());
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT source, size, modified, content, pipeline, points, coverage FROM sources
                     WHERE place = ?1 AND collection = ?2 AND source = ?3",
                )?;
                let record = statement.query_map(params![place, collection, source], from_row)?.next();
                Ok(record.transpose()?)
            })
            .await
    }

    /// Survives a power cut once it returned; all of the records or none.
    pub async fn record(&self, collection: &str, records: Vec<SourceRecord>) -> Result<(), StoreError> {
        check_name(collection)?;
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .write(move |transaction| {
                let mut statement = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO sources
                     (place, collection, source, size, modified, content, pipeline, points, coverage)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?;
                for record in &records {
                    statement.execute(params![
                        place,
                        collection,
                        record.source,
                        record.size.cast_signed(),
                        record.modified,
                        record.content,
                        record.pipeline,
                        record.points.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<u8>>(),
                        record.coverage.as_ref().and_then(coverage::to_json),
                    ])?;
                }
                Ok(())
            })
            .await
    }

    /// What is not known is no error.
    pub async fn forget(&self, collection: &str, sources: Vec<String>) -> Result<(), StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .write(move |transaction| {
                let mut statement = transaction.prepare_cached(
                    "DELETE FROM sources WHERE place = ?1 AND collection = ?2 AND source = ?3",
                )?;
                for source in &sources {
                    statement.execute(params![place, collection, source])?;
                }
                Ok(())
            })
            .await
    }

    /// Forgets all documents of a collection.
    pub async fn forget_all(&self, collection: &str) -> Result<(), StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .write(move |transaction| {
                let statement = "DELETE FROM sources WHERE place = ?1 AND collection = ?2";
                transaction.execute(statement, params![place, collection])?;
                Ok(())
            })
            .await
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<SourceRecord> {
    let points: Vec<u8> = row.get(5)?;
    let covered: Option<String> = row.get(6)?;
    let (ids, _) = points.as_chunks::<16>();
    Ok(SourceRecord {
        source: row.get(0)?,
        size: row.get::<_, i64>(1)?.cast_unsigned(),
        modified: row.get(2)?,
        content: row.get(3)?,
        pipeline: row.get(4)?,
        points: ids.iter().map(|id| Uuid::from_bytes(*id)).collect(),
        coverage: covered.as_deref().and_then(coverage::from_json),
    })
}
