//! What a client of Ollama's API asks to embed, on the newer path and on the older one.

use serde::Deserialize;
use serde_json::Value;

use super::{keep_alive, model_options};
use crate::embed::EmbedError;
use crate::model::Purpose;
use crate::server::error::ApiError;
use crate::server::input::Input;
use crate::server::notices::Notices;
use crate::server::options;
use crate::server::wire::{self, Field, Limits};

/// The two paths that embed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `/api/embed`: texts in `input`, cut where they are too long.
    Embed,
    /// `/api/embeddings`: one text in `prompt`, not cut.
    Embeddings,
}

/// A body that was understood.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    /// Empty where the client names none.
    pub(super) model: String,
    /// May be empty: clients ask for nothing to find out whether a model is there.
    pub(super) texts: Vec<String>,
    /// Where the client says it.
    pub(super) truncate: Option<bool>,
    pub(super) purpose: Option<Purpose>,
    pub(super) dimensions: Option<usize>,
    pub(super) notices: Notices,
}

/// The names of the body's fields.
#[cfg(test)]
pub(in crate::server) fn fields() -> &'static [&'static str] {
    wire::fields_of::<Body<'_>>()
}

/// The body's fields; those that are not named here are ignored.
#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow, default)]
    model: Field<'b>,
    #[serde(borrow, default)]
    input: Field<'b>,
    #[serde(borrow, default)]
    prompt: Field<'b>,
    #[serde(borrow, default)]
    truncate: Field<'b>,
    #[serde(borrow, default)]
    dimensions: Field<'b>,
    #[serde(borrow, default)]
    keep_alive: Field<'b>,
    #[serde(borrow, default)]
    options: Field<'b>,
    /// Ours: what the texts are for.
    #[serde(borrow, default)]
    input_type: Field<'b>,
}

impl Form {
    /// Whether a text that is too long is cut where nobody says.
    pub(super) fn truncates(self) -> bool {
        self == Self::Embed
    }

    /// The answer to a body without a model, which each path has its own words for.
    pub(super) fn no_model(self) -> ApiError {
        match self {
            Self::Embed => ApiError::no_model("").in_ollamas_words("model '' not found"),
            Self::Embeddings => ApiError::invalid("model", "model is required"),
        }
    }
}

impl Asked {
    pub(super) fn from_wire(form: Form, body: &[u8], limits: Limits) -> Result<Self, ApiError> {
        let body: Body<'_> = wire::object(body, limits.max_depth)?;
        let mut notices = Notices::default();
        if keep_alive::check(&body.keep_alive.value("keep_alive")?)? {
            notices.dropped("keep_alive");
        }
        if model_options::check(&body.options.value("options")?)? {
            notices.dropped("options");
        }
        let (truncate, dimensions) = match form {
            Form::Embed => (
                wire::boolean("truncate", &body.truncate.value("truncate")?)?,
                dimensions(&body.dimensions.value("dimensions")?)?,
            ),
            Form::Embeddings => {
                for (name, field) in [("truncate", body.truncate), ("dimensions", body.dimensions)] {
                    if field.raw().is_some() {
                        notices.say(format!("`{name}` was ignored: it is a field of /api/embed"));
                    }
                }
                (None, None)
            }
        };
        let input = Input::read(body.input, limits.max_texts)?;
        let prompt = Input::read(body.prompt, limits.max_texts)?;
        Ok(Self {
            texts: texts(form, input, prompt, limits, &mut notices)?,
            model: model(body.model.value("model")?)?,
            purpose: options::input_type(&body.input_type.value("input_type")?)?,
            truncate,
            dimensions,
            notices,
        })
    }
}

fn model(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(name) => Ok(name),
        Value::Null => Ok(String::new()),
        other => Err(wrong("model", "a string", wire::kind(&other))),
    }
}

