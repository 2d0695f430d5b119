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
    // serde does not look into the fields that it skips.
    let text = std::str::from_utf8(body)
        .map_err(|error| ApiError::malformed(format!("the body is not valid JSON: {error}")))?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
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

/// The largest whole number, up or down, that every JSON reader reads as it was written.
const MAX_WHOLE: i64 = (1 << 53) - 1;

/// A whole number, which some clients write as `256.0`.
pub(super) fn whole(value: &Value) -> Option<i64> {
    let rounded = || value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64);
    value.as_i64().or_else(rounded).filter(|whole| (-MAX_WHOLE..=MAX_WHOLE).contains(whole))
}

/// The names of the fields that a derived `T` reads.
#[cfg(test)]
pub(super) fn fields_of<T: serde::Deserialize<'static>>() -> &'static [&'static str] {
    use serde::de::{Deserializer, Visitor, value::Error};

    /// Is asked for a struct, remembers its fields, and gives nothing.
    struct Asked<'f>(&'f mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("there is nothing to read"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &[&str] = &[];
    assert!(T::deserialize(Asked(&mut fields)).is_err());
    fields
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Body {
        #[serde(default)]
        model: Value,
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
    fn a_whole_number_may_be_written_with_a_point() {
        for (json, want) in [
            ("256", Some(256)),
            ("-256.0", Some(-256)),
            ("2.56e2", Some(256)),
            ("9007199254740991", Some(MAX_WHOLE)),
            ("9007199254740992", None),
            ("1e30", None),
            ("1.5", None),
            ("\"256\"", None),
        ] {
            assert_eq!(whole(&serde_json::from_str(json).unwrap()), want, "{json}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let wrong = "the body is not valid JSON: invalid utf-8 sequence of 1 bytes from index 11";
        check(b"{\"model\": \"\xff\"}", Err(wrong));
        check(b"{\"other\": \"\xff\"}", Err(wrong));
    }
}
