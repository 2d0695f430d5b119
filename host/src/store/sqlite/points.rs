//! Writing points and reading them back.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter};
use uuid::Uuid;

use super::bytes::damaged;
use super::schema::POINT_BITS;
use super::{segments, sql, words};
use crate::document::Span;
use crate::model::Embedding;
use crate::store::filter::as_number;
use crate::store::scan::normalised;
use crate::store::{Filter, Payload, Point, StoreError, TextHash};

/// The numbers that points of a collection may have, both ends included.
pub(super) fn range(collection: i64) -> (i64, i64) {
    (collection << POINT_BITS, ((collection + 1) << POINT_BITS) - 1)
}

/// Replaces points that have the same id; of several with one id in the list, the last is kept.
pub(super) fn upsert(
    transaction: &Transaction<'_>,
    collection: i64,
    points: &[Point],
) -> Result<(), StoreError> {
    let last: HashMap<Uuid, usize> = points.iter().enumerate().map(|(at, point)| (point.id, at)).collect();
    let points = points.iter().enumerate().filter(|(at, point)| last[&point.id] == *at);
    let points: Vec<&Point> = points.map(|(_, point)| point).collect();
    let replaced = numbers_of(transaction, collection, points.iter().map(|point| point.id))?;
    remove(transaction, collection, replaced)?;
    let first = take_numbers(transaction, collection, points.len())?;
    insert(transaction, collection, first, &points)?;
    let vectors: Vec<_> = (first..).zip(points.iter().map(|point| &point.sparse)).collect();
    segments::add(transaction, collection, &vectors)
}

/// The first of `n` numbers that no point of the collection ever had.
fn take_numbers(transaction: &Transaction<'_>, collection: i64, n: usize) -> rusqlite::Result<i64> {
    let (first, _) = range(collection);
    let next: i64 = transaction
        .prepare_cached(
            "UPDATE collections SET next_point = next_point + ?2 WHERE number = ?1 RETURNING next_point - ?2",
        )?
        .query_row(params![collection, n as i64], |row| row.get(0))?;
    Ok(first + next)
}

fn insert(
    transaction: &Transaction<'_>,
    collection: i64,
    first: i64,
    points: &[&Point],
) -> rusqlite::Result<()> {
    let mut point = transaction.prepare_cached(
        "INSERT INTO points (number, collection, id, source, media_type, title, headings, text, prefix,
             span_start, span_end, extracted, line, ordinal, text_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    let mut vector =
        transaction.prepare_cached("INSERT INTO vectors (point, id, value) VALUES (?1, ?2, ?3)")?;
    let mut word = transaction.prepare_cached("INSERT INTO words (point, value) VALUES (?1, ?2)")?;
    for (number, Point { id, dense, sparse, payload }) in (first..).zip(points) {
        point.execute(params![
            number,
            collection,
            id.as_bytes(),
            payload.source,
            payload.media_type,
            payload.title,
            headings(payload),
            payload.text,
            payload.prefix,
            payload.span.map(|span| span.start as i64),
            payload.span.map(|span| span.end as i64),
            payload.extracted,
            payload.line,
            payload.ordinal,
            text_hash(payload),
        ])?;
        insert_metadata(transaction, number, payload)?;
        let values: Vec<u8> = normalised(dense.values()).into_iter().flat_map(f32::to_le_bytes).collect();
        vector.execute(params![number, id.as_bytes(), values])?;
        word.execute(params![number, words::to_bytes(sparse)])?;
    }
    Ok(())
}

fn headings(payload: &Payload) -> String {
    serde_json::json!(payload.headings).to_string()
}

fn text_hash(payload: &Payload) -> Option<&[u8; 16]> {
    payload.text_hash.is_known().then_some(payload.text_hash.as_bytes())
}

fn insert_metadata(transaction: &Transaction<'_>, number: i64, payload: &Payload) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO metadata (point, place, key, value, number) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (place, (key, value)) in payload.metadata.iter().enumerate() {
        statement.execute(params![number, place as i64, key, value, as_number(value)])?;
    }
    Ok(())
}

pub(super) fn set_payloads(
    transaction: &Transaction<'_>,
    collection: i64,
    payloads: &[(Uuid, Payload)],
) -> rusqlite::Result<()> {
    for (id, payload) in payloads {
        if let Some(number) = number_of(transaction, collection, *id)? {
            write_payload(transaction, number, payload)?;
        }
    }
    Ok(())
}

