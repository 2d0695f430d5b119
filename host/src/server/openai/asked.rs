//! What a body of `/v1/embeddings` asks for, and everything that can be wrong with it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::embed::{EmbedError, TokenArrays};
use crate::model::Purpose;
use crate::server::error::ApiError;
use crate::server::input::Input;
use crate::server::options;
use crate::server::wire::{self, Field, Limits};

/// The names of the body's fields.
#[cfg(test)]
pub(in crate::server) fn fields() -> &'static [&'static str] {
    wire::fields_of::<Body<'_>>()
}

/// The body's fields. `user` and all that are not named here are ignored.
#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow, default)]
    model: Field<'b>,
    #[serde(borrow, default)]
    input: Field<'b>,
    #[serde(borrow, default)]
    dimensions: Field<'b>,
    #[serde(borrow, default)]
    encoding_format: Field<'b>,
    /// Ours: whether a text that is too long is cut.
    #[serde(borrow, default)]
    truncate: Field<'b>,
    /// Ours, and other providers': what the texts are for.
    #[serde(borrow, default)]
    input_type: Field<'b>,
}

/// A body that was understood.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    /// Empty where none is named.
    pub(super) model: String,
    pub(super) given: Given,
    pub(super) dimensions: Option<usize>,
    pub(super) format: Format,
    pub(super) truncate: Option<bool>,
    pub(super) purpose: Option<Purpose>,
}

/// What is to be embedded.
#[derive(Debug, PartialEq)]
pub(super) enum Given {
    /// At least one, none empty.
    Texts(Vec<String>),
    /// Token arrays as they stand in the body, not looked into yet.
    Tokens(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Float,
    Base64,
}

impl Format {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Base64 => "base64",
        }
    }
}

impl Asked {
    pub(super) fn from_wire(bytes: &Bytes, limits: Limits) -> Result<Self, ApiError> {
        let body: Body<'_> = wire::object(bytes, limits.max_depth)?;
        Ok(Self {
            model: model(body.model.value("model")?)?,
            given: given(Input::read(body.input, limits.max_texts)?, bytes, limits)?,
            dimensions: dimensions(&body.dimensions.value("dimensions")?)?,
            format: format(&body.encoding_format.value("encoding_format")?)?,
            truncate: wire::boolean("truncate", &body.truncate.value("truncate")?)?,
            purpose: options::input_type(&body.input_type.value("input_type")?)?,
        })
    }
}

fn model(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(name) => Ok(name),
        Value::Null => Ok(String::new()),
        other => Err(ApiError::invalid(
            "model",
            format!("`model` must be a string, and is {}", wire::kind(&other)),
        )),
    }
}

/// `body` is what `input` was read from.
fn given(input: Input<'_>, body: &Bytes, limits: Limits) -> Result<Given, ApiError> {
    let wrong = |message: String| Err(ApiError::invalid("input", message));
    let texts = match input {
        Input::Text(text) => vec![text],
        Input::List(texts) => texts,
        Input::TooMany { got } => {
            return Err(ApiError::from(&EmbedError::TooManyTexts { got, max: limits.max_texts }));
        }
        Input::Absent => return wrong("`input` is missing: send a text or a list of texts".to_owned()),
        Input::Tokens(raw) => {
            return match limits.token_arrays {
                // It is part of the body, so nothing is copied.
                TokenArrays::Cl100k => Ok(Given::Tokens(body.slice_ref(raw.as_bytes()))),
                TokenArrays::Off => wrong(
                    "`input` has token numbers, which this gateway does not decode (`embed.token_arrays`): \
                     send texts (in LangChain, set `check_embedding_ctx_length=False`)"
                        .to_owned(),
                ),
            };
        }
        Input::Wrong(what) => {
            return wrong(format!("`input` must be a text or a list of texts, and is {what}"));
        }
        Input::WrongElement { index, what } => {
            return wrong(format!("`input` must be a list of texts, and has {what} at index {index}"));
        }
    };
    if texts.is_empty() {
        return Err(ApiError::from(&EmbedError::NoTexts));
    }
    match texts.iter().position(String::is_empty) {
        Some(index) => Err(ApiError::from(&EmbedError::EmptyText { index })),
        None => Ok(Given::Texts(texts)),
    }
}

fn dimensions(value: &Value) -> Result<Option<usize>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    match wire::whole(value).and_then(|dimensions| usize::try_from(dimensions).ok()) {
        Some(dimensions @ 1..) => Ok(Some(dimensions)),
        _ => Err(ApiError::invalid("dimensions", "`dimensions` must be a whole number from 1")),
    }
}

