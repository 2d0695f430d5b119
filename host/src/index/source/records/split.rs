//! A file → its records, one after another, in memory for one of them.
//!
//! A record may be cut at the bytes of a line end, a quote and a delimiter, before it is known
//! which encoding it is in: in all that are read so, these bytes are no part of other characters.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// How ASCII stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    /// Bytes of a character of ASCII.
    pub(super) width: usize,
    /// Whether its own byte is the last of them.
    pub(super) big: bool,
}

impl Units {
    fn ascii(self, unit: &[u8]) -> Option<u8> {
        let at = if self.big { self.width - 1 } else { 0 };
        let rest_is_zero = unit.iter().enumerate().all(|(index, byte)| index == at || *byte == 0);
        (rest_is_zero && unit[at].is_ascii()).then_some(unit[at])
    }

    fn find(self, bytes: &[u8], ascii: u8) -> Option<usize> {
        if self.width == 1 {
            return memchr::memchr(ascii, bytes);
        }
        bytes
            .chunks_exact(self.width)
            .position(|unit| self.ascii(unit) == Some(ascii))
            .map(|at| at * self.width)
    }
}

/// A record, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    /// Its first byte in the file.
    pub(super) start: u64,
    /// Its first line, counted from 1.
    pub(super) line: u64,
    range: Range<usize>,
}

/// A record that cannot be read; the next one begins on the line after its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: u64,
    pub(super) reason: String,
}

pub(super) type Next = Result<Raw, Broken>;

pub(super) struct Splitter {
    file: File,
    units: Units,
    /// Bytes of the file from `offset` on.
    buffer: Vec<u8>,
    offset: u64,
    /// Where the next record begins in `buffer`.
    begin: usize,
    /// Lines before it.
    n_lines: u64,
    at_end: bool,
    max_record: usize,
}

impl Splitter {
    /// Begins to read a file at its first byte; `max_record` bounds a record, and the memory.
    pub(super) fn new(file: File, max_record: usize) -> std::io::Result<Self> {
        let units = Units { width: 1, big: false };
        let buffer = Vec::with_capacity(2 * CHUNK);
        let mut splitter =
            Self { file, units, buffer, offset: 0, begin: 0, n_lines: 0, at_end: false, max_record };
        splitter.fill()?;
        Ok(splitter)
    }

