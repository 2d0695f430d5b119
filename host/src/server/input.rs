//! The `input` of both APIs: one text or many, and whatever else clients send there.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::ApiError;
use super::wire::{self, Field};

/// What `input` is. Each API refuses in its own words what it does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input<'b> {
    Absent,
    Text(String),
    List(Vec<String>),
    /// More texts than a request may have. They were counted, and not kept.
    TooMany {
        got: usize,
    },
    /// A list that begins with a number or a list, as it stands there: texts that
    /// the client has turned into tokens, or nonsense.
    Tokens(&'b str),
    /// Neither a text nor a list.
    Wrong(&'static str),
    /// A list that has something else than a text in it.
    WrongElement {
        index: usize,
        what: &'static str,
    },
}

impl<'b> Input<'b> {
    /// Reads `field`, of which at most `max_texts` texts are kept.
    ///
    /// # Errors
    /// It has an escape that is no character.
    pub(super) fn read(field: Field<'b>, max_texts: usize) -> Result<Self, ApiError> {
        let Some(raw) = field.raw() else { return Ok(Self::Absent) };
        if begins_with_tokens(raw) {
            return Ok(Self::Tokens(raw));
        }
        // A number may be one that no machine can hold, and is wrong in any case.
        if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Ok(Self::Wrong("a number"));
        }
        let any = AnySeed { max_texts }
            .deserialize(&mut serde_json::Deserializer::from_str(raw))
            .map_err(|error| wire::unreadable("input", &error))?;
        Ok(match any {
            Any::Text(text) => Self::Text(text),
            Any::List(list) => list,
            Any::Other(what) => Self::Wrong(what),
        })
    }
}

/// Whether JSON is a list whose first element is a number or a list.
fn begins_with_tokens(raw: &str) -> bool {
    let first = raw.strip_prefix('[').and_then(|rest| rest.trim_ascii_start().bytes().next());
    first.is_some_and(|byte| byte == b'[' || byte == b'-' || byte.is_ascii_digit())
}

/// Any JSON, with no more of it kept than is needed.
enum Any {
    Text(String),
    List(Input<'static>),
    Other(&'static str),
}

/// Reads anything. Elements of a list are read with no room for texts, so that a
/// list in a list is not kept.
#[derive(Clone, Copy)]
struct AnySeed {
    max_texts: usize,
}

impl<'de> DeserializeSeed<'de> for AnySeed {
    type Value = Any;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Any, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnySeed {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Any, E> {
        Ok(Any::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Any, E> {
        Ok(Any::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Any, E> {
        Ok(Any::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Any, E> {
        Ok(Any::Other("a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Any, E> {
        Ok(Any::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Any, A::Error> {
        let mut texts = Vec::new();
        while texts.len() < self.max_texts {
            let what = match elements.next_element_seed(Self { max_texts: 0 })? {
                None => return Ok(Any::List(Input::List(texts))),
                Some(Any::Text(text)) => {
                    texts.push(text);
                    continue;
                }
                Some(Any::List(_)) => "an array",
                Some(Any::Other(what)) => what,
            };
            ignored(&mut elements)?;
            return Ok(Any::List(Input::WrongElement { index: texts.len(), what }));
        }
        Ok(Any::List(match ignored(&mut elements)? {
            0 => Input::List(texts),
            more => Input::TooMany { got: texts.len() + more },
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Any, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Other("an object"))
    }
}

/// Counts the elements that are left.
fn ignored<'de, A: SeqAccess<'de>>(elements: &mut A) -> Result<usize, A::Error> {
    let mut count = 0;
    while elements.next_element::<IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// With room for three texts.
    #[track_caller]
    fn check(json: &str, want: Input<'_>) {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let field = Field::deserialize(&mut deserializer).unwrap();
        assert_eq!(Input::read(field, 3).unwrap(), want);
    }

    #[test]
    fn a_text_and_a_list_of_texts_are_kept() {
        check(r#""a""#, Input::Text("a".into()));
        check(r#"["a", "\u00e9"]"#, Input::List(vec!["a".into(), "é".into()]));
        check("[]", Input::List(Vec::new()));
        check("null", Input::Absent);
    }

    #[test]
    fn more_texts_than_allowed_are_counted() {
        check(r#"["a", "b", "c"]"#, Input::List(vec!["a".into(), "b".into(), "c".into()]));
        check(r#"["a", "b", "c", "d"]"#, Input::TooMany { got: 4 });
        check(r#"["a", "b", "c", 1, {}, ["x"]]"#, Input::TooMany { got: 6 });
    }

    #[test]
    fn tokens_are_told_from_a_list_with_a_number_in_it() {
        check("[15339, 1917]", Input::Tokens("[15339, 1917]"));
        check("[ [15339], [1917]]", Input::Tokens("[ [15339], [1917]]"));
        check(r#"[["a"]]"#, Input::Tokens(r#"[["a"]]"#));
        check("[-1e999]", Input::Tokens("[-1e999]"));
        check(r#"["a", 1, "b"]"#, Input::WrongElement { index: 1, what: "a number" });
        check(r#"["a", [1, ["b"]]]"#, Input::WrongElement { index: 1, what: "an array" });
    }

    #[test]
    fn everything_else_is_named() {
        check("5", Input::Wrong("a number"));
        check("-1e999", Input::Wrong("a number"));
        check(r#"{"text": ["a"]}"#, Input::Wrong("an object"));
        check("true", Input::Wrong("a boolean"));
        check("[null]", Input::WrongElement { index: 0, what: "null" });
        check("[{}]", Input::WrongElement { index: 0, what: "an object" });
    }

    #[test]
    fn half_a_character_is_an_error() {
        let field = Field::deserialize(&mut serde_json::Deserializer::from_str(r#""\ud83e""#)).unwrap();
        let error = Input::read(field, 3).unwrap_err();
        assert!(format!("{error:?}").contains("`input` cannot be read"), "{error:?}");
    }
}
