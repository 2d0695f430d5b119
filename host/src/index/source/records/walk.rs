//! All records of one file, one after another: named, stamped, and told from each other.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow::{self, Continue};
use std::sync::Arc;

use super::script::Script;
use super::split::{Broken, Raw, Splitter, Units};
use super::{MAX_SHOWN, Record, RecordFile, RecordOptions, Shape, csv, json};
use crate::index::source::encoding::{Assumed, Encoding, Says};
use crate::index::source::text::DecodeError;
use crate::index::source::{Found, Item, Limits, Origin, kind, media, modified};

/// Bytes of a record's id, at most.
const MAX_ID: usize = 1024;

/// Whether all records of a file were seen, or some could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::index::source) enum Seen {
    All,
    Some,
}

/// Hands out the records of `file` in their order, in memory for one of them and the ids of all.
pub(in crate::index::source) fn walk(
    file: &Found,
    options: &RecordOptions,
    limits: &Limits,
    give: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> ControlFlow<(), Seen> {
    let failed = |cause: io::Error| (file.source.clone(), format!("cannot read it: {cause}"));
    let opened = File::open(&file.source).and_then(|handle| {
        let before = handle.metadata()?;
        let max_record = usize::try_from(limits.max_file).unwrap_or(usize::MAX);
        Ok((before, Splitter::new(handle, max_record)?))
    });
    let (before, splitter) = match opened {
        Ok(opened) => opened,
        Err(cause) => {
            let (source, reason) = failed(cause);
            give(Item::Failed { source, reason })?;
            return Continue(Seen::Some);
        }
    };
    let mut walk = Walk {
        file,
        options,
        limits,
        script: Script::default(),
        splitter,
        ids: HashMap::new(),
        has_ids: options.id_field.is_some(),
        seen: Seen::All,
        has_too_many: false,
        give,
    };
    if let Err(cause) = walk.all()? {
        let (source, reason) = failed(cause);
        return walk.fail_all(source, reason);
    }
    let after = walk.splitter.file().metadata();
    if after.is_ok_and(|after| (after.len(), modified(&after)) == (before.len(), modified(&before))) {
        // Which record without an id could not be read is known: none but its own line.
        Continue(if walk.has_ids { walk.seen } else { Seen::All })
    } else {
        walk.fail_all(file.source.clone(), "it changed while it was read".to_owned())
    }
}

struct Walk<'w> {
    file: &'w Found,
    options: &'w RecordOptions,
    limits: &'w Limits,
    script: Script,
    splitter: Splitter,
    /// Hashes of ids, with the lines that they stand on.
    ids: HashMap<u64, u64>,
    has_ids: bool,
    seen: Seen,
    /// More records than `index.max_records`: the rest is not looked at.
    has_too_many: bool,
    give: &'w mut dyn FnMut(Item) -> ControlFlow<()>,
}

