//! Qdrant's messages from and to our types.

use std::collections::{BTreeMap, HashMap};

use qdrant_client::qdrant::{
    DenseVector, NamedVectors, PointId, PointStruct, PointsIdsList, PointsSelector, QuantizationSearchParams,
    QueryPoints, RetrievedPoint, ScoredPoint, SearchParams, SparseVector as SparseWire, Struct, Value,
    Vector, VectorInput, VectorOutput, Vectors, VectorsOutput, point_id, points_selector, query, value,
    vector, vector_input, vector_output, vectors, vectors_output,
};
use uuid::Uuid;

use super::calls::failed;
use super::conditions::filter;
use super::properties::Known;
use crate::analyzer::SparseVector;
use crate::document::Span;
use crate::model::Embedding;
use crate::store::filter::as_number;
use crate::store::scan::normalised;
use crate::store::{Hit, Payload, Point, Probe, Query, Selection, StoreError, TextHash};

pub(super) const DENSE: &str = "dense";
pub(super) const SPARSE: &str = "bm25";
/// The message for a point, and about how many bytes it takes.
pub(super) fn point(point: Point) -> (usize, PointStruct) {
    let n_bytes = 4 * point.dense.dimensions() + 8 * point.sparse.terms.len() + payload_bytes(&point.payload);
    // As the server would, which leaves alone what is normalised: both stores keep the same bits.
    let dense = vector::Vector::Dense(DenseVector { data: normalised(point.dense.values()) });
    let sparse =
        vector::Vector::Sparse(SparseWire { indices: point.sparse.terms, values: point.sparse.weights });
    let named = [(DENSE, dense), (SPARSE, sparse)]
        .map(|(name, vector)| (name.to_owned(), Vector { vector: Some(vector), ..Vector::default() }));
    let vectors = NamedVectors { vectors: HashMap::from(named) };
    let message = PointStruct {
        id: Some(point_id(&point.id)),
        payload: payload(point.payload),
        vectors: Some(Vectors { vectors_options: Some(vectors::VectorsOptions::Vectors(vectors)) }),
    };
    (n_bytes, message)
}

/// About how many bytes a payload takes.
pub(super) fn payload_bytes(payload: &Payload) -> usize {
    let headings: usize = payload.headings.iter().map(|heading| heading.len() + 8).sum();
    let metadata: usize =
        payload.metadata.iter().map(|(key, value)| 2 * (key.len() + value.len()) + 32).sum();
    let texts = payload.text.len() + payload.source.len() + payload.media_type.len();
    let options = [&payload.title, &payload.prefix].into_iter().flatten().map(String::len).sum::<usize>();
    texts + options + headings + metadata + 256
}

/// Cuts messages, each with its size, into calls. One that alone is larger goes alone.
pub(super) fn batches<T>(sized: Vec<(usize, T)>, max_items: usize, max_bytes: usize) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for (n_bytes, item) in sized {
        match batches.last_mut() {
            Some(batch) if batch.len() < max_items && n_bytes <= room => batch.push(item),
            _ => {
                batches.push(vec![item]);
                room = max_bytes;
            }
        }
        room = room.saturating_sub(n_bytes);
    }
    batches
}

