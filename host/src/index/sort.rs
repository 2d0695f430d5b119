//! What a scan found, against what is recorded: documents that are as they
//! were need no reading, and what was skipped loses its points.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Outcome;
use super::run::Run;
use super::seen::Seen;
use super::source::{Found, Item};
use crate::store::{SourceRecord, Stamped, StoreError};

/// Sources that are looked up at once.
const PAGE: usize = 256;

/// Which documents a run has met, and which it is at work on.
#[derive(Debug, Default)]
pub(super) struct Met {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: Seen,
    /// Of the records that were met, those that are gone.
    n_gone: u64,
    under_way: HashSet<String>,
}

impl Met {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the document is met for the first time.
    fn meet(&self, source: &str, number: Option<i64>) -> bool {
        let mut inner = self.lock();
        let is_first = number.is_none_or(|number| inner.seen.meet(number));
        is_first && !inner.under_way.contains(source)
    }

    fn begin(&self, source: &str) {
        self.lock().under_way.insert(source.to_owned());
    }

    /// A document is done with.
    pub(super) fn finish(&self, source: &str) {
        self.lock().under_way.remove(source);
    }

    /// A record of this number was written: what it is of was met.
    pub(super) fn record(&self, number: i64) {
        self.lock().seen.meet(number);
    }

    pub(super) fn has(&self, number: i64) -> bool {
        self.lock().seen.has(number)
    }

    /// Records that were met are deleted.
    pub(super) fn forget(&self, n_records: usize) {
        self.lock().n_gone += n_records as u64;
    }

    /// Records that were met and are there.
    pub(super) fn count(&self) -> u64 {
        let inner = self.lock();
        inner.seen.count().saturating_sub(inner.n_gone)
    }
}

/// A document that is to be prepared.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) found: Found,
    /// What was recorded of it before this run.
    pub(super) old: Option<SourceRecord>,
}

/// Documents that need no preparing, and those that do.
#[derive(Debug)]
pub(super) enum Sorted {
    Changed(Box<Changed>),
    Skipped(Box<Skipped>),
}

/// A document that is left out: its points go, where it had any.
#[derive(Debug)]
pub(super) struct Skipped {
    pub(super) source: String,
    pub(super) reason: String,
    pub(super) old: Option<SourceRecord>,
}

/// Sorts what comes until there is no more, or nobody takes it.
///
/// Returns whether all of the scan was seen.
pub(super) async fn sort_out(
    run: Arc<Run>,
    mut items: mpsc::Receiver<Item>,
    sorted: mpsc::Sender<Sorted>,
) -> Result<bool, StoreError> {
    let mut page = Vec::with_capacity(PAGE);
    while 0 < items.recv_many(&mut page, PAGE).await {
        for item in sort_page(&run, std::mem::take(&mut page)).await? {
            if let Sorted::Changed(changed) = &item {
                run.met.begin(&changed.found.source);
            }
            if sorted.send(item).await.is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Reports what needs no more than that, and returns the rest with what is recorded of it.
async fn sort_page(run: &Run, page: Vec<Item>) -> Result<Vec<Sorted>, StoreError> {
    let collection = &run.job.collection.name;
    let sources: Vec<_> = page.iter().map(|item| item.source().to_owned()).collect();
    let stamps = run.state.stamps(collection, &sources).await?;
    let mut rest = Vec::new();
    for (item, stamp) in page.into_iter().zip(stamps) {
        rest.extend(sort_one(run, item, stamp).await);
    }
    let sources: Vec<_> = rest.iter().map(|item| item.source().to_owned()).collect();
    if !sources.is_empty() {
        let records = run.state.look_up(collection, &sources).await?;
        for (item, record) in rest.iter_mut().zip(records) {
            *item.old() = record.map(|(_, record)| record);
        }
    }
    Ok(rest)
}

async fn sort_one(run: &Run, item: Item, stamp: Option<Stamped>) -> Option<Sorted> {
    let number = stamp.as_ref().map(|stamp| stamp.number);
    let (source, n_bytes, outcome) = match item {
        item if !run.met.meet(item.source(), number) => {
            let reason = "a document of the same name was found before it in this run";
            (item.into_source(), 0, Outcome::Failed(reason.to_owned()))
        }
        Item::Document(found) if stamp.is_some_and(|stamp| run.job.is_unchanged(&found, &stamp)) => {
            (found.source, found.size, Outcome::Unchanged)
        }
        Item::Document(found) => return Some(Sorted::Changed(Box::new(Changed { found, old: None }))),
        Item::Skipped { source, reason } => {
            return Some(Sorted::Skipped(Box::new(Skipped { source, reason, old: None })));
        }
        Item::Failed { source, reason } => (source, 0, Outcome::Failed(reason)),
    };
    run.reporter.finished(source, n_bytes, outcome).await;
    None
}

impl Sorted {
    fn source(&self) -> &str {
        match self {
            Self::Changed(changed) => &changed.found.source,
            Self::Skipped(skipped) => &skipped.source,
        }
    }

    /// Of the document's file; nothing where it is not read.
    pub(super) fn n_bytes(&self) -> u64 {
        match self {
            Self::Changed(changed) => changed.found.size,
            Self::Skipped(_) => 0,
        }
    }

    fn old(&mut self) -> &mut Option<SourceRecord> {
        match self {
            Self::Changed(changed) => &mut changed.old,
            Self::Skipped(skipped) => &mut skipped.old,
        }
    }
}
