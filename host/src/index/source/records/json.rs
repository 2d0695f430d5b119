//! One line of JSON: its fields, and where they stand in it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::piece::{Piece, joined};
use super::{Parts, Selected, named};
use crate::document::{Patch, Span};

/// Between two fields in a text.
const BETWEEN: &str = "\n\n";

/// Which fields are what; those that are not named are found by their usual names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::index::source) struct Fields {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) text: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) metadata: Vec<String>,
}

impl Fields {
    /// The id of a record; nothing where it has none and needs none.
    pub(super) fn id(&self, record: &str) -> Result<Option<String>, String> {
        let members = members(record)?;
        let value = match &self.id {
            Some(path) => Some(at_path(&members, path)?.ok_or_else(|| no_field(path, &members))?),
            None => usual(&members, &super::USUAL_IDS),
        };
        let Some(value) = value else { return Ok(None) };
        match scalar(record, value)? {
            Some(id) => Ok(Some(id)),
            None if self.id.is_none() => Ok(None),
            None => Err(format!("its id `{}` is {}", shown(value), kind(value))),
        }
    }

    pub(super) fn select(&self, record: &str) -> Result<Selected, String> {
        let members = members(record)?;
        let title = match &self.title {
            Some(path) => at_path(&members, path)?,
            None => usual(&members, &super::USUAL_TITLES),
        };
        let mut metadata = Vec::new();
        for path in &self.metadata {
            if let Some(value) = at_path(&members, path)? {
                values(record, value)?.into_iter().for_each(|value| metadata.push((path.clone(), value)));
            }
        }
        let (text, map) = joined(record, self.pieces(record, &members)?, BETWEEN)?;
        let title = title.map(|title| scalar(record, title)).transpose()?.flatten();
        Ok(Selected { text, map, parts: Parts { title, metadata } })
    }

    fn pieces(&self, record: &str, members: &Members<'_>) -> Result<Vec<Piece>, String> {
        if !self.text.is_empty() {
            let mut found = Vec::new();
            for path in &self.text {
                found.extend(at_path(members, path)?.map(|value| (path.as_str(), value)));
            }
            if found.is_empty() {
                return Err(no_field(&self.text.join("`, `"), members));
            }
            let pieces = found.into_iter().map(|(path, value)| texts(record, path, value));
            return pieces.collect::<Result<Vec<_>, _>>().map(|pieces| pieces.concat());
        }
        if let Some(value) = usual(members, &super::USUAL_TEXTS).filter(|value| value.get().starts_with('"'))
        {
            return texts(record, "", value);
        }
        let other = |name: &str| {
            let is_id = self.id.as_deref().map_or(super::USUAL_IDS.contains(&name), |id| id == name);
            let is_title =
                self.title.as_deref().map_or(super::USUAL_TITLES.contains(&name), |title| title == name);
            !is_id && !is_title
        };
        let strings = members.0.iter().filter(|(name, value)| value.get().starts_with('"') && other(name));
        let pieces: Vec<_> =
            strings.map(|(name, value)| texts(record, name, value)).collect::<Result<_, _>>()?;
        if pieces.is_empty() {
            return Err(format!("it has no field of text; it has {}", members.names()));
        }
        Ok(pieces.concat())
    }
}

/// The members of an object in their order; of those that have one name, the last one counts.
struct Members<'r>(Vec<(Cow<'r, str>, &'r RawValue)>);

impl Members<'_> {
    fn names(&self) -> String {
        named(self.0.iter().map(|(name, _)| name.as_ref()))
    }
}

fn no_field(path: &str, members: &Members<'_>) -> String {
    format!("it has no field `{path}`; it has {}", members.names())
}

fn members(record: &str) -> Result<Members<'_>, String> {
    if !record.trim_start().starts_with('{') {
        return Err("it is no JSON object".to_owned());
    }
    serde_json::from_str(record).map_err(|error| {
        // The line that it counts is always the first.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        format!("it is no JSON: {reason} at column {}", error.column())
    })
}

fn usual<'r>(members: &Members<'r>, names: &[&str]) -> Option<&'r RawValue> {
    names.iter().find_map(|name| member(members, name))
}

fn member<'r>(members: &Members<'r>, name: &str) -> Option<&'r RawValue> {
    members.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| *value)
}

