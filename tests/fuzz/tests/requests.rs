//! Any request at all has an answer that the document promises, and a request id.

use std::collections::BTreeMap;

use embergate_fuzz::{Asked, check};
use proptest::prelude::*;
use serde_json::Value;

const PATHS: &[&str] = &[
    "/",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/v1/embeddings",
    "/v1/models",
    "/v1/models/static-embed-en-256",
    "/v1/models/%FF",
    "/api/embed",
    "/api/embeddings",
    "/api/tags",
    "/api/show",
    "/api/ps",
    "/api/version",
    "/api/embergate",
    "/api/embergate/spaces/static-embed-en-256",
    "/api/embergate/tokenizers/00",
];

const NAMES: &[&str] = &[
    "x-embergate-purpose",
    "x-embergate-lane",
    "x-embergate-timeout-ms",
    "x-embergate-prepared",
    "x-request-id",
    "authorization",
    "content-encoding",
    "content-type",
    "expect",
    "host",
    "origin",
    "x-api-key",
    "traceparent",
    "user-agent",
    "transfer-encoding",
];

/// Values that mean something to one header or another.
const VALUES: &[&str] = &[
    "query",
    "document",
    "none",
    "BULK",
    "interactive",
    "true",
    "0",
    "1",
    "60000",
    "18446744073709551616",
    "identity",
    "gzip",
    "Bearer key",
    "key",
    "few",
    "chunked",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "application/json",
    "100-continue",
    "localhost",
    "http://localhost:3000",
    "https://evil.example",
    "req-1",
];

const FIELDS: &[&str] = &[
    "model",
    "name",
    "input",
    "prompt",
    "dimensions",
    "encoding_format",
    "truncate",
    "input_type",
    "keep_alive",
    "options",
    "user",
];

fn one_of(known: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(known).prop_map(str::to_owned)
}

fn any_method() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just("POST".to_owned()), 3 => Just("GET".to_owned()), 1 => one_of(&["HEAD", "OPTIONS", "PUT", "DELETE", "NEARLY"])]
}

fn any_path() -> impl Strategy<Value = String> {
    let near = (one_of(PATHS), "[a-z0-9/%.?:-]{0,6}").prop_map(|(path, more)| format!("{path}{more}"));
    prop_oneof![4 => one_of(PATHS), 1 => near]
}

fn any_headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let value = prop_oneof![
        4 => one_of(VALUES).prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec((one_of(NAMES), value), 0..3)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..300_i64).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[a-z]{1,5}( [a-z]{1,5}){0,20}".prop_map(Value::from),
        one_of(&["static-embed-en-256", "kelp", "5m", "float", "base64", "query"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 10, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..10).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Mostly what a client might send, with a field or two that it would not.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let words = || "[a-z]{1,5}( [a-z]{1,5}){0,20}";
    let input = prop_oneof![
        words().prop_map(Value::from),
        prop::collection::vec(words(), 0..10).prop_map(Value::from)
    ];
    let strange = prop::collection::btree_map(one_of(FIELDS), any_json(), 0..3);
    let fields = (input, strange).prop_map(|(input, strange)| {
        let model = Value::from("static-embed-en-256");
        let mut fields = BTreeMap::from([("model".to_owned(), model), ("input".to_owned(), input)]);
        fields.extend(strange);
        serde_json::to_vec(&fields).unwrap_or_default()
    });
    prop_oneof![
        6 => fields,
        2 => any_json().prop_map(|json| json.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => (32_700..32_900_usize).prop_map(|length| vec![b' '; length]),
    ]
}

fn any_request() -> impl Strategy<Value = Asked> {
    (any_method(), any_path(), any_headers(), any_body()).prop_map(|(method, path, headers, body)| Asked {
        method,
        path,
        headers,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_request_is_answered_as_the_document_says(asked in any_request()) {
        if let Some(Err(why)) = check(&asked) {
            prop_assert!(false, "{}", why);
        }
    }
}