fn write_payload(transaction: &Transaction<'_>, number: i64, payload: &Payload) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE points SET source = ?2, media_type = ?3, title = ?4, headings = ?5, text = ?6, prefix = ?7,
                 span_start = ?8, span_end = ?9, extracted = ?10, line = ?11, ordinal = ?12, text_hash = ?13
             WHERE number = ?1",
        )?
        .execute(params![
            number,
            payload.source,
            payload.media_type,
            payload.title,
            headings(payload),
            payload.text,
            payload.prefix,
            payload.span.map(|span| span.start as i64),
            payload.span.map(|span| span.end as i64),
            payload.extracted,
            payload.line,
            payload.ordinal,
            text_hash(payload),
        ])?;
    transaction.prepare_cached("DELETE FROM metadata WHERE point = ?1")?.execute([number])?;
    insert_metadata(transaction, number, payload)
}

/// Reads the id and the payload of a point that is known to be there.
pub(super) fn read(connection: &Connection, number: i64) -> Result<(Uuid, Payload), StoreError> {
    let (id, headings, mut payload) = connection
        .prepare_cached(
            "SELECT id, headings, source, media_type, title, text, prefix, span_start, span_end, extracted, line,
                 ordinal, text_hash
             FROM points WHERE number = ?1",
        )?
        .query_row([number], from_row)?;
    payload.headings =
        serde_json::from_str(&headings).map_err(|error| StoreError::Failed(Box::new(error)))?;
    payload.metadata = connection
        .prepare_cached("SELECT key, value FROM metadata WHERE point = ?1 ORDER BY place")?
        .query_map([number], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok((id, payload))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(Uuid, String, Payload)> {
    let span = |start: i64, end: i64| Span::new(start as usize, end as usize);
    let payload = Payload {
        source: row.get(2)?,
        media_type: row.get(3)?,
        title: row.get(4)?,
        text: row.get(5)?,
        prefix: row.get(6)?,
        span: row.get::<_, Option<i64>>(7)?.zip(row.get(8)?).map(|(start, end)| span(start, end)),
        extracted: row.get(9)?,
        line: row.get(10)?,
        ordinal: row.get(11)?,
        text_hash: row.get::<_, Option<[u8; 16]>>(12)?.map(TextHash::from_bytes).unwrap_or_default(),
        ..Payload::default()
    };
    Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?, payload))
}

/// Points by id, in the order of `ids`, as far as they are there.
pub(super) fn by_ids(
    connection: &Connection,
    collection: i64,
    ids: &[Uuid],
) -> Result<Vec<Point>, StoreError> {
    let mut points = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(number) = number_of(connection, collection, *id)? {
            points.push(read_whole(connection, number)?);
        }
    }
    Ok(points)
}

/// The first points in the order of ids, of those after `after`.
pub(super) fn page(
    connection: &Connection,
    collection: i64,
    after: Option<Uuid>,
    limit: usize,
) -> Result<Vec<Point>, StoreError> {
    // No id is shorter than any other: what comes after nothing is all.
    let after = after.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
    let mut statement = connection
        .prepare_cached("SELECT number FROM points WHERE collection = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?;
    let numbers = statement.query_map(params![collection, after, limit as i64], |row| row.get(0))?;
    numbers.map(|number| read_whole(connection, number?)).collect()
}

/// The vector of one point for each text that a point of the collection was made of.
pub(super) fn known_vectors(
    connection: &Connection,
    collection: i64,
    texts: &[TextHash],
) -> Result<HashMap<TextHash, Embedding>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT value FROM vectors WHERE point =
             (SELECT min(number) FROM points WHERE collection = ?1 AND text_hash = ?2)",
    )?;
    let mut known = HashMap::new();
    for text in texts.iter().filter(|text| text.is_known()) {
        let vector = statement
            .query_row(params![collection, text.as_bytes()], |row| Ok(embedding(row.get_ref(0)?.as_blob()?)));
        if let Some(vector) = vector.optional()? {
            known.insert(*text, vector?);
        }
    }
    Ok(known)
}

