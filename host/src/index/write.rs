//! Chunks → store and state, in the order that makes stopping safe: see the
//! rules in the documentation of [`index`](super).

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::batch::{Action, Batch, Entry, Put};
use super::job::Job;
use super::report::Report;
use super::{IndexError, Indexer, Outcome};
use crate::embed::EmbedError;
use crate::store::{Payload, Point, Selection, SourceRecord, StoreError};

/// The pipeline of a record whose points are not all written: no pipeline's fingerprint.
const UNFINISHED: &str = "";

impl Indexer {
    /// Writes one batch, and returns the fault that kept a part of it from being embedded.
    pub(super) async fn write(
        &self,
        job: &Job,
        batch: Result<Batch, StoreError>,
        report: &mut Report<'_>,
    ) -> Result<Option<EmbedError>, IndexError> {
        let Batch { entries, fault } = batch?;
        let collection = &job.collection.name;
        let mut work = Work::new(entries);
        self.delete_documents(job, std::mem::take(&mut work.gone)).await?;
        self.record(job, std::mem::take(&mut work.intents)).await?;
        for points in lists(std::mem::take(&mut work.new), job.config.batch_texts) {
            self.store.upsert(collection, points).await?;
        }
        for payloads in lists(std::mem::take(&mut work.kept), job.config.batch_texts) {
            self.store.set_payload(collection, payloads).await?;
        }
        work.verify(&job.existing(&work.ids()).await?);
        for ids in lists(work.stale(), job.config.batch_texts) {
            self.store.delete(collection, Selection::Ids(ids)).await?;
        }
        self.record(job, work.finished_records()).await?;
        for (source, n_bytes, outcome) in work.outcomes {
            report.finished(source, n_bytes, outcome);
        }
        Ok(fault)
    }

    /// Deletes the points of documents, and their records after them.
    pub(super) async fn delete_documents(
        &self,
        job: &Job,
        documents: HashMap<String, Vec<Uuid>>,
    ) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let collection = &job.collection.name;
        let ids = documents.values().flatten().copied().collect();
        for ids in lists(ids, job.config.batch_texts) {
            self.store.delete(collection, Selection::Ids(ids)).await?;
        }
        self.state.forget(collection, documents.into_keys().collect()).await
    }

    async fn record(&self, job: &Job, records: Vec<SourceRecord>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.state.record(&job.collection.name, records).await.map(drop)
    }
}

/// What is left to do for a batch.
#[derive(Default)]
struct Work {
    /// Points of documents that are skipped now.
    gone: HashMap<String, Vec<Uuid>>,
    /// Records that name the points before they are written.
    intents: Vec<SourceRecord>,
    new: Vec<Point>,
    kept: Vec<(Uuid, Payload)>,
    /// Records of documents whose points are as they should be.
    puts: Vec<Written>,
    touched: Vec<SourceRecord>,
    outcomes: Vec<(String, u64, Outcome)>,
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
        for Entry { file, old, action } in entries {
            let outcome = match action {
                Action::Touch(record) => {
                    work.touched.push(record);
                    Outcome::Unchanged
                }
                Action::Skip(reason) => {
                    work.gone.extend(old.map(|record| (record.source, record.points)));
                    Outcome::Skipped(reason)
                }
                Action::Fail(reason) => Outcome::Failed(reason),
                Action::Put(put) => work.put(put, old),
            };
            work.outcomes.push((file.source, file.size, outcome));
        }
        work
    }

    fn put(&mut self, put: Put, old: Option<SourceRecord>) -> Outcome {
        let Put { record, new, kept, encoding } = put;
        let outcome = Outcome::Indexed {
            n_chunks: new.len() + kept.len(),
            n_embedded: new.len(),
            coverage: record.coverage.clone().unwrap_or_default(),
            encoding,
        };
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
