//! The tables, and how files of older versions become files of this one.

use rusqlite::Transaction;

use super::{points, segments, words};
use crate::analyzer::SparseVector;
use crate::store::StoreError;

/// The format of the file, in its `user_version`.
pub(super) const FORMAT: u32 = 3;

/// A point's number carries its collection's above these bits, so that the
/// vectors of a collection lie side by side.
pub(super) const POINT_BITS: u32 = 40;

/// Makes the tables of a new file, or brings those of an older one up to date.
pub(super) fn make(transaction: &Transaction<'_>, have: u32) -> Result<(), StoreError> {
    let steps: &[&str] = match have {
        0 => &[COLLECTIONS, POINTS, WORDS, SOURCES, HISTORY],
        1 => &[COVERAGE, GENERATIONS, SOURCES, HISTORY, OLD_SOURCES, OLD_POSTINGS, WORDS],
        2 => &[GENERATIONS, SOURCES, HISTORY, OLD_SOURCES, OLD_POSTINGS, WORDS],
        _ => &[],
    };
    if 0 < have {
        tracing::info!(from = have, to = FORMAT, "the store's file is brought up to date");
    }
    steps.iter().try_for_each(|step| transaction.execute_batch(step))?;
    if (1..=2).contains(&have) {
        segments_of_old_postings(transaction)?;
    }
    Ok(())
}

