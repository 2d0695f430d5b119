//! What a run would do, found out by doing all of it but the writing.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::job::Job;
use super::prepare::{Prepared, Step};
use super::run::Run;
use super::source::Sources;
use super::vectors::Vectors;
use super::{Event, IndexError, Outcome, batch};
use crate::store::{IndexState, Speed, StoreError, TextHash};

/// Texts that are embedded to measure a speed that nobody knows yet.
const SAMPLE: usize = 32;

/// What a run would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The generation that would be written.
    pub generation: String,
    /// The one that serves, where that is another one, and what it differs in.
    pub beside: Option<(String, &'static str)>,
    pub n_new: usize,
    pub n_changed: usize,
    pub n_removed: usize,
    /// Of the documents that are new or changed, as is all that follows.
    pub n_chunks: usize,
    /// Chunks whose points are there.
    pub n_kept: usize,
    /// Texts that would be embedded: each once, whatever documents have it.
    pub n_missing: usize,
    /// Tokens of these.
    pub n_tokens: u64,
    /// Whether all documents were looked at; `--limit` ends it before.
    pub is_whole: bool,
    /// How fast the model embedded when last measured, which may be just now.
    pub speed: Option<Speed>,
}

impl Plan {
    /// How long embedding would take.
    pub fn seconds(&self) -> Option<f64> {
        let Speed { n_tokens, seconds } = self.speed?;
        (0 < n_tokens).then(|| self.n_tokens as f64 * seconds / n_tokens as f64)
    }

    /// Goes through the documents as a run would, and writes nothing.
    pub(super) async fn make(&mut self, run: Arc<Run>, sources: Arc<Sources>) -> Result<(), IndexError> {
        let (prepared, ends) = run.prepared(Arc::clone(&sources));
        let mut batches = pin!(batch::gathered(Arc::clone(&run.job), prepared));
        let mut texts = Texts::default();
        while let Some(documents) = batches.next().await {
            let vectors = Vectors::known(&run.job, &documents).await?;
            let missing = texts.new_among(&vectors, &documents);
            self.n_missing += missing.0;
            self.n_tokens += missing.1;
            for document in documents {
                run.met.finish(&document.source);
                if let Some(event) = self.planned(&vectors, document) {
                    run.reporter.tell(event).await;
                }
            }
        }
        self.is_whole = ends.wait().await?;
        if self.is_whole {
            self.count_vanished(&run, &sources).await?;
        }
        self.speed = speed(&run.job, &run.state, texts.sample).await?;
        Ok(())
    }

    /// Counts one document; nothing is told of one that would be as it was.
    fn planned(&mut self, vectors: &Vectors, document: Prepared) -> Option<Event> {
        let Prepared { source, size: n_bytes, old, step, .. } = document;
        let outcome = match step {
            Step::Same(_) => Outcome::Unchanged,
            Step::Skip(reason) => Outcome::Skipped(reason),
            Step::Fail(reason) => Outcome::Failed(reason),
            Step::Chunks { chunks, .. } => {
                let n_kept = chunks.iter().filter(|chunk| vectors.stored.contains(&chunk.id)).count();
                self.n_chunks += chunks.len();
                self.n_kept += n_kept;
                let is_new = old.is_none();
                *if is_new { &mut self.n_new } else { &mut self.n_changed } += 1;
                return Some(Event::Planned { source, n_bytes, is_new, n_chunks: chunks.len(), n_kept });
            }
        };
        Some(Event::Finished { source, n_bytes, outcome })
    }

    async fn count_vanished(&mut self, run: &Run, sources: &Sources) -> Result<(), StoreError> {
        let mut after = 0;
        while let Some((last, gone)) = run.vanished(sources, after).await? {
            after = last;
            self.n_removed += gone.len();
        }
        Ok(())
    }
}

/// Texts that would be embedded.
#[derive(Default)]
struct Texts {
    seen: HashSet<TextHash>,
    /// The first of them.
    sample: Vec<(String, u32)>,
}

impl Texts {
    /// How many of a batch are missing and were not before, and their tokens.
    fn new_among(&mut self, vectors: &Vectors, documents: &[Prepared]) -> (usize, u64) {
        let (mut n_texts, mut n_tokens) = (0, 0);
        for chunk in vectors.missing(documents) {
            if self.seen.insert(chunk.payload.text_hash) {
                n_texts += 1;
                n_tokens += u64::from(chunk.n_tokens);
                if self.sample.len() < SAMPLE {
                    self.sample.push((chunk.embedded_text.clone(), chunk.n_tokens));
                }
            }
        }
        (n_texts, n_tokens)
    }
}

/// How fast the model embeds: as it was measured before, else by embedding the sample now.
async fn speed(
    job: &Job,
    state: &IndexState,
    sample: Vec<(String, u32)>,
) -> Result<Option<Speed>, IndexError> {
    if let Some(speed) = state.speed(&job.collection.model).await? {
        return Ok(Some(speed));
    }
    if sample.is_empty() {
        return Ok(None);
    }
    let n_tokens = sample.iter().map(|(_, n_tokens)| u64::from(*n_tokens)).sum();
    let texts: Vec<_> = sample.into_iter().map(|(text, _)| text).collect();
    let began = Instant::now();
    job.embed(&texts).await?;
    Ok(Some(Speed { n_tokens, seconds: began.elapsed().as_secs_f64() }))
}
