//! What the cases do not say: limits, health, metrics, pages from elsewhere.

use embergate_test_support::ollama::OllamaSim;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{EMBEDDED, Gateway};
use crate::scenes::Scene;

const HELLO: &str = r#"{"model":"test-embed","input":["hello","world"]}"#;

/// Sends bytes as they are, and returns all that comes back until the connection ends.
async fn raw(gateway: &Gateway, bytes: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_tell_purpose_hits_and_a_request_id() {
    let gateway = Gateway::start(EMBEDDED).await;
    let first = gateway.post("/v1/embeddings", HELLO).await;
    assert_eq!(first.header("x-embergate-cache"), Some("0/2"));
    assert_eq!(first.header("x-embergate-purpose"), Some("document"));
    let asked = [("x-embergate-purpose", "query"), ("x-request-id", "mine-1")];
    let query = gateway.ask("POST", "/v1/embeddings", &asked, HELLO.into()).await;
    assert_eq!(query.header("x-embergate-purpose"), Some("query"));
    assert_eq!(query.header("x-request-id"), Some("mine-1"));
    let again = gateway.post("/api/embed", HELLO).await;
    assert_ne!(first.header("x-request-id"), again.header("x-request-id"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_given_twice_is_counted_twice() {
    let gateway = Gateway::start(EMBEDDED).await;
    let n_tokens = async |input: &str| {
        let answer =
            gateway.post("/v1/embeddings", &format!(r#"{{"model":"test-embed","input":{input}}}"#)).await;
        answer.json["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    assert_eq!(n_tokens(r#"["kelp","kelp"]"#).await, 2 * n_tokens(r#""kelp""#).await);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_declared_too_long_is_refused_before_it_is_sent() {
    let gateway = Gateway::start(EMBEDDED).await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let head = format!(
            "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n{expect}\r\n"
        );
        let answer = raw(&gateway, &head).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("server.max_body"), "{answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_too_much_is_still_told_why() {
    let gateway = Gateway::start(&format!("[server]\nmax_body = \"1KiB\"\n{EMBEDDED}")).await;
    let answer = gateway.post("/api/embed", &" ".repeat(1500)).await;
    assert_eq!((answer.status, answer.json["error"].is_string()), (413, true), "{}", answer.text);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_metrics_are_on_their_listeners() {
    let gateway = Gateway::start(EMBEDDED).await;
    gateway.post("/v1/embeddings", HELLO).await;
    for (address, path, status) in [
        (gateway.address, "/healthz", 200),
        (gateway.address, "/readyz", 200),
        (gateway.address, "/metrics", 404),
        (gateway.admin, "/healthz", 200),
        (gateway.admin, "/readyz", 200),
        (gateway.admin, "/v1/models", 404),
    ] {
        let answer = gateway.ask_at(address, "GET", path, &[], Vec::new()).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
    let metrics = gateway.ask_at(gateway.admin, "GET", "/metrics", &[], Vec::new()).await.text;
    for line in [
        r#"embergate_http_requests_total{route="/v1/embeddings",status="2xx"}"#,
        r#"embergate_http_request_seconds_bucket{route="/v1/embeddings",le="0.005"}"#,
        r#"embergate_http_request_texts_bucket{route="/v1/embeddings",le="2"}"#,
        r#"embergate_http_connections{listener="admin"}"#,
    ] {
        assert!(metrics.contains(line), "no `{line}` in {metrics}");
    }
    assert!(!metrics.contains("hello"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let gateway = Gateway::start(EMBEDDED).await;
    let head = gateway.ask("HEAD", "/", &[], Vec::new()).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some("17"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_from_elsewhere_gets_nothing_on_either_listener() {
    let gateway = Gateway::start(EMBEDDED).await;
    for (address, path) in [(gateway.address, "/v1/models"), (gateway.admin, "/metrics")] {
        for header in [("origin", "https://evil.example"), ("host", "evil.example")] {
            let answer = gateway.ask_at(address, "GET", path, &[header], Vec::new()).await;
            assert_eq!(answer.status, 403, "{path} {header:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    let origin = ("origin", "http://localhost:3000");
    let own = gateway.ask("GET", "/v1/models", &[origin], Vec::new()).await;
    assert_eq!(own.header("access-control-allow-origin"), Some("http://localhost:3000"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unready_gateway_says_why() {
    let gateway = Gateway::start(
        "[[upstream]]\nname = \"gone\"\nkind = \"ollama\"\nurl = \"http://127.0.0.1:1\"\n\
         [[model]]\nname = \"m\"\nupstreams = [\"gone\"]",
    )
    .await;
    let answer = gateway.ask("GET", "/readyz", &[], Vec::new()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.text, "not ready: cannot reach upstream `gone`\n", "and not where it is");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_answered_when_the_gateway_stops() {
    let scene = Scene::usual().await;
    let held = scene.hold();
    let stopping = async {
        held.until_waiting(1).await;
        scene.gateway.begin_to_stop();
        drop(held);
    };
    let (answer, ()) = tokio::join!(scene.gateway.post("/v1/embeddings", HELLO), stopping);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let address = scene.gateway.address;
    scene.gateway.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_to_those_who_begin_with_it() {
    let gateway = Gateway::start(EMBEDDED).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&empty_settings).await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the first frame is its settings: {frame:?}");
    drop(stream);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_or_never_ends_its_head_is_closed() {
    let gateway = Gateway::start(&format!("[server]\nhead_timeout = \"50ms\"\n{EMBEDDED}")).await;
    for begun in ["", "P", "POST /api/embed HTTP/1.1\r\nhost: local"] {
        let answer = raw(&gateway, begun).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_cuts_unasked_is_refused_or_told() {
    let sim = OllamaSim::start(&[("m", 8)]).await;
    sim.cut_at(128);
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/model/tokenizer.json");
    let gateway = Gateway::start(&format!(
        "[[upstream]]\nname = \"up\"\nkind = \"ollama\"\nurl = \"{}\"\n[[model]]\nname = \"m\"\nupstreams = [\"up\"]\ntokenizer = {tokenizer:?}\nmax_tokens = 8192\n",
        sim.url()
    ))
    .await;
    let body = serde_json::json!({ "model": "m", "input": ["short", "long ".repeat(300)] }).to_string();
    let refused = gateway.post("/v1/embeddings", &body).await;
    assert_eq!(
        (refused.status, refused.json["error"]["code"].as_str()),
        (400, Some("context_length_exceeded"))
    );
    for _ in 0..2 {
        let told = gateway.post("/api/embed", &body).await;
        assert_eq!(told.status, 200, "{}", told.text);
        assert_eq!(told.header("x-embergate-notice"), Some("texts truncated by the upstream, unasked: 1"),);
    }
    gateway.stop().await;
}
