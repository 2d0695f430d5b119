//! Generations and the aliases that lead to them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::store::checks::{check_same, no_collection};
use crate::store::{Collection, StoreError, names};

/// A collection with its number in the file.
pub(super) struct Stored {
    pub(super) number: i64,
    pub(super) collection: Collection,
}

/// Makes a generation, unless it is there already with the same properties.
pub(super) fn create(transaction: &Transaction<'_>, collection: &Collection) -> Result<(), StoreError> {
    if let Some(there) = find(transaction, &collection.name)? {
        return check_same(&there.collection, collection);
    }
    check_free(transaction, names::collection_of(&collection.name), &collection.name)?;
    Ok(insert(transaction, collection)?)
}

/// Refuses a name under which an alias could not be found.
fn check_free(connection: &Connection, name: &str, wanted: &str) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM collections WHERE name = ?1")?;
    if statement.exists([name])? {
        return Err(StoreError::Taken { name: name.to_owned(), wanted: wanted.to_owned() });
    }
    Ok(())
}

pub(super) fn aliases(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare_cached(
        "SELECT aliases.name, collections.name FROM aliases JOIN collections ON number = collection",
    )?;
    let aliases = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    aliases.collect()
}

/// Finds all of what aliases shall lead to before it changes the first.
pub(super) fn set_aliases(
    transaction: &Transaction<'_>,
    changes: Vec<(String, Option<String>)>,
) -> Result<(), StoreError> {
    let mut targets = Vec::with_capacity(changes.len());
    for (alias, to) in changes {
        let target = to.map(|name| known(transaction, &name)).transpose()?;
        if let Some(target) = &target {
            check_free(transaction, &alias, &target.collection.name)?;
        }
        targets.push((alias, target));
    }
    for (alias, target) in targets {
        match target {
            Some(target) => transaction
                .prepare_cached("INSERT OR REPLACE INTO aliases (name, collection) VALUES (?1, ?2)")?
                .execute(params![alias, target.number])?,
            None => transaction.prepare_cached("DELETE FROM aliases WHERE name = ?1")?.execute([alias])?,
        };
    }
    Ok(())
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Collection>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, name, model, dimensions, space, language, pipeline FROM collections ORDER BY name",
    )?;
    let stored = statement.query_map([], from_row)?;
    stored.map(|stored| Ok(stored?.collection)).collect()
}

/// A generation by its name or an alias.
pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<Stored>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, name, model, dimensions, space, language, pipeline FROM collections
         WHERE name = ?1 OR number = (SELECT collection FROM aliases WHERE name = ?1)",
    )?;
    statement.query_row([name], from_row).optional()
}

pub(super) fn known(connection: &Connection, name: &str) -> Result<Stored, StoreError> {
    if let Some(stored) = find(connection, name)? {
        return Ok(stored);
    }
    Err(no_collection(name, &all(connection)?))
}

fn insert(connection: &Connection, collection: &Collection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO collections (name, model, dimensions, space, language, pipeline)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute(params![
        collection.name,
        collection.model,
        collection.dimensions as i64,
        collection.space,
        collection.language,
        collection.pipeline,
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
        pipeline: row.get(6)?,
    };
    Ok(Stored { number: row.get(0)?, collection })
}
