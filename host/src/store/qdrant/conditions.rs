//! Filters in Qdrant's words.

use qdrant_client::qdrant::{
    Condition, FieldCondition, Filter as Wanted, HasIdCondition, Match, Range, RepeatedIntegers,
    RepeatedStrings, r#match,
};

use super::wire::point_id;
use crate::store::filter::{Key, check_depth, no_range, number};
use crate::store::{Filter, StoreError, TextHash};

/// Matches the points that were made of one of these texts.
pub(super) fn made_of(texts: &[TextHash]) -> Wanted {
    let strings = texts.iter().map(TextHash::to_string).collect();
    let wanted = Match { match_value: Some(r#match::MatchValue::Keywords(RepeatedStrings { strings })) };
    let key = "text_hash".to_owned();
    Wanted::must([FieldCondition { key, r#match: Some(wanted), ..FieldCondition::default() }.into()])
}

/// A filter of ours in Qdrant's words.
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
