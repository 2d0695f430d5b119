//! The real binary as it comes, but for a cache that would hide the work.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use embergate_test_support::binary::Desk;
use serde_json::Value;

/// The model inside the binary, so that nothing is measured but the gateway.
pub(crate) const MODEL: &str = "static-embed-en-256";

/// What requests may have of memory: bodies, answers, and a head for each connection.
pub(crate) const MEMORY: u64 = MAX_BODIES + MAX_ANSWERS + MAX_CONNECTIONS * MAX_HEAD;
const MAX_BODIES: u64 = 256 << 20;
const MAX_ANSWERS: u64 = 256 << 20;
const MAX_CONNECTIONS: u64 = 1024;
const MAX_HEAD: u64 = 64 << 10;

/// The bounds are as they are without being written.
fn configuration() -> String {
    format!(
        "[server]
listen = \"127.0.0.1:0\"
max_bodies = {MAX_BODIES}
max_answers = {MAX_ANSWERS}
max_connections = {MAX_CONNECTIONS}
max_head = {MAX_HEAD}
[admin]
listen = \"127.0.0.1:0\"
[cache]
max_bytes = 0
"
    )
}

/// A running gateway. Killed when dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    child: Child,
    log: PathBuf,
    _desk: Desk,
}

impl Gateway {
    /// Starts the binary of this build, or the one that `EMBERGATE_BENCH_BINARY` names.
    pub(crate) fn start() -> Self {
        let binary = std::env::var("EMBERGATE_BENCH_BINARY");
        let desk = Desk::new(binary.as_deref().unwrap_or(env!("CARGO_BIN_EXE_embergate")));
        let configuration = desk.write("bench.toml", configuration());
        let log = desk.folder().join("log");
        let mut child = desk
            .command(&["serve", "--json", "--config"])
            .arg(configuration)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log can be made"))
            .spawn()
            .expect("the gateway starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("the gateway says where it listens");
        let event: Value = serde_json::from_str(&line).expect("the first line is the event `listening`");
        let api = event["api"].as_str().expect("the event has an address").trim_start_matches("http://");
        Self { address: api.parse().expect("an address"), child, log, _desk: desk }
    }

    /// The most bytes that were resident since [`Gateway::forget_memory`].
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line on memory");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    pub(crate) fn forget_memory(&self) {
        fs::write(self.proc("clear_refs"), "5").expect("the mark can be set back");
    }

    pub(crate) fn log_lines(&self) -> u64 {
        let log = fs::read(&self.log).expect("the log can be read");
        log.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