fn format(value: &Value) -> Result<Format, ApiError> {
    match value {
        Value::Null => Ok(Format::Float),
        Value::String(name) if name.eq_ignore_ascii_case("float") => Ok(Format::Float),
        Value::String(name) if name.eq_ignore_ascii_case("base64") => Ok(Format::Base64),
        _ => Err(ApiError::invalid("encoding_format", "`encoding_format` must be `float` or `base64`")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::parsing::Parsing;
    use crate::server::route::Api;
    use crate::server::wire::tests::any_json;
    use crate::server::{Config, tokens};

    const LIMITS: Limits =
        Limits { max_depth: 8, max_texts: 3, max_decoded: 4096, token_arrays: TokenArrays::Cl100k };

    fn from_wire(body: &[u8], limits: Limits) -> Result<Asked, ApiError> {
        Asked::from_wire(&Bytes::copy_from_slice(body), limits)
    }

    fn asked(texts: &[&str]) -> Asked {
        Asked {
            model: "m".into(),
            given: Given::Texts(texts.iter().map(|text| (*text).to_owned()).collect()),
            dimensions: None,
            format: Format::Float,
            truncate: None,
            purpose: None,
        }
    }

    #[track_caller]
    fn check(body: &str, want: Asked) {
        assert_eq!(from_wire(body.as_bytes(), LIMITS), Ok(want));
    }

    /// `said` must be in the message, and `param` must be named.
    #[track_caller]
    fn check_refused(body: &str, param: Option<&str>, said: &str) {
        refused_with(from_wire(body.as_bytes(), LIMITS).unwrap_err(), param, said);
    }

    #[track_caller]
    fn refused_with(error: ApiError, param: Option<&str>, said: &str) {
        assert_eq!(error.status, 400);
        let body = futures_body(error);
        assert_eq!(body["error"]["param"].as_str(), param, "{body}");
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert!(body["error"]["message"].as_str().unwrap().contains(said), "{body}");
    }

    fn futures_body(error: ApiError) -> Value {
        let body = error.into_response(Api::Openai).into_body();
        let frame = futures_util::FutureExt::now_or_never(http_body_util::BodyExt::frame(&mut { body }));
        serde_json::from_slice(&frame.unwrap().unwrap().unwrap().into_data().unwrap()).unwrap()
    }

    #[test]
    fn a_text_and_a_list_are_understood() {
        check(r#"{"model":"m","input":"hello"}"#, asked(&["hello"]));
        check(r#"{"model":"m","input":["a","b"],"user":"u","prefix":{}}"#, asked(&["a", "b"]));
    }

    #[test]
    fn base64_comes_only_when_asked_in_any_case_and_null_is_absent() {
        for (format, want) in
            [("null", Format::Float), (r#""BASE64""#, Format::Base64), (r#""Float""#, Format::Float)]
        {
            let body = format!(r#"{{"model":"m","input":"a","encoding_format":{format}}}"#);
            check(&body, Asked { format: want, ..asked(&["a"]) });
        }
        check_refused(
            r#"{"model":"m","input":"a","encoding_format":"int8"}"#,
            Some("encoding_format"),
            "`float` or `base64`",
        );
    }

    #[test]
    fn dimensions_are_whole_and_at_least_one() {
        let with = |dimensions: &str| format!(r#"{{"model":"m","input":"a","dimensions":{dimensions}}}"#);
        check(&with("256"), Asked { dimensions: Some(256), ..asked(&["a"]) });
        check(&with("256.0"), Asked { dimensions: Some(256), ..asked(&["a"]) });
        check(&with("null"), asked(&["a"]));
        for wrong in ["0", "-1", "1.5", r#""256""#, "true", "1e30"] {
            check_refused(&with(wrong), Some("dimensions"), "whole number from 1");
        }
    }

    #[test]
    fn truncate_is_an_extension() {
        check(
            r#"{"model":"m","input":"a","truncate":true}"#,
            Asked { truncate: Some(true), ..asked(&["a"]) },
        );
        check_refused(r#"{"model":"m","input":"a","truncate":"yes"}"#, Some("truncate"), "a string");
    }

    #[test]
    fn a_wrong_input_says_what_it_is_and_where() {
        check_refused(r#"{"model":"m"}"#, Some("input"), "missing");
        check_refused(r#"{"model":"m","input":null}"#, Some("input"), "missing");
        check_refused(r#"{"model":"m","input":{"text":"a"}}"#, Some("input"), "an object");
        check_refused(r#"{"model":"m","input":["a",1]}"#, Some("input"), "a number at index 1");
        check_refused(r#"{"model":"m","input":["a","b","c","d"]}"#, Some("input"), "4 texts, more than 3");
    }

    #[test]
    fn an_empty_text_is_named_by_its_index() {
        check_refused(r#"{"model":"m","input":""}"#, Some("input"), "text 0 is empty");
        check_refused(r#"{"model":"m","input":["a","","b"]}"#, Some("input"), "text 1 is empty");
        check_refused(r#"{"model":"m","input":[]}"#, Some("input"), "at least one text");
    }

    #[test]
    fn tokens_are_kept_as_they_are_unless_they_are_refused() {
        let body = r#"{"model":"m","input": [[1, 2], [3]] }"#;
        let raw = Bytes::from_static(b"[[1, 2], [3]]");
        check(body, Asked { given: Given::Tokens(raw), ..asked(&[]) });
        let off = Limits { token_arrays: TokenArrays::Off, ..LIMITS };
        let error = from_wire(body.as_bytes(), off).unwrap_err();
        refused_with(error, Some("input"), "check_embedding_ctx_length=False");
    }

    #[test]
    fn texts_may_say_what_they_are_for() {
        let body = r#"{"model":"m","input":"a","input_type":"search_query"}"#;
        check(body, Asked { purpose: Some(Purpose::Query), ..asked(&["a"]) });
        check_refused(
            r#"{"model":"m","input":"a","input_type":"clustering"}"#,
            Some("input_type"),
            "`query` (or `search_query`)",
        );
    }

    #[test]
    fn what_would_be_read_in_two_ways_is_refused() {
        check_refused(r#"{"model":"m","input":"a","input":"b"}"#, None, "a field twice: `input`");
        check_refused(r#"{"model":"m","input":"a","user":[[[[[[[[1]]]]]]]]}"#, None, "deeper than 8");
        check_refused(r#"{"model":"m","input":"a","dimensions":1e999}"#, Some("dimensions"), "out of range");
        check_refused(r#"{"model":"m","input":"\ud800"}"#, Some("input"), "cannot be read");
    }

    #[test]
    fn a_model_may_be_missing_and_is_a_string() {
        check(r#"{"input":"a"}"#, Asked { model: String::new(), ..asked(&["a"]) });
        check(r#"{"model":null,"input":"a"}"#, Asked { model: String::new(), ..asked(&["a"]) });
        check_refused(r#"{"model":7,"input":"a"}"#, Some("model"), "a number");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        check_refused(r#"{"model": "m", "input": "#, None, "not valid JSON");
        check_refused("[1,2]", None, "an array");
    }

    /// `input` as it is sent or nearly so: texts, tokens, lists of tokens.
    fn likely_input() -> impl Strategy<Value = Value> {
        let tokens = || prop::collection::vec(0_u32..100_300, 0..6);
        prop_oneof![
            prop::collection::vec(".{0,6}", 0..5).prop_map(Value::from),
            tokens().prop_map(Value::from),
            prop::collection::vec(tokens(), 0..5).prop_map(Value::from),
            any_json(),
        ]
    }

    /// A body's way up to the texts that are embedded.
    fn texts_of(body: &[u8]) -> Result<Vec<String>, ApiError> {
        match from_wire(body, LIMITS)?.given {
            Given::Texts(texts) => Ok(texts),
            Given::Tokens(raw) => {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                Ok(runtime.block_on(tokens::decoded(raw, LIMITS, &Parsing::new(&Config::default())))?.texts)
            }
        }
    }

    /// Texts that can be embedded, or an error as clients expect it.
    fn check_outcome(outcome: Result<Vec<String>, ApiError>) {
        match outcome {
            Ok(texts) => {
                assert!((1..=LIMITS.max_texts).contains(&texts.len()));
                assert!(texts.iter().all(|text| !text.is_empty()));
            }
            Err(error) => {
                assert!(error.status == 400 || error.status == 413, "{error:?}");
                let body = futures_body(error);
                assert!(
                    body["error"]["message"].as_str().is_some_and(|message| message.len() < 400),
                    "{body}"
                );
                assert!(body["error"]["type"] == "invalid_request_error", "{body}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_fields_give_a_request_or_a_well_formed_error(
            fields in prop::collection::btree_map(
                prop::sample::select(vec![
                    "model", "dimensions", "encoding_format", "truncate", "input_type", "user",
                ]),
                any_json(),
                0..5,
            ),
            input in likely_input(),
        ) {
            let mut fields: serde_json::Map<_, _> =
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            fields.insert("input".to_owned(), input);
            check_outcome(texts_of(&serde_json::to_vec(&fields).unwrap()));
        }

        #[test]
        fn any_input_gives_texts_or_a_well_formed_error(input in likely_input()) {
            let body = serde_json::json!({ "model": "m", "input": input });
            check_outcome(texts_of(&serde_json::to_vec(&body).unwrap()));
        }

        #[test]
        fn any_json_gives_a_request_or_a_well_formed_error(body in any_json()) {
            check_outcome(texts_of(&serde_json::to_vec(&body).unwrap()));
        }

        #[test]
        fn any_bytes_give_a_request_or_a_well_formed_error(body in prop::collection::vec(any::<u8>(), 0..64)) {
            check_outcome(texts_of(&body));
        }

        /// Cut anywhere, or with a byte changed, a good body is a good one or a well-formed error.
        #[test]
        fn a_broken_body_gives_a_request_or_a_well_formed_error(at in 0_usize..80, byte in any::<u8>()) {
            let body = br#"{"model":"m","input":[[15339, 1917], [1]],"dimensions":256,"input_type":"query"}"#;
            check_outcome(texts_of(&body[..at]));
            let mut changed = body.to_vec();
            changed[at] = byte;
            check_outcome(texts_of(&changed));
        }
    }
}
