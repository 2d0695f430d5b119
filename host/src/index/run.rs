//! One run, from the scan to the last record: its stages, and the order in
//! which they take from each other.
//!
//! ```text
//! scan → sort out → prepare → embed → write      (then: remove what vanished)
//! ```
//!
//! Each stage is a task, ahead of the next by a bounded number of items, and
//! all of them together by a bounded number of tokens. Nothing is held of a
//! document that is done with but a bit.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::job::Job;
use super::prepare::{Prepared, Step};
use super::report::Reporter;
use super::sort::{self, Met};
use super::source::{Item, Sources};
use super::stage::{Ahead, received};
use super::{IndexError, Outcome, batch, prepare};
use crate::store::{IndexState, SourceRecord, Store, StoreError};

/// Files that a scan finds ahead of what looks at their records.
const FOUND_AHEAD: usize = 1024;
/// Documents that wait to be read.
const CHANGED_AHEAD: usize = 64;
/// Records that are looked through at once for what vanished.
const PAGE: usize = 1024;

/// What the stages of a run share.
pub(super) struct Run {
    pub(super) job: Arc<Job>,
    pub(super) store: Arc<dyn Store>,
    pub(super) state: IndexState,
    pub(super) met: Met,
    pub(super) reporter: Reporter,
}

impl Run {
    /// Brings the generation to the state of `sources`.
    ///
    /// Returns whether all of them were looked at.
    pub(super) async fn go(self: Arc<Self>, sources: Arc<Sources>) -> Result<bool, IndexError> {
        let (prepared, ends) = self.prepared(Arc::clone(&sources));
        let mut batches = pin!(batch::embedded(Arc::clone(&self.job), prepared));
        let mut failures = batch::Failures::new(self.job.config.max_failed_batches);
        while let Some(batch) = batches.next().await {
            let fault = self.write(batch?).await?;
            failures.count(fault)?;
        }
        let is_whole = ends.wait().await?;
        if is_whole {
            self.remove_vanished(&sources).await?;
        }
        Ok(is_whole)
    }

    /// The first stages: documents that are not as they were, read and chunked.
    pub(super) fn prepared(
        self: &Arc<Self>,
        sources: Arc<Sources>,
    ) -> (impl Stream<Item = Prepared> + Send + use<>, Ends) {
        let (scan, items) = scan(sources);
        let (sender, sorted) = mpsc::channel(CHANGED_AHEAD);
        let sort = AbortOnDropHandle::new(tokio::spawn(sort::sort_out(Arc::clone(self), items, sender)));
        let documents = prepare::documents(Arc::clone(&self.job), received(sorted));
        let is_cut = Arc::new(AtomicBool::new(false));
        let limited = limited(documents, self.job.limit.unwrap_or(u64::MAX), Arc::clone(&is_cut));
        (limited, Ends { scan, sort, is_cut })
    }

    /// Deletes points and records of documents under the sources that are there no more.
    async fn remove_vanished(&self, sources: &Sources) -> Result<(), StoreError> {
        let collection = &self.job.collection.name;
        if self.state.totals(collection).await?.n_documents == self.met.count() {
            return Ok(());
        }
        let mut after = 0;
        while let Some((last, gone)) = self.vanished(sources, after).await? {
            after = last;
            let names: Vec<_> = gone.iter().map(|record| record.source.clone()).collect();
            self.delete_documents(gone).await?;
            for source in names {
                self.reporter.finished(source, 0, Outcome::Removed).await;
            }
        }
        Ok(())
    }

    /// Of the next records after `after`, those of documents under the sources that are there no
    /// more, with the number to go on from; nothing after the last record.
    pub(super) async fn vanished(
        &self,
        sources: &Sources,
        after: i64,
    ) -> Result<Option<(i64, Vec<SourceRecord>)>, StoreError> {
        let page = self.state.page(&self.job.collection.name, after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        let last = *last;
        let is_gone = |(number, record): &(i64, SourceRecord)| {
            !self.met.has(*number) && sources.contains(&record.source)
        };
        Ok(Some((last, page.into_iter().filter(is_gone).map(|(_, record)| record).collect())))
    }
}

/// How the stages before the documents end.
pub(super) struct Ends {
    scan: AbortOnDropHandle<()>,
    sort: AbortOnDropHandle<Result<bool, StoreError>>,
    /// Whether documents were left for another run.
    is_cut: Arc<AtomicBool>,
}

impl Ends {
    /// Waits for them: whether all of the sources were looked at.
    pub(super) async fn wait(self) -> Result<bool, StoreError> {
        let is_whole = ended(self.sort).await?;
        ended(self.scan).await;
        Ok(is_whole && !self.is_cut.load(Ordering::Relaxed))
    }
}

/// Ends before there is one document more than `limit` that has to be written anew.
fn limited(
    documents: Ahead<Prepared>,
    limit: u64,
    is_cut: Arc<AtomicBool>,
) -> impl Stream<Item = Prepared> + Send {
    stream::unfold((documents, limit), move |(mut documents, mut left)| {
        let is_cut = Arc::clone(&is_cut);
        async move {
            let document = documents.next().await?;
            if matches!(document.step, Step::Chunks { .. }) {
                if left == 0 {
                    is_cut.store(true, Ordering::Relaxed);
                    return None;
                }
                left -= 1;
            }
            Some((document, (documents, left)))
        }
    })
    .fuse()
}

/// Walks the sources on a thread of its own, until nobody takes what it finds.
fn scan(sources: Arc<Sources>) -> (AbortOnDropHandle<()>, mpsc::Receiver<Item>) {
    let (sender, items) = mpsc::channel(FOUND_AHEAD);
    let walk = move || {
        sources.walk(&mut |item| match sender.blocking_send(item) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
    };
    (AbortOnDropHandle::new(tokio::task::spawn_blocking(walk)), items)
}

/// What a stage ended with. One that panicked takes the run with it.
async fn ended<T>(stage: AbortOnDropHandle<T>) -> T {
    match stage.await {
        Ok(value) => value,
        Err(cause) => std::panic::resume_unwind(cause.into_panic()),
    }
}
