//! The gateway: embeds over both APIs, and answers what is under way before it ends.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::desk;

const MODEL: &str = "static-embed-en-256";

#[test]
fn both_apis_give_the_same_vectors() {
    let desk = desk();
    let gateway = desk.serve("");
    let openai = gateway.post("/v1/embeddings", &json!({ "model": MODEL, "input": ["kelp", "bread"] }));
    assert_eq!(openai.status, 200, "{}", openai.body);
    let openai = openai.json();
    let ollama = gateway.post("/api/embed", &json!({ "model": MODEL, "input": ["kelp", "bread"] })).json();
    for at in 0..2 {
        assert_eq!(openai["data"][at]["embedding"], ollama["embeddings"][at]);
        assert_eq!(openai["data"][at]["embedding"].as_array().unwrap().len(), 256);
    }
    assert_ne!(openai["data"][0]["embedding"], openai["data"][1]["embedding"]);
}

#[test]
fn health_and_models_are_told() {
    let desk = desk();
    let gateway = desk.serve("");
    assert_eq!(gateway.get("/healthz").status, 200);
    assert_eq!(gateway.get("/readyz").status, 200);
    assert!(gateway.get("/v1/models").body.contains(MODEL));
}

#[test]
fn an_unknown_model_is_404() {
    let desk = desk();
    let answer = desk.serve("").post("/v1/embeddings", &json!({ "model": "nobody", "input": "kelp" }));
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert_eq!(
        answer.json()["error"]["message"],
        "there is no model `nobody`: GET /v1/models lists those that are served"
    );
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let desk = desk();
    let gateway = desk.serve("");
    let under_way = gateway.begin_post("/v1/embeddings", &json!({ "model": MODEL, "input": "kelp" }));
    assert_eq!(gateway.get("/healthz").status, 200);
    gateway.terminate();
    let answer = under_way.finish();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (code, _) = gateway.wait();
    assert_eq!(code, Some(0));
}

#[test]
fn server_timing_and_metrics_tell_of_preprocessors() {
    let desk = desk();
    let gateway = desk.serve(&format!(
        "[[upstream]]\nname = \"in\"\nkind = \"embedded\"\n\
         [[model]]\nname = \"{MODEL}\"\nupstreams = [\"in\"]\npreprocess = [\"unicode\"]\n"
    ));
    let body = json!({ "model": MODEL, "input": "kelp" }).to_string();
    let mut stream = TcpStream::connect(&gateway.api).unwrap();
    let length = body.len();
    let head = format!(
        "POST /api/embed HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}"
    );
    write!(stream, "{head}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let timing = answer.lines().find(|line| line.starts_with("server-timing: ")).expect("the header");
    let parts: Vec<_> = timing["server-timing: ".len()..].split(", ").collect();
    let names: Vec<_> = parts.iter().map(|part| part.split(';').next().unwrap()).collect();
    assert_eq!(names, ["total", "read", "plugin", "queue", "upstream", "encode"], "{timing}");

    let mut stream = TcpStream::connect(&gateway.admin).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    let count = "embergate_plugin_call_seconds_count{plugin=\"unicode\"} 1\n";
    assert!(metrics.contains(count), "{metrics}");
}

#[test]
fn an_address_in_use_is_said() {
    let desk = desk();
    let gateway = desk.serve("");
    let file = desk.write("second.toml", format!("[server]\nlisten = \"{}\"\n", gateway.api));
    let said = desk.run(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("server.listen") && said.stderr.contains("try: "), "{}", said.stderr);
}
