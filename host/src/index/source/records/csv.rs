//! One row of a table: its fields, and where they stand in it.

use serde::{Deserialize, Serialize};

use super::piece::{Piece, joined};
use super::{Parts, RecordOptions, Selected, named};
use crate::document::{Patch, Span};

/// Between two fields in a text.
const BETWEEN: &str = "\n";

/// Which columns are what, counted from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::index::source) struct Columns {
    /// One ASCII character.
    pub(super) delimiter: u8,
    pub(super) n_fields: usize,
    pub(super) text: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) metadata: Vec<(String, usize)>,
}

impl Columns {
    /// Finds the columns in the first row: by its names, or by numbers counted from 1.
    pub(super) fn new(first: &str, delimiter: u8, options: &RecordOptions) -> Result<Self, String> {
        let names: Vec<String> =
            fields(first, delimiter).iter().map(|field| field.value(first).trim().to_owned()).collect();
        let header = Header { names: if options.no_header { &[] } else { &names }, n_fields: names.len() };
        let id = header.asked_or_usual(options.id_field.as_deref(), &super::USUAL_IDS)?;
        let title = header.asked_or_usual(options.title_field.as_deref(), &super::USUAL_TITLES)?;
        let metadata = options.metadata_fields.iter().map(|name| Ok((name.clone(), header.column(name)?)));
        let metadata: Vec<_> = metadata.collect::<Result<_, String>>()?;
        let text = if !options.text_fields.is_empty() {
            options.text_fields.iter().map(|name| header.column(name)).collect::<Result<_, _>>()?
        } else if let Some(usual) = header.usual(&super::USUAL_TEXTS) {
            vec![usual]
        } else {
            (0..names.len()).filter(|column| ![id, title].contains(&Some(*column))).collect()
        };
        if text.is_empty() {
            return Err(format!(
                "it has no column of text; it has {}",
                named(names.iter().map(String::as_str))
            ));
        }
        Ok(Self { delimiter, n_fields: names.len(), text, id, title, metadata })
    }

    /// The id of a row; nothing where there is no such column.
    pub(super) fn id(&self, record: &str) -> Result<Option<String>, String> {
        let fields = self.fields(record)?;
        Ok(self.id.map(|column| fields[column].value(record)))
    }

    pub(super) fn select(&self, record: &str) -> Result<Selected, String> {
        let fields = self.fields(record)?;
        let value = |column: usize| Some(fields[column].value(record)).filter(|value| !value.is_empty());
        let title = self.title.and_then(value);
        let metadata =
            self.metadata.iter().filter_map(|(name, column)| Some((name.clone(), value(*column)?)));
        let metadata = metadata.collect();
        let pieces = self.text.iter().map(|column| fields[*column].clone()).collect();
        let (text, map) = joined(record, pieces, BETWEEN)?;
        Ok(Selected { text, map, parts: Parts { title, metadata } })
    }

    /// As many as the first row has: a row with fewer or more is not what it seems to be.
    fn fields(&self, record: &str) -> Result<Vec<Piece>, String> {
        let fields = fields(record, self.delimiter);
        if fields.len() == self.n_fields {
            return Ok(fields);
        }
        Err(format!("it has {} fields, and the first row has {}", fields.len(), self.n_fields))
    }
}

/// The names in the first row.
struct Header<'h> {
    names: &'h [String],
    n_fields: usize,
}

impl Header<'_> {
    fn column(&self, asked: &str) -> Result<usize, String> {
        if let Some(column) = self.names.iter().position(|name| name == asked) {
            return Ok(column);
        }
        let number = asked.parse().ok().filter(|number| (1..=self.n_fields).contains(number));
        number.map(|number: usize| number - 1).ok_or_else(|| match self.names {
            [] => format!("it has no column `{asked}`; it has {} without names: count from 1", self.n_fields),
            names => {
                format!("it has no column `{asked}`; it has {}", named(names.iter().map(String::as_str)))
            }
        })
    }

    fn usual(&self, names: &[&str]) -> Option<usize> {
        names.iter().find_map(|usual| self.names.iter().position(|name| name.eq_ignore_ascii_case(usual)))
    }

    fn asked_or_usual(&self, asked: Option<&str>, usual: &[&str]) -> Result<Option<usize>, String> {
        asked.map_or_else(|| Ok(self.usual(usual)), |asked| self.column(asked).map(Some))
    }
}

/// The delimiter that is most often in the first line, outside quotes; a comma where none is.
pub(super) fn delimiter(first_line: &str) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut is_quoted = false;
    for byte in first_line.bytes() {
        is_quoted ^= byte == b'"';
        if !is_quoted && let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == byte) {
            *count += 1;
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or_default();
    counts.iter().find(|(_, count)| *count == most).map_or(b',', |(delimiter, _)| *delimiter)
}

/// The fields of a row without the end of its line.
pub(super) fn fields(record: &str, delimiter: u8) -> Vec<Piece> {
    let bytes = record.as_bytes();
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let field = if bytes.get(at) == Some(&b'"') {
            quoted(bytes, at, delimiter)
        } else {
            let end = memchr::memchr(delimiter, &bytes[at..]).map_or(bytes.len(), |found| at + found);
            (Piece::verbatim(at, end), end)
        };
        fields.push(field.0);
        if field.1 == bytes.len() {
            return fields;
        }
        at = field.1 + 1;
    }
}

/// A field that begins with a quote at `start`, and where the delimiter behind it is. What stands
/// between the quote that ends it and the delimiter belongs to it.
fn quoted(bytes: &[u8], start: usize, delimiter: u8) -> (Piece, usize) {
    let mut patches = Vec::new();
    let mut at = start + 1;
    while let Some(found) = memchr::memchr(b'"', &bytes[at..]) {
        let quote = at + found;
        if bytes.get(quote + 1) == Some(&b'"') {
            patches.push(Patch { span: Span::new(quote, quote + 2), text: "\"".to_owned() });
            at = quote + 2;
            continue;
        }
        let behind = quote + 1;
        let end = memchr::memchr(delimiter, &bytes[behind..]).map_or(bytes.len(), |found| behind + found);
        let span = if end == behind { Span::new(start + 1, quote) } else { Span::new(start + 1, end) };
        if behind < end {
            patches.push(Patch { span: Span::new(quote, behind), text: String::new() });
        }
        return (Piece { span, patches }, end);
    }
    (Piece { span: Span::new(start + 1, bytes.len()), patches }, bytes.len())
}

#[cfg(test)]
mod tests;