/// What `a.b.c` or `/a/b/0` leads to.
fn at_path<'r>(members: &Members<'r>, path: &str) -> Result<Option<&'r RawValue>, String> {
    let mut steps: Vec<Cow<'_, str>> = match path.strip_prefix('/') {
        Some(pointer) => {
            pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~").into()).collect()
        }
        None => path.split('.').map(Cow::Borrowed).collect(),
    };
    let first = steps.remove(0);
    let mut value = member(members, &first);
    for step in steps {
        let Some(inner) = value else { return Ok(None) };
        value = match inner.get().as_bytes().first() {
            Some(b'{') => member(&self::members(inner.get())?, &step),
            Some(b'[') => {
                let list = list(inner)?;
                step.parse().ok().and_then(|index: usize| list.get(index).copied())
            }
            _ => None,
        };
    }
    Ok(value)
}

fn list(value: &RawValue) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(value.get()).map_err(|error| format!("it is no JSON: {error}"))
}

/// What a value says that is a text, a number or a truth.
fn scalar(record: &str, value: &RawValue) -> Result<Option<String>, String> {
    match value.get().as_bytes().first() {
        Some(b'{' | b'[' | b'n') | None => Ok(None),
        Some(_) => Ok(Some(piece(record, value)?.value(record))),
    }
}

/// The same of a list of them.
fn values(record: &str, value: &RawValue) -> Result<Vec<String>, String> {
    if value.get().starts_with('[') {
        let values: Vec<_> =
            list(value)?.into_iter().map(|value| scalar(record, value)).collect::<Result<_, _>>()?;
        return Ok(values.into_iter().flatten().collect());
    }
    Ok(scalar(record, value)?.into_iter().collect())
}

/// Where the text of a field stands: each text of a list of them.
fn texts(record: &str, name: &str, value: &RawValue) -> Result<Vec<Piece>, String> {
    match value.get().as_bytes().first() {
        Some(b'n') | None => Ok(Vec::new()),
        Some(b'[') => {
            let inner = list(value)?;
            if let Some(other) = inner.iter().find(|value| value.get().starts_with(['{', '['])) {
                return Err(format!("its field `{name}` is a list with {} in it, not text", kind(other)));
            }
            inner
                .into_iter()
                .filter(|value| value.get() != "null")
                .map(|value| piece(record, value))
                .collect()
        }
        Some(b'{') => Err(format!(
            "its field `{name}` is {}, not text: name a field in it, as `{name}.NAME`",
            kind(value)
        )),
        Some(_) => Ok(vec![piece(record, value)?]),
    }
}

fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'n') => "null",
        _ => "a value",
    }
}

fn shown(value: &RawValue) -> String {
    value.get().chars().take(40).collect()
}

/// A value that is a string, a number or a truth.
fn piece(record: &str, value: &RawValue) -> Result<Piece, String> {
    let raw = value.get();
    // A raw value that was read from a text is a part of it.
    let start = raw.as_ptr() as usize - record.as_ptr() as usize;
    match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
        Some(inside) => unescaped(inside, start + 1),
        None => Ok(Piece::verbatim(start, start + raw.len())),
    }
}

/// A string without its quotes, which stands at `start` of its record.
fn unescaped(inside: &str, start: usize) -> Result<Piece, String> {
    let mut patches = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &inside.as_bytes()[at..]) {
        let escape = at + found;
        let (character, length) = escaped(&inside[escape..])
            .ok_or_else(|| format!("the escape at column {} is no character", start + escape + 1))?;
        if character == '\0' {
            return Err(format!("there is a zero character at column {}", start + escape + 1));
        }
        at = escape + length;
        patches.push(Patch { span: Span::new(start + escape, start + at), text: character.into() });
    }
    Ok(Piece { span: Span::new(start, start + inside.len()), patches })
}

/// The character that an escape stands for, and the bytes that it takes.
fn escaped(text: &str) -> Option<(char, usize)> {
    let character = match text.as_bytes().get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{C}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return numbered(text),
        _ => return None,
    };
    Some((character, 2))
}

/// `\u0131`, or two of them that make one character.
fn numbered(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let first = unit(0)?;
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, 6));
    }
    let pair = [first, unit(6)?];
    let character = char::decode_utf16(pair).next()?.ok()?;
    Some((character, 12))
}

impl<'de: 'r, 'r> Deserialize<'de> for Members<'r> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder(std::marker::PhantomData))
    }
}

struct InOrder<'r>(std::marker::PhantomData<&'r ()>);

impl<'de: 'r, 'r> Visitor<'de> for InOrder<'r> {
    type Value = Members<'r>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Key(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// A name, borrowed where it has no escapes.
struct Key<'r>(Cow<'r, str>);

impl<'de: 'r, 'r> Deserialize<'de> for Key<'r> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name<'r>(std::marker::PhantomData<&'r ()>);
        impl<'de: 'r, 'r> Visitor<'de> for Name<'r> {
            type Value = Key<'r>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'r>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Key<'r>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Name(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests;
