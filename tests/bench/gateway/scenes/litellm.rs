//! LiteLLM's proxy, in front of the same upstream and under the same requests.

use embergate_load::Api;
use embergate_load::table::{Goal, Run, Subject};
use embergate_test_support::ollama::OllamaSim;

use super::at_once;
use super::cached::fill;
use crate::roles::{DIMENSIONS, MODEL};
use crate::servers::{self, Server};
use crate::side_by_side::{Asked, Pace, alone, warm_up};
use crate::texts;

pub(crate) const HITS: Subject = Subject {
    name: "litellm-hits",
    what: "cache hits, float JSON, 32 connections",
    against: "LiteLLM's requests a second",
    goal: Goal::AtLeast(50.0),
    how: "LiteLLM's proxy with a worker for each core and its cache in memory, without a database, keys or logs \
          (tests/bench/peers/litellm.yaml), and then the gateway. 50 texts, of 200 entries that its cache takes by \
          default, are asked for until none of them reaches the upstream for five seconds, from either worker; then \
          32 connections ask for them for four seconds. Checked: all answers, and that no text reaches the upstream \
          again.",
};

pub(crate) const MISSES: Subject = Subject {
    name: "litellm-misses",
    what: "misses, float JSON, 32 connections",
    against: "LiteLLM's requests a second",
    goal: Goal::AtLeast(50.0),
    how: "The same for texts that nobody embedded before, with LiteLLM's cache switched off, which helps it, in front \
          of a simulator that embeds at once.",
};

pub(crate) const MEMORY: Subject = Subject {
    name: "litellm-memory",
    what: "resident memory after cache hits",
    against: "LiteLLM's",
    goal: Goal::AtMost(0.1),
    how: "As for `litellm-hits`, with LiteLLM at its default of one worker, which is its least. Resident memory of \
          all processes of each, right after the load.",
};

const CONNECTIONS: usize = 32;
const N_KNOWN: u64 = 50;

/// How fast what is known is answered, and the memory in which.
struct Known {
    pace: Pace,
    mib: f64,
}

pub(crate) async fn hits() -> Result<Vec<Run>, String> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (ours, theirs) = known_to_both(workers).await?;
    Ok(vec![faster(&ours.pace, &theirs.pace, workers)])
}

/// How many times as many requests are ours, beside so many workers of theirs.
fn faster(ours: &Pace, theirs: &Pace, workers: usize) -> Run {
    Run::new(ours.per_second / theirs.per_second)
        .with("gateway", ours.per_second, "requests/s")
        .with("LiteLLM", theirs.per_second, "requests/s")
        .with("gateway, median", ours.p50, "ms")
        .with("LiteLLM, median", theirs.p50, "ms")
        .with("LiteLLM's workers", workers as f64, "")
}

pub(crate) async fn memory() -> Result<Vec<Run>, String> {
    let (ours, theirs) = known_to_both(1).await?;
    let run =
        Run::new(ours.mib / theirs.mib).with("gateway", ours.mib, "MiB").with("LiteLLM", theirs.mib, "MiB");
    Ok(vec![run])
}

pub(crate) async fn misses() -> Result<Vec<Run>, String> {
    let simulator = servers::simulator(&at_once());
    let run = async |server: Server| {
        let host = server.host();
        let asked = Asked {
            server: &server,
            checked: texts::fresh_and_checked(Api::OpenaiFloats, &host, 1),
            measured: texts::fresh(Api::OpenaiFloats, &host, 1),
        };
        // Until all of its workers have started.
        for _ in 0..5 {
            warm_up(&asked, CONNECTIONS).await?;
        }
        alone(&asked, CONNECTIONS).await
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let theirs = run(servers::litellm(&format!("http://{}", simulator.host()), false, workers)?).await?;
    let ours = run(servers::gateway(&[&simulator], "")).await?;
    Ok(vec![faster(&ours, &theirs, workers)])
}

/// What both do with texts that they know; LiteLLM with so many workers.
async fn known_to_both(workers: usize) -> Result<(Known, Known), String> {
    let simulator = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let theirs = known(&simulator, servers::litellm(&simulator.url(), true, workers)?).await?;
    let ours = known(&simulator, servers::gateway_at(&[simulator.url()], "")).await?;
    Ok((ours, theirs))
}

async fn known(simulator: &OllamaSim, server: Server) -> Result<Known, String> {
    let known = texts::known(Api::OpenaiFloats, &server.host(), N_KNOWN);
    fill(simulator, &server, &known, 5).await?;
    let n_calls = simulator.batches().len();
    let asked = Asked { server: &server, checked: known.clone(), measured: known };
    let pace = alone(&asked, CONNECTIONS).await?;
    if simulator.batches().len() != n_calls {
        return Err("texts that were known were embedded again".to_owned());
    }
    let mib = server.memory() as f64 / f64::from(1 << 20);
    Ok(Known { pace, mib })
}