pub(super) fn payload(payload: Payload) -> HashMap<String, Value> {
    let order = order_of(&payload.metadata);
    let mut metadata: HashMap<String, Vec<String>> = HashMap::new();
    for (key, value) in payload.metadata {
        metadata.entry(key).or_default().push(value);
    }
    // What ranges look at: Qdrant compares numbers with numbers only.
    let numbers = metadata.iter().filter_map(|(key, values)| {
        let numbers: Vec<f64> = values.iter().filter_map(|value| as_number(value)).collect();
        (!numbers.is_empty()).then(|| (key.clone(), Value::from(numbers)))
    });
    let numbers = structure(numbers.collect());
    let metadata = structure(metadata.into_iter().map(|(key, values)| (key, Value::from(values))).collect());
    let fields = [
        ("source", Some(payload.source.into())),
        ("media_type", Some(payload.media_type.into())),
        ("title", payload.title.map(Value::from)),
        ("headings", Some(Value::from(payload.headings))),
        ("text", Some(payload.text.into())),
        ("prefix", payload.prefix.map(Value::from)),
        ("span_start", payload.span.map(|span| Value::from(span.start as i64))),
        ("span_end", payload.span.map(|span| Value::from(span.end as i64))),
        ("extracted", Some(payload.extracted.into())),
        ("line", Some(i64::from(payload.line).into())),
        ("ordinal", Some(i64::from(payload.ordinal).into())),
        ("text_hash", payload.text_hash.is_known().then(|| payload.text_hash.to_string().into())),
        ("metadata", Some(metadata)),
        ("order", order),
        ("numbers", Some(numbers)),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// The place of each metadatum among those by key, where they are not by key:
/// Qdrant keeps no order.
fn order_of(metadata: &[(String, String)]) -> Option<Value> {
    let mut by_key: Vec<usize> = (0..metadata.len()).collect();
    by_key.sort_by_key(|place| &metadata[*place].0);
    let order = |places: Vec<usize>| Value::from(places.into_iter().map(|n| n as i64).collect::<Vec<_>>());
    (!by_key.is_sorted()).then(|| order(by_key))
}

/// Brings metadata by key into the order that they were written in.
fn ordered(metadata: Vec<(String, String)>, order: Option<Value>) -> Vec<(String, String)> {
    let Some(value::Kind::ListValue(order)) = order.and_then(|order| order.kind) else { return metadata };
    let place = |value: &Value| match value.kind {
        Some(value::Kind::IntegerValue(place)) => place,
        _ => i64::MAX,
    };
    let places = order.values.iter().map(place).chain(std::iter::repeat(i64::MAX));
    let mut placed: Vec<_> = places.zip(metadata).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, metadatum)| metadatum).collect()
}

fn read_payload(mut fields: HashMap<String, Value>) -> Payload {
    let metadata = match fields.remove("metadata").and_then(|value| value.kind) {
        Some(value::Kind::StructValue(metadata)) => metadata.fields.into_iter().collect::<BTreeMap<_, _>>(),
        _ => BTreeMap::new(),
    };
    let metadata = metadata
        .into_iter()
        .flat_map(|(key, values)| texts_of(values).into_iter().map(move |value| (key.clone(), value)))
        .collect();
    let metadata = ordered(metadata, fields.remove("order"));
    let headings = fields.remove("headings").map(texts_of).unwrap_or_default();
    let extracted =
        matches!(fields.remove("extracted").and_then(|value| value.kind), Some(value::Kind::BoolValue(true)));
    let mut whole = |key: &str| match fields.remove(key)?.kind? {
        value::Kind::IntegerValue(number) => Some(number),
        _ => None,
    };
    let span = whole("span_start").zip(whole("span_end"));
    let span = span.map(|(start, end)| Span::new(start as usize, end as usize));
    let (line, ordinal) =
        (whole("line").unwrap_or_default() as u32, whole("ordinal").unwrap_or_default() as u32);
    let mut text = |key: &str| fields.remove(key).and_then(text_of);
    Payload {
        source: text("source").unwrap_or_default(),
        media_type: text("media_type").unwrap_or_default(),
        title: text("title"),
        headings,
        text: text("text").unwrap_or_default(),
        prefix: text("prefix"),
        span,
        extracted,
        line,
        ordinal,
        text_hash: text("text_hash").and_then(|hex| TextHash::from_hex(&hex)).unwrap_or_default(),
        metadata,
    }
}

/// A point as the server has it, with vectors and payload.
pub(super) fn stored(point: RetrievedPoint) -> Result<Point, StoreError> {
    let id = uuid(point.id)?;
    let mut named = named(point.vectors);
    let dense = dense(named.remove(DENSE)).ok_or_else(|| failed(format!("point {id} has no vector")))??;
    let sparse = match named.remove(SPARSE).map(VectorOutput::into_vector) {
        Some(vector_output::Vector::Sparse(SparseWire { indices, values })) => {
            let mut terms: Vec<(u32, f32)> = indices.into_iter().zip(values).collect();
            terms.sort_unstable_by_key(|(term, _)| *term);
            let (terms, weights) = terms.into_iter().unzip();
            SparseVector { terms, weights }
        }
        _ => SparseVector::default(),
    };
    Ok(Point { id, dense, sparse, payload: read_payload(point.payload) })
}

/// The hash of a point's text, and its dense vector.
pub(super) fn known_vector(mut point: RetrievedPoint) -> Option<(TextHash, Result<Embedding, StoreError>)> {
    let hash = point.payload.remove("text_hash").and_then(text_of)?;
    Some((TextHash::from_hex(&hash)?, dense(named(point.vectors).remove(DENSE))?))
}

