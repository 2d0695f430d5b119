//! Ten minutes of everything at once, with a cache that is full all the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use embergate_load::table::{Goal, Run, Subject};
use embergate_load::{Api, Exchange, Report};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::at_once;
use crate::servers::{self, Server};
use crate::side_by_side::load;
use crate::texts;

pub(crate) const LINES: &[Subject] = &[
    Subject {
        name: "memory",
        what: "resident memory in the last tenth of ten minutes of mixed load",
        against: "that in the second tenth",
        goal: Goal::AtMost(1.05),
        how: "16 connections send, over both APIs, in base64 and in numbers: texts that are known, new texts, lists \
              of 40 of which half is known, lists of 256 new ones, requests for a model that is not there, and JSON \
              that is none. Beside them, clients send a list of 64 new texts each and leave 2 ms later, 20 times a \
              second. Two upstreams embed at once. `cache.max_bytes` is 64 MiB and full within seconds, so that \
              vectors are evicted all the time. Resident memory is read each second; medians are compared. Checked, \
              errors by their status.",
    },
    Subject {
        name: "memory-cache",
        what: "memory that the cache takes",
        against: "its limit",
        goal: Goal::AtMost(1.1),
        how: "The larger of two: the most that `embergate_cache_bytes` said in the ten minutes, against the limit; \
              and that times what a byte of it is in resident memory. For the latter, a gateway with a cache of 32 \
              MiB and one with 160 MiB get the same 75,000 new texts, which is twice as much as the larger cache \
              takes, and the difference of their resident memory is compared with the difference of their gauges.",
    },
];

/// How long the whole of it takes.
pub(crate) const WHOLE: Duration = Duration::from_secs(600);
/// Seconds in which the cache is full before the second tenth begins.
pub(crate) const SHORTEST: u64 = 60;

const LIMIT_MIB: u64 = 64;
const MIB: f64 = (1 << 20) as f64;

/// What was seen at one moment.
struct Sample {
    at: f64,
    resident: f64,
    cached: f64,
}

pub(crate) async fn measure(duration: Duration) -> Result<Vec<Run>, String> {
    let weight = weight_of_a_byte().await?;
    let simulators = [at_once(), at_once()].map(|behaviour| servers::simulator(&behaviour));
    let configuration = format!("[cache]\nmax_bytes = \"{LIMIT_MIB}MiB\"\n");
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), &configuration);

    let leaving = leave(&gateway);
    let loaded = load(&gateway, 16, duration);
    let mixed = texts::mixed_forms(&gateway.host());
    let (report, samples) = tokio::join!(loaded.closed(&mixed), watch(&gateway, duration));
    drop(leaving);
    let samples = samples?;
    if 0 < report.failed() {
        return Err(format!("requests failed: {report}"));
    }
    let metrics = gateway.metrics().await?;
    let evicted = metrics.sum("embergate_cache_evictions_total", "cause=\"size\"");
    let left = metrics.sum("embergate_http_requests_total", "status=\"none\"");
    let (flat, cache) = judged(&samples, duration.as_secs_f64(), &report)?;
    if left == 0.0 {
        return Err("no client left before its answer".to_owned());
    }
    let flat = flat.with("vectors evicted", evicted, "").with("clients that left", left, "");
    let limit = LIMIT_MIB as f64;
    let run = Run::new((cache / limit).max(cache / limit * weight.ratio))
        .with("limit", limit, "MiB")
        .with("most by its gauge", cache, "MiB")
        .with("resident bytes for each byte of the gauge", weight.ratio, "")
        .with("resident with a cache of 32 MiB", weight.small, "MiB")
        .with("resident with a cache of 160 MiB", weight.large, "MiB");
    Ok(vec![flat, run])
}

/// The figure about resident memory, and the most that the cache had, in MiB.
fn judged(samples: &[Sample], seconds: f64, report: &Report) -> Result<(Run, f64), String> {
    let between = |from: f64, to: f64| {
        samples.iter().filter(move |sample| (from * seconds..to * seconds).contains(&sample.at))
    };
    let median = |from, to| {
        let mut resident: Vec<f64> = between(from, to).map(|sample| sample.resident).collect();
        resident.sort_by(f64::total_cmp);
        resident.get(resident.len() / 2).copied().ok_or("there are no samples")
    };
    let full = between(0.1, 0.2).all(|sample| 0.9 * LIMIT_MIB as f64 <= sample.cached);
    if !full {
        return Err("the cache was not full when the second tenth began".to_owned());
    }
    let (before, after) = (median(0.1, 0.2)?, median(0.9, 1.1)?);
    let most = |of: fn(&Sample) -> f64| samples.iter().map(of).fold(0.0, f64::max);
    let run = Run::new(after / before)
        .with("second tenth, median", before, "MiB")
        .with("last tenth, median", after, "MiB")
        .with("most", most(|sample| sample.resident), "MiB")
        .with("load", seconds, "s")
        .with("requests", report.requests as f64, "")
        .with("requests a second", report.per_second, "");
    Ok((run, most(|sample| sample.cached)))
}

/// Looks at the gateway each second.
async fn watch(gateway: &Server, duration: Duration) -> Result<Vec<Sample>, String> {
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < duration {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let cached = gateway.metrics().await?.sum("embergate_cache_bytes", "") / MIB;
        let resident = gateway.memory() as f64 / MIB;
        samples.push(Sample { at: begin.elapsed().as_secs_f64(), resident, cached });
    }
    Ok(samples)
}

/// Clients that do not wait for their answer, until this is dropped.
fn leave(gateway: &Server) -> JoinSet<()> {
    let (address, lists) = (gateway.address, texts::fresh(Api::Openai, &gateway.host(), 64));
    let mut clients = JoinSet::new();
    clients.spawn(async move {
        for number in 0.. {
            let list: Arc<Exchange> = lists(number);
            if let Ok(mut stream) = TcpStream::connect(address).await {
                drop(stream.write_all(list.bytes()).await);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    clients
}

/// What the bytes that the cache counts are in resident memory.
struct Weight {
    ratio: f64,
    /// Resident memory with either cache, in MiB.
    small: f64,
    large: f64,
}

async fn weight_of_a_byte() -> Result<Weight, String> {
    let (small, small_gauge) = filled(32).await?;
    let (large, large_gauge) = filled(160).await?;
    Ok(Weight { ratio: (large - small) / (large_gauge - small_gauge), small, large })
}

/// Resident memory of a gateway whose cache of `limit` MiB is full, and what its gauge says.
async fn filled(limit: u64) -> Result<(f64, f64), String> {
    const LISTS: u64 = 300;
    const LIST: u64 = 250;
    let simulators = [at_once(), at_once()].map(|behaviour| servers::simulator(&behaviour));
    let configuration = format!("[cache]\nmax_bytes = \"{limit}MiB\"\nmax_encoded = 0\n");
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), &configuration);
    let lists = texts::fresh_and_checked(Api::Openai, &gateway.host(), LIST);
    texts::send_each(&gateway, &lists, LISTS, 8).await?;
    let cached = gateway.metrics().await?.sum("embergate_cache_bytes", "") / MIB;
    if cached < 0.9 * limit as f64 {
        return Err(format!("a cache of {limit} MiB holds {cached:.0} MiB after {} texts", LISTS * LIST));
    }
    Ok((gateway.memory() as f64 / MIB, cached))
}