/// Each row of `collections` is a generation. The number of its next point
/// counts from its first: no number is given twice.
const COLLECTIONS: &str = "
CREATE TABLE collections (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL,
    dimensions INTEGER NOT NULL, space TEXT NOT NULL, language TEXT,
    pipeline TEXT NOT NULL DEFAULT '', next_point INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE aliases (
    name TEXT PRIMARY KEY, collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_collection ON aliases (collection);
";

/// The hash of a text is absent where it is not known.
const POINTS: &str = "
CREATE TABLE points (
    number INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    id BLOB NOT NULL, source TEXT NOT NULL, media_type TEXT NOT NULL, title TEXT,
    headings TEXT NOT NULL, text TEXT NOT NULL, prefix TEXT,
    span_start INTEGER, span_end INTEGER, extracted INTEGER NOT NULL,
    line INTEGER NOT NULL, ordinal INTEGER NOT NULL, text_hash BLOB,
    UNIQUE (collection, id)
) STRICT;
CREATE INDEX points_source ON points (collection, source);
CREATE INDEX points_text ON points (collection, text_hash) WHERE text_hash IS NOT NULL;
CREATE TABLE metadata (
    point INTEGER NOT NULL REFERENCES points ON DELETE CASCADE, place INTEGER NOT NULL,
    key TEXT NOT NULL, value TEXT NOT NULL, number REAL,
    PRIMARY KEY (point, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE vectors (
    point INTEGER PRIMARY KEY REFERENCES points ON DELETE CASCADE,
    id BLOB NOT NULL, value BLOB NOT NULL
) STRICT;
";

/// The words of points, and which points have a word.
const WORDS: &str = "
CREATE TABLE words (
    point INTEGER PRIMARY KEY REFERENCES points ON DELETE CASCADE, value BLOB NOT NULL
) STRICT;
CREATE TABLE segments (
    number INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    first INTEGER NOT NULL, length INTEGER NOT NULL,
    n_written INTEGER NOT NULL, n_points INTEGER NOT NULL, gone BLOB NOT NULL
) STRICT;
CREATE INDEX segments_collection ON segments (collection, first);
CREATE TABLE postings (block INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
";

/// What is large stands last: whoever looks for changes does not read it. The
/// source comes first in its index, because it is what tells documents apart.
const SOURCES: &str = "
CREATE TABLE documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    place TEXT NOT NULL, collection TEXT NOT NULL, source TEXT NOT NULL,
    size INTEGER NOT NULL, modified INTEGER NOT NULL, content BLOB NOT NULL,
    pipeline TEXT NOT NULL, etag TEXT, encoding TEXT, n_tokens INTEGER NOT NULL DEFAULT 0,
    origin TEXT NOT NULL DEFAULT '', coverage TEXT, points BLOB NOT NULL,
    UNIQUE (source, collection, place)
) STRICT;
CREATE INDEX documents_collection ON documents (place, collection);
";

/// What was asked for, how it went, and how fast.
const HISTORY: &str = "
CREATE TABLE roots (
    number INTEGER PRIMARY KEY, place TEXT NOT NULL, collection TEXT NOT NULL, root TEXT NOT NULL,
    UNIQUE (place, collection, root)
) STRICT;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, place TEXT NOT NULL, collection TEXT NOT NULL,
    began INTEGER NOT NULL, ended INTEGER NOT NULL, outcome TEXT NOT NULL, summary TEXT NOT NULL
) STRICT;
CREATE INDEX runs_collection ON runs (place, collection);
CREATE TABLE imports (
    place TEXT NOT NULL, generation TEXT NOT NULL, PRIMARY KEY (place, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE speeds (
    model TEXT PRIMARY KEY, n_tokens INTEGER NOT NULL, seconds REAL NOT NULL
) STRICT, WITHOUT ROWID;
";

/// From format 1 to 2.
const COVERAGE: &str = "ALTER TABLE sources ADD COLUMN coverage TEXT";

/// From format 2 to 3: a collection becomes its own first generation.
const GENERATIONS: &str = "
ALTER TABLE collections ADD COLUMN pipeline TEXT NOT NULL DEFAULT '';
CREATE TABLE aliases (
    name TEXT PRIMARY KEY, collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_collection ON aliases (collection);
INSERT INTO aliases (name, collection) SELECT name, number FROM collections;
UPDATE collections SET name = name || '@1';
ALTER TABLE points ADD COLUMN text_hash BLOB;
CREATE INDEX points_text ON points (collection, text_hash) WHERE text_hash IS NOT NULL;
";

/// From format 2 to 3: records of the collections in this file are those of
/// their first generations. Qdrant's have another place, and stay as they are.
const OLD_SOURCES: &str = "
INSERT INTO documents (place, collection, source, size, modified, content, pipeline, coverage, points)
    SELECT place, iif(place = '', collection || '@1', collection), source, size, modified, content,
        pipeline, coverage, points
    FROM sources ORDER BY place, collection, source;
DROP TABLE sources;
";

/// From format 2 to 3: a row for each term of each point becomes segments.
const OLD_POSTINGS: &str = "
ALTER TABLE postings RENAME TO old_postings;
ALTER TABLE collections ADD COLUMN next_point INTEGER NOT NULL DEFAULT 0;
";

/// Points whose postings are brought up to date together.
const N_TOGETHER: usize = 4096;

fn segments_of_old_postings(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut collections = transaction.prepare("SELECT number FROM collections ORDER BY number")?;
    let collections: Vec<i64> = collections.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for collection in collections {
        let (first, last) = points::range(collection);
        let mut next = first;
        loop {
            let vectors = old_vectors(transaction, next, last)?;
            let Some((number, _)) = vectors.last() else { break };
            next = number + 1;
            let mut insert =
                transaction.prepare_cached("INSERT INTO words (point, value) VALUES (?1, ?2)")?;
            for (number, vector) in &vectors {
                insert.execute((number, words::to_bytes(vector)))?;
            }
            let vectors: Vec<_> = vectors.iter().map(|(number, vector)| (*number, vector)).collect();
            segments::add(transaction, collection, &vectors)?;
        }
        transaction.execute(
            "UPDATE collections SET next_point = ?2 WHERE number = ?1",
            (collection, next - first),
        )?;
    }
    Ok(transaction.execute_batch("DROP TABLE old_postings")?)
}

/// The vectors of the first points from `next` to `last`.
fn old_vectors(
    transaction: &Transaction<'_>,
    next: i64,
    last: i64,
) -> rusqlite::Result<Vec<(i64, SparseVector)>> {
    let mut numbers = transaction.prepare_cached(
        "SELECT number FROM points WHERE number BETWEEN ?1 AND ?2 ORDER BY number LIMIT ?3",
    )?;
    let numbers = numbers.query_map((next, last, N_TOGETHER as i64), |row| row.get(0))?;
    let mut terms =
        transaction.prepare_cached("SELECT term, weight FROM old_postings WHERE point = ?1 ORDER BY term")?;
    let vector = |number: rusqlite::Result<i64>| {
        let number = number?;
        let mut vector = SparseVector::default();
        let mut rows = terms.query([number])?;
        while let Some(row) = rows.next()? {
            vector.terms.push(row.get(0)?);
            vector.weights.push(row.get(1)?);
        }
        Ok((number, vector))
    };
    numbers.map(vector).collect()
}
