//! Writing points and reading them back.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter};
use uuid::Uuid;

use super::schema::POINT_BITS;
use super::sql;
use crate::analyzer::SparseVector;
use crate::document::Span;
use crate::model::Embedding;
use crate::store::filter::as_number;
use crate::store::scan::normalised;
use crate::store::{Filter, Payload, Point, StoreError, TextHash};

/// The numbers that points of a collection may have, both ends included.
pub(super) fn range(collection: i64) -> (i64, i64) {
    (collection << POINT_BITS, ((collection + 1) << POINT_BITS) - 1)
}

pub(super) fn upsert(
    transaction: &Transaction<'_>,
    collection: i64,
    points: &[Point],
) -> rusqlite::Result<()> {
    let (first, last) = range(collection);
    let mut next: i64 = transaction
        .prepare_cached("SELECT coalesce(max(number) + 1, ?1) FROM points WHERE number BETWEEN ?1 AND ?2")?
        .query_row([first, last], |row| row.get(0))?;
    for point in points {
        let number = match number_of(transaction, collection, point.id)? {
            Some(number) => {
                transaction.prepare_cached("DELETE FROM points WHERE number = ?1")?.execute([number])?;
                number
            }
            None => {
                next += 1;
                next - 1
            }
        };
        insert(transaction, collection, number, point)?;
    }
    Ok(())
}

fn insert(
    transaction: &Transaction<'_>,
    collection: i64,
    number: i64,
    point: &Point,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO points (number, collection, id, source, media_type, headings, text, extracted, line, ordinal)
             VALUES (?1, ?2, ?3, '', '', '[]', '', 0, 0, 0)",
        )?
        .execute(params![number, collection, point.id.as_bytes()])?;
    write_payload(transaction, number, &point.payload)?;

    let vector: Vec<u8> = normalised(point.dense.values()).into_iter().flat_map(f32::to_le_bytes).collect();
    transaction
        .prepare_cached("INSERT INTO vectors (point, id, value) VALUES (?1, ?2, ?3)")?
        .execute(params![number, point.id.as_bytes(), vector])?;

    let mut statement =
        transaction.prepare_cached("INSERT INTO postings (term, point, weight) VALUES (?1, ?2, ?3)")?;
    for (term, weight) in point.sparse.terms.iter().zip(&point.sparse.weights) {
        statement.execute(params![term, number, weight])?;
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
            serde_json::json!(payload.headings).to_string(),
            payload.text,
            payload.prefix,
            payload.span.map(|span| span.start as i64),
            payload.span.map(|span| span.end as i64),
            payload.extracted,
            payload.line,
            payload.ordinal,
            payload.text_hash.is_known().then_some(payload.text_hash.as_bytes()),
        ])?;
    transaction.prepare_cached("DELETE FROM metadata WHERE point = ?1")?.execute([number])?;
    let mut statement = transaction.prepare_cached(
        "INSERT INTO metadata (point, place, key, value, number) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (place, (key, value)) in payload.metadata.iter().enumerate() {
        statement.execute(params![number, place as i64, key, value, as_number(value)])?;
    }
    Ok(())
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
    let mut statement =
        connection.prepare_cached("SELECT term, weight FROM postings WHERE point = ?1 ORDER BY term")?;
    let mut sparse = SparseVector::default();
    let mut rows = statement.query([number])?;
    while let Some(row) = rows.next()? {
        sparse.terms.push(row.get(0)?);
        sparse.weights.push(row.get(1)?);
    }
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

pub(super) fn delete(transaction: &Transaction<'_>, collection: i64, ids: &[Uuid]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached("DELETE FROM points WHERE collection = ?1 AND id = ?2")?;
    for id in ids {
        statement.execute(params![collection, id.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn delete_matching(
    transaction: &Transaction<'_>,
    collection: i64,
    filter: &Filter,
) -> Result<(), StoreError> {
    let mut condition = sql::compile(Some(filter))?;
    condition.values.insert(0, collection.into());
    let statement = format!("DELETE FROM points WHERE collection = ? AND {}", condition.sql);
    transaction.execute(&statement, params_from_iter(condition.values))?;
    Ok(())
}

pub(super) fn count(
    connection: &Connection,
    collection: i64,
    filter: Option<&Filter>,
) -> Result<u64, StoreError> {
    let mut condition = sql::compile(filter)?;
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
