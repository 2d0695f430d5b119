//! Where documents come from: files and folders, records in files, web pages, standard input.
//!
//! [`Sources`] walks what a run was given and hands out what it finds, one item after another;
//! [`Reader`] reads one of them later, and may read it again much later: an [`Origin`] is kept
//! with each document. A [`Decoded`] text leads back to the bytes of the file.

use std::collections::{BTreeSet, HashMap};
use std::fs::Metadata;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

mod decoded; // bytes → text and the way back
mod encoding; // which encoding bytes are in
mod fetch; // web pages
mod hosts; // which web pages may be fetched
mod kind; // what is no text
mod layout; // from a place in a text to bytes of its encoding
pub mod media; // media types by name
mod origin; // where a document came from, as it is kept
mod read; // a document's bytes, as they stood at one moment
mod records; // lines of JSON and rows of tables
mod root; // what a run was given, checked
mod text; // bytes → text, strictly
mod walk; // folders → files

pub use decoded::Decoded;
pub use encoding::{Assumed, Encoding};
pub use hosts::HostPattern;
pub use origin::Origin;
pub use read::{Contents, ReadError, Reader};
pub use records::{Format, RecordOptions};
pub use root::{Options, Root, SourceError};
pub use text::DecodeError;

use crate::store::SourceRecord;
use records::Seen;
use walk::Place;

/// A document that was found, as far as can be told without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id: an absolute path without links, `PATH#ID` for a record, an address, `stdin:NAME`.
    pub source: String,
    /// Bytes; 0 where that is not known.
    pub size: u64,
    /// Of a file, nanoseconds since 1970; of what has no time, a number that is another one when
    /// its bytes are others.
    pub modified: i64,
    pub media_type: &'static str,
    pub origin: Origin,
}

impl Found {
    /// Reads what a file's metadata says.
    pub fn file(source: String, metadata: &Metadata) -> Self {
        let media_type = media::of_path(Path::new(&source));
        let (size, modified) = (metadata.len(), modified(metadata));
        Self { source, size, modified, media_type, origin: Origin::File }
    }
}

impl Found {
    /// The document that a record is of, to be read again.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(super) fn again(record: &SourceRecord, media_type: &str) -> Result<Self, String> {
        if record.origin.is_empty() {
            let metadata = std::fs::metadata(&record.source).map_err(|cause| cause.to_string())?;
            return Ok(Self::file(record.source.clone(), &metadata));
        }
        let origin = Origin::from_json(&record.origin)
            .ok_or_else(|| format!("nothing is known of its origin `{}`", record.origin))?;
        let media_type = media::known(media_type).unwrap_or(media::PLAIN);
        let (source, size, modified) = (record.source.clone(), record.size, record.modified);
        Ok(Self { source, size, modified, media_type, origin })
    }
}

impl Item {
    pub(super) fn source(&self) -> &str {
        match self {
            Self::Document(found) => &found.source,
            Self::Skipped { source, .. } | Self::Failed { source, .. } => source,
        }
    }

    pub(super) fn into_source(self) -> String {
        match self {
            Self::Document(found) => found.source,
            Self::Skipped { source, .. } | Self::Failed { source, .. } => source,
        }
    }
}

/// What a walk hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Document(Found),
    /// It is nothing to index.
    Skipped {
        source: String,
        reason: String,
    },
    /// It could not be looked at: nothing in that place is known to have vanished.
    Failed {
        source: String,
        reason: String,
    },
}

/// What is ahead, for those who wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Without records in files, which nobody counts ahead.
    pub n_documents: u64,
    pub n_bytes: u64,
}

/// All that a run was given.
#[derive(Debug)]
pub struct Sources {
    roots: Vec<Root>,
    limits: Limits,
    marks: Mutex<Marks>,
}

/// What bounds a walk.
#[derive(Clone, Debug)]
struct Limits {
    max_file: u64,
    max_records: usize,
    assumed: Assumed,
    language: Option<String>,
}

/// What a walk found out.
#[derive(Debug, Default)]
struct Marks {
    /// Places that could not be looked at.
    unseen: BTreeSet<String>,
    /// Places outside all roots that links in them led to, by root.
    linked: HashMap<String, BTreeSet<String>>,
}

impl Sources {
    /// Checks `roots`: those of one place count once, as the last one has it.
    ///
    /// # Errors
    /// The first that is not there, cannot be read, or is not allowed.
    pub fn new(roots: Vec<Root>, config: &super::Config) -> Result<Self, SourceError> {
        let limits = Limits {
            max_file: config.max_file.as_u64(),
            max_records: config.max_records,
            assumed: config.encoding,
            language: None,
        };
        Ok(Self { roots: root::checked(roots, config)?, limits, marks: Mutex::default() })
    }

