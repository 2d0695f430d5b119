//! The cases of `http.jsonl`, and the notations in which their bodies are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

const FILE: &str = include_str!("http.jsonl");

/// One request and what must come back.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) api: String,
    pub(crate) method: String,
    pub(crate) path: String,
    body: Value,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
    pub(crate) expect_status: u16,
    pub(crate) expect: String,
}

/// All cases, in the order of the file.
pub(crate) fn all() -> Vec<Case> {
    FILE.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Case {
    /// The bytes to send; none where there is no body.
    pub(crate) fn body(&self) -> Vec<u8> {
        match &self.body {
            Value::Null => Vec::new(),
            Value::Object(map) if map.contains_key("$raw") => map["$raw"].as_str().unwrap().into(),
            body => serde_json::to_vec(&written_out(body)).unwrap(),
        }
    }
}

/// Replaces `{"$repeat": [value, n]}`, `{"$tokens": n}` and `{"$distinct": n}` by what they stand for.
fn written_out(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(written_out).collect(),
        Value::Object(map) => match map.iter().next() {
            Some((key, of)) if key == "$repeat" => {
                vec![written_out(&of[0]); of[1].as_u64().unwrap() as usize].into()
            }
            Some((key, n)) if key == "$tokens" => json!("kelp ".repeat(n.as_u64().unwrap() as usize)),
            Some((key, n)) if key == "$distinct" => {
                (0..n.as_u64().unwrap()).map(|number| format!("text {number}")).collect()
            }
            _ => map.iter().map(|(key, value)| (key.clone(), written_out(value))).collect(),
        },
        other => other.clone(),
    }
}

#[test]
fn notations_are_written_out() {
    assert_eq!(
        written_out(&json!({ "input": { "$repeat": ["a", 3] } })),
        json!({ "input": ["a", "a", "a"] })
    );
    assert_eq!(written_out(&json!([{ "$tokens": 2 }])), json!(["kelp kelp "]));
    assert_eq!(written_out(&json!({ "$distinct": 2 })), json!(["text 0", "text 1"]));
}
