//! A stored chunk beside what is made of its document now: derived again from
//! the original, through the same plugins, and embedded again.

use uuid::Uuid;

use super::generation::differs;
use super::job::Job;
use super::prepare::{self, PreparedChunk, Step};
use super::source::Found;
use super::{CollectionConfig, IndexError, Indexer};
use crate::model::Embedding;
use crate::store::{Payload, Point, SourceRecord};

/// Cosine that two vectors of one text have at least, whatever machine made them: a server that
/// computes with half precision, or batches differently, is no other model.
const SAME: f32 = 0.999;

/// What became of a chunk that was derived again.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    /// Everything is as it is stored; the cosine of both vectors is nearly 1.
    Same { cosine: f32 },
    /// It comes out, with other properties than are stored.
    Differs { fields: Vec<&'static str>, cosine: f32 },
    /// Its document does not give it any more, though its bytes are the same.
    Gone { n_chunks: usize },
    /// The document's bytes are not those that were indexed.
    Changed,
    /// The document cannot be made chunks of now, for this reason.
    Unreadable(String),
    /// Nothing is recorded of its document.
    Unrecorded,
}

impl Replayed {
    /// Returns whether what is stored is proved right.
    pub fn is_same(&self) -> bool {
        matches!(self, Self::Same { .. })
    }
}

/// One chunk, as it is stored and as it came out.
#[derive(Clone, Debug)]
pub struct Replay {
    pub generation: String,
    pub stored: Point,
    /// What the collection's configuration is not any more as it was for this generation.
    pub reconfigured: Option<&'static str>,
    pub replayed: Replayed,
    /// The text that comes out now, where one does.
    pub text: Option<String>,
}

impl Indexer {
    /// Derives the chunk again and compares. Nothing is written.
    ///
    /// # Errors
    /// There is no such collection, no such point in it, or the model cannot be asked.
    pub async fn replay(&self, collection: &CollectionConfig, id: Uuid) -> Result<Replay, IndexError> {
        let job = Job::new(self, collection).await?;
        let build = self.store.known(&collection.name).await?;
        let points = self.store.points(&build.name, &[id]).await?;
        let Some(stored) = points.into_iter().next() else {
            return Err(IndexError::NoPoint { collection: build.name, id });
        };
        let reconfigured = differs(&build, &job.collection);
        let record = self.state.source(&build.name, &stored.payload.source).await?;
        let (replayed, text) = replay(&job, &stored, record).await?;
        Ok(Replay { generation: build.name, stored, reconfigured, replayed, text })
    }
}

/// Derives one point again from its document.
pub(super) async fn replay(
    job: &Job,
    stored: &Point,
    record: Option<SourceRecord>,
) -> Result<(Replayed, Option<String>), IndexError> {
    let Some(record) = record else { return Ok((Replayed::Unrecorded, None)) };
    let found = match Found::again(&record, &stored.payload.media_type) {
        Ok(found) => found,
        Err(reason) => return Ok((Replayed::Unreadable(reason), None)),
    };
    let (now, chunks) = match prepare::derive(job, &found).await {
        Step::Chunks { record, chunks } => (record, chunks),
        Step::Same(_) => return Ok((Replayed::Gone { n_chunks: 0 }, None)),
        Step::Skip(reason) | Step::Fail(reason) => return Ok((Replayed::Unreadable(reason), None)),
    };
    if now.content != record.content {
        return Ok((Replayed::Changed, None));
    }
    let n_chunks = chunks.len();
    let Some(chunk) = chunks.into_iter().find(|chunk| chunk.id == stored.id) else {
        return Ok((Replayed::Gone { n_chunks }, None));
    };
    let embeddings = job.embed(std::slice::from_ref(&chunk.embedded_text)).await?;
    let cosine = embeddings.first().map_or(0.0, |now| cosine(now, &stored.dense));
    let text = Some(chunk.payload.text.clone());
    let mut fields = other_fields(job, stored, chunk);
    if cosine < SAME {
        fields.push("vector");
    }
    let same = fields.is_empty();
    Ok((if same { Replayed::Same { cosine } } else { Replayed::Differs { fields, cosine } }, text))
}

/// The names of what is not as it is stored.
fn other_fields(job: &Job, stored: &Point, chunk: PreparedChunk) -> Vec<&'static str> {
    let sparse = job.analyzer.document(&chunk.embedded_text);
    let (have, now) = (&stored.payload, &chunk.payload);
    // Qdrant keeps no order between keys.
    let metadata = |payload: &Payload| {
        let mut metadata = payload.metadata.clone();
        metadata.sort();
        metadata
    };
    let fields = [
        ("text", have.text == now.text),
        ("text_hash", have.text_hash == now.text_hash),
        ("prefix", have.prefix == now.prefix),
        ("span", have.span == now.span && have.extracted == now.extracted),
        ("line", have.line == now.line),
        ("ordinal", have.ordinal == now.ordinal),
        ("title", have.title == now.title),
        ("headings", have.headings == now.headings),
        ("media_type", have.media_type == now.media_type),
        ("metadata", metadata(have) == metadata(now)),
        ("sparse", stored.sparse == sparse),
    ];
    fields.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
}

/// The cosine of two vectors; 0 where their dimensions differ.
fn cosine(one: &Embedding, other: &Embedding) -> f32 {
    let (one, other) = (one.values(), other.values());
    if one.len() != other.len() {
        return 0.0;
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let norms = (dot(one, one) * dot(other, other)).sqrt();
    if norms == 0.0 { 0.0 } else { (dot(one, other) / norms) as f32 }
}
