//! What is measured, and on what: the machine, the gateway's binary, and the peers' versions.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use embergate_load::table::Taken;
use sha2::{Digest, Sha256};

use crate::servers;

/// The circumstances of a run that begins now.
pub(crate) fn now() -> Taken {
    Taken {
        at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        gateway: gateway(),
        machine: machine(),
        peers: peers(),
        load_average: load_average(),
    }
}

/// The version and the first digits of the binary's hash.
fn gateway() -> String {
    let binary = fs::read(env!("CARGO_BIN_EXE_embergate")).expect("the gateway was built");
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

fn peers() -> String {
    let nginx = servers::nginx_binary().and_then(|nginx| said(Command::new(nginx).arg("-v")));
    let nginx =
        nginx.map_or_else(|_| "no nginx".to_owned(), |said| said.replace("nginx version: nginx/", "nginx "));
    let script = "import importlib.metadata as m, platform as p; \
                  print('LiteLLM', m.version('litellm'), 'on Python', p.python_version())";
    let litellm = servers::peer("python").and_then(|python| said(Command::new(python).args(["-c", script])));
    format!("{nginx}, {}", litellm.unwrap_or_else(|_| "no LiteLLM".to_owned()))
}

/// The first line that `command` prints, wherever it prints it.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(str::to_owned).ok_or_else(|| "it says nothing".to_owned())
}
