//! The tables, and how files of older versions become files of this one.

use rusqlite::Connection;

/// The format of the file, in its `user_version`.
pub(super) const FORMAT: u32 = 3;

/// A point's number carries its collection's above these bits, so that the
/// vectors of a collection lie side by side.
pub(super) const POINT_BITS: u32 = 40;

/// Makes the tables of a new file, or brings those of an older one up to date.
pub(super) fn make(connection: &Connection, have: u32) -> rusqlite::Result<()> {
    let steps: &[&str] = match have {
        0 => &[COLLECTIONS, POINTS, SOURCES, HISTORY],
        1 => &[COVERAGE, GENERATIONS, SOURCES, HISTORY, OLD_SOURCES],
        2 => &[GENERATIONS, SOURCES, HISTORY, OLD_SOURCES],
        _ => &[],
    };
    steps.iter().try_for_each(|step| connection.execute_batch(step))
}

/// Each row of `collections` is a generation.
const COLLECTIONS: &str = "
CREATE TABLE collections (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL,
    dimensions INTEGER NOT NULL, space TEXT NOT NULL, language TEXT,
    pipeline TEXT NOT NULL DEFAULT ''
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
CREATE TABLE postings (
    term INTEGER NOT NULL, point INTEGER NOT NULL REFERENCES points ON DELETE CASCADE,
    weight REAL NOT NULL,
    PRIMARY KEY (term, point)
) STRICT, WITHOUT ROWID;
CREATE INDEX postings_point ON postings (point);
";

/// What is large stands last: whoever looks for changes does not read it.
const SOURCES: &str = "
CREATE TABLE documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    place TEXT NOT NULL, collection TEXT NOT NULL, source TEXT NOT NULL,
    size INTEGER NOT NULL, modified INTEGER NOT NULL, content BLOB NOT NULL,
    pipeline TEXT NOT NULL, etag TEXT, encoding TEXT, n_tokens INTEGER NOT NULL DEFAULT 0,
    origin TEXT NOT NULL DEFAULT '', coverage TEXT, points BLOB NOT NULL,
    UNIQUE (place, collection, source)
) STRICT;
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
