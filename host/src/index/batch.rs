//! Documents → batches, with their new points embedded: chunks of many small
//! documents share a request, and those of a large one are spread over several.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::IndexError;
use super::job::Job;
use super::prepare::{Prepared, Step};
use super::report::in_full;
use super::source::Found;
use crate::embed::EmbedError;
use crate::model::Embedding;
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
    pub(super) file: Found,
    /// What was recorded of it before this run.
    pub(super) old: Option<SourceRecord>,
    pub(super) action: Action,
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
    /// The name of the encoding that it was read in.
    pub(super) encoding: &'static str,
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
) -> impl Stream<Item = Result<Batch, StoreError>> + Send {
    let max_batches = job.config.max_batches.max(1);
    let (max_texts, max_documents) = (job.config.batch_texts, job.config.batch_documents);
    gathered(documents, max_texts, max_documents)
        .map(move |documents| {
            let task = AbortOnDropHandle::new(tokio::spawn(embed(Arc::clone(&job), documents)));
            async move { task.await.unwrap_or_else(|cause| Err(StoreError::Failed(Box::new(cause)))) }
        })
        .buffered(max_batches)
}

/// Closes a batch when it has enough chunks or documents.
fn gathered(
    documents: impl Stream<Item = Prepared> + Send + 'static,
    max_texts: usize,
    max_documents: usize,
) -> impl Stream<Item = Vec<Prepared>> + Send {
    let documents: Pin<Box<dyn Stream<Item = Prepared> + Send>> = Box::pin(documents);
    stream::unfold(documents, move |mut documents| async move {
        let mut batch = Vec::new();
        let mut n_texts = 0;
        while let Some(document) = documents.next().await {
            n_texts += document.n_chunks();
            batch.push(document);
            if max_texts <= n_texts || max_documents <= batch.len() {
                break;
            }
        }
        (!batch.is_empty()).then_some((batch, documents))
    })
}

async fn embed(job: Arc<Job>, documents: Vec<Prepared>) -> Result<Batch, StoreError> {
    let ids: Vec<_> = documents.iter().flat_map(Prepared::chunks).map(|chunk| chunk.id).collect();
    let stored = job.existing(&ids).await?;
    let mut answers = Answers::default();
    answers.ask(&job, &documents, &stored).await;
    let entries = documents.into_iter().enumerate().map(|(index, document)| {
        let action = match (document.step, answers.failed.remove(&index)) {
            (_, Some(reason)) => Action::Fail(reason),
            (Step::Same(record), _) => Action::Touch(record),
            (Step::Skip(reason), _) => Action::Skip(reason),
            (Step::Fail(reason), _) => Action::Fail(reason),
            (Step::Chunks { record, chunks, encoding }, None) => {
                let mut put = Put { record, new: Vec::new(), kept: Vec::new(), encoding };
                for chunk in chunks {
                    match answers.vectors.remove(&chunk.id) {
                        Some(dense) => {
                            let sparse = job.analyzer.document(&chunk.embedded_text);
                            put.new.push(Point { id: chunk.id, dense, sparse, payload: chunk.payload });
                        }
                        None => put.kept.push((chunk.id, chunk.payload)),
                    }
                }
                Action::Put(put)
            }
        };
        Entry { file: document.file, old: document.old, action }
    });
    let entries = entries.collect();
    Ok(Batch { entries, fault: answers.fault })
}

/// A text to embed, and whose it is.
struct Wanted {
    document: usize,
    id: Uuid,
    line: u32,
    text: String,
}

/// What became of the texts of a batch.
#[derive(Default)]
struct Answers {
    vectors: HashMap<Uuid, Embedding>,
    /// Documents with a text that cannot be embedded, and why.
    failed: HashMap<usize, String>,
    fault: Option<EmbedError>,
}

impl Answers {
    /// Embeds what is not stored. A text that fails alone costs its own
    /// document; the others of its request are asked for again.
    async fn ask(&mut self, job: &Job, documents: &[Prepared], stored: &HashSet<Uuid>) {
        let mut waiting: VecDeque<Wanted> = wanted(documents, stored).collect();
        while !waiting.is_empty() {
            let n_texts = waiting.len().min(job.config.batch_texts.max(1));
            let request: Vec<_> = waiting.drain(..n_texts).collect();
            let texts: Vec<_> = request.iter().map(|wanted| wanted.text.clone()).collect();
            match job.embed(&texts).await {
                Ok(embeddings) => {
                    self.vectors.extend(request.iter().map(|wanted| wanted.id).zip(embeddings));
                }
                Err(error) => {
                    self.fail(&request, error);
                    request.into_iter().rev().for_each(|wanted| waiting.push_front(wanted));
                    waiting.retain(|wanted| !self.failed.contains_key(&wanted.document));
                }
            }
        }
    }

    /// Fails at least one document of the request.
    fn fail(&mut self, request: &[Wanted], error: EmbedError) {
        match text_of(&error).and_then(|index| request.get(index)) {
            Some(wanted) => {
                let reason = format!("the chunk at line {}: {}", wanted.line, reason(&error));
                self.failed.insert(wanted.document, reason);
            }
            None => {
                let reason = in_full(&error);
                self.failed.extend(request.iter().map(|wanted| (wanted.document, reason.clone())));
                self.fault = Some(error);
            }
        }
    }
}

fn wanted<'d>(documents: &'d [Prepared], stored: &'d HashSet<Uuid>) -> impl Iterator<Item = Wanted> + 'd {
    documents.iter().enumerate().flat_map(move |(document, prepared)| {
        let new = prepared.chunks().iter().filter(|chunk| !stored.contains(&chunk.id));
        new.map(move |chunk| Wanted {
            document,
            id: chunk.id,
            line: chunk.payload.line,
            text: chunk.embedded_text.clone(),
        })
    })
}

/// The index of the one text that an error is about.
fn text_of(error: &EmbedError) -> Option<usize> {
    match error {
        EmbedError::EmptyText { index }
        | EmbedError::TooLong { index, .. }
        | EmbedError::Text { index, .. }
        | EmbedError::Rejected { index, .. } => Some(*index),
        _ => None,
    }
}

/// What is wrong with one text, without its index in a request that nobody saw.
fn reason(error: &EmbedError) -> String {
    match error {
        EmbedError::TooLong { got, max, model, .. } => {
            format!("it has {got} tokens, more than the {max} that `{model}` takes")
        }
        EmbedError::Text { fault, .. } => fault.to_string(),
        EmbedError::Rejected { plugin, reason, .. } => format!("plugin `{plugin}` rejected it: {reason}"),
        other => in_full(other),
    }
}
