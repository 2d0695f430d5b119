//! The lines of an export.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::analyzer::SparseVector;
use crate::document::Span;
use crate::model::Embedding;
use crate::store::{Collection, Payload, Point, SourceRecord, TextHash, coverage};

/// The version that this Embergate writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Header(Header),
    /// JSON, as the indexer's state has it.
    Root(String),
    Source(Box<Source>),
    Point(Box<Stored>),
    End(End),
}

#[derive(Deserialize, Serialize)]
pub(super) struct Header {
    pub(super) version: u32,
    collection: String,
    model: String,
    dimensions: usize,
    space: String,
    language: Option<String>,
    pipeline: String,
}

#[derive(Deserialize, Serialize)]
pub(super) struct End {
    pub(super) points: u64,
    pub(super) sources: u64,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Source {
    source: String,
    size: u64,
    modified: i64,
    /// BLAKE3, in hexadecimal digits.
    content: String,
    pipeline: String,
    points: Vec<String>,
    coverage: Option<String>,
    etag: Option<String>,
    origin: String,
    encoding: Option<String>,
    tokens: u64,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Stored {
    id: String,
    /// Little-endian `f32`s in base64, as are the weights.
    dense: String,
    terms: Vec<u32>,
    weights: String,
    source: String,
    media_type: String,
    title: Option<String>,
    headings: Vec<String>,
    text: String,
    prefix: Option<String>,
    span: Option<[usize; 2]>,
    extracted: bool,
    line: u32,
    ordinal: u32,
    text_hash: String,
    metadata: Vec<(String, String)>,
}

impl Line {
    pub(super) fn header(collection: &Collection) -> Self {
        let Collection { name, model, dimensions, space, language, pipeline } = collection.clone();
        let collection = crate::store::collection_of(&name).to_owned();
        Self::Header(Header { version: VERSION, collection, model, dimensions, space, language, pipeline })
    }

    pub(super) fn source(record: SourceRecord) -> Self {
        Self::Source(Box::new(Source {
            source: record.source,
            size: record.size,
            modified: record.modified,
            content: blake3::Hash::from_bytes(record.content).to_hex().to_string(),
            pipeline: record.pipeline,
            points: record.points.iter().map(Uuid::to_string).collect(),
            coverage: record.coverage.as_ref().and_then(coverage::to_json),
            etag: record.etag,
            origin: record.origin,
            encoding: record.encoding,
            tokens: record.n_tokens,
        }))
    }

    pub(super) fn point(point: Point) -> Self {
        let Point { id, dense, sparse, payload } = point;
        Self::Point(Box::new(Stored {
            id: id.to_string(),
            dense: to_base64(dense.values()),
            terms: sparse.terms,
            weights: to_base64(&sparse.weights),
            source: payload.source,
            media_type: payload.media_type,
            title: payload.title,
            headings: payload.headings,
            text: payload.text,
            prefix: payload.prefix,
            span: payload.span.map(|span| [span.start, span.end]),
            extracted: payload.extracted,
            line: payload.line,
            ordinal: payload.ordinal,
            text_hash: payload.text_hash.to_string(),
            metadata: payload.metadata,
        }))
    }
}

impl Header {
    pub(super) fn into_collection(self) -> Collection {
        let Self { collection, model, dimensions, space, language, pipeline, .. } = self;
        Collection { name: collection, model, dimensions, space, language, pipeline }
    }
}

impl Source {
    /// Says what is wrong with it.
    pub(super) fn into_record(self) -> Result<SourceRecord, String> {
        let content = blake3::Hash::from_hex(&self.content).map_err(|error| format!("`content`: {error}"))?;
        Ok(SourceRecord {
            source: self.source,
            size: self.size,
            modified: self.modified,
            content: *content.as_bytes(),
            pipeline: self.pipeline,
            points: self.points.iter().map(|id| uuid(id)).collect::<Result<_, _>>()?,
            coverage: self.coverage.as_deref().and_then(coverage::from_json),
            etag: self.etag,
            origin: self.origin,
            encoding: self.encoding,
            n_tokens: self.tokens,
        })
    }
}

impl Stored {
    /// Says what is wrong with it.
    pub(super) fn into_point(self, dimensions: usize) -> Result<Point, String> {
        let dense = from_base64(&self.dense).ok_or("`dense` is no list of numbers in base64")?;
        if dense.len() != dimensions {
            return Err(format!("its vector has {} dimensions, not {dimensions}", dense.len()));
        }
        let weights = from_base64(&self.weights).ok_or("`weights` is no list of numbers in base64")?;
        if weights.len() != self.terms.len() {
            return Err(format!("it has {} terms and {} weights", self.terms.len(), weights.len()));
        }
        let is_ordered = |[start, end]: &[usize; 2]| start <= end;
        if !self.span.as_ref().is_none_or(is_ordered) {
            return Err("its span ends before it begins".to_owned());
        }
        let payload = Payload {
            source: self.source,
            media_type: self.media_type,
            title: self.title,
            headings: self.headings,
            text: self.text,
            prefix: self.prefix,
            span: self.span.map(|[start, end]| Span::new(start, end)),
            extracted: self.extracted,
            line: self.line,
            ordinal: self.ordinal,
            text_hash: TextHash::from_hex(&self.text_hash).ok_or("`text_hash` is no hash")?,
            metadata: self.metadata,
        };
        let dense = Embedding::new(dense).map_err(|error| error.to_string())?;
        let sparse = SparseVector { terms: self.terms, weights };
        Ok(Point { id: uuid(&self.id)?, dense, sparse, payload })
    }
}

pub(super) fn write(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn uuid(id: &str) -> Result<Uuid, String> {
    Uuid::parse_str(id).map_err(|error| format!("`{id}`: {error}"))
}

fn to_base64(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

fn from_base64(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (values, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}
