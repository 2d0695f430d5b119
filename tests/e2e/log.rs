//! The access log: a line a request that says all about it but its texts.

use embergate_test_support::binary::{Desk, Gateway};
use serde_json::{Value, json};

use super::desk;

const MODEL: &str = "static-embed-en-256";
const JSON: &str = "[log]\nformat = \"json\"\n";
const SECRET: &str = "kelp grows in the dark";

/// Lines of the log about requests.
#[track_caller]
fn requests(log: &str) -> Vec<Value> {
    let event = |line| serde_json::from_str::<Value>(line).expect("each line is an object");
    log.lines().map(event).filter(|event| event["message"] == "request").collect()
}

/// What was logged until the end, which is written behind the requests.
#[track_caller]
fn whole_log(desk: &Desk, gateway: Gateway) -> String {
    gateway.terminate();
    assert_eq!(gateway.wait().0, Some(0));
    desk.log()
}

#[test]
fn a_request_is_one_line_with_all_about_it_but_its_texts() {
    let desk = desk();
    let gateway = desk.serve_logged(JSON);
    let headers = [
        ("x-request-id", "mine-1"),
        ("x-embergate-purpose", "query"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let body = json!({ "model": format!("{MODEL}:latest"), "input": [SECRET, SECRET] });
    let answer = gateway.ask("POST", "/v1/embeddings", &headers, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let log = whole_log(&desk, gateway);
    let [line] = &requests(&log)[..] else { panic!("not one line: {log}") };
    for (field, want) in [
        ("level", json!("INFO")),
        ("request_id", json!("mine-1")),
        ("trace_id", json!("4bf92f3577b34da6a3ce929d0e0e4736")),
        ("method", json!("POST")),
        ("route", json!("/v1/embeddings")),
        ("status", json!(200)),
        ("model", json!(MODEL)),
        ("purpose", json!("query")),
        ("lane", json!("interactive")),
        ("n_texts", json!(2)),
        ("n_hits", json!(0)),
        ("n_tokens", answer.json()["usage"]["prompt_tokens"].clone()),
        ("bytes_in", json!(body.to_string().len())),
        ("bytes_out", json!(answer.body.len())),
    ] {
        assert_eq!(line[field], want, "{field} in {line}");
    }
    assert!(line["millis"].as_f64().unwrap() > 0.0, "{line}");
    for absent in ["client", "key"] {
        assert_eq!(line.get(absent), None, "{line}");
    }
    assert!(!log.contains("kelp"), "{log}");
}

#[test]
fn what_was_refused_is_logged_and_what_was_probed_is_not() {
    let desk = desk();
    let gateway = desk.serve_logged(JSON);
    assert_eq!(gateway.get("/healthz").status, 200);
    assert_eq!(gateway.get("/nowhere/kelp").status, 404);
    let wrong = gateway.post("/api/embed", &json!({ "model": MODEL, "input": [SECRET, ""] }));
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    let log = whole_log(&desk, gateway);
    let lines = requests(&log);
    let told: Vec<_> =
        lines.iter().map(|line| json!([line["route"], line["status"], line["error"]])).collect();
    assert_eq!(told, [json!(["none", 404, null]), json!(["/api/embed", 400, "input"])]);
    assert!(!log.contains("kelp"), "{log}");
}

#[test]
fn nothing_that_a_client_sends_makes_a_line_of_its_own() {
    let desk = desk();
    let gateway = desk.serve_logged("[log]\nspans = true\n");
    let headers = [
        ("x-request-id", "a\tINFO-forged"),
        ("user-agent", "\u{85}forged"),
        ("traceparent", "forged"),
        ("x-embergate-lane", "forged"),
    ];
    let body = json!({ "model": "m\nINFO forged", "input": "x\r\nINFO forged", "forged\n": 1 });
    let answer = gateway.ask("POST", "/v1/embeddings", &headers, &body.to_string());
    assert!((400..500).contains(&answer.status), "{}", answer.body);
    let log = whole_log(&desk, gateway);
    assert!(log.lines().any(|line| line.contains("status=400") || line.contains("status=404")), "{log}");
    assert!(!log.contains("forged"), "{log}");
}
