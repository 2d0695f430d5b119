//! Files that hold records: each line of JSON, each row of a table is a document of its own, and
//! its spans lead into the file's own bytes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod csv; // a row → its fields
mod json; // a line → its fields
mod piece; // fields → a text and the way back
mod script; // the encoding of a file that is read record by record
mod split; // a file → where its records begin and end
mod walk; // a file → its records as documents

use super::encoding::{Encoding, Says};
use super::media;
use super::text::{DecodeError, Text};
use crate::document::SourceMap;

pub(super) use walk::{Seen, walk};

/// Names of fields that are looked for where none is named.
const USUAL_TEXTS: [&str; 3] = ["text", "content", "body"];
const USUAL_IDS: [&str; 2] = ["id", "_id"];
const USUAL_TITLES: [&str; 1] = ["title"];
/// Names that an error lists, and characters of each.
const MAX_NAMES: usize = 12;
const MAX_SHOWN: usize = 60;

/// How files of records are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordOptions {
    pub format: Format,
    /// Names, dotted paths or JSON pointers; columns by name or number.
    pub text_fields: Vec<String>,
    pub id_field: Option<String>,
    pub title_field: Option<String>,
    pub metadata_fields: Vec<String>,
    /// The first row of a table is a record, and columns have numbers only.
    pub no_header: bool,
    /// Between the columns; else the one that the first line has most of.
    pub delimiter: Option<char>,
}

/// Which files hold records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Those whose name says so.
    #[default]
    Auto,
    /// None: a file is one document.
    Never,
    /// A file that is named holds lines of JSON, whatever its name is; files in folders as for `Auto`.
    Jsonl,
    /// The same for rows between commas, or another delimiter.
    Csv,
    /// The same for rows between tabs.
    Tsv,
}

impl RecordOptions {
    /// The media type of a file of records; nothing for any other file.
    pub(super) fn media_type(&self, by_name: &'static str, is_named: bool) -> Option<&'static str> {
        match self.format {
            Format::Never => None,
            Format::Jsonl if is_named => Some(media::JSONL),
            Format::Csv if is_named => Some(media::CSV),
            Format::Tsv if is_named => Some(media::TSV),
            Format::Auto | Format::Jsonl | Format::Csv | Format::Tsv => {
                [media::JSONL, media::CSV, media::TSV].into_iter().find(|known| *known == by_name)
            }
        }
    }
}

/// How the records of one file are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    Lines(json::Fields),
    Table(csv::Columns),
}

/// What a record says beside its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) title: Option<String>,
    pub(super) metadata: Vec<(String, String)>,
}

/// A record's text, and the way back to the record.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) text: String,
    pub(super) map: SourceMap,
    pub(super) parts: Parts,
}

/// A file with what it takes to read one of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordFile {
    pub(super) path: String,
    pub(super) shape: Shape,
    pub(super) encoding: Encoding,
    /// Of the shape and the encoding.
    hash: [u8; 32],
}

impl RecordFile {
    pub(super) fn new(path: &str, shape: Shape, encoding: Encoding) -> Arc<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(serde_json::to_string(&shape).unwrap_or_default().as_bytes());
        hasher.update(encoding.name().as_bytes());
        Arc::new(Self { path: path.to_owned(), shape, encoding, hash: *hasher.finalize().as_bytes() })
    }
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) file: Arc<RecordFile>,
    /// Bytes of the file.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Its first line, counted from 1.
    pub(super) line: u64,
}

impl Record {
    /// Of all that decides which text a record is, and where.
    pub(super) fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.file.hash);
        hasher.update(&self.start.to_le_bytes());
        hasher.update(&self.line.to_le_bytes());
        hasher.update(bytes);
        *hasher.finalize().as_bytes()
    }

    /// The record as it stands in the file now.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.file.path)?;
        file.seek(SeekFrom::Start(self.start))?;
        let length = usize::try_from(self.end - self.start).unwrap_or_default();
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Its text, and that of all the record.
    pub(super) fn decode(&self, bytes: Vec<u8>) -> Result<(Text, Selected), DecodeError> {
        let base = usize::try_from(self.start).unwrap_or(usize::MAX);
        let whole = Text::of_part(bytes, self.file.encoding, base, Says::Looks)?;
        let selected = match &self.file.shape {
            Shape::Lines(fields) => fields.select(&whole.text),
            Shape::Table(columns) => columns.select(&whole.text),
        };
        let selected = selected.map_err(|reason| DecodeError::Record { line: self.line, reason })?;
        Ok((whole, selected))
    }
}

/// Names as an error lists them.
fn named<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let short = |name: &str| name.chars().take(MAX_SHOWN).collect::<String>();
    let shown: Vec<String> = names.iter().take(MAX_NAMES).map(|name| format!("`{}`", short(name))).collect();
    match names.len().checked_sub(MAX_NAMES) {
        _ if names.is_empty() => "none".to_owned(),
        Some(more @ 1..) => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests;