/// The texts of the path's own field; where it is absent, those of the other one,
/// because many clients know only one of the two names.
fn texts(
    form: Form,
    input: Input<'_>,
    prompt: Input<'_>,
    limits: Limits,
    notices: &mut Notices,
) -> Result<Vec<String>, ApiError> {
    let texts = match form {
        Form::Embed => match either(("input", &input), ("prompt", &prompt), notices) {
            Chosen::Own => of_input(input, limits)?,
            Chosen::Other => of_prompt(prompt, limits)?,
        },
        Form::Embeddings => match either(("prompt", &prompt), ("input", &input), notices) {
            Chosen::Own => of_prompt(prompt, limits)?,
            Chosen::Other => only_one(of_input(input, limits)?)?,
        },
    };
    match texts.iter().position(String::is_empty) {
        Some(index) => Err(ApiError::from(&EmbedError::EmptyText { index })),
        None => Ok(texts),
    }
}

enum Chosen {
    Own,
    Other,
}

/// Which of two fields is heeded, with a notice where that is not plain.
fn either(own: (&str, &Input<'_>), other: (&str, &Input<'_>), notices: &mut Notices) -> Chosen {
    let ((own_name, own), (other_name, other)) = (own, other);
    match (own, other) {
        (_, Input::Absent) => Chosen::Own,
        (Input::Absent, _) => {
            notices.say(format!("`{other_name}` was taken for `{own_name}`"));
            Chosen::Other
        }
        _ => {
            notices.say(format!("`{other_name}` was ignored, because there is `{own_name}`"));
            Chosen::Own
        }
    }
}

fn of_input(input: Input<'_>, limits: Limits) -> Result<Vec<String>, ApiError> {
    match input {
        Input::Absent => Ok(Vec::new()),
        Input::Text(text) if text.is_empty() => Ok(Vec::new()),
        Input::Text(text) => Ok(vec![text]),
        Input::List(texts) => Ok(texts),
        Input::TooMany { got } => {
            Err(ApiError::from(&EmbedError::TooManyTexts { got, max: limits.max_texts }))
        }
        Input::Tokens(_) | Input::Wrong(_) | Input::WrongElement { .. } => {
            Err(ApiError::invalid("input", "invalid input type"))
        }
    }
}

fn of_prompt(prompt: Input<'_>, limits: Limits) -> Result<Vec<String>, ApiError> {
    match prompt {
        Input::Absent | Input::Text(_) => of_input(prompt, limits),
        Input::List(_) | Input::TooMany { .. } | Input::Tokens(_) | Input::WrongElement { .. } => {
            Err(wrong("prompt", "a string", "an array"))
        }
        Input::Wrong(what) => Err(wrong("prompt", "a string", what)),
    }
}

fn only_one(texts: Vec<String>) -> Result<Vec<String>, ApiError> {
    match texts.len() {
        0 | 1 => Ok(texts),
        n_texts => {
            let message = format!("/api/embeddings takes one text, not {n_texts}: send them to /api/embed");
            Err(ApiError::invalid("input", message))
        }
    }
}

/// Zero and less mean all of them.
fn dimensions(value: &Value) -> Result<Option<usize>, ApiError> {
    match wire::whole(value) {
        Some(dimensions) => Ok(usize::try_from(dimensions).ok().filter(|dimensions| *dimensions != 0)),
        None if value.is_null() => Ok(None),
        None => Err(wrong("dimensions", "a whole number", wire::kind(value))),
    }
}

