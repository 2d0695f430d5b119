//! Documents → batches, and what is new in them → points: chunks of many small
//! documents share a request, and those of a large one are spread over several.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::IndexError;
use super::budget::Room;
use super::job::Job;
use super::prepare::{Prepared, Step};
use super::stage::{Ahead, ahead};
use super::vectors::Vectors;
use crate::embed::EmbedError;
use crate::store::{Payload, Point, SourceRecord, StoreError};

/// Documents that are written together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// What failed for all of a request, whatever its texts were.
    pub(super) fault: Option<EmbedError>,
}

/// One document, and what is to be done with it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) source: String,
    pub(super) size: u64,
    /// What was recorded of it before this run.
    pub(super) old: Option<SourceRecord>,
    pub(super) action: Action,
    /// Held until it is written.
    pub(super) room: Room,
}

#[derive(Debug)]
pub(super) enum Action {
    /// Its bytes are as they were: only the record's time is not.
    Touch(SourceRecord),
    Put(Put),
    Skip(String),
    Fail(String),
}

/// The points of a document.
#[derive(Debug)]
pub(super) struct Put {
    /// As it will be when all is done.
    pub(super) record: SourceRecord,
    /// Not stored yet.
    pub(super) new: Vec<Point>,
    /// Stored already, with the payload that they should have now.
    pub(super) kept: Vec<(Uuid, Payload)>,
    /// Of the new ones, those whose vector was made for this document.
    pub(super) n_embedded: usize,
    /// Tokens of these.
    pub(super) n_tokens: u64,
}

/// Counts batches that failed one after another.
#[derive(Debug)]
pub(super) struct Failures {
    n: u32,
    max: u32,
}

impl Failures {
    pub(super) fn new(max: u32) -> Self {
        Self { n: 0, max }
    }

    /// # Errors
    /// The fault that was one too many: what asks the same upstreams again would fail again.
    pub(super) fn count(&mut self, fault: Option<EmbedError>) -> Result<(), IndexError> {
        self.n = if fault.is_some() { self.n + 1 } else { 0 };
        match fault {
            Some(fault) if self.max <= self.n => Err(fault.into()),
            _ => Ok(()),
        }
    }
}

/// Gathers documents in batches and embeds what is new in them, a bounded
/// number of batches at once, in order.
pub(super) fn embedded(
    job: Arc<Job>,
    documents: impl Stream<Item = Prepared> + Send + 'static,
) -> Ahead<Result<Batch, StoreError>> {
    let max_batches = job.config.max_batches.max(1);
    let batches = gathered(Arc::clone(&job), documents)
        .map(move |documents| {
            let task = AbortOnDropHandle::new(tokio::spawn(embed(Arc::clone(&job), documents)));
            async move { task.await.unwrap_or_else(|cause| Err(StoreError::Failed(Box::new(cause)))) }
        })
        .buffered(max_batches);
    ahead(batches, 1)
}

/// Closes a batch when it has enough tokens or documents.
pub(super) fn gathered(
    job: Arc<Job>,
    documents: impl Stream<Item = Prepared> + Send + 'static,
) -> impl Stream<Item = Vec<Prepared>> + Send {
    let documents: Pin<Box<dyn Stream<Item = Prepared> + Send>> = Box::pin(documents);
    stream::unfold((documents, job), |(mut documents, job)| async move {
        let (max_tokens, max_documents) = (job.config.batch_tokens, job.config.batch_documents);
        let mut batch = Vec::new();
        let (mut n_tokens, mut room) = (0, 0);
        while let Some(document) = documents.next().await {
            n_tokens += document.n_tokens();
            room += document.room.n_tokens;
            batch.push(document);
            let is_full = max_tokens <= n_tokens || max_documents <= batch.len();
            if is_full || job.budget.of_batch() <= room {
                break;
            }
        }
        (!batch.is_empty()).then_some((batch, (documents, job)))
    })
}

async fn embed(job: Arc<Job>, documents: Vec<Prepared>) -> Result<Batch, StoreError> {
    let mut vectors = Vectors::known(&job, &documents).await?;
    vectors.embed(&job, &documents).await;
    let mut entries = Vec::with_capacity(documents.len());
    for (index, document) in documents.into_iter().enumerate() {
        let Prepared { source, size, old, step, room } = document;
        let action = match (step, vectors.failed.remove(&index)) {
            (_, Some(reason)) => Action::Fail(reason),
            (Step::Same(record), _) => Action::Touch(record),
            (Step::Skip(reason), _) => Action::Skip(reason),
            (Step::Fail(reason), _) => Action::Fail(reason),
            (Step::Chunks { record, chunks }, None) => {
                let mut put = Put { record, new: Vec::new(), kept: Vec::new(), n_embedded: 0, n_tokens: 0 };
                let made = vectors.made.get(&index).copied().unwrap_or_default();
                (put.n_embedded, put.n_tokens) = (made.n_texts, made.n_tokens);
                for chunk in chunks {
                    if vectors.stored.contains(&chunk.id) {
                        put.kept.push((chunk.id, chunk.payload));
                    } else if let Some(dense) = vectors.of(&chunk.payload.text_hash) {
                        let sparse = job.analyzer.document(&chunk.embedded_text);
                        put.new.push(Point { id: chunk.id, dense, sparse, payload: chunk.payload });
                    }
                }
                Action::Put(put)
            }
        };
        entries.push(Entry { source, size, old, action, room });
    }
    Ok(Batch { entries, fault: vectors.fault })
}