/// Reads a point that is known to be there.
fn read_whole(connection: &Connection, number: i64) -> Result<Point, StoreError> {
    let (id, payload) = read(connection, number)?;
    let dense = connection
        .prepare_cached("SELECT value FROM vectors WHERE point = ?1")?
        .query_row([number], |row| Ok(embedding(row.get_ref(0)?.as_blob()?)))??;
    let sparse = connection
        .prepare_cached("SELECT value FROM words WHERE point = ?1")?
        .query_row([number], |row| Ok(words::from_bytes(row.get_ref(0)?.as_blob()?)))?
        .ok_or_else(|| damaged("the words of a point"))?;
    Ok(Point { id, dense, sparse, payload })
}

fn embedding(bytes: &[u8]) -> Result<Embedding, StoreError> {
    let (values, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
    Embedding::new(values).map_err(|error| StoreError::Failed(Box::new(error)))
}

pub(super) fn existing(
    connection: &Connection,
    collection: i64,
    ids: &[Uuid],
) -> rusqlite::Result<Vec<Uuid>> {
    let mut there = Vec::new();
    for id in ids {
        if number_of(connection, collection, *id)?.is_some() {
            there.push(*id);
        }
    }
    Ok(there)
}

pub(super) fn delete(transaction: &Transaction<'_>, collection: i64, ids: &[Uuid]) -> Result<(), StoreError> {
    let numbers = numbers_of(transaction, collection, ids.iter().copied())?;
    remove(transaction, collection, numbers)
}

pub(super) fn delete_matching(
    transaction: &Transaction<'_>,
    collection: i64,
    filter: &Filter,
) -> Result<(), StoreError> {
    let numbers = matching(transaction, collection, filter)?;
    remove(transaction, collection, numbers)
}

/// Deletes points that are there, each named once.
fn remove(transaction: &Transaction<'_>, collection: i64, numbers: Vec<i64>) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached("DELETE FROM points WHERE number = ?1")?;
    for number in &numbers {
        statement.execute([number])?;
    }
    segments::remove(transaction, collection, numbers)
}

/// Deletes all points of a collection.
pub(super) fn delete_all(transaction: &Transaction<'_>, collection: i64) -> Result<(), StoreError> {
    segments::delete_all(transaction, collection)?;
    let (first, last) = range(collection);
    for (table, number) in
        [("metadata", "point"), ("vectors", "point"), ("words", "point"), ("points", "number")]
    {
        let statement = format!("DELETE FROM {table} WHERE {number} BETWEEN ?1 AND ?2");
        transaction.execute(&statement, [first, last])?;
    }
    Ok(())
}

/// The numbers of the points that a filter matches.
pub(super) fn matching(
    connection: &Connection,
    collection: i64,
    filter: &Filter,
) -> Result<Vec<i64>, StoreError> {
    let mut condition = sql::compile(Some(filter))?;
    condition.values.insert(0, collection.into());
    let mut statement = connection
        .prepare(&format!("SELECT number FROM points WHERE collection = ? AND {}", condition.sql))?;
    let numbers = statement.query_map(params_from_iter(condition.values), |row| row.get(0))?;
    Ok(numbers.collect::<Result<_, _>>()?)
}

pub(super) fn count(
    connection: &Connection,
    collection: i64,
    filter: Option<&Filter>,
) -> Result<u64, StoreError> {
    let Some(filter) = filter else { return Ok(segments::count(connection, collection)?) };
    let mut condition = sql::compile(Some(filter))?;
    condition.values.insert(0, collection.into());
    let statement = format!("SELECT count(*) FROM points WHERE collection = ? AND {}", condition.sql);
    let n_points: i64 =
        connection.query_row(&statement, params_from_iter(condition.values), |row| row.get(0))?;
    Ok(n_points.cast_unsigned())
}

fn number_of(connection: &Connection, collection: i64, id: Uuid) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT number FROM points WHERE collection = ?1 AND id = ?2")?
        .query_row(params![collection, id.as_bytes()], |row| row.get(0))
        .optional()
}

/// The numbers of points that are there, each once.
fn numbers_of(
    connection: &Connection,
    collection: i64,
    ids: impl Iterator<Item = Uuid>,
) -> rusqlite::Result<Vec<i64>> {
    let mut statement =
        connection.prepare_cached("SELECT number FROM points WHERE collection = ?1 AND id = ?2")?;
    let mut numbers = BTreeSet::new();
    for id in ids {
        let number = statement.query_row(params![collection, id.as_bytes()], |row| row.get::<_, i64>(0));
        numbers.extend(number.optional()?);
    }
    Ok(numbers.into_iter().collect())
}
