//! What clients notice of upstreams that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use embergate_load::connection::Connection;
use embergate_load::table::{Goal, Run, Subject};
use embergate_load::{Api, Exchange, Load, Report};
use tokio::task::JoinSet;

use super::{at_once, paced};
use crate::roles::{Behaviour, MODEL};
use crate::servers::{self, Server};
use crate::side_by_side::load;
use crate::texts;

pub(crate) const KILLED: Subject = Subject {
    name: "killed",
    what: "one of two upstreams killed under load: requests that failed or got a wrong vector",
    against: "",
    goal: Goal::AtMost(0.0),
    how: "64 connections ask for new texts for six seconds, three in four requests for one and one for a list of ten; \
          the two upstreams take 1 ms a call and 1 ms a text. After two seconds one of them gets SIGKILL, and never \
          comes back. A request counts as failed with another status than 200, with a connection that ends, without \
          an answer in a minute, or if it had to be sent again. Checked.",
};

pub(crate) const FLAKY: Subject = Subject {
    name: "flaky",
    what: "one of two upstreams failing one call in five: requests that failed or got a wrong vector",
    against: "",
    goal: Goal::AtMost(0.0),
    how: "The same load. One of the two answers each fifth call as Ollama does when the runner of a model crashed: \
          status 400, and a message with `EOF` in it. Checked.",
};

pub(crate) const POISON: Subject = Subject {
    name: "poison",
    what: "a text that crashes its runner, among 10,000: errors",
    against: "",
    goal: Goal::AtMost(1.0),
    how: "64 connections ask for 10,000 texts, one in each request. Every call that has text 5,000 in it fails as a \
          crash, at both upstreams. That text must get an error, which is the one that is counted, and all others \
          their vectors; at the end both upstreams must be healthy by `GET /admin/upstreams`. Checked.",
};

const DURATION: Duration = Duration::from_secs(6);
/// How long an upstream that was ejected may take to come back, once nothing fails any more.
const RETURN: Duration = Duration::from_secs(15);

/// Requests that failed or got a wrong vector while one of two upstreams was killed.
pub(crate) async fn killed() -> Result<Vec<Run>, String> {
    let [first, mut second] = [paced(1, 1), paced(1, 1)].map(|behaviour| servers::simulator(&behaviour));
    let gateway = servers::gateway(&[&first, &second], "");
    let crash = async {
        tokio::time::sleep(DURATION / 3).await;
        second.kill();
    };
    let source = texts::mixed_and_checked(&gateway.host());
    let load = loaded(&gateway);
    let (report, ()) = tokio::join!(load.closed(&source), crash);
    unnoticed(&gateway, &report).await
}

/// Requests that failed or got a wrong vector while one of two upstreams failed one call in five.
pub(crate) async fn flaky() -> Result<Vec<Run>, String> {
    let first = servers::simulator(&paced(1, 1));
    let second = servers::simulator(&Behaviour { fail_every: 5, ..paced(1, 1) });
    let gateway = servers::gateway(&[&first, &second], "");
    let report = loaded(&gateway).closed(&texts::mixed_and_checked(&gateway.host())).await;
    unnoticed(&gateway, &report).await
}

fn loaded(gateway: &Server) -> Load {
    load(gateway, 64, DURATION)
}

/// What clients saw of faults of the second upstream, of which the gateway must have seen some.
async fn unnoticed(gateway: &Server, report: &Report) -> Result<Vec<Run>, String> {
    let upstreams = gateway.upstreams().await?;
    let number = |at: usize, what: &str| upstreams[at][what].as_f64().unwrap_or_default();
    if number(1, "errors") == 0.0 || number(0, "calls") == 0.0 {
        return Err(format!("nothing failed under load: {upstreams}"));
    }
    let failed = report.failed() - report.wrong + report.reconnected;
    let run = Run::new((failed + report.wrong) as f64)
        .with("requests", report.requests as f64, "")
        .with("failed", failed as f64, "")
        .with("with a wrong vector", report.wrong as f64, "")
        .with("calls of the faulty upstream", number(1, "calls"), "")
        .with("of these failed", number(1, "errors"), "")
        .with("slowest request", report.max_ms, "ms");
    Ok(vec![run])
}

/// Errors among 10,000 requests of one text each, one of which crashes whoever embeds it.
pub(crate) async fn poison() -> Result<Vec<Run>, String> {
    const N_TEXTS: u64 = 10_000;
    const BAD: u64 = 5_000;
    let crash = Behaviour { crash_on: format!("text {BAD}"), ..at_once() };
    let simulators = [servers::simulator(&crash), servers::simulator(&crash)];
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), "");
    let numbers = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let (address, host, numbers) = (gateway.address, gateway.host(), numbers.clone());
        clients.spawn(async move {
            let mut connection = Connection::open(address).await.map_err(|error| error.to_string())?;
            let mut failed = Vec::new();
            loop {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if N_TEXTS <= number {
                    return Ok::<_, String>(failed);
                }
                let text = [format!("text {number}")];
                let exchange = Exchange::embed(Api::Openai, &host, MODEL, &text)
                    .wanting(Api::Openai, texts::vectors(&text));
                let answer = connection.ask(exchange.bytes()).await.map_err(|error| error.to_string())?;
                if answer.status != 200 || !exchange.accepts(answer.body) {
                    failed.push((number, answer.status));
                }
            }
        });
    }
    let mut failed = Vec::new();
    while let Some(client) = clients.join_next().await {
        failed.extend(client.map_err(|error| error.to_string())??);
    }
    if !failed.iter().any(|(number, status)| *number == BAD && *status != 200) {
        return Err("the bad text was answered".to_owned());
    }
    let back = until_healthy(&gateway).await?;
    let metrics = gateway.metrics().await?;
    let run = Run::new(failed.len() as f64)
        .with("texts", N_TEXTS as f64, "")
        .with("errors of other texts", (failed.len() - 1) as f64, "")
        .with("batches halved", metrics.sum("embergate_batches_halved_total", ""), "")
        .with("ejections", metrics.sum("embergate_upstream_ejections_total", ""), "")
        .with("both upstreams healthy after", back.as_secs_f64() * 1000.0, "ms");
    Ok(vec![run])
}

/// Waits until no upstream is ejected.
async fn until_healthy(gateway: &Server) -> Result<Duration, String> {
    let since = Instant::now();
    loop {
        let upstreams = gateway.upstreams().await?;
        let list = upstreams.as_array().ok_or("there is no list of upstreams")?;
        if list.iter().all(|upstream| upstream["state"] == "healthy") {
            return Ok(since.elapsed());
        }
        if RETURN < since.elapsed() {
            return Err(format!("an upstream stays ejected: {upstreams}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
