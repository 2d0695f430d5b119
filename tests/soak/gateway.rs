//! The built binary under load, and what it says of itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use embergate_test_support::binary::{Desk, Gateway};
use embergate_test_support::ollama::OllamaSim;
use serde_json::{Value, json};

use crate::{MODEL, N_UPSTREAMS};

/// How long what the load has left behind may take to pass: an upstream that stood by is
/// asked again after ten seconds, and hanging calls end by their timeout.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the gateway, which is a process of its own and tells nobody.
const PAUSE: Duration = Duration::from_millis(50);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Of vectors: much less than are asked for, so that they are evicted all the time.
const CACHE: u64 = 256 * KIB;
/// Memory beside the cache that a mixed load of so few clients may need: requests and
/// answers under way, code that is touched for the first time, the allocator's slack.
const ROOM: u64 = 64 * MIB;

/// Everything that waits does so for a short time, so that much happens in a minute.
const CONFIGURATION: &str = r#"
[log]
filter = "info"
[cache]
max_bytes = "256 KiB"
max_encoded = "64 KiB"
remember_refused = "2s"
[embed]
timeout = "10s"
[health]
every = "1s"
max_failures = 2
probe_pause = "100ms"
max_probe_pause = "500ms"
"#;

/// A running gateway in front of simulators.
pub(crate) struct Soaked {
    gateway: Gateway,
    /// Memory after the first answer, in bytes.
    warm: u64,
    desk: Desk,
}

impl Soaked {
    pub(crate) fn start(sims: &[OllamaSim]) -> Self {
        let names: Vec<String> = (0..sims.len()).map(|number| format!("up-{number}")).collect();
        let mut configuration = format!(
            "{CONFIGURATION}[[model]]\nname = \"{MODEL}\"\nupstreams = {names:?}\nmatryoshka = true\n"
        );
        for (name, sim) in names.iter().zip(sims) {
            let url = sim.url();
            configuration += &format!(
                "[[upstream]]\nname = \"{name}\"\nkind = \"ollama\"\nurl = \"{url}\"\ntimeout = \"1s\"\n"
            );
        }
        let desk = Desk::new(env!("CARGO_BIN_EXE_embergate"));
        let gateway = desk.serve_logged(&configuration);
        let first = gateway.post("/v1/embeddings", &json!({ "model": MODEL, "input": "first" }));
        assert_eq!(first.status, 200, "{}", first.body);
        let mut soaked = Self { gateway, warm: 0, desk };
        soaked.warm = soaked.most_memory();
        soaked
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.api.parse().unwrap()
    }

    /// All upstreams are healthy, take part, and have no call under way.
    pub(crate) async fn until_all_is_well(&self) {
        let is_well = |upstream: &Value| {
            upstream["state"] == "healthy"
                && upstream["in_flight"] == 0
                && upstream["models"][0]["takes_part"] == true
        };
        let look = || {
            // Who stands by is asked again when somebody asks.
            let asked = self.gateway.post("/v1/embeddings", &json!({ "model": MODEL, "input": "last" }));
            let all = self.gateway.get_admin("/admin/upstreams").json()["upstreams"].take();
            let upstreams = all.as_array().unwrap();
            let is_so = asked.status == 200 && upstreams.iter().take(N_UPSTREAMS).all(is_well);
            if is_so { Ok(()) } else { Err(format!("{}\n{all:#}", asked.body)) }
        };
        until(look).await;
    }

    /// Nothing waits, nothing is under way, and nobody is connected.
    pub(crate) async fn until_nothing_is_left(&self, sims: &[OllamaSim]) {
        let look = || {
            let metrics = self.gateway.get_admin("/metrics").body;
            let mut left: Vec<&str> =
                metrics.lines().filter(|line| is_about_what_is_left(line) && !line.ends_with(" 0")).collect();
            let n_calls: usize = sims.iter().map(OllamaSim::in_flight).sum();
            let n_calls = format!("{n_calls} calls are under way at the simulators");
            if !n_calls.starts_with('0') {
                left.push(&n_calls);
            }
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        };
        until(look).await;
        let metrics = self.gateway.get_admin("/metrics").body;
        let of = |name: &str| metrics.lines().filter(|line| line.starts_with(name)).count();
        assert!(0 < of("embergate_queued_texts{") && 0 < of("embergate_http_connections{"), "{metrics}");
    }

    /// The cache keeps its limit, and the process is not much larger than it was.
    #[track_caller]
    pub(crate) fn has_bounded_memory(&self) {
        let metrics = self.gateway.get_admin("/metrics").body;
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse::<f64>().unwrap()
        };
        let cached = value("embergate_cache_bytes ");
        assert!(0.0 < cached && cached <= CACHE as f64 * 1.1, "{cached} bytes are cached of {CACHE}");
        let (most, allowed) = (self.most_memory(), self.warm + CACHE + ROOM);
        assert!(most <= allowed, "{} MiB of {} MiB", most / MIB, allowed / MIB);
    }

    #[track_caller]
    pub(crate) fn has_not_panicked(&self) {
        let log = self.desk.log();
        let panicked: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
        assert!(panicked.is_empty(), "{}", panicked.join("\n"));
    }

    /// `VmHWM` of the process.
    fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * KIB
    }
}

/// Whether a line of the metrics must be 0 when all is quiet. The admin listener has
/// the connection that asks.
fn is_about_what_is_left(line: &str) -> bool {
    line.starts_with("embergate_queued_texts{")
        || line.starts_with("embergate_http_connections{") && line.contains("\"apis\"")
}

/// Looks until `look` finds nothing to say.
async fn until(look: impl Fn() -> Result<(), String>) {
    let begun = Instant::now();
    while let Err(left) = look() {
        assert!(begun.elapsed() < PATIENCE, "after {PATIENCE:?}:\n{left}");
        tokio::time::sleep(PAUSE).await;
    }
}
