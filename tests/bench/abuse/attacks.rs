//! The abuses over HTTP/1.1, each with its strength.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::attacker::Counts;
use crate::gateway::MODEL;
use crate::resets;

/// How long an attacker waits for an answer before it begins anew.
const PATIENCE: Duration = Duration::from_secs(10);
const MIB: usize = 1024 * 1024;

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One way to misbehave.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(SocketAddr, Counts) -> Run,
}

macro_rules! attack {
    ($name:literal, $what:literal, $run:expr) => {
        Attack { name: $name, what: $what, run: |address, counts| Box::pin($run(address, counts)) }
    };
}

pub(crate) const ATTACKS: &[Attack] = &[
    attack!("slow-heads", "500 connections send a byte of a head a second", slow_heads),
    attack!("slow-bodies", "500 connections send a byte of a body of 1 MiB a second", slow_bodies),
    attack!(
        "not-reading",
        "200 connections ask for 400 KiB each, read nothing, and begin anew after 10 s",
        not_reading
    ),
    attack!("idle", "4000 connections say nothing; up to 2000 a second begin anew", idle),
    attack!("huge-heads", "50 heads of 1 MiB a second", huge_heads),
    attack!("deep-json", "50 bodies of 1 MiB of `[` a second", deep_json),
    attack!("huge-json", "5 bodies of 16 MiB of numbers such as 1e999 a second", huge_json),
    attack!("compressed", "100 compressed bodies of 1 MiB a second", compressed),
    attack!("resets", "4000 HTTP/2 streams a second over 4 connections, each reset at once", resets::run),
    attack!("malformed", "1000 connections a second with something that is no request", malformed),
];

pub(crate) fn find(name: &str) -> Option<&'static Attack> {
    ATTACKS.iter().find(|attack| attack.name == name)
}

async fn slow_heads(address: SocketAddr, counts: Counts) {
    let all = counts.clone();
    let one = move |_| {
        drip(address, counts.clone(), b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nx-slow: ".to_vec())
    };
    all.keep(500, 500, one).await;
}

async fn slow_bodies(address: SocketAddr, counts: Counts) {
    let all = counts.clone();
    let one = move |_| drip(address, counts.clone(), head("", MIB));
    all.keep(500, 500, one).await;
}

async fn not_reading(address: SocketAddr, counts: Counts) {
    let texts: Vec<_> = (0..128).map(|number| format!("\"text {number}\"")).collect();
    let request = post("", format!("{{\"model\":{MODEL:?},\"input\":[{}]}}", texts.join(",")).as_bytes());
    let all = counts.clone();
    let one = move |_| {
        let (counts, request) = (counts.clone(), request.clone());
        async move { drop(timeout(PATIENCE, ask_without_reading(address, counts, request)).await) }
    };
    all.keep(200, 100, one).await;
}

async fn idle(address: SocketAddr, counts: Counts) {
    let all = counts.clone();
    all.keep(4000, 2000, move |_| send(address, counts.clone(), Vec::new(), Duration::MAX)).await;
}

async fn huge_heads(address: SocketAddr, counts: Counts) {
    let mut request = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n".to_vec();
    for number in 0..MIB / 64 {
        request.extend_from_slice(format!("x-number-{number:06}: {}\r\n", "v".repeat(45)).as_bytes());
    }
    requests(address, counts, 50, request).await;
}

async fn deep_json(address: SocketAddr, counts: Counts) {
    let mut body = format!("{{\"model\":{MODEL:?},\"input\":").into_bytes();
    body.resize(MIB, b'[');
    requests(address, counts, 50, post("", &body)).await;
}

async fn huge_json(address: SocketAddr, counts: Counts) {
    let numbers = "1e999,-0.5e-999,123456789012345678901234567890,".repeat(16 * MIB / 47);
    let body = format!("{{\"model\":{MODEL:?},\"input\":[{numbers}1]}}");
    requests(address, counts, 5, post("", body.as_bytes())).await;
}

async fn compressed(address: SocketAddr, counts: Counts) {
    let mut body = vec![0x1f, 0x8b, 8, 0];
    body.resize(MIB, 0);
    requests(address, counts, 100, post("content-encoding: gzip\r\n", &body)).await;
}

async fn malformed(address: SocketAddr, counts: Counts) {
    const KINDS: &[&[u8]] = &[
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
        b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nbad header\x00: 1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{\"input\":",
    ];
    let all = counts.clone();
    let one = move |number: u64| {
        let bytes = KINDS[(number % KINDS.len() as u64) as usize];
        send(address, counts.clone(), bytes.to_vec(), PATIENCE)
    };
    all.keep(1000, 1000, one).await;
}

/// Sends `request` on `per_second` new connections a second, and reads what is answered.
async fn requests(address: SocketAddr, counts: Counts, per_second: u32, request: Vec<u8>) {
    let request: &'static [u8] = request.leak();
    let all = counts.clone();
    let one = move |_| send_shared(address, counts.clone(), request, PATIENCE);
    all.keep(2 * per_second as usize, per_second, one).await;
}

fn head(more: &str, length: usize) -> Vec<u8> {
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

fn post(more: &str, body: &[u8]) -> Vec<u8> {
    [&head(more, body.len()), body].concat()
}

async fn connect(address: SocketAddr, counts: &Counts) -> Option<TcpStream> {
    counts.begun();
    TcpStream::connect(address).await.ok()
}

async fn send(address: SocketAddr, counts: Counts, bytes: Vec<u8>, patience: Duration) {
    if let Some(stream) = connect(address, &counts).await {
        drop(timeout(patience, exchange(stream, &counts, &bytes)).await);
    }
}

async fn send_shared(address: SocketAddr, counts: Counts, bytes: &'static [u8], patience: Duration) {
    if let Some(stream) = connect(address, &counts).await {
        drop(timeout(patience, exchange(stream, &counts, bytes)).await);
    }
}

/// Sends `bytes` and reads until the other side ends the connection, or has answered.
async fn exchange(mut stream: TcpStream, counts: &Counts, bytes: &[u8]) {
    // The gateway may answer before it has everything.
    let sent = stream.write_all(bytes).await.is_ok();
    let mut buffer = [0; 4096];
    while let Ok(n_bytes @ 1..) = stream.read(&mut buffer).await {
        counts.read(n_bytes);
        if sent && !bytes.is_empty() {
            break;
        }
    }
}

/// Sends `beginning`, and then a byte a second for as long as the other side takes them.
async fn drip(address: SocketAddr, counts: Counts, beginning: Vec<u8>) {
    let Some(mut stream) = connect(address, &counts).await else { return };
    let mut bytes: &[u8] = &beginning;
    while stream.write_all(bytes).await.is_ok() {
        bytes = b"a";
        sleep(Duration::from_secs(1)).await;
    }
}

/// Asks, takes nothing of the answer, and leaves when a further byte is refused.
async fn ask_without_reading(address: SocketAddr, counts: Counts, request: Vec<u8>) {
    let Ok(socket) = TcpSocket::new_v4() else { return };
    // With a larger buffer, the system would read what the attacker does not.
    drop(socket.set_recv_buffer_size(4096));
    counts.begun();
    let Ok(mut stream) = socket.connect(address).await else { return };
    let mut bytes = request.as_slice();
    while stream.write_all(bytes).await.is_ok() {
        bytes = b"P";
        sleep(Duration::from_secs(1)).await;
    }
}
