//! More connections than there are places.

use std::fmt::Write;

use embergate_test_support::ollama::OllamaSim;
use tokio::io::AsyncWriteExt;

use super::gateway::{Attacked, MIB, exchange, post, rest, status};
use super::leaving::upstream;

const CROWD: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let attacked = Attacked::start("head_timeout = \"10m\"\nidle_timeout = \"10m\"").await;
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let mut stream = attacked.connect().await;
        // Some say nothing, some begin and do not end, and some were answered once.
        match number % 3 {
            0 => {}
            1 => drop(stream.write_all(b"POST /api/embed HTTP/1.1\r\nhost: loc").await),
            _ => drop(stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await),
        }
        crowd.push(stream);
        if number % 1000 == 999 {
            attacked.serves_others().await;
        }
    }
    attacked.log.until(&["WARN", "cause=\"displaced\"", "n_left_out="]);
    let open = attacked.metric("embergate_http_connections{listener=\"apis\"}").await;
    assert!(open <= 1024.0, "{open} connections");
    assert!((CROWD - 1024) as f64 <= attacked.ended("displaced").await);
    // A connection takes some KiB of its own; its head could take 64.
    attacked.stays_within(1024 * 64 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_files_are_few_idle_connections_still_keep_nobody_out() {
    let attacked = Attacked::start_with_files(200).await;
    let mut crowd = Vec::new();
    for _ in 0..1000 {
        crowd.push(attacked.connect().await);
    }
    attacked.serves_others().await;
    attacked.log.until(&["WARN", "cause=\"displaced\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_a_request_under_way_is_never_displaced() {
    let sim = OllamaSim::start(&[("sim", 8)]).await;
    let attacked = Attacked::start_with("max_connections = 2", &upstream(&sim)).await;
    let held = sim.hold();
    let mut working = Vec::new();
    for text in ["moss", "fern"] {
        let mut stream = attacked.connect().await;
        let body = format!(r#"{{"model":"sim","input":"{text}"}}"#);
        stream.write_all(post("/api/embed", "connection: close\r\n", &body).as_bytes()).await.unwrap();
        working.push(stream);
    }
    held.until_waiting(2).await;
    let mut third = attacked.connect().await;
    third.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    held.release();
    for stream in working.iter_mut().chain([&mut third]) {
        let answer = rest(stream).await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_trickle_in_keep_nobody_out() {
    let attacked = Attacked::start("max_connections = 8\nbody_timeout = \"10m\"").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = attacked.connect().await;
        stream.write_all(&post("/api/embed", "", &"x".repeat(1000)).as_bytes()[..200]).await.unwrap();
        streams.push(stream);
        attacked.serves_others().await;
    }
    attacked.log.until(&["cause=\"displaced\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_requests_over_one_connection_is_answered_in_order() {
    let attacked = Attacked::start("").await;
    let mut requests = String::new();
    for _ in 0..1000 {
        write!(requests, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    }
    requests.push_str("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let answers = exchange(&mut attacked.connect().await, requests).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1001);
    attacked.stays_within(4 * MIB);
}