    /// Reads short texts in old encodings as those of a language (BCP 47).
    pub fn in_language(mut self, language: Option<&str>) -> Self {
        self.limits.language = language.map(str::to_owned);
        self
    }

    /// The roots in the order in which they are walked, with where their links led so far.
    pub fn roots(&self) -> Vec<Root> {
        let marks = self.marks();
        let mut roots = self.roots.clone();
        for root in &mut roots {
            if let Root::Path { path, linked, .. } = root {
                linked.extend(marks.linked.get(path).into_iter().flatten().cloned());
            }
        }
        roots
    }

    /// Walks everything in a fixed order until `give` says stop; blocks the thread. Memory is
    /// that of the largest folder's names, one record, and the ids of one file's records.
    pub fn walk(&self, give: &mut dyn FnMut(Item) -> ControlFlow<()>) {
        *self.marks() = Marks::default();
        let mut give = |item: Item| {
            if let Item::Failed { source, .. } = &item {
                self.mark_unseen(source);
            }
            give(item)
        };
        match self.places(&mut |place| self.look_at(place, &mut give)) {
            ControlFlow::Continue(()) | ControlFlow::Break(()) => {}
        }
    }

    /// Counts what a walk will hand out, until `stop`; blocks the thread. Opens no file.
    pub fn count(&self, stop: &AtomicBool) -> Counted {
        let mut counted = Counted::default();
        let counting = self.places(&mut |place| {
            match place {
                Place::File { found, records: Some(_) } => counted.n_bytes += found.size,
                Place::File { found, records: None } | Place::Other(found) => {
                    counted.n_documents += 1;
                    counted.n_bytes += found.size;
                }
                Place::Skipped { .. } | Place::Failed { .. } => counted.n_documents += 1,
                Place::Linked { .. } => {}
            }
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match counting {
            ControlFlow::Continue(()) | ControlFlow::Break(()) => counted,
        }
    }

    /// Returns whether a document that was recorded and not handed out by the last walk has
    /// vanished: it belongs to these roots, and was in no place that could not be looked at.
    pub fn contains(&self, source: &str) -> bool {
        let marks = self.marks();
        let in_linked = |linked: &BTreeSet<String>| linked.iter().any(|place| is_at(source, place));
        let in_root = |root: &Root| match root {
            Root::Path { path, .. } => root.has(source) || marks.linked.get(path).is_some_and(in_linked),
            Root::Url { .. } => root.has(source),
            Root::Standard { bytes, .. } => bytes.is_some() && root.has(source),
        };
        self.roots.iter().any(in_root) && !marks.is_unseen(source)
    }

    fn look_at(&self, place: Place<'_>, give: &mut dyn FnMut(Item) -> ControlFlow<()>) -> ControlFlow<()> {
        match place {
            Place::File { found, records: None } if is_like_record(&found.source) => {
                let reason = "its name reads like that of a record in another file: rename it".to_owned();
                give(Item::Failed { source: found.source, reason })
            }
            Place::File { found, records: Some(options) } => {
                if records::walk(&found, options, &self.limits, give)? == Seen::Some {
                    self.mark_unseen(&found.source);
                }
                ControlFlow::Continue(())
            }
            Place::File { found, records: None } | Place::Other(found) => give(Item::Document(found)),
            Place::Skipped { source, reason } => give(Item::Skipped { source, reason }),
            Place::Failed { source, reason } => give(Item::Failed { source, reason }),
            Place::Linked { root, place } => {
                self.marks().linked.entry(root.to_owned()).or_default().insert(place);
                ControlFlow::Continue(())
            }
        }
    }

    fn mark_unseen(&self, source: &str) {
        self.marks().unseen.insert(source.trim_end_matches('/').to_owned());
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Marks {
    fn is_unseen(&self, source: &str) -> bool {
        let mut places = source.match_indices(['/', '#']).map(|(at, _)| &source[..at]).chain([source]);
        !self.unseen.is_empty() && places.any(|place| self.unseen.contains(place))
    }
}

/// Returns whether a document is a file or folder, in it, or a record of it.
fn is_at(source: &str, place: &str) -> bool {
    match source.strip_prefix(place.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with(['/', '#']),
        None => false,
    }
}

/// Returns whether a file's name could be taken for a record's source.
fn is_like_record(path: &str) -> bool {
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    path[name_at..].match_indices('#').any(|(at, _)| {
        let file = PathBuf::from(&path[..name_at + at]);
        RecordOptions::default().media_type(media::of_path(&file), false).is_some() && file.is_file()
    })
}

/// Nanoseconds since 1970; 0 where the system does not say.
fn modified(metadata: &Metadata) -> i64 {
    let Ok(time) = metadata.modified() else { return 0 };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

#[cfg(test)]
mod tests;
