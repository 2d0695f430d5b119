//! Of what, on what and when figures are taken.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::Taken;

impl Taken {
    /// From now on, of the gateway's `binary`, beside nobody.
    pub fn of(binary: &Path) -> Self {
        Self {
            at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            gateway: gateway(binary),
            machine: machine(),
            peers: String::new(),
            load_average: load_average(),
        }
    }
}

/// The version and the first digits of the binary's hash.
fn gateway(binary: &Path) -> String {
    let binary = fs::read(binary).expect("the gateway was built");
    let hash: String = Sha256::digest(binary).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("embergate {}, SHA-256 of the binary {hash}…", env!("CARGO_PKG_VERSION"))
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unknown processor".to_owned());
    let kib = line_of("/proc/meminfo", "MemTotal");
    let kib: Option<f64> = kib.and_then(|line| line.trim_end_matches(" kB").parse().ok());
    let memory = kib.map_or_else(|| "?".to_owned(), |kib| format!("{:.0}", kib / f64::from(1 << 20)));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {model}, {memory} GiB, Linux {}", kernel.trim())
}

/// What follows `name` and a colon in the file at `path`.
fn line_of(path: &str, name: &str) -> Option<String> {
    let file = fs::read_to_string(path).ok()?;
    let line = file.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}
