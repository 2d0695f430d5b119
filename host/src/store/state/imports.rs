//! Generations that are being imported, and records that wait until one is whole.

use rusqlite::params;

use super::IndexState;
use crate::store::{SourceRecord, StoreError, names};

/// What records of an import are kept under until it is whole: no collection's name.
fn staged(generation: &str) -> String {
    format!("{generation} (import)")
}

impl IndexState {
    /// Notes that a generation is imported, before it is made.
    pub(in crate::store) async fn begin_import(&self, generation: &str) -> Result<(), StoreError> {
        let (place, generation) = (self.place.clone(), generation.to_owned());
        self.database
            .write(move |transaction| {
                let statement = "INSERT OR IGNORE INTO imports (place, generation) VALUES (?1, ?2)";
                transaction.execute(statement, params![place, generation])?;
                Ok(())
            })
            .await
    }

    /// Generations of a collection whose import was begun and not ended: they
    /// may lack points.
    pub async fn imports(&self, collection: &str) -> Result<Vec<String>, StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .read(move |connection| {
                let mut statement =
                    connection.prepare_cached("SELECT generation FROM imports WHERE place = ?1")?;
                let all = statement.query_map([place], |row| row.get(0))?;
                let mut all: Vec<String> = all.collect::<Result<_, _>>()?;
                all.retain(|generation| names::collection_of(generation) == collection);
                Ok(all)
            })
            .await
    }

    /// Keeps records until the import is whole.
    pub(in crate::store) async fn stage(
        &self,
        generation: &str,
        records: Vec<SourceRecord>,
    ) -> Result<(), StoreError> {
        self.record_as(staged(generation), records).await.map(drop)
    }

    /// Puts the records that were kept in the place of those that are unfinished.
    pub(in crate::store) async fn finish_import(&self, generation: &str) -> Result<(), StoreError> {
        let (place, generation) = (self.place.clone(), generation.to_owned());
        self.database
            .write(move |transaction| {
                let statement = "DELETE FROM documents WHERE place = ?1 AND collection = ?2";
                transaction.execute(statement, params![place, generation])?;
                transaction.execute(
                    "UPDATE documents SET collection = ?2 WHERE place = ?1 AND collection = ?3",
                    params![place, generation, staged(&generation)],
                )?;
                Ok(())
            })
            .await
    }

    /// Forgets that the generation was imported, and what was kept for it.
    pub(in crate::store) async fn end_import(&self, generation: &str) -> Result<(), StoreError> {
        let (place, generation) = (self.place.clone(), generation.to_owned());
        self.database
            .write(move |transaction| {
                let statement = "DELETE FROM documents WHERE place = ?1 AND collection = ?2";
                transaction.execute(statement, params![place, staged(&generation)])?;
                let statement = "DELETE FROM imports WHERE place = ?1 AND generation = ?2";
                transaction.execute(statement, params![place, generation])?;
                Ok(())
            })
            .await
    }
}
