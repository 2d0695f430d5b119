//! JSON bodies: objects in, within bounds; buffers with room out.
//!
//! A body is read twice. The first time finds its end, its depth and its fields,
//! and keeps nothing; the second reads each field as what it should be, with a
//! bound on what it may grow to.

mod depth;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::ApiError;
use crate::embed::TokenArrays;

/// Bytes of a field that is no text to embed, at most: as JSON, a few of them take
/// far more memory than on the wire.
const MAX_FIELD: usize = 64 * 1024;

/// What a body may ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Arrays and objects in one another, the body itself included.
    pub(super) max_depth: usize,
    pub(super) max_texts: usize,
    /// Bytes of texts that were sent as tokens.
    pub(super) max_decoded: usize,
    pub(super) token_arrays: TokenArrays,
}

/// One field as it stands in the body; empty where it is absent or null.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Field<'b>(#[serde(borrow)] Option<&'b RawValue>);

impl<'b> Field<'b> {
    pub(super) fn raw(self) -> Option<&'b str> {
        self.0.map(RawValue::get)
    }

    /// Reads the field called `param`, null where it is absent.
    ///
    /// # Errors
    /// It is long, or has a number that no machine can hold.
    pub(super) fn value(self, param: &'static str) -> Result<Value, ApiError> {
        let Some(raw) = self.raw() else { return Ok(Value::Null) };
        if MAX_FIELD < raw.len() {
            let message = format!("`{param}` is {} bytes long, more than {MAX_FIELD}", raw.len());
            return Err(ApiError::invalid(param, message));
        }
        serde_json::from_str(raw).map_err(|error| unreadable(param, &error))
    }
}

/// The field `param` is JSON by its form, and still cannot be read.
pub(super) fn unreadable(param: &'static str, error: &serde_json::Error) -> ApiError {
    ApiError::invalid(param, format!("`{param}` cannot be read: {error} of it"))
}

/// Reads a body that must be a JSON object: a struct of [`Field`]s.
///
/// # Errors
/// The body is no JSON object, is not UTF-8, is nested too deeply, or has one of the fields twice.
pub(super) fn object<'b, T: Deserialize<'b>>(body: &'b [u8], max_depth: usize) -> Result<T, ApiError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        ApiError::malformed(format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    match text.bytes().find(|byte| !byte.is_ascii_whitespace()) {
        None => return Err(ApiError::malformed("missing request body")),
        // serde would take an array's elements for the fields.
        Some(b'[') => return Err(ApiError::malformed("the body is an array: send a JSON object")),
        Some(b'{') => {}
        Some(_) if serde_json::from_str::<&RawValue>(text).is_ok() => {
            return Err(ApiError::malformed("the body is no JSON object"));
        }
        Some(_) => {}
    }
    if depth::is_deeper(text.as_bytes(), max_depth) {
        return Err(ApiError::malformed(format!(
            "the body has arrays and objects in one another deeper than {max_depth} (`server.max_json_depth`)"
        )));
    }
    serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        ApiError::malformed(match said.strip_prefix("duplicate field ") {
            Some(field) => format!("the body has a field twice: {field}"),
            None => format!("the body is not valid JSON: {said}"),
        })
    })
}

pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    write_json(&mut json, value);
    json
}

/// An answer in JSON.
pub(super) fn json_response(json: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(json.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
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

/// A boolean; nothing where it is absent.
pub(super) fn boolean(param: &'static str, value: &Value) -> Result<Option<bool>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(*value)),
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
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body<'b> {
        #[serde(borrow, default)]
        model: Field<'b>,
    }

    /// Any JSON that is not too deep, for whoever reads bodies.
    pub(in crate::server) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0_u32..101_000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec!["query", "none", "base64", "m:query", ""]).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    /// With a depth of 3, and `want` the field as it stands there.
    #[track_caller]
    fn check(body: &[u8], want: Result<Option<&str>, &str>) {
        let got = object::<Body<'_>>(body, 3);
        assert_eq!(got.map(|body| body.model.raw()), want.map_err(ApiError::malformed));
    }

    #[test]
    fn an_object_is_read_and_its_unknown_fields_are_ignored() {
        check(br#" {"model": "m", "prefix": [1]}"#, Ok(Some(r#""m""#)));
        check(br#"{"model": null}"#, Ok(None));
        check(b"{}", Ok(None));
        check(br#"{"user": 1, "user": 2}"#, Ok(None));
    }

    #[test]
    fn anything_else_says_what_it_is() {
        check(b" \n", Err("missing request body"));
        check(br#"["m"]"#, Err("the body is an array: send a JSON object"));
        check(b"7", Err("the body is no JSON object"));
        check(b"nonsense", Err("the body is not valid JSON: expected ident at line 1 column 2"));
        check(
            b"{\"model\": ",
            Err("the body is not valid JSON: EOF while parsing a value at line 1 column 10"),
        );
        check(b"{} {}", Err("the body is not valid JSON: trailing characters at line 1 column 4"));
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
    fn bytes_that_are_no_text_are_refused_wherever_they_are() {
        check(b"{\"model\": \"\xff\"}", Err("the body is not UTF-8 from byte 11 on"));
        check(b"{\"user\": \"\xc3\"}", Err("the body is not UTF-8 from byte 10 on"));
    }

    #[test]
    fn a_field_that_is_there_twice_is_named() {
        check(
            br#"{"model": "a", "model": "b"}"#,
            Err("the body has a field twice: `model` at line 1 column 22"),
        );
        check(
            br#"{"model": "a", "\u006dodel": "b"}"#,
            Err("the body has a field twice: `model` at line 1 column 27"),
        );
    }

    const TOO_DEEP: Result<Option<&str>, &str> =
        Err("the body has arrays and objects in one another deeper than 3 (`server.max_json_depth`)");

    #[test]
    fn depth_is_bounded_in_fields_that_nobody_reads_too() {
        check(br#"{"model": [[1], [2]]}"#, Ok(Some("[[1], [2]]")));
        check(br#"{"model": [[[1]]]}"#, TOO_DEEP);
        check(br#"{"user": {"a": [{}]}}"#, TOO_DEEP);
        check(format!("{{\"user\": {}", "[".repeat(1_000_000)).as_bytes(), TOO_DEEP);
    }

    #[test]
    fn brackets_in_texts_have_no_depth() {
        check(br#"{"model": "[[[[{{{{"}"#, Ok(Some(r#""[[[[{{{{""#)));
        check(br#"{"model": "\"[[[[\\\"{{"}"#, Ok(Some(r#""\"[[[[\\\"{{""#)));
        check(br#"{"model": "\\", "user": [[["]]]"]]]}"#, TOO_DEEP);
        check(br#"{"user": "]]]]", "model": [["a"]]}"#, Ok(Some(r#"[["a"]]"#)));
    }

    #[track_caller]
    fn check_value(raw: &str, want: Result<Value, &str>) {
        let body = format!("{{\"model\": {raw}}}");
        let body: Body<'_> = object(body.as_bytes(), 3).unwrap();
        match (body.model.value("model"), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(got), Err(said)) => assert!(format!("{got:?}").contains(said), "{got:?}"),
            (got, want) => panic!("{got:?} is not {want:?}"),
        }
    }

    #[test]
    fn a_field_is_read_within_bounds() {
        check_value(r#"{"a": [1]}"#, Ok(serde_json::json!({"a": [1]})));
        check_value("1e999", Err("number out of range"));
        check_value(r#""\ud800""#, Err("cannot be read"));
        check_value(&format!("[{}1]", "1,".repeat(40_000)), Err("80003 bytes long, more than 65536"));
    }
}
