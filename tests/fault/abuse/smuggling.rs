//! Request smuggling: what two parties could read in two ways is never taken for two requests.

use super::gateway::{Attacked, exchange, status};

/// What an attacker wants to have answered as a request of its own.
const HIDDEN: &str = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Sends `head` (which ends its own lines) and `body`, then the hidden request.
/// One answer comes at most, with a status of `want`, and the connection ends.
async fn check(attacked: &Attacked, head: &str, body: &str, want: u16) {
    let request = format!("POST /api/embed HTTP/1.1\r\n{head}\r\n{body}{HIDDEN}");
    let answer = exchange(&mut attacked.connect().await, &request).await;
    assert_eq!(status(&answer), want, "{head:?}: {answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
    assert!(!answer.contains("\"object\":\"list\""), "{head:?}: {answer}");
}

const HOST: &str = "host: localhost\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn two_lengths_are_refused() {
    let attacked = Attacked::start("").await;
    for head in [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2, 3\r\n",
        "content-length: +2\r\n",
        "content-length: 0x2\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length: \r\n",
    ] {
        check(&attacked, &format!("{HOST}{head}"), "{}", 400).await;
    }
    attacked.log.until(&["cause=\"malformed\""]);
    attacked.serves_others().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_an_encoding_ends_the_connection() {
    let attacked = Attacked::start("").await;
    for head in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: chunked\r\n",
        // A proxy may take all of it for one header.
        "x: y\ntransfer-encoding: chunked\r\n",
    ] {
        check(&attacked, &format!("{HOST}{head}"), "2\r\n{}\r\n0\r\n\r\n", 404).await;
    }
    attacked.serves_others().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoding_that_is_not_chunked_is_refused() {
    let attacked = Attacked::start("").await;
    for encoding in [
        "xchunked",
        "chunked, identity",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "chunked\r\ntransfer-encoding: chunked",
        "chunked\r\ntransfer-encoding: identity",
        "\"chunked\"",
        "\x0bchunked",
        "chun ked",
    ] {
        check(&attacked, &format!("{HOST}transfer-encoding: {encoding}\r\n"), "0\r\n\r\n", 400).await;
    }
    attacked.serves_others().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_read_in_different_ways_are_refused() {
    let attacked = Attacked::start("").await;
    for head in [
        "transfer-encoding : chunked\r\n",
        "content-length : 2\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "x: y\r\n\ttransfer-encoding: chunked\r\n",
        "x: y\rtransfer-encoding: chunked\r\n",
        "x: y\0z\r\n",
        " x: y\r\n",
        ": y\r\n",
        "x\r\n",
    ] {
        check(&attacked, &format!("{HOST}{head}"), "", 400).await;
    }
    attacked.serves_others().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_with_odd_sizes_are_refused() {
    let attacked = Attacked::start("").await;
    let head = format!("{HOST}transfer-encoding: chunked\r\n");
    for body in [
        "0x2\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "2\r\n{}x0\r\n\r\n",
        "\r\n\r\n",
    ] {
        check(&attacked, &head, body, 400).await;
    }
    attacked.serves_others().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_http_has_no_encodings() {
    let attacked = Attacked::start("").await;
    let head = "POST /api/embed HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n";
    let answer = exchange(&mut attacked.connect().await, format!("{head}0\r\n\r\n{HIDDEN}")).await;
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
    assert!(answer.contains(" 400 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_disagree_are_refused() {
    let attacked = Attacked::start("").await;
    for request in [
        "GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET http://localhost/ HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n\r\n",
    ] {
        let answer = exchange(&mut attacked.connect().await, format!("{request}{HIDDEN}")).await;
        assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (400, 1), "{request:?}: {answer}");
    }
    attacked.serves_others().await;
}
