//! JSON bodies: objects in, buffers with room out.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;

/// Reads a body that must be a JSON object.
///
/// Fields of a `T` should accept any JSON and be judged afterwards: serde's
/// errors quote what they refuse, and texts belong into no error.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => return Err(ApiError::malformed("missing request body")),
        // serde would take an array's elements for the fields.
        Some(b'[') => return Err(ApiError::malformed("the body is an array: send a JSON object")),
        Some(_) => {}
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data if !body.trim_ascii_start().starts_with(b"{") => {
            ApiError::malformed("the body is no JSON object")
        }
        _ => ApiError::malformed(format!("the body is not valid JSON: {error}")),
    })
}

pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    write_json(&mut json, value);
    json
}

/// Appends `value`, which must be of a kind that JSON can always say.
pub(super) fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a Vec takes all bytes, and strings and numbers are JSON");
}

/// What `value` is, in the words of JSON.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A boolean, or `absent` where there is none.
pub(super) fn boolean(param: &'static str, value: &Value, absent: bool) -> Result<bool, ApiError> {
    match value {
        Value::Null => Ok(absent),
        Value::Bool(value) => Ok(*value),
        other => {
            Err(ApiError::invalid(param, format!("`{param}` must be true or false, and is {}", kind(other))))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Body {
        #[serde(default)]
        model: Value,
    }

    /// Any JSON that is not too deep, for whoever reads bodies.
    pub(in crate::server) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    #[track_caller]
    fn check(body: &[u8], want: Result<&str, &str>) {
        let want = want.map(|model| Body { model: model.into() }).map_err(ApiError::malformed);
        assert_eq!(object::<Body>(body), want);
    }

    #[test]
    fn an_object_is_read_and_its_unknown_fields_are_ignored() {
        check(br#" {"model": "m", "prefix": [1]}"#, Ok("m"));
    }

    #[test]
    fn anything_else_says_what_it_is() {
        check(b" \n", Err("missing request body"));
        check(br#"["m"]"#, Err("the body is an array: send a JSON object"));
        check(b"7", Err("the body is no JSON object"));
        check(
            b"{\"model\": ",
            Err("the body is not valid JSON: EOF while parsing a value at line 1 column 10"),
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        check(
            b"{\"model\": \"\xff\"}",
            Err("the body is not valid JSON: invalid unicode code point at line 1 column 12"),
        );
    }
}
