//! The built binary in front of simulated servers, and what its admin API says of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use embergate_load::exchange::numbers;
use embergate_test_support::binary::{Answer, Desk, Gateway};
use embergate_test_support::ollama::{OllamaSim, vector};
use serde_json::{Value, json};

use crate::bench::{DIMENSIONS, MODEL};

/// What any single wait may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks often, so that nobody waits for long.
const CONFIGURATION: &str = r#"
[log]
filter = "error"
[health]
every = "50ms"
max_failures = 2
probe_pause = "50ms"
max_probe_pause = "100ms"
"#;

/// A gateway whose model all of its upstreams have: `up-0`, `up-1` and so on.
pub(crate) struct Fleet {
    pub(crate) sims: Vec<OllamaSim>,
    gateway: Gateway,
    n_asked: AtomicUsize,
    /// Holds the folder.
    _desk: Desk,
}

impl Fleet {
    /// Starts all, and has some texts embedded.
    pub(crate) async fn start(n_upstreams: usize) -> Self {
        let mut sims = Vec::new();
        for _ in 0..n_upstreams {
            sims.push(OllamaSim::start(&[(MODEL, DIMENSIONS)]).await);
        }
        let names: Vec<String> = (0..n_upstreams).map(|number| format!("up-{number}")).collect();
        let mut configuration =
            format!("{CONFIGURATION}[[model]]\nname = \"{MODEL}\"\nupstreams = {names:?}\n");
        for (name, sim) in names.iter().zip(&sims) {
            configuration += &format!(
                "[[upstream]]\nname = \"{name}\"\nkind = \"ollama\"\nurl = \"{}\"\ntimeout = \"2s\"\n",
                sim.url()
            );
        }
        let desk = Desk::new(env!("CARGO_BIN_EXE_embergate"));
        let gateway = desk.serve(&configuration);
        let fleet = Self { sims, gateway, n_asked: AtomicUsize::new(0), _desk: desk };
        fleet.answers_right();
        fleet
    }

    /// Texts that nobody has asked for.
    pub(crate) fn new_texts(&self, n_texts: usize) -> Vec<String> {
        let first = self.n_asked.fetch_add(n_texts, Ordering::Relaxed);
        (first..first + n_texts).map(|number| format!("text {number}")).collect()
    }

    pub(crate) fn ask(&self, path: &str, texts: &[String]) -> Answer {
        self.gateway.post(path, &json!({ "model": MODEL, "input": texts }))
    }

    /// Enough new texts that every upstream has a share are all answered, each with its own vector.
    #[track_caller]
    pub(crate) fn answers_right(&self) {
        let texts = self.new_texts(40);
        assert_right(&texts, &self.ask("/v1/embeddings", &texts));
    }

    /// What `GET /admin/upstreams` says, in the order of the configuration.
    pub(crate) fn upstreams(&self) -> Vec<Value> {
        let mut answer = self.gateway.get_admin("/admin/upstreams").json();
        serde_json::from_value(answer["upstreams"].take()).unwrap()
    }

    /// Does `meanwhile` again and again until `is_so`, and returns what the upstreams are then.
    ///
    /// The one place in this suite that looks again and again at another process: it
    /// changes its mind when it will, and tells nobody.
    #[track_caller]
    pub(crate) fn until(
        &self,
        is_so: impl Fn(&[Value]) -> bool,
        mut meanwhile: impl FnMut(&Self),
    ) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let upstreams = self.upstreams();
            if is_so(&upstreams) {
                return upstreams;
            }
            assert!(begun.elapsed() < PATIENCE, "{upstreams:#?}");
            meanwhile(self);
        }
    }
}

/// Every text has its own vector, in its own place.
#[track_caller]
pub(crate) fn assert_right(texts: &[String], answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let want: Vec<Vec<f32>> = texts.iter().map(|text| vector(MODEL, text, DIMENSIONS)).collect();
    assert_eq!(numbers(answer.body.as_bytes()), Some(want));
}
