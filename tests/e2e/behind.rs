//! A gateway behind a gateway: the one in front gives what the one behind has, over either protocol.

use embergate_test_support::binary::{Desk, Gateway};
use serde_json::{Value, json};

use super::desk;

const MODEL: &str = "static-embed-en-256";

/// The embedded model, once as it is and once with room for a few tokens only.
const BEHIND: &str = r#"
[[upstream]]
name = "inside"
kind = "embedded"

[[model]]
name = "small"
upstream_name = "static-embed-en-256"
upstreams = ["inside"]
max_tokens = 8
"#;

/// Nothing is asked of an upstream before a client asks.
const COLD: &str = "[health]\nwarm_up = false\n";

/// The configuration of a gateway in front of `behind`, with a model that is not there.
fn in_front_of(behind: &Gateway, kind: &str) -> String {
    let mut toml = format!(
        "{COLD}[[upstream]]\nname = \"behind\"\nkind = \"{kind}\"\nurl = \"http://{}\"\n",
        behind.api
    );
    for (name, there) in [("m", MODEL), ("small", "small"), ("gone", "nobody")] {
        toml.push_str(&format!(
            "[[model]]\nname = \"{name}\"\nupstream_name = \"{there}\"\nupstreams = [\"behind\"]\n"
        ));
    }
    toml
}

/// Two gateways, each in a folder of its own; the first of them is in front.
fn two(kind: &str) -> ([Desk; 2], Gateway, Gateway) {
    let desks = [desk(), desk()];
    let behind = desks[1].serve(BEHIND);
    let front = desks[0].serve(&in_front_of(&behind, kind));
    (desks, front, behind)
}

/// The vectors of an answer of `/api/embed`, number for number as they were written.
#[track_caller]
fn vectors(gateway: &Gateway, model: &str, input: &Value) -> Vec<Vec<f32>> {
    let answer = gateway.post("/api/embed", &json!({ "model": model, "input": input }));
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_value(answer.json()["embeddings"].clone()).unwrap()
}

/// `/api/tags` as names and digests.
fn listed(gateway: &Gateway) -> Vec<(String, String)> {
    let models = gateway.get("/api/tags").json()["models"].clone();
    let field = |model: &Value, name: &str| model[name].as_str().unwrap().to_owned();
    models.as_array().unwrap().iter().map(|model| (field(model, "name"), field(model, "digest"))).collect()
}

fn bits(vectors: &[Vec<f32>]) -> Vec<Vec<u32>> {
    vectors.iter().map(|vector| vector.iter().map(|number| number.to_bits()).collect()).collect()
}

#[track_caller]
fn check_vectors(kind: &str) {
    let (_desks, front, behind) = two(kind);
    let input = json!(["kelp", "The harbour gate opens at high tide.", "bread", "kelp"]);
    let (ours, theirs) = (vectors(&front, "m", &input), vectors(&behind, MODEL, &input));
    assert_eq!(ours.len(), 4);
    assert_ne!(ours[0], ours[1]);
    assert_eq!(bits(&ours), bits(&theirs));
    let one = front.post("/api/embeddings", &json!({ "model": "m", "prompt": "bread" })).json();
    let one: Vec<f32> = serde_json::from_value(one["embedding"].clone()).unwrap();
    assert_eq!(one, theirs[2]);
    let openai = front.post("/v1/embeddings", &json!({ "model": "m:latest", "input": "bread" })).json();
    let openai: Vec<f32> = serde_json::from_value(openai["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(openai, theirs[2]);
}

#[test]
fn over_ollamas_protocol_vectors_are_the_same_to_the_bit() {
    check_vectors("ollama");
}

#[test]
fn over_openais_protocol_vectors_are_the_same_to_the_bit() {
    check_vectors("openai");
}

#[track_caller]
fn check_errors(kind: &str) {
    let (_desks, front, _behind) = two(kind);
    let gone = front.post("/api/embed", &json!({ "model": "gone", "input": "kelp" }));
    assert_eq!(gone.status, 404, "{}", gone.body);
    assert_eq!(gone.json()["error"], "model \"nobody\" not found, try pulling it first");

    let long = "the harbour gate opens at high tide ".repeat(8);
    let refused = json!({ "model": "small", "input": ["kelp", long], "truncate": false });
    let refused = front.post("/api/embed", &refused);
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(refused.json()["error"], "the input length exceeds the context length");
    let refused = front.post("/v1/embeddings", &json!({ "model": "small", "input": ["kelp", long] }));
    assert_eq!(refused.json()["error"]["code"], "context_length_exceeded", "{}", refused.body);
    assert!(refused.json()["error"]["message"].as_str().unwrap().starts_with("text 1 "), "{}", refused.body);

    let unknown = front.post("/v1/embeddings", &json!({ "model": "m", "input": ["kelp", "\u{fffc}"] }));
    assert_eq!((unknown.status, unknown.json()["error"]["code"].as_str()), (422, Some("text_unknown")));
}

#[test]
fn over_ollamas_protocol_an_error_keeps_its_meaning() {
    check_errors("ollama");
}

#[test]
fn over_openais_protocol_an_error_keeps_its_meaning() {
    check_errors("openai");
}

#[test]
fn a_model_that_is_not_behind_is_not_listed_in_front() {
    let (_desks, front, behind) = two("ollama");
    let names = |gateway: &Gateway| listed(gateway).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&behind), ["small:latest", "static-embed-en-256:latest"]);
    // The one in front has the embedded model too.
    assert_eq!(names(&front), ["m:latest", "small:latest", "static-embed-en-256:latest"]);
    let shown = front.post("/api/show", &json!({ "model": "gone" }));
    assert_eq!(shown.status, 200, "it is served all the same: {}", shown.body);
}

#[test]
fn a_model_that_changes_behind_has_another_digest_in_front() {
    let digests = |limit: &str| {
        let desks = [desk(), desk()];
        let behind = desks[1].serve(&BEHIND.replace("max_tokens = 8", limit));
        let front = desks[0].serve(&in_front_of(&behind, "ollama"));
        listed(&front)
    };
    let (before, same, after) =
        (digests("max_tokens = 8"), digests("max_tokens = 8"), digests("max_tokens = 9"));
    assert_eq!(before, same, "other processes on other ports");
    let changed =
        |name: &str| before.iter().zip(&after).any(|(a, b)| a.0 == name && a.0 == b.0 && a.1 != b.1);
    assert!(changed("small:latest") && !changed("m:latest"), "{before:?} {after:?}");
}

#[track_caller]
fn check_stopped(kind: &str, still_listed: &[&str]) {
    let (_desks, front, behind) = two(kind);
    let before = vectors(&front, "m", &json!("kelp"));
    behind.terminate();
    assert_eq!(behind.wait().0, Some(0));
    assert_eq!(vectors(&front, "m", &json!("kelp")), before, "from the cache");
    let new = front.post("/api/embed", &json!({ "model": "m", "input": "bread" }));
    assert_eq!(new.status, 503, "{}", new.body);
    assert_eq!(new.json()["error"], "cannot reach upstream `behind`");
    let names: Vec<_> = listed(&front).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, still_listed);
}

#[test]
fn what_was_embedded_is_answered_when_the_one_behind_has_stopped() {
    // `small` was never asked for, so that nobody knows which model it was.
    check_stopped("ollama", &["m:latest", "static-embed-en-256:latest"]);
    // That protocol has no digests: a name is all that there ever is.
    check_stopped("openai", &["gone:latest", "m:latest", "small:latest", "static-embed-en-256:latest"]);
}
