//! The `input` of both APIs: one text or many, and whatever else clients send there.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What `input` is. Reading it never fails, so that each API can refuse in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Input {
    #[default]
    Absent,
    Text(String),
    List(Vec<String>),
    /// Numbers, or lists of them: texts that the client has turned into tokens.
    Tokens,
    /// Neither a text nor a list.
    Wrong(&'static str),
    /// A list that has something else than a text in it.
    WrongElement {
        index: usize,
        what: &'static str,
    },
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(AnyVisitor)? {
            Any::Null => Self::Absent,
            Any::Text(text) => Self::Text(text),
            Any::List(list) => list.into_input(),
            Any::Number => Self::Wrong("a number"),
            Any::Boolean => Self::Wrong("a boolean"),
            Any::Object => Self::Wrong("an object"),
        })
    }
}

/// Any JSON, with no more of it kept than is needed.
enum Any {
    Null,
    Boolean,
    Number,
    Text(String),
    List(List),
    Object,
}

/// A list up to the first element that is no text.
struct List {
    texts: Vec<String>,
    stranger: Option<Stranger>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stranger {
    Number,
    /// Of numbers alone, and at least one.
    Numbers,
    Other(&'static str),
}

impl List {
    fn into_input(self) -> Input {
        let index = self.texts.len();
        match self.stranger {
            None => Input::List(self.texts),
            Some(Stranger::Number | Stranger::Numbers) if index == 0 => Input::Tokens,
            Some(Stranger::Number) => Input::WrongElement { index, what: "a number" },
            Some(Stranger::Numbers) => Input::WrongElement { index, what: "an array" },
            Some(Stranger::Other(what)) => Input::WrongElement { index, what },
        }
    }

    fn into_stranger(self) -> Stranger {
        match self.stranger {
            Some(Stranger::Number) if self.texts.is_empty() => Stranger::Numbers,
            _ => Stranger::Other("an array"),
        }
    }
}

/// An element of a list: a text, or something else.
struct Element(Result<String, Stranger>);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(AnyVisitor)? {
            Any::Text(text) => Ok(text),
            Any::Number => Err(Stranger::Number),
            Any::List(list) => Err(list.into_stranger()),
            Any::Null => Err(Stranger::Other("null")),
            Any::Boolean => Err(Stranger::Other("a boolean")),
            Any::Object => Err(Stranger::Other("an object")),
        }))
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Any, E> {
        Ok(Any::Boolean)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Any, E> {
        Ok(Any::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Any, E> {
        Ok(Any::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Any, E> {
        Ok(Any::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Any, E> {
        Ok(Any::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Any, A::Error> {
        let mut list = List { texts: Vec::new(), stranger: None };
        while let Some(Element(element)) = elements.next_element()? {
            match element {
                Ok(text) => list.texts.push(text),
                Err(stranger) => {
                    list.stranger = Some(stranger);
                    while elements.next_element::<IgnoredAny>()?.is_some() {}
                    break;
                }
            }
        }
        Ok(Any::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Any, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, want: Input) {
        assert_eq!(serde_json::from_str::<Input>(json).unwrap(), want);
    }

    #[test]
    fn a_text_and_a_list_of_texts_are_kept() {
        check(r#""a""#, Input::Text("a".into()));
        check(r#"["a", "\u00e9"]"#, Input::List(vec!["a".into(), "é".into()]));
        check("[]", Input::List(Vec::new()));
        check("null", Input::Absent);
    }

    #[test]
    fn tokens_are_told_from_a_list_with_a_number_in_it() {
        check("[15339, 1917]", Input::Tokens);
        check("[[15339], [1917]]", Input::Tokens);
        check(r#"["a", 1, "b"]"#, Input::WrongElement { index: 1, what: "a number" });
        check(r#"["a", [1]]"#, Input::WrongElement { index: 1, what: "an array" });
        check(r#"[["a"]]"#, Input::WrongElement { index: 0, what: "an array" });
    }

    #[test]
    fn everything_else_is_named() {
        check("5", Input::Wrong("a number"));
        check(r#"{"text": ["a"]}"#, Input::Wrong("an object"));
        check("true", Input::Wrong("a boolean"));
        check("[null]", Input::WrongElement { index: 0, what: "null" });
        check("[{}]", Input::WrongElement { index: 0, what: "an object" });
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let deep = "[".repeat(100_000);
        assert!(serde_json::from_str::<Input>(&deep).is_err());
    }
}
