//! Bodies that are slow, huge, compressed, or nonsense.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::gateway::{Attacked, MIB, PATIENCE, exchange, post, rest, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_is_given_up() {
    let attacked = Attacked::start("body_timeout = \"300ms\"").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = attacked.connect().await;
        stream.write_all(&post("/v1/embeddings", "", &"x".repeat(1000)).as_bytes()[..200]).await.unwrap();
        streams.push(stream);
    }
    attacked.serves_others().await;
    for stream in &mut streams {
        let answer = rest(stream).await;
        assert_eq!(status(&answer), 408, "{answer}");
    }
    attacked.log.until(&["INFO", "status=408"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_together_have_a_bound() {
    let attacked =
        Attacked::start("max_body = \"8MiB\"\nmax_bodies = \"24MiB\"\nbody_timeout = \"10m\"").await;
    let request = post("/v1/embeddings", "", &"x".repeat(8 << 20));
    let almost: Arc<[u8]> = request.as_bytes()[..request.len() - 1].into();
    let mut clients = JoinSet::new();
    for _ in 0..12 {
        let (mut stream, almost) = (attacked.connect().await, almost.clone());
        // Who is refused is answered before the body was read, and hung up on.
        clients.spawn(async move {
            drop(stream.write_all(&almost).await);
            let mut read = Vec::new();
            drop(stream.read_to_end(&mut read).await);
            status(&String::from_utf8_lossy(&read))
        });
    }
    // Three quarters are for large ones: whichever come first, no three of them fit.
    let mut statuses = Vec::new();
    while statuses.len() < 10 {
        let ended = timeout(PATIENCE, clients.join_next()).await.expect("no more than two are kept");
        statuses.push(ended.expect("twelve were sent").unwrap());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    attacked.serves_others().await;
    drop(clients);
    attacked.stays_within(24 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_are_only_announced_take_no_room() {
    let attacked =
        Attacked::start("max_body = \"8MiB\"\nmax_bodies = \"16MiB\"\nbody_timeout = \"10m\"").await;
    let request = post("/v1/embeddings", "", &" ".repeat(8 << 20));
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = attacked.connect().await;
        stream.write_all(&request.as_bytes()[..500]).await.unwrap();
        streams.push(stream);
    }
    let mut stream = attacked.connect().await;
    let honest = request.replacen("content-length", "connection: close\r\ncontent-length", 1);
    let answer = exchange(&mut stream, honest).await;
    assert!(answer.contains("missing request body"), "{answer}");
    attacked.stays_within(16 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_refused_whatever_it_would_become() {
    let attacked = Attacked::start("").await;
    for encoding in ["gzip", "br", "zstd", "deflate, gzip", "identity, gzip"] {
        let request =
            post("/v1/embeddings", &format!("content-encoding: {encoding}\r\nconnection: close\r\n"), "x");
        let answer = exchange(&mut attacked.connect().await, request).await;
        assert_eq!(status(&answer), 415, "{answer}");
    }
    attacked.log.until(&["status=415"]);
    attacked.serves_others().await;
    attacked.stays_within(4 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_means_harm_is_refused_in_json() {
    let attacked = Attacked::start("max_body = \"4MiB\"").await;
    let deep = |open: &str| open.repeat(300_000);
    let field = |name: &str, value: &str| {
        format!(r#"{{"model":"static-embed-en-256","input":"a","{name}":{value}}}"#)
    };
    let wide = vec!["[]"; 500_000].join(",");
    let many = vec!["\"a\""; 200_000].join(",");
    for body in [
        deep("["),
        deep("{\"input\":"),
        field("dimensions", &deep("[")),
        field("unknown", &deep("{\"a\":")),
        field("input", &format!("[{wide}]")),
        field("input", &format!("[{many}]")),
        field("dimensions", "1e999"),
        field("dimensions", "-1e999"),
        field("dimensions", &"9".repeat(1_000_000)),
        field("input", "\"b\""),
        field("input", "\"\\ud800\""),
        field("input", "\"\\u0000"),
        field("input", "\"a\"} {"),
        " ".repeat(5 << 20),
    ] {
        check_refused(&attacked, body.as_bytes()).await;
    }
    check_refused(&attacked, b"{\"model\":\"static-embed-en-256\",\"input\":\"\xff\xfe\xc0\xaf\"}").await;
    attacked.serves_others().await;
    attacked.log.until(&["status=400"]);
    attacked.stays_within(64 * MIB);
}

async fn check_refused(attacked: &Attacked, body: &[u8]) {
    let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
    for path in ["/v1/embeddings", "/api/embed"] {
        let mut request = post(path, "connection: close\r\n", "").into_bytes();
        request.truncate(request.len() - "content-length: 0\r\n\r\n".len());
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        let answer = exchange(&mut attacked.connect().await, &request).await;
        assert!((400..500).contains(&status(&answer)), "{path} {start}: {answer}");
        let (_, json) = answer.split_once("\r\n\r\n").unwrap();
        let json: Value = serde_json::from_str(json).unwrap_or_else(|_| panic!("{start}: {answer}"));
        let error = if path == "/v1/embeddings" { &json["error"]["message"] } else { &json["error"] };
        assert!(error.is_string(), "{start}: {answer}");
    }
}