impl Walk<'_> {
    fn all(&mut self) -> ControlFlow<(), io::Result<()>> {
        if let Some(reason) = self.begin() {
            (self.give)(Item::Skipped { source: self.file.source.clone(), reason })?;
            return Continue(Ok(()));
        }
        if self.file.media_type == media::JSONL { self.lines() } else { self.table() }
    }

    /// Looks at the first bytes. Returns why the file holds no records.
    fn begin(&mut self) -> Option<String> {
        let ahead = self.splitter.ahead();
        let marked = Encoding::of_mark(ahead).map(|(encoding, mark)| (encoding, mark, Says::Mark));
        let known = marked.or(match self.limits.assumed {
            Assumed::Always(encoding) if 1 < encoding.width() => Some((encoding, 0, Says::Configuration)),
            Assumed::Always(_) | Assumed::Detect => None,
        });
        if known.is_none_or(|(encoding, ..)| encoding.width() == 1) {
            if let Some(kind) = kind::written(ahead) {
                return Some(DecodeError::Kind { kind }.to_string());
            }
            if let Some(offset) = memchr::memchr(0, ahead) {
                let binary = DecodeError::Binary { offset: offset as u64 };
                return Some(
                    kind::binary(ahead).map_or(binary, |kind| DecodeError::Kind { kind }).to_string(),
                );
            }
        }
        if let Some((encoding, mark, says)) = known {
            let big = matches!(encoding, Encoding::Utf16 { big: true } | Encoding::Utf32 { big: true });
            self.splitter.pass_mark(mark, Units { width: encoding.width(), big });
            self.script.known = Some((encoding, says));
        }
        None
    }

    fn lines(&mut self) -> ControlFlow<(), io::Result<()>> {
        let RecordOptions { text_fields, id_field, title_field, metadata_fields, .. } = self.options.clone();
        let shape = Shape::Lines(json::Fields {
            text: text_fields,
            id: id_field,
            title: title_field,
            metadata: metadata_fields,
        });
        let mut files = Files::new(&self.file.source, shape);
        while !self.has_too_many {
            match self.splitter.next_line() {
                Ok(Some(Ok(raw))) => self.record(&raw, &mut files)?,
                Ok(Some(Err(broken))) => self.broken(broken)?,
                Ok(None) => break,
                Err(cause) => return Continue(Err(cause)),
            }
        }
        Continue(Ok(()))
    }

    fn table(&mut self) -> ControlFlow<(), io::Result<()>> {
        let delimiter = match self.delimiter() {
            Ok(delimiter) => delimiter,
            Err(cause) => return Continue(Err(cause)),
        };
        let mut files: Option<Files> = None;
        while !self.has_too_many {
            let raw = match self.splitter.next_row(delimiter) {
                Ok(Some(Ok(raw))) => raw,
                Ok(Some(Err(broken))) if files.is_some() => {
                    self.broken(broken)?;
                    continue;
                }
                Ok(Some(Err(Broken { line, reason }))) => {
                    return self.no_header(format!("line {line}: {reason}"));
                }
                Ok(None) => break,
                Err(cause) => return Continue(Err(cause)),
            };
            match &mut files {
                Some(files) => self.record(&raw, files)?,
                None => match self.columns(&raw, delimiter) {
                    Ok(None) => {}
                    Ok(Some(columns)) => {
                        self.has_ids |= columns.id.is_some();
                        let files = files.insert(Files::new(&self.file.source, Shape::Table(columns)));
                        if self.options.no_header {
                            self.record(&raw, files)?;
                        }
                    }
                    Err(reason) => return self.no_header(reason),
                },
            }
        }
        Continue(Ok(()))
    }

    /// What the first row says of the columns; nothing where it is blank.
    fn columns(&mut self, raw: &Raw, delimiter: u8) -> Result<Option<csv::Columns>, String> {
        let bytes = self.splitter.bytes(raw);
        let (first, _) =
            self.script.text(self.file, self.limits, raw, bytes).map_err(|error| error.to_string())?;
        if first.trim().is_empty() {
            return Ok(None);
        }
        csv::Columns::new(&first, delimiter, self.options).map(Some)
    }

    fn delimiter(&mut self) -> io::Result<u8> {
        let asked = self.options.delimiter.and_then(|delimiter| u8::try_from(delimiter).ok());
        if let Some(asked) = asked.filter(u8::is_ascii) {
            return Ok(asked);
        }
        if self.file.media_type == media::TSV {
            return Ok(b'\t');
        }
        let line = self.splitter.peek_line()?;
        // Delimiters are ASCII: whatever else the bytes are does not matter.
        let plain: String = line.iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
        Ok(csv::delimiter(&plain))
    }

    /// Without names of columns there are no records, and none is known to have vanished.
    fn no_header(&mut self, reason: String) -> ControlFlow<(), io::Result<()>> {
        (self.seen, self.has_ids) = (Seen::Some, true);
        (self.give)(Item::Failed { source: self.file.source.clone(), reason })?;
        Continue(Ok(()))
    }

    fn record(&mut self, raw: &Raw, files: &mut Files) -> ControlFlow<()> {
        let bytes = self.splitter.bytes(raw);
        let (text, encoding) = match self.script.text(self.file, self.limits, raw, bytes) {
            Ok((text, _)) if text.trim().is_empty() => return Continue(()),
            Ok(read) => read,
            Err(error) => return self.broken(Broken { line: raw.line, reason: error.to_string() }),
        };
        let file = files.in_encoding(encoding);
        let id = match &file.shape {
            Shape::Lines(fields) => fields.id(&text),
            Shape::Table(columns) => columns.id(&text),
        };
        let end = raw.start + bytes.len() as u64;
        let record = Record { file, start: raw.start, end, line: raw.line };
        let (hash, size) = (record.hash(bytes), bytes.len() as u64);
        let source = match id.and_then(|id| self.source(id, raw.line)) {
            Ok(source) => source,
            Err(reason) => return self.broken(Broken { line: raw.line, reason }),
        };
        if self.limits.max_records < self.ids.len() {
            self.has_too_many = true;
            let max = self.limits.max_records;
            let reason = format!("it has more than {max} records with ids: raise `index.max_records`");
            self.seen = Seen::Some;
            return (self.give)(Item::Failed { source: self.file.source.clone(), reason });
        }
        let (stamp, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
        (self.give)(Item::Document(Found {
            source,
            size,
            modified: i64::from_le_bytes(*stamp),
            media_type: self.file.media_type,
            origin: Origin::Record(record),
        }))
    }

    /// The source of a record: that of its file, and its id or its line.
    fn source(&mut self, id: Option<String>, line: u64) -> Result<String, String> {
        let path = &self.file.source;
        let Some(id) = id else { return Ok(format!("{path}#L{line}")) };
        self.has_ids = true;
        if id.is_empty() {
            return Err("its id is empty".to_owned());
        }
        if MAX_ID < id.len() {
            return Err(format!("its id has {} bytes, more than {MAX_ID}", id.len()));
        }
        let hash = blake3::hash(id.as_bytes());
        let (hash, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
        if let Some(first) = self.ids.insert(u64::from_le_bytes(*hash), line) {
            self.ids.insert(u64::from_le_bytes(*hash), first);
            let shown: String = id.chars().take(MAX_SHOWN).collect();
            return Err(format!("its id `{shown}` is that of line {first}"));
        }
        // An id that reads like a line's number is marked, so that no two records have one source.
        let is_like_line = |id: &str| {
            id.strip_prefix('L')
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let mark = if id.starts_with('=') || is_like_line(&id) { "=" } else { "" };
        Ok(format!("{path}#{mark}{id}"))
    }

    /// One record fails, and the others go on.
    fn broken(&mut self, broken: Broken) -> ControlFlow<()> {
        let Broken { line, reason } = broken;
        self.seen = Seen::Some;
        let source = format!("{}#L{line}", self.file.source);
        (self.give)(Item::Failed { source, reason: format!("line {line}: {reason}") })
    }

    fn fail_all(&mut self, source: String, reason: String) -> ControlFlow<(), Seen> {
        self.has_ids = true;
        (self.give)(Item::Failed { source, reason })?;
        Continue(Seen::Some)
    }
}

/// One file's records share what it takes to read them.
struct Files {
    current: Arc<RecordFile>,
}

impl Files {
    fn new(path: &str, shape: Shape) -> Self {
        Self { current: RecordFile::new(path, shape, Encoding::Utf8) }
    }

    fn in_encoding(&mut self, encoding: Encoding) -> Arc<RecordFile> {
        if self.current.encoding != encoding {
            self.current = RecordFile::new(&self.current.path, self.current.shape.clone(), encoding);
        }
        Arc::clone(&self.current)
    }
}