    /// What was read and not handed out.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.buffer[self.begin..]
    }

    /// Passes over the byte order mark.
    pub(super) fn pass_mark(&mut self, mark: usize, units: Units) {
        self.begin += mark;
        self.units = units;
    }

    pub(super) fn bytes(&self, raw: &Raw) -> &[u8] {
        &self.buffer[raw.range.clone()]
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The bytes of the next line, which is still to come.
    pub(super) fn peek_line(&mut self) -> std::io::Result<&[u8]> {
        loop {
            let found = self.units.find(self.ahead(), b'\n');
            if found.is_some() || self.at_end || self.max_record < self.ahead().len() {
                let end = found.map_or(self.buffer.len(), |found| self.begin + found);
                return Ok(&self.buffer[self.begin..end]);
            }
            self.fill()?;
        }
    }

    /// The next line, without its end.
    pub(super) fn next_line(&mut self) -> std::io::Result<Option<Next>> {
        let mut n_seen = 0;
        loop {
            if let Some(found) = self.units.find(&self.ahead()[n_seen..], b'\n') {
                let end = self.begin + n_seen + found;
                return Ok(Some(self.bounded(end, end + self.units.width, 1)));
            }
            n_seen = self.ahead().len() / self.units.width * self.units.width;
            if self.at_end {
                let end = self.buffer.len();
                return Ok((self.begin < end).then(|| self.bounded(end, end, 1)));
            }
            if self.max_record < n_seen {
                return self.too_long().map(|broken| Some(Err(broken)));
            }
            self.fill()?;
        }
    }

    /// The next row of a table, without the end of its line: one in quotes goes on.
    pub(super) fn next_row(&mut self, delimiter: u8) -> std::io::Result<Option<Next>> {
        let mut row = Row { units: self.units, delimiter, state: State::Start, at: 0, n_lines: 1 };
        loop {
            if let Some((end, next)) = row.scan(&self.buffer[self.begin..], self.at_end) {
                let (end, next) = (self.begin + end, self.begin + next);
                return Ok(Some(self.bounded(end, next, row.n_lines)));
            }
            if self.at_end {
                let end = self.buffer.len();
                if row.state == State::Quoted {
                    let reason = "the quote that begins there is never closed".to_owned();
                    return self.broken(reason).map(|broken| Some(Err(broken)));
                }
                return Ok((self.begin < end).then(|| self.bounded(end, end, row.n_lines)));
            }
            if self.max_record < self.ahead().len() {
                return self.too_long().map(|broken| Some(Err(broken)));
            }
            self.fill()?;
        }
    }

    /// A record whose end was found; it may be too long all the same.
    fn bounded(&mut self, end: usize, next: usize, n_lines: u64) -> Next {
        let raw = self.take(end, next, n_lines);
        if self.max_record < raw.range.len() {
            return Err(Broken { line: raw.line, reason: self.over_limit() });
        }
        Ok(raw)
    }

    fn over_limit(&self) -> String {
        format!("it has more than the {} bytes of `index.max_file`", self.max_record)
    }

    fn take(&mut self, end: usize, next: usize, n_lines: u64) -> Raw {
        let raw =
            Raw { start: self.offset + self.begin as u64, line: self.n_lines + 1, range: self.begin..end };
        self.begin = next;
        self.n_lines += n_lines;
        raw
    }

    fn too_long(&mut self) -> std::io::Result<Broken> {
        self.broken(self.over_limit())
    }

    /// Gives the record up, and goes on behind its first line.
    fn broken(&mut self, reason: String) -> std::io::Result<Broken> {
        let line = self.n_lines + 1;
        self.n_lines += 1;
        loop {
            if let Some(found) = self.units.find(self.ahead(), b'\n') {
                self.begin += found + self.units.width;
                return Ok(Broken { line, reason });
            }
            self.begin = self.buffer.len() / self.units.width * self.units.width;
            if self.at_end {
                self.begin = self.buffer.len();
                return Ok(Broken { line, reason });
            }
            self.fill()?;
        }
    }

    /// Reads on; records that were handed out are gone.
    fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.drain(..self.begin);
        self.offset += self.begin as u64;
        self.begin = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let n_read = self.file.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + n_read.as_ref().map_or(0, |n_read| *n_read));
        self.at_end = n_read? == 0;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the first character of a field.
    Start,
    Plain,
    Quoted,
    /// Behind a quote that ends a field, if no other follows.
    Closing,
}

/// A row as far as it was read.
struct Row {
    units: Units,
    delimiter: u8,
    state: State,
    /// Bytes of it that were looked at.
    at: usize,
    n_lines: u64,
}

impl Row {
    /// Looks at the bytes of the row that are new. Returns its end and where the next begins.
    fn scan(&mut self, bytes: &[u8], at_end: bool) -> Option<(usize, usize)> {
        let width = self.units.width;
        loop {
            self.pass_over(bytes);
            if bytes.len() < self.at + width {
                return None;
            }
            let unit = self.units.ascii(&bytes[self.at..self.at + width]);
            let next = self.at + width;
            self.state = match (self.state, unit) {
                (State::Quoted, Some(b'"')) => State::Closing,
                (State::Quoted, unit) => {
                    self.n_lines += u64::from(unit == Some(b'\n'));
                    State::Quoted
                }
                (State::Closing | State::Start, Some(b'"')) => State::Quoted,
                (_, Some(b'\n')) => return Some((self.at, next)),
                (_, Some(b'\r')) => {
                    if bytes.len() < next + width && !at_end {
                        return None;
                    }
                    let behind = bytes.get(next..next + width).and_then(|unit| self.units.ascii(unit));
                    let next = if behind == Some(b'\n') { next + width } else { next };
                    return Some((self.at, next));
                }
                (_, Some(unit)) if unit == self.delimiter => State::Start,
                _ => State::Plain,
            };
            self.at = next;
        }
    }

    /// Passes over what changes nothing, many bytes at once.
    fn pass_over(&mut self, bytes: &[u8]) {
        if 1 < self.units.width {
            return;
        }
        let ahead = bytes.get(self.at..).unwrap_or_default();
        let next = match self.state {
            State::Quoted => memchr::memchr2(b'"', b'\n', ahead),
            State::Plain => memchr::memchr3(self.delimiter, b'\n', b'\r', ahead),
            State::Start | State::Closing => Some(0),
        };
        self.at += next.unwrap_or(ahead.len());
    }
}

#[cfg(test)]
mod tests;
