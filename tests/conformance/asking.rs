//! The ways to name a model, to say what texts are for, and to send them.

use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway};

/// The model inside the binary with a prompt for questions and one for documents.
const PROMPTED: &str = r#"
[embed]
default_model = "prompted"
[[upstream]]
name = "inside"
kind = "embedded"
[[model]]
name = "prompted"
aliases = ["text-small"]
upstream_name = "static-embed-en-256"
upstreams = ["inside"]
max_tokens = 64
[model.prompts]
query = "question: "
document = "passage: "
[[model]]
name = "bare-embed"
upstream_name = "static-embed-en-256"
upstreams = ["inside"]
max_tokens = 64
"#;

const V1: &str = "/v1/embeddings";
const API: &str = "/api/embed";

fn body(model: &str, input: &Value, more: &Value) -> String {
    let mut body = json!({ "model": model, "input": input });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

async fn ask(gateway: &Gateway, model: &str, input: &str) -> Answer {
    gateway.post(V1, &body(model, &json!(input), &json!({}))).await
}

fn vector(answer: &Answer) -> &Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    match answer.json.get("data") {
        Some(data) => &data[0]["embedding"],
        None => &answer.json["embeddings"][0],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_that_is_listed_can_be_looked_up_and_asked_and_is_echoed() {
    let gateway = Gateway::start(PROMPTED).await;
    let list = gateway.ask("GET", "/v1/models", &[], Vec::new()).await;
    let ids: Vec<_> =
        list.json["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    for id in ["prompted", "text-small", "prompted:query", "embed/prompted", "bare-embed"] {
        assert!(ids.contains(&id), "no {id} in {ids:?}");
    }
    assert!(!ids.iter().any(|id| ["bare-embed:query", "embed/bare-embed"].contains(id)), "{ids:?}");
    for id in ids.into_iter().chain(["PROMPTED:latest", "embed/text-small:query"]) {
        let model = gateway.ask("GET", &format!("/v1/models/{id}"), &[], Vec::new()).await;
        assert_eq!((model.status, model.json["id"].as_str()), (200, Some(id)), "{}", model.text);
        for path in [V1, API] {
            let answer = gateway.post(path, &body(id, &json!("a cat"), &json!({}))).await;
            assert_eq!((answer.status, answer.json["model"].as_str()), (200, Some(id)), "{}", answer.text);
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_model_gets_the_default_one_or_a_word_about_it() {
    let gateway = Gateway::start(PROMPTED).await;
    let named = ask(&gateway, "prompted", "a cat").await;
    for path in [V1, API] {
        for fields in
            [r#""input":"a cat""#, r#""input":"a cat","model":null"#, r#""input":"a cat","model":"""#]
        {
            let answer = gateway.post(path, &format!("{{{fields}}}")).await;
            assert_eq!(vector(&answer), vector(&named));
        }
    }
    gateway.stop().await;
    let gateway = Gateway::start("").await;
    let refused = gateway.post(V1, r#"{"input":"a","model":""}"#).await;
    assert_eq!((refused.status, refused.json["error"]["param"].as_str()), (400, Some("model")));
    let refused = gateway.post(API, r#"{"input":"a"}"#).await;
    assert_eq!((refused.status, refused.json["error"].as_str()), (404, Some("model '' not found")));
    gateway.stop().await;
}

/// Asks for "a cat" in the ways that `asked` says, and compares with `text` as the bare model embeds it.
async fn check_purpose(
    gateway: &Gateway,
    (header, input_type, model): (Option<&str>, Option<&str>, &str),
    (purpose, prompt, text): (&str, Option<&str>, &str),
) {
    let bare = ask(gateway, "bare-embed", text).await;
    let headers: Vec<_> = header.map(|header| ("x-embergate-purpose", header)).into_iter().collect();
    for path in [V1, API] {
        let body = body(model, &json!("a cat"), &json!({ "input_type": input_type }));
        let answer = gateway.ask("POST", path, &headers, body.into()).await;
        assert_eq!(vector(&answer), vector(&bare), "{path} {header:?} {input_type:?} {model}");
        assert_eq!(answer.header("x-embergate-purpose"), Some(purpose));
        assert_eq!(answer.header("x-embergate-prompt"), prompt);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_text_is_for_may_be_said_in_three_places_and_is_told() {
    let gateway = Gateway::start(PROMPTED).await;
    let query = ("query", Some(r#""question: ""#), "question: a cat");
    let document = ("document", Some(r#""passage: ""#), "passage: a cat");
    check_purpose(&gateway, (None, None, "prompted"), document).await;
    check_purpose(&gateway, (Some("query"), None, "prompted"), query).await;
    check_purpose(&gateway, (None, Some("search_query"), "text-small"), query).await;
    check_purpose(&gateway, (None, None, "prompted:query"), query).await;
    check_purpose(&gateway, (Some("query"), Some("query"), "prompted:query"), query).await;
    check_purpose(&gateway, (None, Some("passage"), "prompted:document"), document).await;
    check_purpose(&gateway, (Some("none"), None, "prompted"), ("none", None, "a cat")).await;
    check_purpose(&gateway, (None, Some("none"), "prompted"), ("none", None, "a cat")).await;
    check_purpose(&gateway, (None, None, "bare-embed"), ("document", None, "a cat")).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purposes_that_contradict_each_other_are_refused() {
    let gateway = Gateway::start(PROMPTED).await;
    let headers = [("x-embergate-purpose", "none")];
    for (body, param) in [
        (body("prompted", &json!("a"), &json!({ "input_type": "query" })), "input_type"),
        (body("prompted:query", &json!("a"), &json!({})), "model"),
    ] {
        let answer = gateway.ask("POST", V1, &headers, body.clone().into()).await;
        assert_eq!(
            (answer.status, answer.json["error"]["param"].as_str()),
            (400, Some(param)),
            "{}",
            answer.text
        );
        assert_eq!(gateway.ask("POST", API, &headers, body.into()).await.status, 400);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_behind_a_gateway_puts_no_second_prompt() {
    let inner = Gateway::start(PROMPTED).await;
    let outer = Gateway::start(&format!(
        "[[upstream]]\nname = \"inner\"\nkind = \"openai\"\nurl = \"http://{}\"\n\
         [[model]]\nname = \"outer\"\nupstream_name = \"prompted\"\nupstreams = [\"inner\"]\n\
         [model.prompts]\nquery = \"q: \"\ndocument = \"d: \"\n",
        inner.address
    ))
    .await;
    for (asked, text) in [("outer:query", "q: a cat"), ("outer", "d: a cat")] {
        let answer = ask(&outer, asked, "a cat").await;
        assert_eq!(vector(&answer), vector(&ask(&inner, "bare-embed", text).await));
    }
    outer.stop().await;
    inner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_own_way_with_long_texts_holds_where_the_client_says_nothing() {
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/model/tokenizer.json");
    let model = |name: &str, more: &str| {
        format!(
            "[[model]]\nname = {name:?}\nupstream_name = \"static-embed-en-256\"\nupstreams = [\"inside\"]\n\
             tokenizer = {tokenizer:?}\nmax_tokens = 6\n{more}\n"
        )
    };
    let toml = [
        "[[upstream]]\nname = \"inside\"\nkind = \"embedded\"\n".to_owned(),
        model("usual", ""),
        model("cuts", "truncate = true"),
        model("refuses", "truncate = false"),
    ];
    let gateway = Gateway::start(&toml.concat()).await;
    for (name, truncate, on_v1, on_api) in [
        ("usual", None, 400, 200),
        ("cuts", None, 200, 200),
        ("refuses", None, 400, 400),
        ("cuts", Some(false), 400, 400),
        ("refuses", Some(true), 200, 200),
    ] {
        for (path, status) in [(V1, on_v1), (API, on_api)] {
            let long = json!("one two three four five six seven eight");
            let answer = gateway.post(path, &body(name, &long, &json!({ "truncate": truncate }))).await;
            assert_eq!(answer.status, status, "{path} {name} {truncate:?}: {}", answer.text);
            let notice = answer.header("x-embergate-notice").unwrap_or_default();
            assert_eq!(notice.contains("truncated texts: 0"), status == 200, "{notice}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_begin_or_end_inside_a_character_are_taken_and_told() {
    let gateway = Gateway::start(PROMPTED).await;
    let all = tiktoken_rs::cl100k_base().unwrap().encode_ordinary("a cat 🧪 and a dog");
    let inside = all.iter().position(|token| tiktoken_rs::cl100k_base().unwrap().decode(&[*token]).is_err());
    let (head, tail) = all.split_at(inside.unwrap() + 1);
    let answer = gateway.post(V1, &body("bare-embed", &json!([head, tail]), &json!({}))).await;
    assert_eq!(answer.json["data"].as_array().map(Vec::len), Some(2), "{}", answer.text);
    let notice = answer.header("x-embergate-notice").unwrap();
    assert!(notice.contains("inside a character") && notice.ends_with("in texts: 0, 1"), "{notice}");
    let text = ask(&gateway, "bare-embed", " and a dog").await;
    assert_eq!(answer.json["data"][1]["embedding"], text.json["data"][0]["embedding"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_token_arrays_and_long_bodies_are_the_same_texts() {
    let gateway = Gateway::start(&PROMPTED.replace("max_tokens = 64", "max_tokens = 200000")).await;
    let text = "a cat and a dog ".repeat(20_000);
    let tokens = tiktoken_rs::cl100k_base().unwrap().encode_ordinary(&text);
    let by_tokens = gateway.post(V1, &body("bare-embed", &json!([tokens]), &json!({}))).await;
    let by_text = ask(&gateway, "bare-embed", &text).await;
    assert_eq!(vector(&by_tokens), vector(&by_text));
    assert_eq!(by_text.header("x-embergate-cache"), Some("1/1"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_can_be_refused() {
    let gateway = Gateway::start("[embed]\ntoken_arrays = \"off\"\n").await;
    let answer = gateway.post(V1, &body("static-embed-en-256", &json!([[15339]]), &json!({}))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("embed.token_arrays"), "{}", answer.text);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_could_be_read_in_two_ways_or_never_end_are_refused_on_both_apis() {
    let gateway = Gateway::start("[server]\nmax_json_depth = 4\n").await;
    let deep = format!(r#"{{"input":"a","user":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (body, said) in [
        (r#"{"input":"a","input":"b"}"#.as_bytes(), "`input`"),
        (deep.as_bytes(), "server.max_json_depth"),
        (b"{\"input\":\"\xff\"}", "not UTF-8"),
        (br#"{"input":"a","dimensions":1e999}"#, "out of range"),
        (br#"{"input":["a","b"]"#, "not valid JSON"),
    ] {
        for path in [V1, API] {
            let answer = gateway.ask("POST", path, &[], body.to_vec()).await;
            assert_eq!(answer.status, 400, "{}", answer.text);
            assert!(answer.text.contains(said) && answer.json["error"] != Value::Null, "{}", answer.text);
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_beyond_the_limit_are_counted() {
    let gateway = Gateway::start("").await;
    for element in [json!("a"), json!([1])] {
        let body = body("static-embed-en-256", &vec![element.clone(); 100_000].into(), &json!({}));
        let answer = gateway.post(V1, &body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains("100000 texts, more than 2048"), "{}", answer.text);
    }
    gateway.stop().await;
}
