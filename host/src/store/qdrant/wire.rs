//! Qdrant's messages from and to our types.

use std::collections::{BTreeMap, HashMap};

use qdrant_client::qdrant::{
    CollectionInfo, Condition, CreateCollection, DenseVector, Distance, FieldCondition, FieldType,
    Filter as Wanted, HasIdCondition, Match, Modifier, NamedVectors, PointId, PointStruct, PointsIdsList,
    PointsSelector, QueryPoints, Range, RepeatedIntegers, RepeatedStrings, ScoredPoint,
    SparseVector as SparseWire, SparseVectorConfig, SparseVectorParams, Struct, Value, Vector, VectorInput,
    VectorParams, VectorParamsMap, Vectors, VectorsConfig, r#match, point_id, points_selector, query, value,
    vector, vector_input, vectors, vectors_config,
};
use uuid::Uuid;

use crate::document::Span;
use crate::store::filter::{Key, as_number, check_depth, no_range, number};
use crate::store::{Collection, Filter, Hit, Payload, Point, Probe, Query, Selection, StoreError};

const DENSE: &str = "dense";
const SPARSE: &str = "bm25";
/// Under this key of a collection's metadata stands what we know about it.
const OURS: &str = "embergate";

/// Payload fields with an index, made before the first point comes.
pub(super) const INDEXES: [(&str, FieldType); 2] =
    [("source", FieldType::Keyword), ("media_type", FieldType::Keyword)];

pub(super) fn create(collection: &Collection, timeout: Option<u64>) -> CreateCollection {
    let dense = VectorParams {
        size: collection.dimensions as u64,
        distance: Distance::Cosine.into(),
        ..VectorParams::default()
    };
    let dense = VectorParamsMap { map: HashMap::from([(DENSE.to_owned(), dense)]) };
    let sparse = SparseVectorParams { modifier: Some(Modifier::Idf.into()), ..SparseVectorParams::default() };
    let mut properties = HashMap::from([
        ("model".to_owned(), Value::from(collection.model.clone())),
        ("space".to_owned(), Value::from(collection.space.clone())),
    ]);
    properties.extend(collection.language.clone().map(|language| ("language".to_owned(), language.into())));
    CreateCollection {
        collection_name: collection.name.clone(),
        timeout,
        vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::ParamsMap(dense)) }),
        sparse_vectors_config: Some(SparseVectorConfig { map: HashMap::from([(SPARSE.to_owned(), sparse)]) }),
        metadata: HashMap::from([(OURS.to_owned(), structure(properties))]),
        ..CreateCollection::default()
    }
}

/// Reads a collection's properties; refuses one that another program made.
pub(super) fn collection(name: &str, info: CollectionInfo) -> Result<Collection, StoreError> {
    let not_ours = |reason: &str| StoreError::NotOurs { name: name.to_owned(), reason: reason.to_owned() };
    let config = info.config.unwrap_or_default();
    let params = config.params.unwrap_or_default();
    let dense = match params.vectors_config.and_then(|vectors| vectors.config) {
        Some(vectors_config::Config::ParamsMap(named)) => named.map.get(DENSE).cloned(),
        _ => None,
    };
    let dense = dense.ok_or_else(|| not_ours("it has no vector `dense`"))?;
    if !params.sparse_vectors_config.is_some_and(|sparse| sparse.map.contains_key(SPARSE)) {
        return Err(not_ours("it has no sparse vector `bm25`"));
    }
    let mut properties = match config.metadata.get(OURS).and_then(|value| value.kind.clone()) {
        Some(value::Kind::StructValue(properties)) => properties.fields,
        _ => return Err(not_ours("its metadata has no `embergate`")),
    };
    let mut text = |key: &str| properties.remove(key).and_then(text_of);
    Ok(Collection {
        name: name.to_owned(),
        model: text("model").ok_or_else(|| not_ours("its metadata names no model"))?,
        dimensions: dense.size as usize,
        space: text("space").ok_or_else(|| not_ours("its metadata names no space"))?,
        language: text("language"),
    })
}

