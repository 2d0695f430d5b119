//! Heads that are slow, huge, or no heads.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::gateway::{Attacked, MIB, exchange, rest, status};

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end_are_given_up() {
    let attacked = Attacked::start("head_timeout = \"300ms\"").await;
    let begun = [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r",
        "POST /api/embed HTTP/1.1\r\nhost: local",
        "GET / HTTP/1.1\r\nx: y\r\n",
    ];
    let mut streams = Vec::new();
    for begun in begun.repeat(10) {
        let mut stream = attacked.connect().await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    attacked.serves_others().await;
    for stream in &mut streams {
        assert_eq!(rest(stream).await, "");
    }
    attacked.log.until(&["INFO", "cause=\"slow_head\"", "peer=127.0.0.1:"]);
    attacked.until_ended("slow_head", 50).await;
    attacked.stays_within(4 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_head_may_be_waited_for_and_must_not_be_slow() {
    let attacked = Attacked::start("head_timeout = \"300ms\"\nidle_timeout = \"10m\"").await;
    let mut stream = attacked.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        assert!(0 < stream.read_buf(&mut answer).await.unwrap());
    }
    stream.write_all(b"GET / HT").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    attacked.log.until(&["cause=\"slow_head\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_more_is_let_go_without_a_word_in_the_log() {
    let attacked = Attacked::start("idle_timeout = \"300ms\"").await;
    let mut stream = attacked.connect().await;
    let answer = exchange(&mut stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.ends_with("ok\n"), "{answer}");
    attacked.until_ended("idle", 1).await;
    assert_eq!(attacked.ended("slow_head").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_and_many_headers_are_refused() {
    let attacked = Attacked::start("").await;
    let head = |lines: String| format!("GET / HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    let many = (0..200).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let long = "y".repeat(4 << 20);
    for (request, want) in [
        (head(many), 431),
        (head(format!("x: {long}\r\n")), 431),
        (head(format!("{long}: x\r\n")), 431),
        (format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", &long[..9000]), 414),
    ] {
        let got = status(&exchange(&mut attacked.connect().await, request).await);
        // Who still sends when the gateway hangs up may not hear why.
        assert!(got == want || got == 0 && want == 431, "{got} instead of {want}");
        attacked.serves_others().await;
    }
    attacked.log.until(&["INFO", "cause=\"head_too_large\""]);
    attacked.until_ended("head_too_large", 4).await;
    attacked.stays_within(4 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_is_hung_up_on() {
    let attacked = Attacked::start("").await;
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"EHLO mail.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\x00: x\r\n\r\n",
    ] {
        let answer = exchange(&mut attacked.connect().await, noise).await;
        assert_eq!(status(&answer), 400, "{answer}");
        attacked.serves_others().await;
    }
    attacked.log.until(&["INFO", "cause=\"malformed\"", "error="]);
    attacked.until_ended("malformed", 5).await;
}
