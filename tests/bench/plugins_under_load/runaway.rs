//! Calls that never end, and what everybody else notices of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use embergate_load::connection::Connection;
use embergate_load::questions::questions;
use embergate_load::table::{Goal, Run, Subject};
use embergate_load::{Load, Report};
use tokio::task::JoinSet;

use crate::PATIENCE;
use crate::desk::{Desked, PLAIN, ask, obedient};

const STOP: Subject = Subject {
    name: "stop",
    what: "after its deadline a runaway call is stopped, median",
    against: "a tick of the plugins' clock",
    goal: Goal::AtMost(2.0),
    how: "200 calls spin, five times over, each allowed 50 ms; the gateway's log says of each after how long it was stopped. A tick is 1 ms.",
};
const OTHERS: Subject = Subject {
    name: "others",
    what: "99th percentile of other requests meanwhile",
    against: "that without",
    goal: Goal::AtMost(2.0),
    how: "One text a request, at a quarter of what the gateway can do, before, meanwhile and after. Checked.",
};

/// One at a time.
pub(crate) const ONE: [Subject; 2] =
    [Subject { name: "runaway-stop", ..STOP }, Subject { name: "runaway-others", ..OTHERS }];
/// Two at a time.
pub(crate) const TWO: [Subject; 2] =
    [Subject { name: "runaways-stop", ..STOP }, Subject { name: "runaways-others", ..OTHERS }];

/// Of each of five times.
const N_CALLS: usize = 200;
const ALLOWED: Duration = Duration::from_millis(50);
const TICK: f64 = 1.0;
/// Connections of those who ask for nothing special.
const CONNECTIONS: usize = 32;
const SHARE: f64 = 0.25;
const WARM_UP: Duration = Duration::from_secs(1);
const CAPACITY: Duration = Duration::from_secs(2);
const WITHOUT: Duration = Duration::from_secs(3);
/// Between the load with runaway calls and the one after.
const REST: Duration = Duration::from_secs(1);

/// With `at_once` calls spinning at any time.
pub(crate) async fn measure(at_once: usize) -> Result<Vec<Run>, String> {
    // Callers of one model who want the same text share one call.
    let names: Vec<String> = (0..at_once).map(|number| format!("runaway-{number}")).collect();
    let models: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "hostile")).collect();
    let tables = "[log]\nfilter = \"warn\"\n[cache]\nmax_bytes = 0\n[plugins]\nwatch = false\n[plugins.breaker]\nmax_failures = 0\n[[plugin]]\nname = \"hostile\"\n[plugin.limits]\ntime = \"50ms\"\n";
    let gateway = Arc::new(Desked::start(&[("hostile", &obedient())], &models, tables));
    let load =
        |duration| Load { address: gateway.address, connections: CONNECTIONS, duration, patience: PATIENCE };
    let normal = questions(gateway.address, PLAIN).await;
    load(WARM_UP).closed(&normal).await;
    let capacity = load(CAPACITY).closed(&normal).await;
    let rate = capacity.per_second * SHARE;

    let before = load(WITHOUT).open(&normal, rate).await;
    let mut runaways = JoinSet::new();
    for name in names {
        runaways.spawn(spin(gateway.clone(), name, N_CALLS / at_once));
    }
    // No longer than the calls take that are stopped at once.
    let under = load(ALLOWED * (N_CALLS / at_once) as u32).open(&normal, rate).await;
    let mut waited = Vec::new();
    while let Some(answered) = runaways.join_next().await {
        waited.extend(answered.map_err(|error| error.to_string())??);
    }
    tokio::time::sleep(REST).await;
    let after = load(WITHOUT).open(&normal, rate).await;

    let counted = gateway.metrics().await?.sum("embergate_plugin_failures_total", "class=\"timeout\"");
    let stopped: Vec<f64> = gateway.desk.log().lines().filter_map(stopped_after).collect();
    if counted != N_CALLS as f64 || stopped.len() != N_CALLS {
        return Err(format!(
            "{counted} calls were stopped for their time, and the log has {}",
            stopped.len()
        ));
    }
    let (stopped, waited) = (Late::new(stopped), Late::new(waited));
    let stop = Run::new(stopped.at(50.0) / TICK)
        .with("calls", counted, "")
        .with("stopped after the deadline, median", stopped.at(50.0), "ms")
        .with("stopped, 99th percentile", stopped.at(99.0), "ms")
        .with("stopped, most", stopped.at(100.0), "ms")
        .with("answered after the deadline, median", waited.at(50.0), "ms")
        .with("answered, 99th percentile", waited.at(99.0), "ms");
    let without = (before.p99_ms + after.p99_ms) / 2.0;
    Ok(vec![stop, others(&capacity, [&before, &under, &after], under.p99_ms / without)?])
}

fn others(capacity: &Report, [before, under, after]: [&Report; 3], ratio: f64) -> Result<Run, String> {
    if let Some(failed) = [before, under, after].into_iter().find(|report| 0 < report.failed()) {
        return Err(format!("other requests failed: {failed}"));
    }
    Ok(Run::new(ratio)
        .with("capacity", capacity.per_second, "requests/s")
        .with("requests meanwhile", under.requests as f64, "")
        .with("99th percentile before", before.p99_ms, "ms")
        .with("99th percentile meanwhile", under.p99_ms, "ms")
        .with("99th percentile after", after.p99_ms, "ms")
        .with("median before", before.p50_ms, "ms")
        .with("median meanwhile", under.p50_ms, "ms")
        .with("most meanwhile", under.max_ms, "ms"))
}

/// Milliseconds after a deadline, ascending.
struct Late(Vec<f64>);

impl Late {
    /// Of milliseconds since the calls began.
    fn new(took: Vec<f64>) -> Self {
        let mut late: Vec<f64> = took.into_iter().map(|took| took - ALLOWED.as_secs_f64() * 1000.0).collect();
        late.sort_by(f64::total_cmp);
        Self(late)
    }

    fn at(&self, percent: f64) -> f64 {
        let rank = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or_default()
    }
}

/// Has `n_calls` calls spin, one after the other. Returns after how many milliseconds each was answered.
async fn spin(gateway: Arc<Desked>, model: String, n_calls: usize) -> Result<Vec<f64>, String> {
    let exchange = gateway.request(&model, "spin");
    let mut connection: Connection = gateway.connect().await?;
    let mut waited = Vec::with_capacity(n_calls);
    for _ in 0..n_calls {
        let begun = Instant::now();
        let said = ask(&mut connection, &exchange).await?;
        waited.push(begun.elapsed().as_secs_f64() * 1000.0);
        let (message, code) = said.error();
        if (said.status, code.as_str()) != (500, "plugin_failed")
            || !message.contains("at its limit of `time`")
        {
            return Err(format!("a call that spins was answered {}: {message}", said.status));
        }
    }
    Ok(waited)
}

/// The milliseconds in "was stopped in `process` on text 0 after 50.4ms: a call may take 50ms".
fn stopped_after(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once(" was stopped in `process` ")?;
    let (_, rest) = rest.split_once(" after ")?;
    rest.split_once("ms: ")?.0.parse().ok()
}