/// The message for a point, and about how many bytes it takes.
pub(super) fn point(point: Point) -> (usize, PointStruct) {
    let n_bytes = 4 * point.dense.dimensions() + 8 * point.sparse.terms.len() + payload_bytes(&point.payload);
    let dense = vector::Vector::Dense(DenseVector { data: point.dense.values().to_vec() });
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
        ("metadata", Some(metadata)),
        ("numbers", Some(numbers)),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// Reads a payload. Metadata comes by key: Qdrant keeps no order.
fn read_payload(mut fields: HashMap<String, Value>) -> Payload {
    let metadata = match fields.remove("metadata").and_then(|value| value.kind) {
        Some(value::Kind::StructValue(metadata)) => metadata.fields.into_iter().collect::<BTreeMap<_, _>>(),
        _ => BTreeMap::new(),
    };
    let metadata = metadata
        .into_iter()
        .flat_map(|(key, values)| texts_of(values).into_iter().map(move |value| (key.clone(), value)))
        .collect();
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
        metadata,
    }
}

pub(super) fn query(collection: &str, query: Query, timeout: Option<u64>) -> Result<QueryPoints, StoreError> {
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
        collection_name: collection.to_owned(),
        query: Some(qdrant_client::qdrant::Query { variant: Some(nearest) }),
        using: Some(using.to_owned()),
        filter: query.filter.as_ref().map(filter).transpose()?,
        limit: Some(query.limit as u64),
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
        other => Err(super::failed(format!("a point has the id {other:?}, which Embergate never gives"))),
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

pub(super) fn filter(wanted: &Filter) -> Result<Wanted, StoreError> {
    check_depth(wanted)?;
    Ok(Wanted::must([condition(wanted)?]))
}

fn condition(wanted: &Filter) -> Result<Condition, StoreError> {
    let conditions = |parts: &[Filter]| parts.iter().map(condition).collect::<Result<Vec<_>, _>>();
    Ok(match wanted {
        Filter::Equals(key, value) => any_of(key, std::slice::from_ref(value))?,
        Filter::AnyOf(_, values) if values.is_empty() => nothing(),
        Filter::AnyOf(key, values) => any_of(key, values)?,
        Filter::Range { key, at_least, at_most } => range(key, *at_least, *at_most)?,
        Filter::Ids(ids) => HasIdCondition { has_id: ids.iter().map(point_id).collect() }.into(),
        Filter::And(parts) => Wanted::must(conditions(parts)?).into(),
        Filter::Or(parts) if parts.is_empty() => nothing(),
        Filter::Or(parts) => Wanted::should(conditions(parts)?).into(),
        Filter::Not(part) => Wanted::must_not([condition(part)?]).into(),
    })
}

/// Matches no point: none has one of no ids.
fn nothing() -> Condition {
    HasIdCondition { has_id: Vec::new() }.into()
}

fn any_of(key: &str, values: &[String]) -> Result<Condition, StoreError> {
    let texts = || r#match::MatchValue::Keywords(RepeatedStrings { strings: values.to_vec() });
    let (key, wanted) = match Key::parse(key)? {
        Key::Text(field) => (field.to_owned(), texts()),
        Key::Metadata(name) => (format!("metadata.\"{name}\""), texts()),
        Key::Number(field) => {
            let integers = values.iter().map(|value| number(key, value)).collect::<Result<_, _>>()?;
            (field.to_owned(), r#match::MatchValue::Integers(RepeatedIntegers { integers }))
        }
    };
    let wanted = Match { match_value: Some(wanted) };
    Ok(FieldCondition { key, r#match: Some(wanted), ..FieldCondition::default() }.into())
}

fn range(key: &str, gte: Option<f64>, lte: Option<f64>) -> Result<Condition, StoreError> {
    let key = match Key::parse(key)? {
        Key::Text(_) => return Err(no_range(key)),
        Key::Number(field) => field.to_owned(),
        Key::Metadata(name) => format!("numbers.\"{name}\""),
    };
    let range = Range { gte, lte, ..Range::default() };
    Ok(FieldCondition { key, range: Some(range), ..FieldCondition::default() }.into())
}

fn structure(fields: HashMap<String, Value>) -> Value {
    Value { kind: Some(value::Kind::StructValue(Struct { fields })) }
}

fn text_of(value: Value) -> Option<String> {
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
