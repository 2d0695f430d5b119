//! Lines → parts of a generation, on a thread of their own.

use std::io::{BufRead, Read};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::lines::{End, Line, VERSION};
use super::{TransferError, Transferred};
use crate::store::{Collection, Point, SourceRecord};

/// Bytes of a line, at most.
const MAX_LINE: u64 = 64 * 1024 * 1024;
/// Lines of one part, at most, and about how many bytes of them.
const MAX_LINES: usize = 1024;
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Parts that are read ahead.
const AHEAD: usize = 2;

/// What is handed on at once.
pub(super) enum Part {
    Header(Collection),
    Root(String),
    Sources(Vec<SourceRecord>),
    Points(Vec<Point>),
    /// All that was announced has come.
    End(Transferred),
}

/// Reads until the end, the first mistake, or nobody wants more.
pub(super) fn spawn(lines: impl BufRead + Send + 'static) -> Receiver<Result<Part, TransferError>> {
    let (sender, parts) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut reader = Reader::new(lines, sender);
        if let Err(error) = reader.run() {
            // Nobody may be there to be told.
            drop(reader.sender.blocking_send(Err(error)));
        }
    });
    parts
}

struct Reader<R> {
    lines: R,
    sender: Sender<Result<Part, TransferError>>,
    /// Of the line that is read.
    number: u64,
    dimensions: usize,
    sources: Vec<SourceRecord>,
    points: Vec<Point>,
    /// Of lines whose parts are not handed on yet.
    n_bytes: usize,
    seen: Transferred,
}

impl<R: BufRead> Reader<R> {
    fn new(lines: R, sender: Sender<Result<Part, TransferError>>) -> Self {
        Self {
            lines,
            sender,
            number: 0,
            dimensions: 0,
            sources: Vec::new(),
            points: Vec::new(),
            n_bytes: 0,
            seen: Transferred::default(),
        }
    }

    fn run(&mut self) -> Result<(), TransferError> {
        let first = self.line()?.and_then(|line| serde_json::from_slice(&line).ok());
        let Some(Line::Header(header)) = first else { return Err(TransferError::NoHeader) };
        if header.version != VERSION {
            return Err(TransferError::Version { have: header.version, known: VERSION });
        }
        let collection = header.into_collection();
        self.dimensions = collection.dimensions;
        let mut is_wanted = self.hand_on(Part::Header(collection));
        while is_wanted {
            let Some(line) = self.line()? else {
                return Err(TransferError::Cut { reason: "its last line is missing".to_owned() });
            };
            let parsed = serde_json::from_slice(&line).map_err(|error| self.mistake(error.to_string()))?;
            is_wanted = match parsed {
                Line::Header(_) => return Err(self.mistake("a second header".to_owned())),
                Line::Root(root) => self.hand_on(Part::Root(root)),
                Line::Source(source) => {
                    let record = source.into_record().map_err(|reason| self.mistake(reason))?;
                    self.seen.n_sources += 1;
                    self.sources.push(record);
                    self.hand_on_if_full(line.len())
                }
                Line::Point(point) => {
                    let point = point.into_point(self.dimensions).map_err(|reason| self.mistake(reason))?;
                    self.seen.n_points += 1;
                    self.points.push(point);
                    self.hand_on_if_full(line.len())
                }
                Line::End(end) => return self.end(&end),
            };
        }
        Ok(())
    }

    fn end(&mut self, end: &End) -> Result<(), TransferError> {
        let announced = Transferred { n_points: end.points, n_sources: end.sources };
        if self.seen != announced {
            let Transferred { n_points, n_sources } = self.seen;
            let reason = format!(
                "it has {n_points} points and {n_sources} documents, and its last line tells of {} and {}",
                end.points, end.sources
            );
            return Err(TransferError::Cut { reason });
        }
        if self.line()?.is_some() {
            return Err(self.mistake("it follows the last one".to_owned()));
        }
        if self.flush() {
            self.hand_on(Part::End(announced));
        }
        Ok(())
    }

    /// Whether more is wanted.
    fn hand_on(&mut self, part: Part) -> bool {
        self.sender.blocking_send(Ok(part)).is_ok()
    }

    fn hand_on_if_full(&mut self, n_bytes: usize) -> bool {
        self.n_bytes += n_bytes;
        let is_full = MAX_LINES <= self.sources.len() + self.points.len() || MAX_BYTES <= self.n_bytes;
        !is_full || self.flush()
    }

    /// Records go before points that they name.
    fn flush(&mut self) -> bool {
        self.n_bytes = 0;
        let (sources, points) = (std::mem::take(&mut self.sources), std::mem::take(&mut self.points));
        (sources.is_empty() || self.hand_on(Part::Sources(sources)))
            && (points.is_empty() || self.hand_on(Part::Points(points)))
    }

    /// The next line; nothing at the end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, TransferError> {
        let mut line = Vec::new();
        let mut bounded = Read::take(&mut self.lines, MAX_LINE);
        let n_bytes = bounded.read_until(b'\n', &mut line).map_err(TransferError::Read)?;
        self.number += 1;
        if MAX_LINE <= n_bytes as u64 {
            return Err(self.mistake(format!("it has more than {MAX_LINE} bytes")));
        }
        Ok((0 < n_bytes).then_some(line))
    }

    fn mistake(&self, reason: String) -> TransferError {
        TransferError::Line { line: self.number, reason }
    }
}
