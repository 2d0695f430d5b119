//! The indexer's memory of documents, in SQLite whichever store holds the points.

mod history;
mod imports;
mod sources;

use std::path::{Path, PathBuf};

use super::sqlite::Database;
use super::{IndexLock, StoreError, TextHash, check_name};

pub use history::{Run, Speed};
pub use sources::{Stamped, Totals};

/// The indexer's memory and its lock, in SQLite whichever store holds the points.
///
/// Documents are recorded for a generation, such as `docs@2`; locks, roots and
/// runs are those of a collection, such as `docs`.
#[derive(Clone)]
pub struct IndexState {
    database: Database,
    locks: PathBuf,
    /// Qdrant's URL: what is known of one server says nothing about another.
    place: String,
}

impl IndexState {
    pub(super) fn new(database: Database, folder: &Path, place: String) -> Self {
        let mut locks = folder.join("locks");
        if !place.is_empty() {
            // A collection there and one of the same name here are two.
            locks.push(TextHash::of(&place).to_string());
        }
        Self { database, locks, place }
    }

    /// Refuses at once when another indexer works on the collection.
    ///
    /// # Errors
    /// `Locked` names the process that holds it.
    pub fn lock(&self, collection: &str) -> Result<IndexLock, StoreError> {
        check_name(collection)?;
        IndexLock::take(&self.locks, collection)
    }

    /// Where the state is kept.
    pub fn folder(&self) -> Option<&Path> {
        self.locks.parent()
    }
}
