//! Chunks → store and state, in the order that makes stopping safe: see the
//! rules in the documentation of [`index`](super).

use std::collections::HashSet;

use uuid::Uuid;

use super::batch::{Action, Batch, Entry, Put};
use super::budget::Room;
use super::run::Run;
use super::{IndexError, Indexed, Outcome};
use crate::embed::EmbedError;
use crate::store::{Payload, Point, Selection, SourceRecord, StoreError};

/// The pipeline of a record whose points are not all written: no pipeline's fingerprint.
pub(super) const UNFINISHED: &str = "";

impl Run {
    /// Writes one batch, and returns the fault that kept a part of it from being embedded.
    pub(super) async fn write(&self, batch: Batch) -> Result<Option<EmbedError>, IndexError> {
        let Batch { entries, fault } = batch;
        let collection = &self.job.collection.name;
        let mut work = Work::new(entries);
        let n_gone = work.gone.len();
        self.delete_documents(std::mem::take(&mut work.gone)).await?;
        self.met.forget(n_gone);
        self.record(std::mem::take(&mut work.intents)).await?;
        if !work.new.is_empty() {
            self.store.upsert(collection, std::mem::take(&mut work.new)).await?;
        }
        if !work.kept.is_empty() {
            self.store.set_payload(collection, std::mem::take(&mut work.kept)).await?;
        }
        work.verify(&self.job.existing(&work.ids()).await?);
        self.delete_points(work.stale()).await?;
        self.record(work.finished_records()).await?;
        for (source, n_bytes, outcome) in work.outcomes {
            self.met.finish(&source);
            self.reporter.finished(source, n_bytes, outcome).await;
        }
        Ok(fault)
    }

    /// Deletes the points of documents, and their records after them.
    ///
    /// The records are unfinished before: a document that comes back as it was
    /// is not taken for one whose points are there.
    pub(super) async fn delete_documents(&self, documents: Vec<SourceRecord>) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let collection = &self.job.collection.name;
        let sources = documents.iter().map(|record| record.source.clone()).collect();
        let points = documents.iter().flat_map(|record| record.points.iter().copied()).collect();
        let unfinished = |record| SourceRecord { pipeline: UNFINISHED.to_owned(), ..record };
        self.state.record(collection, documents.into_iter().map(unfinished).collect()).await?;
        self.delete_points(points).await?;
        self.state.forget(collection, sources).await
    }

    /// Deletes points, and remembers their vectors for a while: their text may
    /// have moved to a document that comes later.
    async fn delete_points(&self, ids: Vec<Uuid>) -> Result<(), StoreError> {
        let collection = &self.job.collection.name;
        for ids in lists(ids, self.job.config.batch_texts) {
            for point in self.store.points(collection, &ids).await? {
                self.job.recent.put(point.payload.text_hash, point.dense);
            }
            self.store.delete(collection, Selection::Ids(ids)).await?;
        }
        Ok(())
    }

    /// Writes records, which are met by that.
    async fn record(&self, records: Vec<SourceRecord>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let numbers = self.state.record(&self.job.collection.name, records).await?;
        numbers.into_iter().for_each(|number| self.met.record(number));
        Ok(())
    }
}

/// What is left to do for a batch.
#[derive(Default)]
struct Work {
    /// Points of documents that are skipped now.
    gone: Vec<SourceRecord>,
    /// Records that name the points before they are written.
    intents: Vec<SourceRecord>,
    new: Vec<Point>,
    kept: Vec<(Uuid, Payload)>,
    /// Records of documents whose points are as they should be.
    puts: Vec<Written>,
    touched: Vec<SourceRecord>,
    outcomes: Vec<(String, u64, Outcome)>,
    /// Held until all is written.
    rooms: Vec<Room>,
}

/// A document whose points were written.
struct Written {
    record: SourceRecord,
    /// Points that it had before.
    old: Vec<Uuid>,
    /// Its place in the outcomes.
    outcome: usize,
    is_stored: bool,
}

impl Work {
    fn new(entries: Vec<Entry>) -> Self {
        let mut work = Self::default();
        for Entry { source, size, old, action, room } in entries {
            let outcome = match action {
                Action::Touch(record) => {
                    work.touched.push(record);
                    Outcome::Unchanged
                }
                Action::Skip(reason) => {
                    work.gone.extend(old);
                    Outcome::Skipped(reason)
                }
                Action::Fail(reason) => Outcome::Failed(reason),
                Action::Put(put) => work.put(put, old),
            };
            work.rooms.push(room);
            work.outcomes.push((source, size, outcome));
        }
        work
    }

    fn put(&mut self, put: Put, old: Option<SourceRecord>) -> Outcome {
        let Put { record, new, kept, n_embedded, n_tokens } = put;
        let outcome = Outcome::Indexed(Box::new(Indexed {
            n_chunks: new.len() + kept.len(),
            n_embedded,
            n_copied: new.len().saturating_sub(n_embedded),
            n_tokens,
            encoding: record.encoding.clone(),
            coverage: record.coverage.clone().unwrap_or_default(),
        }));
        let old = old.map(|record| record.points).unwrap_or_default();
        self.intents.push(SourceRecord {
            points: with_all_of(&record.points, &old),
            pipeline: UNFINISHED.to_owned(),
            coverage: None,
            ..record.clone()
        });
        self.new.extend(new);
        self.kept.extend(kept);
        self.puts.push(Written { record, old, outcome: self.outcomes.len(), is_stored: true });
        outcome
    }

    /// All points that should be stored now.
    fn ids(&self) -> Vec<Uuid> {
        self.puts.iter().flat_map(|put| put.record.points.iter().copied()).collect()
    }

    /// Fails documents whose points the store does not have: they stay
    /// unfinished, and keep what else they had.
    fn verify(&mut self, stored: &HashSet<Uuid>) {
        for put in &mut self.puts {
            let missing = put.record.points.iter().filter(|id| !stored.contains(id)).count();
            if 0 < missing {
                put.is_stored = false;
                let n_points = put.record.points.len();
                let reason =
                    format!("the store does not have {missing} of {n_points} points after writing them");
                self.outcomes[put.outcome].2 = Outcome::Failed(reason);
            }
        }
    }

    /// Points that their documents no longer have.
    fn stale(&self) -> Vec<Uuid> {
        let mut stale = Vec::new();
        for put in self.puts.iter().filter(|put| put.is_stored) {
            let current: HashSet<_> = put.record.points.iter().collect();
            stale.extend(put.old.iter().filter(|id| !current.contains(id)).copied());
        }
        stale
    }

    fn finished_records(&mut self) -> Vec<SourceRecord> {
        let finished = self.puts.drain(..).filter(|put| put.is_stored).map(|put| put.record);
        finished.chain(self.touched.drain(..)).collect()
    }
}

/// `first`, then what else is in `second`.
fn with_all_of(first: &[Uuid], second: &[Uuid]) -> Vec<Uuid> {
    let known: HashSet<_> = first.iter().collect();
    first.iter().chain(second.iter().filter(|id| !known.contains(id))).copied().collect()
}

/// Lists of at most `max`, in order.
fn lists<T>(items: Vec<T>, max: usize) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || {
        let list: Vec<_> = items.by_ref().take(max.max(1)).collect();
        (!list.is_empty()).then_some(list)
    })
}