fn wrong(param: &'static str, wanted: &str, what: &str) -> ApiError {
    ApiError::invalid(param, format!("`{param}` must be {wanted}, and is {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Form::{Embed, Embeddings};
    use super::*;
    use crate::embed::TokenArrays;
    use crate::server::error::tests::told_by_ollama;
    use crate::server::wire::tests::any_json;

    fn from_wire(form: Form, body: &[u8]) -> Result<Asked, ApiError> {
        let limits = Limits { max_depth: 8, max_texts: 3, max_decoded: 0, token_arrays: TokenArrays::Off };
        Asked::from_wire(form, body, limits)
    }

    /// What is asked where nothing but texts is said.
    fn asked(texts: &[&str]) -> Asked {
        Asked {
            model: "m".into(),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            truncate: None,
            purpose: None,
            dimensions: None,
            notices: Notices::default(),
        }
    }

    fn noticed(asked: Asked, said: &[&str]) -> Asked {
        let mut notices = Notices::default();
        said.iter().for_each(|words| notices.say(*words));
        Asked { notices, ..asked }
    }

    /// `fields` are put beside a valid model.
    fn body(fields: &str) -> String {
        format!(r#"{{"model":"m",{fields}}}"#)
    }

    #[track_caller]
    fn check(form: Form, fields: &str, want: Asked) {
        assert_eq!(from_wire(form, body(fields).as_bytes()), Ok(want));
    }

    #[track_caller]
    fn check_refused(form: Form, fields: &str, words: &str) {
        let error = from_wire(form, body(fields).as_bytes()).unwrap_err();
        assert_eq!(error.status, 400);
        assert!(told_by_ollama(error).contains(words), "not `{words}`");
    }

    #[test]
    fn texts_are_cut_unless_told_otherwise() {
        check(Embed, r#""input":"a""#, asked(&["a"]));
        check(Embed, r#""input":["a","b"],"truncate":null"#, asked(&["a", "b"]));
        check(Embed, r#""input":"a","truncate":false"#, Asked { truncate: Some(false), ..asked(&["a"]) });
    }

    #[test]
    fn the_older_path_has_one_text_and_cuts_none_by_itself() {
        check(Embeddings, r#""prompt":"a""#, asked(&["a"]));
        assert!(Embed.truncates() && !Embeddings.truncates());
    }

    #[test]
    fn texts_may_say_what_they_are_for() {
        let query = Asked { purpose: Some(Purpose::Query), ..asked(&["a"]) };
        check(Embed, r#""input":"a","input_type":"query""#, query);
        check_refused(Embed, r#""input":"a","input_type":"x""#, "`input_type` is `query`");
    }

    #[test]
    fn more_texts_than_allowed_are_counted() {
        check_refused(Embed, r#""input":["a","b","c","d"]"#, "4 texts, more than 3");
    }

    #[test]
    fn nothing_asked_is_nothing_answered() {
        for input in [r#""input":"""#, r#""input":[]"#, r#""input":null"#, r#""extra":1"#] {
            check(Embed, input, asked(&[]));
        }
        for prompt in [r#""prompt":"""#, r#""prompt":null"#, r#""extra":1"#] {
            check(Embeddings, prompt, asked(&[]));
        }
    }

    #[test]
    fn the_field_of_the_other_path_is_taken_and_told() {
        let told = ["`prompt` was taken for `input`"];
        check(Embed, r#""prompt":"a""#, noticed(asked(&["a"]), &told));
        let told = ["`input` was taken for `prompt`"];
        check(Embeddings, r#""input":"a""#, noticed(asked(&["a"]), &told));
        check(Embeddings, r#""input":["a"]"#, noticed(asked(&["a"]), &told));
        check(Embeddings, r#""input":[]"#, noticed(asked(&[]), &told));
    }

    #[test]
    fn of_both_fields_the_paths_own_wins() {
        let told = ["`prompt` was ignored, because there is `input`"];
        check(Embed, r#""prompt":["a"],"input":"b""#, noticed(asked(&["b"]), &told));
        let told = ["`input` was ignored, because there is `prompt`"];
        check(Embeddings, r#""prompt":"a","input":["b","c"]"#, noticed(asked(&["a"]), &told));
    }

    #[test]
    fn several_texts_are_sent_to_the_path_that_takes_them() {
        check_refused(Embeddings, r#""input":["a","b"]"#, "takes one text, not 2: send them to /api/embed");
    }

    #[test]
    fn a_prompt_is_a_string_on_either_path() {
        for form in [Embed, Embeddings] {
            check_refused(form, r#""prompt":["a"]"#, "`prompt` must be a string, and is an array");
            check_refused(form, r#""prompt":[1]"#, "`prompt` must be a string, and is an array");
            check_refused(form, r#""prompt":7"#, "`prompt` must be a string, and is a number");
        }
    }

    #[test]
    fn an_empty_text_in_a_list_is_named_by_its_index() {
        check_refused(Embed, r#""input":["a",""]"#, "text 1 is empty");
        check_refused(Embeddings, r#""input":[""]"#, "text 0 is empty");
    }

    #[test]
    fn a_wrong_input_is_refused_in_ollamas_words() {
        for input in ["5", "[[1,2]]", r#"["a",1]"#, "{}", "true"] {
            for form in [Embed, Embeddings] {
                check_refused(form, &format!(r#""input":{input}"#), "invalid input type");
            }
        }
    }

    #[test]
    fn dimensions_that_mean_nothing_are_ignored_and_wrong_types_are_not() {
        check(Embed, r#""input":"a","dimensions":256"#, Asked { dimensions: Some(256), ..asked(&["a"]) });
        check(Embed, r#""input":"a","dimensions":256.0"#, Asked { dimensions: Some(256), ..asked(&["a"]) });
        check(Embed, r#""input":"a","dimensions":0"#, asked(&["a"]));
        check(Embed, r#""input":"a","dimensions":-3"#, asked(&["a"]));
        for wrong in [r#""256""#, "1.5"] {
            let fields = format!(r#""input":"a","dimensions":{wrong}"#);
            check_refused(Embed, &fields, "`dimensions` must be a whole number");
        }
    }

    #[test]
    fn the_older_path_says_which_fields_it_does_not_have() {
        let told = [
            "`truncate` was ignored: it is a field of /api/embed",
            "`dimensions` was ignored: it is a field of /api/embed",
        ];
        let fields = r#""prompt":"a","truncate":true,"dimensions":"256""#;
        check(Embeddings, fields, noticed(asked(&["a"]), &told));
    }

    #[test]
    fn valid_options_are_dropped_and_reported() {
        for form in [Embed, Embeddings] {
            let mut want = asked(&[]);
            want.notices.dropped("keep_alive");
            want.notices.dropped("options");
            check(form, r#""keep_alive":-1,"options":{"num_ctx":30}"#, want);
            check(form, r#""keep_alive":null,"options":{}"#, asked(&[]));
        }
    }

    #[test]
    fn a_model_is_a_string_and_each_path_misses_it_in_its_own_words() {
        let seven = from_wire(Embed, br#"{"model":7}"#).unwrap_err();
        assert_eq!(told_by_ollama(seven), "`model` must be a string, and is a number");
        assert_eq!(from_wire(Embed, b"{}").unwrap().model, "");
        for (form, status, words) in
            [(Embed, 404, "model '' not found"), (Embeddings, 400, "model is required")]
        {
            let error = form.no_model();
            assert_eq!((error.status.as_u16(), told_by_ollama(error).as_str()), (status, words));
        }
    }

    fn any_form() -> impl Strategy<Value = Form> {
        prop_oneof![Just(Embed), Just(Embeddings)]
    }

    proptest! {
        #[test]
        fn any_fields_give_a_request_or_a_well_formed_error(
            form in any_form(),
            fields in prop::collection::btree_map(
                prop_oneof![
                    Just("model"), Just("input"), Just("prompt"), Just("truncate"), Just("dimensions"),
                    Just("keep_alive"), Just("options"),
                ],
                any_json(),
                0..6,
            )
        ) {
            match from_wire(form, &serde_json::to_vec(&fields).unwrap()) {
                Ok(asked) => {
                    prop_assert!(asked.texts.iter().all(|text| !text.is_empty()));
                    prop_assert!(form == Embed || (asked.texts.len() < 2 && asked.truncate.is_none()));
                }
                Err(error) => {
                    prop_assert_eq!(error.status, 400);
                    prop_assert!(!told_by_ollama(error).is_empty());
                }
            }
        }

        #[test]
        fn any_json_gives_a_request_or_a_well_formed_error(form in any_form(), json in any_json()) {
            if let Err(error) = from_wire(form, json.to_string().as_bytes()) {
                prop_assert_eq!(error.status, 400);
                prop_assert!(!told_by_ollama(error).is_empty());
            }
        }
    }
}
