//! What the indexer was asked for, how it went, and how fast.

use rusqlite::{OptionalExtension, params};

use super::IndexState;
use crate::store::StoreError;

/// Runs that are remembered of each collection.
const MAX_RUNS: u32 = 20;

/// One run of the indexer over a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Nanoseconds since 1970, as is `ended`.
    pub began: i64,
    pub ended: i64,
    /// A word for it, such as `done`.
    pub outcome: String,
    /// JSON.
    pub summary: String,
}

/// How fast a model embedded when that was last measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    pub n_tokens: u64,
    pub seconds: f64,
}

impl IndexState {
    /// Remembers what a collection is made of, once each. `root` is JSON.
    pub async fn add_root(&self, collection: &str, root: String) -> Result<(), StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .write(move |transaction| {
                transaction.execute(
                    "INSERT OR IGNORE INTO roots (place, collection, root) VALUES (?1, ?2, ?3)",
                    params![place, collection, root],
                )?;
                Ok(())
            })
            .await
    }

    /// What a collection is made of, in the order in which that was added.
    pub async fn roots(&self, collection: &str) -> Result<Vec<String>, StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT root FROM roots WHERE place = ?1 AND collection = ?2 ORDER BY number",
                )?;
                let roots = statement.query_map(params![place, collection], |row| row.get(0))?;
                Ok(roots.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// What is not known is no error.
    pub async fn remove_root(&self, collection: &str, root: &str) -> Result<(), StoreError> {
        let (place, collection, root) = (self.place.clone(), collection.to_owned(), root.to_owned());
        self.database
            .write(move |transaction| {
                transaction.execute(
                    "DELETE FROM roots WHERE place = ?1 AND collection = ?2 AND root = ?3",
                    params![place, collection, root],
                )?;
                Ok(())
            })
            .await
    }

    /// Remembers a run, and forgets the oldest of too many.
    pub async fn record_run(&self, collection: &str, run: Run) -> Result<(), StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .write(move |transaction| {
                let Run { began, ended, outcome, summary } = run;
                transaction.execute(
                    "INSERT INTO runs (place, collection, began, ended, outcome, summary)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![place, collection, began, ended, outcome, summary],
                )?;
                transaction.execute(
                    "DELETE FROM runs WHERE place = ?1 AND collection = ?2 AND number NOT IN (
                         SELECT number FROM runs WHERE place = ?1 AND collection = ?2
                         ORDER BY number DESC LIMIT ?3)",
                    params![place, collection, MAX_RUNS],
                )?;
                Ok(())
            })
            .await
    }

    /// The last runs over a collection, the latest first.
    pub async fn runs(&self, collection: &str) -> Result<Vec<Run>, StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT began, ended, outcome, summary FROM runs
                     WHERE place = ?1 AND collection = ?2 ORDER BY number DESC",
                )?;
                let runs = statement.query_map(params![place, collection], |row| {
                    Ok(Run {
                        began: row.get(0)?,
                        ended: row.get(1)?,
                        outcome: row.get(2)?,
                        summary: row.get(3)?,
                    })
                })?;
                Ok(runs.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Forgets the roots and runs of a collection that is deleted, and what
    /// stopped imports left of it.
    pub async fn forget_history(&self, collection: &str) -> Result<(), StoreError> {
        for left in self.imports(collection).await? {
            self.end_import(&left).await?;
        }
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .write(move |transaction| {
                for table in ["roots", "runs"] {
                    let statement = format!("DELETE FROM {table} WHERE place = ?1 AND collection = ?2");
                    transaction.execute(&statement, params![place, collection])?;
                }
                Ok(())
            })
            .await
    }

    /// Remembers how fast a model embedded; the last time counts.
    pub async fn set_speed(&self, model: &str, speed: Speed) -> Result<(), StoreError> {
        let model = model.to_owned();
        self.database
            .write(move |transaction| {
                transaction.execute(
                    "INSERT OR REPLACE INTO speeds (model, n_tokens, seconds) VALUES (?1, ?2, ?3)",
                    params![model, speed.n_tokens.cast_signed(), speed.seconds],
                )?;
                Ok(())
            })
            .await
    }

    /// How fast a model embedded, where that was measured.
    pub async fn speed(&self, model: &str) -> Result<Option<Speed>, StoreError> {
        let model = model.to_owned();
        self.database
            .read(move |connection| {
                let mut statement =
                    connection.prepare_cached("SELECT n_tokens, seconds FROM speeds WHERE model = ?1")?;
                let speed = statement.query_row([model], |row| {
                    let n_tokens = row.get::<_, i64>(0)?.cast_unsigned();
                    Ok(Speed { n_tokens, seconds: row.get(1)? })
                });
                Ok(speed.optional()?)
            })
            .await
    }
}
