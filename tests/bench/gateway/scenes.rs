//! One function for each line of the table: sets the servers up, loads them, and returns the figure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use embergate_load::connection::Connection;
use embergate_load::{Api, Exchange, Load, Report, Source};
use embergate_test_support::ollama::{OllamaSim, Pace};
use tokio::task::JoinSet;

use crate::roles::{Behaviour, DIMENSIONS, MODEL};
use crate::servers::{self, Server};
use crate::texts;

const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);
/// 5 ms a call and 10 ms a text, one text at a time.
fn busy() -> Behaviour {
    Behaviour { pace: Pace { call: Duration::from_millis(5), text: Duration::from_millis(10) }, ..at_once() }
}

fn at_once() -> Behaviour {
    Behaviour::default()
}

fn load(server: &Server, connections: usize) -> Load {
    Load { address: server.address, connections, duration: MEASURED, patience: PATIENCE }
}

/// Warms up, measures, and insists that nothing went wrong.
async fn measured(server: &Server, connections: usize, source: &Source) -> Result<Report, String> {
    let load = load(server, connections);
    Load { duration: WARM_UP, ..load }.closed(source).await;
    let report = load.closed(source).await;
    if 0 < report.failed() { Err(format!("requests failed: {report}")) } else { Ok(report) }
}

/// Requests a second out of the cache, as a share of what a bare server answers.
pub(crate) async fn hits(api: Api) -> Result<f64, String> {
    let simulator = servers::simulator(&at_once());
    let gateway = servers::gateway(&[&simulator], "");
    let known = texts::known(api, &gateway.host());
    let ours = measured(&gateway, 32, &known).await?;
    drop(gateway);
    let bare = servers::bare(api);
    let same = texts::same(api, &bare.host());
    let limit = measured(&bare, 32, &same).await?;
    Ok(ours.per_second / limit.per_second)
}

/// The median time of a text that nobody embedded before, as a multiple of the upstream's own.
pub(crate) async fn miss_latency() -> Result<f64, String> {
    let simulator = servers::simulator(&at_once());
    let gateway = servers::gateway(&[&simulator], "");
    let direct = measured(&simulator, 1, &texts::fresh(Api::Ollama, &simulator.host(), 1)).await?;
    let ours = measured(&gateway, 1, &texts::fresh(Api::Ollama, &gateway.host(), 1)).await?;
    Ok(ours.p50_ms / direct.p50_ms)
}

/// Texts a second that nobody embedded before, as a share of what nginx passes through.
pub(crate) async fn miss_throughput() -> Result<f64, String> {
    let simulator = servers::simulator(&at_once());
    let nginx = servers::nginx(&simulator)?;
    let theirs = measured(&nginx, 32, &texts::fresh(Api::Ollama, &nginx.host(), 1)).await?;
    drop(nginx);
    let gateway = servers::gateway(&[&simulator], "");
    let ours = measured(&gateway, 32, &texts::fresh(Api::Ollama, &gateway.host(), 1)).await?;
    Ok(ours.per_second / theirs.per_second)
}

/// Texts a second of 64 clients, as a share of what four upstreams can do; one may be `slower` than the others.
pub(crate) async fn fleet(slower: u32) -> Result<f64, String> {
    let slow = Pace { call: busy().pace.call * slower, text: busy().pace.text * slower };
    let mut simulators: Vec<Server> = (0..3).map(|_| servers::simulator(&busy())).collect();
    simulators.push(servers::simulator(&Behaviour { pace: slow, ..at_once() }));
    let mut sum = 0.0;
    for simulator in &simulators {
        // Two calls under way keep it busy, as the gateway does.
        sum += measured(simulator, 2, &texts::fresh(Api::Ollama, &simulator.host(), 1)).await?.per_second;
    }
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), "");
    let ours = measured(&gateway, 64, &texts::fresh(Api::Openai, &gateway.host(), 1)).await?;
    Ok(ours.per_second / sum)
}

/// How many times faster four upstreams embed a list of 400 texts than one does.
pub(crate) async fn list() -> Result<f64, String> {
    let simulators: Vec<Server> = (0..4).map(|_| servers::simulator(&busy())).collect();
    let mut times = Vec::new();
    for upstreams in [&simulators[..1], &simulators[..]] {
        let gateway = servers::gateway(&upstreams.iter().collect::<Vec<_>>(), "");
        let lists = texts::fresh_and_checked(Api::Openai, &gateway.host(), 400);
        // The first list is alone, so that there is no more than one under way.
        let report = load(&gateway, 1).closed(&lists).await;
        if 0 < report.failed() {
            return Err(format!("lists failed: {report}"));
        }
        times.push(report.p50_ms);
    }
    Ok(times[0] / times[1])
}

/// Requests that failed or got a wrong vector while one of two upstreams was killed.
pub(crate) async fn killed() -> Result<f64, String> {
    let [first, mut second] = [busy(), busy()].map(|behaviour| servers::simulator(&behaviour));
    let gateway = servers::gateway(&[&first, &second], "");
    let source = texts::fresh_and_checked(Api::Openai, &gateway.host(), 1);
    let loaded = load(&gateway, 32);
    let crash = async {
        tokio::time::sleep(MEASURED / 3).await;
        second.kill();
    };
    let (report, ()) = tokio::join!(loaded.closed(&source), crash);
    Ok(report.failed() as f64)
}

