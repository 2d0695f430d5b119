//! The binary under attack, and clients that send any bytes.

use std::time::Duration;

use embergate_test_support::binary::{self, Desk, Log};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What any single wait may take before it is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const MODEL: &str = "static-embed-en-256";

pub(super) const MIB: u64 = 1 << 20;

/// Memory that the gateway takes beside what its keys bound: code that is touched
/// for the first time, the allocator's slack, the runtime's threads.
const BASE: u64 = 48 * MIB;

/// A running gateway. Killed when dropped.
pub(super) struct Attacked {
    pub(super) gateway: binary::Gateway,
    pub(super) log: Log,
    /// What an honest request is answered with.
    right: Value,
    /// Memory after the first answer, in bytes.
    warm: u64,
    /// Holds the folder.
    _desk: Desk,
}

impl Attacked {
    /// Starts a gateway with further keys of `[server]`, and answers one request.
    pub(super) async fn start(server: &str) -> Self {
        Self::start_with(server, "").await
    }

    pub(super) async fn start_with(server: &str, configuration: &str) -> Self {
        let desk = Desk::new(env!("CARGO_BIN_EXE_embergate"));
        let (gateway, log) = desk.serve_watched(server, configuration);
        Self::warmed(desk, gateway, log).await
    }

    /// Starts a gateway that may open `n_files` files, and says so at the start.
    pub(super) async fn start_with_files(n_files: usize) -> Self {
        let desk = Desk::new(env!("CARGO_BIN_EXE_embergate")).limited_to(n_files);
        let (gateway, log) = desk.serve_watched("", "");
        log.until(&["WARN", "fewer open files", &format!("limit={n_files}")]);
        Self::warmed(desk, gateway, log).await
    }

    async fn warmed(desk: Desk, gateway: binary::Gateway, log: Log) -> Self {
        let mut attacked = Self { gateway, log, right: Value::Null, warm: 0, _desk: desk };
        attacked.right = attacked.kelp().await;
        attacked.warm = attacked.most_memory();
        attacked
    }

    pub(super) fn address(&self) -> &str {
        &self.gateway.api
    }

    pub(super) async fn connect(&self) -> TcpStream {
        connect(self.address()).await
    }

    /// An honest client is answered, and gets its own vector.
    #[track_caller]
    pub(super) fn serves_others(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.kelp().await, self.right, "{caller}") }
    }

    /// The most memory that was ever in use is what it was at first, and `bound` more, and the base.
    #[track_caller]
    pub(super) fn stays_within(&self, bound: u64) {
        let (most, allowed) = (self.most_memory(), self.warm + bound + BASE);
        assert!(most <= allowed, "{} MiB of {} MiB", most / MIB, allowed / MIB);
    }

    async fn kelp(&self) -> Value {
        let body = json!({ "model": MODEL, "input": "kelp" }).to_string();
        let answer =
            exchange(&mut self.connect().await, &post("/v1/embeddings", "connection: close\r\n", &body))
                .await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap()
    }

    /// `VmHWM` of the process.
    fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The value of a metric, such as `name{label="x"}`; 0 where it is not there.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let metrics = exchange(&mut connect(&self.gateway.admin).await, request).await;
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().parse());
        value.map_or(0.0, Result::unwrap)
    }

    /// Waits until `n` connections ended for `cause`: a client may see the end of its own first.
    pub(super) async fn until_ended(&self, cause: &str, n: usize) {
        let ended = async { while self.ended(cause).await < n as f64 {} };
        timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("fewer than {n} ended for {cause}"));
        assert_eq!(self.ended(cause).await, n as f64, "{cause}");
    }

    /// Connections that ended for `cause`.
    pub(super) async fn ended(&self, cause: &str) -> f64 {
        let labels = format!("listener=\"apis\",cause=\"{cause}\"");
        self.metric(&format!("embergate_http_connections_ended_total{{{labels}}}")).await
    }
}

pub(super) async fn connect(address: &str) -> TcpStream {
    timeout(PATIENCE, TcpStream::connect(address)).await.expect("in time").expect("it listens")
}

/// A request with further header lines.
pub(super) fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

/// Sends `bytes`, and reads until the connection ends. The gateway may hang up on
/// who still sends, and then what it said may be lost.
pub(super) async fn exchange(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    drop(timeout(PATIENCE, stream.write_all(bytes)).await.expect("sent in time"));
    rest(stream).await
}

/// Reads until the connection ends, however it ends.
pub(super) async fn rest(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    drop(timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the gateway hangs up"));
    String::from_utf8_lossy(&read).into_owned()
}

/// The status of the first answer in `text`; 0 where there is none.
pub(super) fn status(text: &str) -> u16 {
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}
