//! The real binary as it comes, but for a cache that would hide the work.

use std::net::SocketAddr;

use embergate_test_support::binary::{self, Desk};
use embergate_test_support::process::Process;

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
    pub(crate) process: Process,
    desk: Desk,
    _running: binary::Gateway,
}

impl Gateway {
    /// Starts the binary of this build, or the one that `EMBERGATE_BENCH_BINARY` names.
    pub(crate) fn start() -> Self {
        let desk = Desk::to_measure(env!("CARGO_BIN_EXE_embergate"));
        let running = desk.serve_file(&desk.write("bench.toml", configuration()), desk.log_file());
        let (address, process) = (running.api.parse().expect("an address"), Process(running.pid()));
        Self { address, process, desk, _running: running }
    }

    pub(crate) fn log_lines(&self) -> u64 {
        self.desk.log().lines().count() as u64
    }
}
