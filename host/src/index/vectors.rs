//! Vectors for the new chunks of a batch: those that are known are copied, and
//! what is left is embedded, each text once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::claims::Claim;
use super::job::Job;
use super::prepare::{Prepared, PreparedChunk};
use super::report::in_full;
use crate::embed::EmbedError;
use crate::model::Embedding;
use crate::store::{StoreError, TextHash};

/// What a batch knows of its chunks.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    /// Chunks that need no vector: their points are there.
    pub(super) stored: HashSet<Uuid>,
    by_text: HashMap<TextHash, Embedding>,
    /// What was made for each document, by its place in the batch.
    pub(super) made: HashMap<usize, Made>,
    /// Documents with a text that cannot be embedded, and why.
    pub(super) failed: HashMap<usize, String>,
    /// What failed for all of a request, whatever its texts were.
    pub(super) fault: Option<EmbedError>,
}

/// What was embedded for one document.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    pub(super) n_texts: usize,
    pub(super) n_tokens: u64,
}

/// A text to embed, and whose it is.
#[derive(Debug)]
struct Wanted {
    hash: TextHash,
    text: Arc<str>,
    n_tokens: u32,
    line: u32,
    /// Places in the batch of all documents that have it; the first one pays.
    documents: Vec<usize>,
}

impl Vectors {
    /// Finds what the store knows: points that are there, and vectors of texts
    /// that stand elsewhere.
    pub(super) async fn known(job: &Job, documents: &[Prepared]) -> Result<Self, StoreError> {
        // A document without a record has no points: the record is written first.
        let with_record = documents.iter().filter(|document| document.old.is_some());
        let ids: Vec<_> = with_record.flat_map(Prepared::chunks).map(|chunk| chunk.id).collect();
        let mut vectors = Self { stored: job.existing(&ids).await?, ..Self::default() };
        let mut unknown: Vec<TextHash> = Vec::new();
        let mut seen = HashSet::new();
        for chunk in documents.iter().flat_map(Prepared::chunks) {
            let hash = chunk.payload.text_hash;
            if !vectors.stored.contains(&chunk.id) && seen.insert(hash) {
                match job.recent.get(&hash) {
                    Some(embedding) => drop(vectors.by_text.insert(hash, embedding)),
                    None => unknown.push(hash),
                }
            }
        }
        vectors.by_text.extend(job.known_vectors(&unknown).await?);
        Ok(vectors)
    }

    /// The vector of a text, after all were embedded.
    pub(super) fn of(&self, text: &TextHash) -> Option<Embedding> {
        self.by_text.get(text).cloned()
    }