/// Requests that failed or got a wrong vector while one of two upstreams failed one call in five.
pub(crate) async fn flaky() -> Result<f64, String> {
    let first = servers::simulator(&busy());
    let second = servers::simulator(&Behaviour { fail_every: 5, ..busy() });
    let gateway = servers::gateway(&[&first, &second], "");
    let source = texts::fresh_and_checked(Api::Openai, &gateway.host(), 1);
    Ok(load(&gateway, 32).closed(&source).await.failed() as f64)
}

/// The 99th percentile of single questions while bulk work waits all the time,
/// as a multiple of one's own service time and one slice of bulk work.
pub(crate) async fn interactive() -> Result<f64, String> {
    let simulators = [busy(), busy()].map(|behaviour| servers::simulator(&behaviour));
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), "");
    let alone = Load { duration: MEASURED, ..load(&gateway, 1) };
    let questions = texts::fresh(Api::Openai, &gateway.host(), 1);
    let own = alone.closed(&questions).await;
    // Far more than can be embedded while this is measured.
    let mut bulk = JoinSet::new();
    for list in 0..50 {
        let (address, host) = (gateway.address, gateway.host());
        bulk.spawn(async move {
            let texts: Vec<String> = (0..2000).map(|text| format!("bulk {list}, {text}")).collect();
            let exchange = Exchange::embed(Api::Openai, &host, MODEL, &texts);
            if let Ok(mut connection) = Connection::open(address).await {
                drop(connection.ask(exchange.bytes()).await.map(|answer| answer.status));
            }
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let report = Load { duration: MEASURED * 2, ..alone }.closed(&questions).await;
    bulk.shutdown().await;
    if 0 < report.failed() {
        return Err(format!("questions failed: {report}"));
    }
    let slice = 50.0;
    Ok(report.p99_ms / (own.p50_ms + slice))
}

/// How many times the requests of LiteLLM, and what share of its memory.
pub(crate) async fn litellm(cached: bool) -> Result<(f64, f64), String> {
    let simulator = servers::simulator(&at_once());
    let run = async |server: &Server| {
        let host = server.host();
        let source = if cached {
            texts::known(Api::OpenaiFloats, &host)
        } else {
            texts::fresh(Api::OpenaiFloats, &host, 1)
        };
        let report = measured(server, 32, &source).await?;
        Ok::<_, String>((report.per_second, server.memory() as f64))
    };
    let theirs = run(&servers::litellm(&[&simulator], cached)?).await?;
    let ours = run(&servers::gateway(&[&simulator], "")).await?;
    Ok((ours.0 / theirs.0, ours.1 / theirs.1))
}

/// How many times the requests of the pattern that people start with.
pub(crate) async fn pattern() -> Result<f64, String> {
    let simulators: Vec<Server> = (0..4).map(|_| servers::simulator(&busy())).collect();
    let replaced = servers::pattern(&simulators[0])?;
    let theirs = measured(&replaced, 64, &texts::fresh(Api::OpenaiFloats, &replaced.host(), 1)).await?;
    drop(replaced);
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), "");
    let ours = measured(&gateway, 64, &texts::fresh(Api::OpenaiFloats, &gateway.host(), 1)).await?;
    Ok(ours.per_second / theirs.per_second)
}

/// Texts that an upstream gets of 200 identical requests at once.
pub(crate) async fn identical() -> Result<f64, String> {
    let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let gateway = servers::gateway_at(&[sim.url()], "");
    let text = ["the same for all".to_owned()];
    let exchange = Exchange::embed(Api::Openai, &gateway.host(), MODEL, &text)
        .wanting(Api::Openai, texts::vectors(&text));
    let held = sim.hold();
    let mut requests = JoinSet::new();
    for _ in 0..200 {
        let (address, exchange) = (gateway.address, exchange.clone());
        requests.spawn(async move {
            let mut connection = Connection::open(address).await.ok()?;
            let answer = connection.ask(exchange.bytes()).await.ok()?;
            exchange.accepts(answer.body).then_some(())
        });
    }
    held.until_waiting(1).await;
    held.release();
    while let Some(request) = requests.join_next().await {
        request.ok().flatten().ok_or("a request failed or got another vector")?;
    }
    Ok(sim.batches().iter().map(Vec::len).sum::<usize>() as f64)
}

/// Errors among 10,000 requests of one text each, one of which crashes whoever embeds it.
pub(crate) async fn poison() -> Result<f64, String> {
    const N_TEXTS: u64 = 10_000;
    const BAD: u64 = 5_000;
    let crash = Behaviour { crash_on: "text 5000".to_owned(), ..at_once() };
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
                    failed.push(number);
                }
            }
        });
    }
    let mut failed = Vec::new();
    while let Some(client) = clients.join_next().await {
        failed.extend(client.map_err(|error| error.to_string())??);
    }
    if failed.contains(&BAD) { Ok(failed.len() as f64) } else { Err("the bad text was answered".to_owned()) }
}
