//! Floods of HTTP/2 frames, written by hand: a decent client library would not send them.

use tokio::io::AsyncWriteExt;

use super::gateway::{Attacked, MIB, rest};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `POST http://localhost/` in HPACK.
const HEAD: &[u8] = b"\x83\x86\x84\x41\x09localhost";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection's first bytes, and what is sent over and over.
fn flood(n: u32, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    bytes.extend((0..n).flat_map(frames));
    bytes
}

async fn send(attacked: &Attacked, bytes: &[u8]) {
    let mut stream = attacked.connect().await;
    // The gateway may hang up in the middle.
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
    drop(rest(&mut stream).await);
    attacked.serves_others().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let attacked = Attacked::start("").await;
    let bytes = flood(2000, |number| {
        let stream = 2 * number + 1;
        let cancel = 8_u32.to_be_bytes();
        [frame(HEADERS, END_HEADERS, stream, HEAD), frame(RST_STREAM, 0, stream, &cancel)].concat()
    });
    for _ in 0..5 {
        send(&attacked, &bytes).await;
    }
    attacked.log.until(&["WARN", "cause=\"http2_flood\""]);
    attacked.until_ended("http2_flood", 5).await;
    attacked.stays_within(8 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_ends_the_connection() {
    let attacked = Attacked::start("").await;
    let padding = [&[0x40, 1, b'x', 0x7f, 0x81, 0x7c][..], &[b'y'; 16_000]].concat();
    let mut bytes = flood(0, |_| Vec::new());
    bytes.extend(frame(HEADERS, END_STREAM, 1, HEAD));
    bytes.extend((0..1000).flat_map(|_| frame(CONTINUATION, 0, 1, &padding)));
    send(&attacked, &bytes).await;
    attacked.log.until(&["WARN", "cause=\"http2_flood\""]);
    attacked.stays_within(4 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_without_end_take_no_memory() {
    let attacked = Attacked::start("").await;
    send(&attacked, &flood(100_000, |number| frame(PING, 0, 0, &u64::from(number).to_be_bytes()))).await;
    send(&attacked, &flood(100_000, |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]))).await;
    send(&attacked, &flood(100_000, |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD))).await;
    attacked.stays_within(16 * MIB);
}