fn named(vectors: Option<VectorsOutput>) -> HashMap<String, VectorOutput> {
    match vectors.and_then(|vectors| vectors.vectors_options) {
        Some(vectors_output::VectorsOptions::Vectors(named)) => named.vectors,
        _ => HashMap::new(),
    }
}

fn dense(vector: Option<VectorOutput>) -> Option<Result<Embedding, StoreError>> {
    match vector?.into_vector() {
        vector_output::Vector::Dense(dense) => {
            Some(Embedding::new(dense.data).map_err(|error| StoreError::Failed(Box::new(error))))
        }
        _ => None,
    }
}

pub(super) fn query(known: &Known, query: Query, timeout: Option<u64>) -> Result<QueryPoints, StoreError> {
    let (using, input) = match query.probe {
        Probe::Dense(embedding) => {
            (DENSE, vector_input::Variant::Dense(DenseVector { data: embedding.values().to_vec() }))
        }
        Probe::Sparse(vector) => (
            SPARSE,
            vector_input::Variant::Sparse(SparseWire { indices: vector.terms, values: vector.weights }),
        ),
    };
    let nearest = query::Variant::Nearest(VectorInput { variant: Some(input) });
    Ok(QueryPoints {
        collection_name: known.collection.name.clone(),
        query: Some(qdrant_client::qdrant::Query { variant: Some(nearest) }),
        using: Some(using.to_owned()),
        filter: query.filter.as_ref().map(filter).transpose()?,
        limit: Some(query.limit.min(known.max_page) as u64),
        // The order among the best is that of the vectors as they are.
        params: known.is_quantised.then(|| SearchParams {
            quantization: Some(QuantizationSearchParams { rescore: Some(true), ..Default::default() }),
            ..SearchParams::default()
        }),
        with_payload: Some(true.into()),
        timeout,
        ..QueryPoints::default()
    })
}

pub(super) fn hit(point: ScoredPoint) -> Result<Hit, StoreError> {
    Ok(Hit { id: uuid(point.id)?, score: point.score, payload: read_payload(point.payload) })
}

pub(super) fn point_id(id: &Uuid) -> PointId {
    PointId { point_id_options: Some(point_id::PointIdOptions::Uuid(id.to_string())) }
}

pub(super) fn uuid(id: Option<PointId>) -> Result<Uuid, StoreError> {
    match id.and_then(|id| id.point_id_options) {
        Some(point_id::PointIdOptions::Uuid(id)) => {
            Uuid::parse_str(&id).map_err(|error| StoreError::Failed(Box::new(error)))
        }
        other => Err(failed(format!("a point has the id {other:?}, which Embergate never gives"))),
    }
}

pub(super) fn ids(ids: &[Uuid]) -> PointsSelector {
    let list = PointsIdsList { ids: ids.iter().map(point_id).collect() };
    PointsSelector { points_selector_one_of: Some(points_selector::PointsSelectorOneOf::Points(list)) }
}

pub(super) fn selectors(selection: Selection, max_ids: usize) -> Result<Vec<PointsSelector>, StoreError> {
    Ok(match selection {
        Selection::Ids(all) => all.chunks(max_ids).map(ids).collect(),
        Selection::Matching(wanted) => {
            let wanted = points_selector::PointsSelectorOneOf::Filter(filter(&wanted)?);
            vec![PointsSelector { points_selector_one_of: Some(wanted) }]
        }
    })
}

pub(super) fn structure(fields: HashMap<String, Value>) -> Value {
    Value { kind: Some(value::Kind::StructValue(Struct { fields })) }
}

pub(super) fn text_of(value: Value) -> Option<String> {
    match value.kind? {
        value::Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

fn texts_of(value: Value) -> Vec<String> {
    match value.kind {
        Some(value::Kind::ListValue(list)) => list.values.into_iter().filter_map(text_of).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_batches(sizes: &[usize], want: &[&[usize]]) {
        let sized = sizes.iter().map(|size| (*size, *size)).collect();
        assert_eq!(batches(sized, 3, 10), want);
    }

    #[test]
    fn calls_are_bounded_in_points_and_bytes() {
        check_batches(&[1, 1, 1, 1], &[&[1, 1, 1], &[1]]);
        check_batches(&[6, 6, 4], &[&[6], &[6, 4]]);
        check_batches(&[99, 1], &[&[99], &[1]]);
        check_batches(&[], &[]);
    }
}