    /// Texts that have no vector yet, each once, with their tokens.
    pub(super) fn missing<'d>(&self, documents: &'d [Prepared]) -> impl Iterator<Item = &'d PreparedChunk> {
        let mut seen = HashSet::new();
        let chunks = documents.iter().flat_map(Prepared::chunks);
        chunks.filter(move |chunk| self.is_missing(chunk) && seen.insert(chunk.payload.text_hash))
    }

    fn is_missing(&self, chunk: &PreparedChunk) -> bool {
        !self.stored.contains(&chunk.id) && !self.by_text.contains_key(&chunk.payload.text_hash)
    }

    /// Embeds what is missing, but for what another batch is having embedded:
    /// that is waited for, and asked for here where it failed there.
    pub(super) async fn embed(&mut self, job: &Job, documents: &[Prepared]) {
        let mut left = self.wanted(documents);
        while !left.is_empty() {
            let (claim, mut promised) = job.claims.claim(left.iter().map(|wanted| wanted.hash));
            let (others, own): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|wanted| promised.contains_key(&wanted.hash));
            // Between being looked for and being claimed, it may have been made, or taken from the store.
            let own = own.into_iter().filter(|wanted| !self.has_recent(job, &claim, &wanted.hash)).collect();
            self.embed_claimed(job, &claim, own).await;
            drop(claim);
            left = Vec::new();
            for wanted in others {
                match promised.remove(&wanted.hash) {
                    Some(promise) => match promise.kept().await {
                        Some(embedding) => drop(self.by_text.insert(wanted.hash, embedding)),
                        None => left.push(wanted),
                    },
                    None => left.push(wanted),
                }
            }
            left.retain_mut(|wanted| self.is_wanted(wanted));
        }
    }

    fn has_recent(&mut self, job: &Job, claim: &Claim, text: &TextHash) -> bool {
        let Some(embedding) = job.recent.get(text) else { return false };
        claim.keep(text, &embedding);
        self.by_text.insert(*text, embedding);
        true
    }

    /// A text that fails alone costs the documents that have it; the others of
    /// its request are asked for again.
    async fn embed_claimed(&mut self, job: &Job, claim: &Claim, wanted: Vec<Wanted>) {
        let mut waiting = VecDeque::from(wanted);
        while let Some(request) = next_request(&mut waiting, job) {
            let texts: Vec<_> = request.iter().map(|wanted| wanted.text.to_string()).collect();
            match job.embed(&texts).await {
                Ok(embeddings) => self.take(job, claim, request, embeddings),
                Err(error) => {
                    self.fail(&request, error);
                    request.into_iter().rev().for_each(|wanted| waiting.push_front(wanted));
                    waiting.retain_mut(|wanted| self.is_wanted(wanted));
                }
            }
        }
    }

    /// Whether a document that has not failed has the text; it forgets those that have.
    fn is_wanted(&self, wanted: &mut Wanted) -> bool {
        wanted.documents.retain(|document| !self.failed.contains_key(document));
        !wanted.documents.is_empty()
    }

    fn wanted(&self, documents: &[Prepared]) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut places: HashMap<TextHash, usize> = HashMap::new();
        for (document, prepared) in documents.iter().enumerate() {
            for chunk in prepared.chunks().iter().filter(|chunk| self.is_missing(chunk)) {
                let hash = chunk.payload.text_hash;
                match places.get(&hash) {
                    Some(place) => wanted[*place].documents.push(document),
                    None => {
                        places.insert(hash, wanted.len());
                        wanted.push(Wanted {
                            hash,
                            text: chunk.embedded_text.as_str().into(),
                            n_tokens: chunk.n_tokens,
                            line: chunk.payload.line,
                            documents: vec![document],
                        });
                    }
                }
            }
        }
        wanted
    }

    fn take(&mut self, job: &Job, claim: &Claim, request: Vec<Wanted>, embeddings: Vec<Embedding>) {
        for (wanted, embedding) in request.into_iter().zip(embeddings) {
            job.recent.put(wanted.hash, embedding.clone());
            claim.keep(&wanted.hash, &embedding);
            self.by_text.insert(wanted.hash, embedding);
            if let Some(payer) = wanted.documents.first() {
                let made = self.made.entry(*payer).or_default();
                made.n_texts += 1;
                made.n_tokens += u64::from(wanted.n_tokens);
            }
        }
    }

    /// Fails at least one document of the request.
    fn fail(&mut self, request: &[Wanted], error: EmbedError) {
        match text_of(&error).and_then(|index| request.get(index)) {
            Some(wanted) => {
                let reason = format!("the chunk at line {}: {}", wanted.line, reason(&error));
                self.failed.extend(wanted.documents.iter().map(|document| (*document, reason.clone())));
            }
            None => {
                let reason = in_full(&error);
                let documents = request.iter().flat_map(|wanted| &wanted.documents);
                self.failed.extend(documents.map(|document| (*document, reason.clone())));
                self.fault = Some(error);
            }
        }
    }
}

/// The next texts that go together.
fn next_request(waiting: &mut VecDeque<Wanted>, job: &Job) -> Option<Vec<Wanted>> {
    let n_texts = waiting.len().min(job.config.batch_texts.max(1));
    (0 < n_texts).then(|| waiting.drain(..n_texts).collect())
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
