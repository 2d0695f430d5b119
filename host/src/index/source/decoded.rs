//! A document's text as it was read, with the way back to the bytes of the original file.

use super::records::{Parts, Record, Selected};
use super::text::{DecodeError, Hints, Text};
use crate::document::{SourceMap, Span};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What a record says of itself.
    said: Parts,
    /// The document, or all of its record.
    whole: Text,
    part: Option<Part>,
}

/// The part of a record that is the document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    /// To the text of the record.
    map: SourceMap,
    /// The record's first line.
    line: u64,
}

impl Decoded {
    pub(super) fn of_file(bytes: Vec<u8>, hints: &Hints<'_>) -> Result<Self, DecodeError> {
        let whole = Text::new(bytes, hints)?;
        Ok(Self { said: Parts::default(), whole, part: None })
    }

    pub(super) fn of_record(record: &Record, bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let (whole, Selected { text, map, parts: said }) = record.decode(bytes)?;
        Ok(Self { said, whole, part: Some(Part { text, map, line: record.line }) })
    }

    pub fn text(&self) -> &str {
        self.part.as_ref().map_or(&self.whole.text, |part| &part.text)
    }

    /// What the document says of itself beside its text: its title, and other fields by name.
    pub fn said(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let title = self.said.title.iter().map(|title| ("title".to_owned(), title.clone()));
        title.chain(self.said.metadata.iter().cloned())
    }

    /// The name of the encoding that the file is in.
    pub fn encoding(&self) -> &'static str {
        self.whole.encoding.name()
    }

    /// Where each of `spans` of the text stands in the file, in one pass if their ends ascend.
    ///
    /// What stands there is the same text in the file's own encoding, or what was written for
    /// it: escapes, doubled quotes.
    pub fn file_spans(&self, spans: &[Span]) -> Vec<Span> {
        match &self.part {
            None => self.whole.spans(spans),
            Some(part) => self.whole.spans(&part.in_record(spans)),
        }
    }

    /// The line of the file on which each of `spans` begins, counted from 1.
    pub fn lines(&self, spans: &[Span]) -> Vec<u32> {
        let (spans, first) = match &self.part {
            None => (spans.to_vec(), 1),
            Some(part) => (part.in_record(spans), part.line),
        };
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', self.whole.text.as_bytes()).collect();
        let line = |span: &Span| first + ends.partition_point(|end| *end < span.start) as u64;
        spans.iter().map(|span| u32::try_from(line(span)).unwrap_or(u32::MAX)).collect()
    }
}

#[cfg(test)]
impl Decoded {
    /// Of a file without a name.
    pub(in crate::index) fn of(bytes: &[u8]) -> Self {
        let (assumed, media_type) = (super::Assumed::Detect, super::media::PLAIN);
        let hints = Hints { assumed, language: None, charset: None, media_type };
        Self::of_file(bytes.to_vec(), &hints).expect("it is text")
    }
}

impl Part {
    fn in_record(&self, spans: &[Span]) -> Vec<Span> {
        spans.iter().map(|span| self.map.to_source(*span).unwrap_or(Span::new(0, 0))).collect()
    }
}
