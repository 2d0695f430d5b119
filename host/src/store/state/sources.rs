//! Records of documents: what was indexed of each, by its source and by its number.

use rusqlite::{Row, Statement, params};
use uuid::Uuid;

use super::IndexState;
use crate::document::Coverage;
use crate::store::{SourceRecord, StoreError, coverage, names};

/// What tells whether a document has changed, without what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// The record's, as long as there is one for this document; never given twice.
    pub number: i64,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// BLAKE3 of the document's bytes.
    pub content: [u8; 32],
    pub pipeline: String,
    pub etag: Option<String>,
}

/// Sums over the records of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub n_documents: u64,
    pub n_bytes: u64,
    pub n_tokens: u64,
    /// Of all that are recorded; those of documents that a stopped run was at work on may not be stored.
    pub n_points: u64,
}

/// All of a record, in the order in which `record_from` reads it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT number, source, size, modified, content, pipeline, points, coverage, etag, origin,
                 encoding, n_tokens
             FROM documents ",
            $rest
        )
    };
}

impl IndexState {
    /// All documents of a generation whose source begins with `prefix`, by source.
    pub async fn sources(&self, collection: &str, prefix: &str) -> Result<Vec<SourceRecord>, StoreError> {
        let (place, collection, prefix) = (self.place.clone(), collection.to_owned(), prefix.to_owned());
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(select!(
                    "WHERE place = ?1 AND collection = ?2 AND source >= ?3
                       AND substr(source, 1, length(?3)) = ?3
                     ORDER BY source"
                ))?;
                let records = statement.query_map(params![place, collection, prefix], record_from)?;
                Ok(records.collect::<Result<_, _>>()?)
            })
            .await
    }

    pub async fn source(&self, collection: &str, source: &str) -> Result<Option<SourceRecord>, StoreError> {
        let found = self.look_up(collection, &[source.to_owned()]).await?;
        Ok(found.into_iter().flatten().next().map(|(_, record)| record))
    }

    /// What was recorded of each of these documents, with its number.
    pub async fn look_up(
        &self,
        collection: &str,
        sources: &[String],
    ) -> Result<Vec<Option<(i64, SourceRecord)>>, StoreError> {
        let statement = select!("WHERE place = ?1 AND collection = ?2 AND source = ?3");
        self.each(collection, sources, statement, numbered_from).await
    }

    /// As `look_up`, for whoever only wants to know whether documents have changed.
    pub async fn stamps(
        &self,
        collection: &str,
        sources: &[String],
    ) -> Result<Vec<Option<Stamped>>, StoreError> {
        let statement = "SELECT number, size, modified, content, pipeline, etag FROM documents
             WHERE place = ?1 AND collection = ?2 AND source = ?3";
        self.each(collection, sources, statement, stamp_from).await
    }

    /// What `statement` finds for each source, in one read.
    async fn each<T: Send + 'static>(
        &self,
        collection: &str,
        sources: &[String],
        statement: &'static str,
        from_row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<Option<T>>, StoreError> {
        let (place, collection, sources) = (self.place.clone(), collection.to_owned(), sources.to_vec());
        self.database
            .read(move |connection| {
                let snapshot = connection.unchecked_transaction()?;
                let mut statement = snapshot.prepare_cached(statement)?;
                statement.raw_bind_parameter(1, place)?;
                statement.raw_bind_parameter(2, collection)?;
                let find = |source: &String| {
                    statement.raw_bind_parameter(3, source)?;
                    statement.raw_query().next()?.map(from_row).transpose()
                };
                Ok(sources.iter().map(find).collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    /// A page of records in the order of their numbers, after `after_number`.
    pub async fn page(
        &self,
        collection: &str,
        after_number: i64,
        limit: usize,
    ) -> Result<Vec<(i64, SourceRecord)>, StoreError> {
        let (place, collection, limit) = (self.place.clone(), collection.to_owned(), limit as i64);
        self.database
            .read(move |connection| {
                // The sign keeps SQLite from sorting all records of the collection for each page.
                let mut statement = connection.prepare_cached(select!(
                    "WHERE number > ?3 AND +place = ?1 AND +collection = ?2 ORDER BY number LIMIT ?4"
                ))?;
                let records =
                    statement.query_map(params![place, collection, after_number, limit], numbered_from)?;
                Ok(records.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Where the text of all documents of a generation went, of those that it is known of.
    pub async fn coverage(&self, collection: &str) -> Result<Coverage, StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT coverage FROM documents
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

    /// Sums over all documents of a generation.
    pub async fn totals(&self, collection: &str) -> Result<Totals, StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .read(move |connection| {
                // Sizes are kept as signed numbers of the same bits: a sum of integers might overflow.
                let mut statement = connection.prepare_cached(
                    "SELECT count(*), total(size), total(n_tokens), total(length(points) / 16) FROM documents
                     WHERE place = ?1 AND collection = ?2",
                )?;
                let totals = statement.query_row(params![place, collection], |row| {
                    Ok(Totals {
                        n_documents: row.get::<_, i64>(0)?.cast_unsigned(),
                        n_bytes: row.get::<_, f64>(1)? as u64,
                        n_tokens: row.get::<_, f64>(2)? as u64,
                        n_points: row.get::<_, f64>(3)? as u64,
                    })
                })?;
                Ok(totals)
            })
            .await
    }

    /// Returns the numbers of the records. One that replaces another keeps its number.
    ///
    /// Survives a power cut once it returned; all of the records or none.
    pub async fn record(&self, collection: &str, records: Vec<SourceRecord>) -> Result<Vec<i64>, StoreError> {
        names::check_stored_name(collection)?;
        self.record_as(collection.to_owned(), records).await
    }

    /// As `record`, whatever the records are kept under.
    pub(super) async fn record_as(
        &self,
        collection: String,
        records: Vec<SourceRecord>,
    ) -> Result<Vec<i64>, StoreError> {
        let place = self.place.clone();
        self.database
            .write(move |transaction| {
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO documents (place, collection, source, size, modified, content, pipeline,
                         points, coverage, etag, origin, encoding, n_tokens)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                     ON CONFLICT (place, collection, source) DO UPDATE SET
                         size = excluded.size, modified = excluded.modified, content = excluded.content,
                         pipeline = excluded.pipeline, points = excluded.points,
                         coverage = excluded.coverage, etag = excluded.etag, origin = excluded.origin,
                         encoding = excluded.encoding, n_tokens = excluded.n_tokens
                     RETURNING number",
                )?;
                let write = |record| write(&mut statement, &place, &collection, record);
                Ok(records.iter().map(write).collect::<Result<_, _>>()?)
            })
            .await
    }

    /// What is not known is no error.
    pub async fn forget(&self, collection: &str, sources: Vec<String>) -> Result<(), StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .write(move |transaction| {
                let mut statement = transaction.prepare_cached(
                    "DELETE FROM documents WHERE place = ?1 AND collection = ?2 AND source = ?3",
                )?;
                for source in &sources {
                    statement.execute(params![place, collection, source])?;
                }
                Ok(())
            })
            .await
    }

    /// Forgets all documents of a generation.
    pub async fn forget_all(&self, collection: &str) -> Result<(), StoreError> {
        let (place, collection) = (self.place.clone(), collection.to_owned());
        self.database
            .write(move |transaction| {
                let statement = "DELETE FROM documents WHERE place = ?1 AND collection = ?2";
                transaction.execute(statement, params![place, collection])?;
                Ok(())
            })
            .await
    }
}

fn write(
    statement: &mut Statement<'_>,
    place: &str,
    collection: &str,
    record: &SourceRecord,
) -> rusqlite::Result<i64> {
    let values = params![
        place,
        collection,
        record.source,
        record.size.cast_signed(),
        record.modified,
        record.content,
        record.pipeline,
        record.points.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<u8>>(),
        record.coverage.as_ref().and_then(coverage::to_json),
        record.etag,
        record.origin,
        record.encoding,
        record.n_tokens.cast_signed(),
    ];
    statement.query_row(values, |row| row.get(0))
}

fn numbered_from(row: &Row<'_>) -> rusqlite::Result<(i64, SourceRecord)> {
    Ok((row.get(0)?, record_from(row)?))
}

fn record_from(row: &Row<'_>) -> rusqlite::Result<SourceRecord> {
    let points = row.get_ref(6)?.as_blob()?;
    let covered = row.get_ref(7)?.as_str_or_null()?;
    let (ids, _) = points.as_chunks::<16>();
    Ok(SourceRecord {
        source: row.get(1)?,
        size: row.get::<_, i64>(2)?.cast_unsigned(),
        modified: row.get(3)?,
        content: row.get(4)?,
        pipeline: row.get(5)?,
        points: ids.iter().map(|id| Uuid::from_bytes(*id)).collect(),
        coverage: covered.and_then(coverage::from_json),
        etag: row.get(8)?,
        origin: row.get(9)?,
        encoding: row.get(10)?,
        n_tokens: row.get::<_, i64>(11)?.cast_unsigned(),
    })
}

fn stamp_from(row: &Row<'_>) -> rusqlite::Result<Stamped> {
    Ok(Stamped {
        number: row.get(0)?,
        size: row.get::<_, i64>(1)?.cast_unsigned(),
        modified: row.get(2)?,
        content: row.get(3)?,
        pipeline: row.get(4)?,
        etag: row.get(5)?,
    })
}
