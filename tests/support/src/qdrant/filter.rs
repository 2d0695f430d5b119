//! Qdrant's filters over a payload: the conditions that Embergate sends.

use std::collections::HashMap;

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{Condition, FieldCondition, Filter, Value};
use tonic::Status;

pub(super) fn matches(filter: &Filter, id: &str, payload: &HashMap<String, Value>) -> Result<bool, Status> {
    if filter.min_should.is_some() {
        return Err(Status::unimplemented("`min_should`"));
    }
    let each = |conditions: &[Condition]| {
        conditions.iter().map(|condition| holds(condition, id, payload)).collect::<Result<Vec<_>, _>>()
    };
    let (must, should, must_not) = (each(&filter.must)?, each(&filter.should)?, each(&filter.must_not)?);
    Ok(must.iter().all(|holds| *holds)
        && (should.is_empty() || should.contains(&true))
        && !must_not.contains(&true))
}

fn holds(condition: &Condition, id: &str, payload: &HashMap<String, Value>) -> Result<bool, Status> {
    match &condition.condition_one_of {
        Some(ConditionOneOf::Field(field)) => field_holds(field, payload),
        Some(ConditionOneOf::Filter(filter)) => matches(filter, id, payload),
        Some(ConditionOneOf::HasId(ids)) => Ok(ids.has_id.iter().any(
            |wanted| matches!(&wanted.point_id_options, Some(PointIdOptions::Uuid(wanted)) if wanted == id),
        )),
        _ => Err(Status::unimplemented("this condition")),
    }
}

fn field_holds(field: &FieldCondition, payload: &HashMap<String, Value>) -> Result<bool, Status> {
    let values = values_at(&field.key, payload);
    if let Some(range) = &field.range {
        let inside = |number: f64| {
            range.gte.is_none_or(|bound| bound <= number)
                && range.lte.is_none_or(|bound| number <= bound)
                && range.gt.is_none_or(|bound| bound < number)
                && range.lt.is_none_or(|bound| number < bound)
        };
        return Ok(values.iter().filter_map(number).any(inside));
    }
    match field.r#match.as_ref().and_then(|wanted| wanted.match_value.as_ref()) {
        Some(MatchValue::Keywords(wanted)) => Ok(values
            .iter()
            .any(|value| matches!(value, Kind::StringValue(text) if wanted.strings.contains(text)))),
        Some(MatchValue::Integers(wanted)) => Ok(values
            .iter()
            .any(|value| matches!(value, Kind::IntegerValue(n) if wanted.integers.contains(n)))),
        _ => Err(Status::unimplemented("this match")),
    }
}

fn number(value: &Kind) -> Option<f64> {
    match value {
        Kind::IntegerValue(number) => Some(*number as f64),
        Kind::DoubleValue(number) => Some(*number),
        _ => None,
    }
}

/// The values at a path such as `metadata."author"`, those of a list one by one.
fn values_at(path: &str, payload: &HashMap<String, Value>) -> Vec<Kind> {
    let (field, inner) = match path.split_once('.') {
        Some((field, inner)) => (field, Some(inner.trim_matches('"'))),
        None => (path, None),
    };
    let value = payload.get(field).and_then(|value| value.kind.clone());
    let value = match (value, inner) {
        (Some(Kind::StructValue(inside)), Some(inner)) => {
            inside.fields.get(inner).and_then(|v| v.kind.clone())
        }
        (value, None) => value,
        _ => None,
    };
    match value {
        Some(Kind::ListValue(list)) => list.values.into_iter().filter_map(|value| value.kind).collect(),
        Some(value) => vec![value],
        None => Vec::new(),
    }
}
