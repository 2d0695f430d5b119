//! As much of JSON Schema as the OpenAPI document uses. A keyword that is not
//! known here is a panic, so that none is passed over in silence.

use serde_json::Value;

/// Keywords that say nothing of what is valid. Patterns are left to schemathesis.
const REMARKS: &[&str] =
    &["contentEncoding", "default", "description", "example", "examples", "format", "pattern"];

/// Checks `value`; where it is `closed`, objects have the properties that are named, and no others.
pub(super) fn check(document: &Value, schema: &Value, value: &Value, closed: bool) -> Result<(), String> {
    let schema = resolved(document, schema);
    let keywords = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Object(keywords) => keywords,
        other => panic!("`{other}` is no schema"),
    };
    for (keyword, says) in keywords {
        let held = match keyword.as_str() {
            "type" => is_of(value, says),
            "const" => value == says,
            "enum" => list(says).contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= says.as_f64().unwrap_or(f64::MIN)),
            "maximum" => value.as_f64().is_none_or(|number| number <= says.as_f64().unwrap_or(f64::MAX)),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() >= count(says)),
            "minItems" => value.as_array().is_none_or(|items| items.len() >= count(says)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() <= count(says)),
            "anyOf" => list(says).iter().any(|one| check(document, one, value, false).is_ok()),
            "required" => {
                let missing =
                    |name: &&Value| value.is_object() && value.get(name.as_str().unwrap_or("")).is_none();
                match list(says).iter().find(missing) {
                    Some(name) => return Err(format!("`{}` is missing", name.as_str().unwrap_or(""))),
                    None => true,
                }
            }
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, says, item, closed).map_err(|why| format!("[{at}]: {why}"))?;
                }
                true
            }
            "properties" => {
                let open = !closed || keywords.get("additionalProperties").is_some();
                for (name, value) in value.as_object().into_iter().flatten() {
                    match says.get(name) {
                        Some(schema) => check(document, schema, value, closed),
                        None if open => Ok(()),
                        None => Err("is not in the document".to_owned()),
                    }
                    .map_err(|why| format!("`{name}`: {why}"))?;
                }
                true
            }
            "additionalProperties" => *says == true,
            keyword if REMARKS.contains(&keyword) => true,
            keyword => panic!("the keyword `{keyword}` is not known"),
        };
        if !held {
            let shown: String = value.to_string().chars().take(100).collect();
            return Err(format!("`{shown}` is not of `{keyword}` {says}"));
        }
    }
    Ok(())
}

/// What `part` refers to, or itself.
pub(super) fn resolved<'d>(document: &'d Value, part: &'d Value) -> &'d Value {
    match part.get("$ref").and_then(Value::as_str) {
        Some(target) => document.pointer(target.trim_start_matches('#')).expect("references lead somewhere"),
        None => part,
    }
}

fn is_of(value: &Value, types: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type"),
    };
    types.as_array().map_or_else(|| is(types), |types| types.iter().any(is))
}

fn list(says: &Value) -> &[Value] {
    says.as_array().expect("the keyword has a list")
}

fn count(says: &Value) -> usize {
    says.as_u64().and_then(|count| usize::try_from(count).ok()).expect("the keyword has a count")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_values(schema: &Value, good: &[Value], bad: &[Value]) {
        for value in good {
            assert_eq!(check(&Value::Null, schema, value, true), Ok(()), "{value}");
        }
        for value in bad {
            assert!(check(&Value::Null, schema, value, true).is_err(), "{value}");
        }
    }

    #[test]
    fn each_keyword_holds_values_to_what_it_says() {
        check_values(
            &json!({ "type": ["integer", "null"] }),
            &[json!(1), json!(null)],
            &[json!(1.5), json!("1")],
        );
        check_values(&json!({ "minimum": 1, "maximum": 2 }), &[json!(1), json!("x")], &[json!(0), json!(3)]);
        check_values(&json!({ "const": 0 }), &[json!(0)], &[json!(1)]);
        check_values(&json!({ "enum": ["a", null] }), &[json!("a"), json!(null)], &[json!("b")]);
        check_values(&json!({ "minLength": 2 }), &[json!("éé")], &[json!("é")]);
        check_values(&json!({ "minItems": 1, "maxItems": 1 }), &[json!([1])], &[json!([]), json!([1, 2])]);
        check_values(&json!({ "items": { "type": "string" } }), &[json!(["a"])], &[json!(["a", 1])]);
        check_values(&json!({ "anyOf": [{ "const": 1 }, { "const": 2 }] }), &[json!(2)], &[json!(3)]);
        check_values(&json!({ "required": ["a"] }), &[json!({ "a": 1 })], &[json!({ "b": 1 })]);
        check_values(
            &json!({ "properties": { "a": { "const": 1 } } }),
            &[json!({})],
            &[json!({ "a": 2 }), json!({ "b": 1 })],
        );
    }
}
