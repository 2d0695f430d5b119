//! Is all that is said to the world true? Recorded cases, and what schemathesis
//! makes up, against `/openapi.json`.

use std::fs::File;
use std::process::Command;

use embergate::server::KeyHash;
use embergate_test_support::binary::Desk;
use embergate_test_support::openapi::{Answer, Document};

use crate::scenes::{self, Scene};
use crate::{cases, gateway};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/schemathesis/run.sh");

/// The model inside the binary, with any number of dimensions allowed.
const INSIDE: &str = r#"
[log]
filter = "warn"

[[upstream]]
name = "inside"
kind = "embedded"

[[model]]
name = "static-embed-en-256"
upstreams = ["inside"]
matryoshka = true
"#;

const KEY: &str = "schemathesis";

/// With limits that are told and not reached.
const KEYS: &str = r#"
[[key]]
name = "run"
sha256 = "%HASH%"
rights = ["embed", "index"]
requests_per_minute = 1000000
texts_per_minute = 1000000
"#;

fn check_answer(
    document: &Document,
    method: &str,
    path: &str,
    answer: &gateway::Answer,
) -> Result<(), String> {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let (status, body) = (answer.status, answer.text.as_bytes());
    document.check_answer(method, path, &Answer { status, headers: &headers, body })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_asked_and_answered_as_the_document_says() {
    let scene = Scene::usual().await;
    let served = scene.gateway.ask("GET", "/openapi.json", &[], Vec::new()).await;
    let document = Document::new(served.text.as_bytes());
    check_answer(&document, "GET", "/openapi.json", &served).unwrap();
    document.check_examples().unwrap();
    let mut failed = Vec::new();
    for case in cases::all() {
        let answer = match scenes::own_answer(&case).await {
            Some(answer) => answer,
            None => scenes::ask(&scene.gateway, &case).await,
        };
        let mut verdict = check_answer(&document, &case.method, &case.path, &answer);
        // What is answered well must be what the document lets clients ask. It
        // has `base64` in lower case only, or clients made from it would not know.
        if answer.status == 200 && case.id != "oai-006" {
            verdict = verdict.and(document.check_request(&case.method, &case.path, &case.body()));
        }
        if let Err(why) = verdict {
            failed.push(format!("{}: {why}", case.id));
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gateways_ask_is_answered_as_the_document_says() {
    let gateway = gateway::Gateway::start(gateway::EMBEDDED).await;
    let served = gateway.ask("GET", "/openapi.json", &[], Vec::new()).await;
    let document = Document::new(served.text.as_bytes());
    let about = gateway.ask("GET", "/api/embergate", &[], Vec::new()).await;
    let id = about.json["models"][1]["tokenizer"].as_str().unwrap().to_owned();
    for (path, status) in [
        ("/api/embergate".to_owned(), 200),
        ("/api/embergate/spaces/test-embed".to_owned(), 200),
        ("/api/embergate/spaces/nobody".to_owned(), 404),
        (format!("/api/embergate/tokenizers/{id}"), 200),
        ("/api/embergate/tokenizers/00".to_owned(), 404),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = gateway.ask(method, &path, &[], Vec::new()).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
            check_answer(&document, method, &path, &answer).unwrap();
        }
        let posted = gateway.post(&path, "{}").await;
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{path}");
    }
    let embedded = gateway.post("/v1/embeddings", r#"{"model":"test-embed","input":"kelp"}"#).await;
    let about = gateway.ask("GET", "/api/embergate", &[], Vec::new()).await;
    let model = &about.json["models"][1];
    assert_eq!(model["dimensions"], embedded.json["data"][0]["embedding"].as_array().unwrap().len());
    assert_eq!((&model["name"], &model["max_tokens"]), (&"test-embed".into(), &8192.into()));
    gateway.stop().await;
}

#[test]
#[ignore = "needs schemathesis: run tests/conformance/schemathesis/install.sh, then with --include-ignored"]
fn schemathesis_finds_no_difference_between_document_and_gateway() {
    check_by_schemathesis(INSIDE, None);
}

#[test]
#[ignore = "needs schemathesis: run tests/conformance/schemathesis/install.sh, then with --include-ignored"]
fn schemathesis_finds_no_way_past_the_keys() {
    let keys = KEYS.replace("%HASH%", &KeyHash::of(KEY.as_bytes()).to_hex());
    check_by_schemathesis(&format!("{INSIDE}{keys}"), Some(KEY));
}

#[track_caller]
fn check_by_schemathesis(config: &str, key: Option<&str>) {
    let desk = Desk::new(env!("CARGO_BIN_EXE_embergate"));
    let log = desk.folder().join("log");
    let to_log = File::create(&log).unwrap();
    let gateway = desk.serve_with(config, to_log.into());
    let mut run = Command::new(RUN);
    run.arg(format!("http://{}", gateway.api)).envs(key.map(|key| ("EMBERGATE_KEY", key)));
    let output = run.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(output.status.success(), "{said}\n{}\n{log}", String::from_utf8_lossy(&output.stderr));
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(gateway.get("/healthz").status, 200, "it does not live");
    // A run that asked nothing finds nothing.
    assert!(said.contains("Test cases:"), "{said}");
}
