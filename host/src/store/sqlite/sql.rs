//! Filters as SQL over the table `points`, with their values beside it.

use rusqlite::types::Value;
use uuid::Uuid;

use crate::store::filter::{Key, check_depth, no_range, number};
use crate::store::{Filter, StoreError};

/// A condition and its values, in the order of its question marks. The first
/// value of the statement around it, `?1`, is the collection's number.
pub(super) struct Condition {
    pub sql: String,
    pub values: Vec<Value>,
}

/// Compiles a filter; none is true for all points.
pub(super) fn compile(filter: Option<&Filter>) -> Result<Condition, StoreError> {
    let mut condition = Condition { sql: String::new(), values: Vec::new() };
    match filter {
        None => condition.sql.push('1'),
        Some(filter) => {
            check_depth(filter)?;
            condition.add(filter)?;
        }
    }
    Ok(condition)
}

impl Condition {
    fn add(&mut self, filter: &Filter) -> Result<(), StoreError> {
        match filter {
            Filter::Equals(key, value) => self.any_of(key, std::slice::from_ref(value)),
            Filter::AnyOf(key, values) => self.any_of(key, values),
            Filter::Range { key, at_least, at_most } => self.range(key, *at_least, *at_most),
            Filter::Ids(ids) => {
                self.ids(ids);
                Ok(())
            }
            Filter::And(parts) => self.join(parts, " AND ", "1"),
            Filter::Or(parts) => self.join(parts, " OR ", "0"),
            Filter::Not(part) => {
                self.sql.push_str("NOT ");
                self.add(part)
            }
        }
    }

    fn join(&mut self, parts: &[Filter], word: &str, empty: &str) -> Result<(), StoreError> {
        self.sql.push('(');
        if parts.is_empty() {
            self.sql.push_str(empty);
        }
        for (place, part) in parts.iter().enumerate() {
            if 0 < place {
                self.sql.push_str(word);
            }
            self.add(part)?;
        }
        self.sql.push(')');
        Ok(())
    }

    /// One of `values`. They travel as one JSON array, however many there are.
    fn any_of(&mut self, key: &str, values: &[String]) -> Result<(), StoreError> {
        const ONE_OF: &str = "IN (SELECT value FROM json_each(?))";
        let values = match Key::parse(key)? {
            Key::Text(column) => {
                // A column without a value is no match, and neither unknown.
                self.sql.push_str(&format!("coalesce(points.{column} {ONE_OF}, 0)"));
                serde_json::json!(values)
            }
            Key::Number(column) => {
                self.sql.push_str(&format!("(points.{column} {ONE_OF})"));
                let numbers: Vec<i64> =
                    values.iter().map(|value| number(key, value)).collect::<Result<_, _>>()?;
                serde_json::json!(numbers)
            }
            Key::Metadata(name) => {
                self.sql.push_str(&format!(
                    "EXISTS (SELECT 1 FROM metadata WHERE point = points.number AND key = ? AND value {ONE_OF})"
                ));
                self.values.push(name.into());
                serde_json::json!(values)
            }
        };
        self.values.push(values.to_string().into());
        Ok(())
    }

    /// By number, so that the index over ids is looked into once for each of them.
    fn ids(&mut self, ids: &[Uuid]) {
        self.sql.push_str(
            "(points.number IN (SELECT number FROM points
                 WHERE collection = ?1 AND id IN (SELECT unhex(value) FROM json_each(?))))",
        );
        let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
        self.values.push(serde_json::json!(ids).to_string().into());
    }

    fn range(&mut self, key: &str, at_least: Option<f64>, at_most: Option<f64>) -> Result<(), StoreError> {
        let bounds = [at_least.unwrap_or(f64::NEG_INFINITY), at_most.unwrap_or(f64::INFINITY)];
        match Key::parse(key)? {
            Key::Text(_) => return Err(no_range(key)),
            Key::Number(column) => self.sql.push_str(&format!("(points.{column} BETWEEN ? AND ?)")),
            Key::Metadata(name) => {
                self.sql.push_str(
                    "EXISTS (SELECT 1 FROM metadata WHERE point = points.number AND key = ? AND number BETWEEN ? AND ?)",
                );
                self.values.push(name.into());
            }
        }
        self.values.extend(bounds.map(Value::from));
        Ok(())
    }
}
