//! Four upstreams that embed one text at a time, and what of it the gateway makes use of.

use std::time::{Duration, Instant};

use embergate_load::Api;
use embergate_load::connection::Connection;
use embergate_load::table::{Goal, Run, Subject};
use futures_util::future::join_all;

use super::{busy, paced};
use crate::servers::{self, Server};
use crate::side_by_side::{load, sound};
use crate::texts;

pub(crate) const EVEN: Subject = Subject {
    name: "fleet",
    what: "64 clients with single texts, 4 upstreams of 5 ms a call and 10 ms a text, one text at a time",
    against: "texts a second that the four can embed, added up",
    goal: Goal::AtLeast(0.95),
    how: "First each upstream is asked directly over two connections for lists of 8, of 16 and of 32 texts, four \
          seconds each; the best of the three is what it can do. Then 64 clients ask the gateway in front of the four \
          for one new text each, and answers are counted for eight seconds, beginning two seconds later. Checked.",
};

pub(crate) const UNEVEN: Subject = Subject {
    name: "fleet-uneven",
    what: "the same, one of the four ten times slower",
    against: "texts a second that they can embed, added up",
    goal: Goal::AtLeast(0.9),
    how: "The same with 50 ms a call and 100 ms a text at one of the four.",
};

pub(crate) const LIST: Subject = Subject {
    name: "list",
    what: "one list of 400 texts over 4 such upstreams",
    against: "times faster than over one",
    goal: Goal::AtLeast(3.8),
    how: "Three lists of 400 new texts, one after the other, through a gateway in front of one upstream, and three \
          through one in front of four. The median times are compared. Checked.",
};

pub(crate) const PATTERN: Subject = Subject {
    name: "pattern",
    what: "misses, float JSON, 64 clients, 4 such upstreams",
    against: "requests a second of the script that people start with",
    goal: Goal::AtLeast(3.8),
    how: "What the gateway replaces: a FastAPI server that asks one of the upstreams with `requests`, one text at a \
          time, in front of a cache on disk (tests/bench/peers/pattern.py). It can ask one upstream only, so four \
          times its requests is what four upstreams are worth. Both get one new text in each request. Checked.",
};

/// Texts of one call by which an upstream shows what it can do.
const LISTS: [u64; 3] = [8, 16, 32];

/// Texts a second of 64 clients, as a share of what four upstreams can do; one may be `slower` than the others.
pub(crate) async fn measure(slower: u64) -> Result<Vec<Run>, String> {
    let mut simulators = fleet(3);
    simulators.push(servers::simulator(&paced(5 * slower, 10 * slower)));
    let each =
        join_all(simulators.iter().map(best)).await.into_iter().collect::<Result<Vec<f64>, String>>()?;
    let sum: f64 = each.iter().sum();
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), "");
    let single = texts::fresh_and_checked(Api::Openai, &gateway.host(), 1);
    let loaded = load(&gateway, 64, Duration::from_secs(8));
    let ours = sound(loaded.steady(&single, Duration::from_secs(2)).await)?;
    let run = Run::new(ours.per_second / sum)
        .with("gateway", ours.per_second, "texts/s")
        .with("the four upstreams, added up", sum, "texts/s")
        .with("the first of them", each[0], "texts/s")
        .with("the last of them", each[3], "texts/s")
        .with("gateway, median", ours.p50_ms, "ms")
        .with("gateway, p99", ours.p99_ms, "ms");
    Ok(vec![run])
}

/// Texts a second that `upstream` embeds when it is asked in the way that suits it best.
pub(crate) async fn best(upstream: &Server) -> Result<f64, String> {
    let mut best: f64 = 0.0;
    for n_texts in LISTS {
        let lists = texts::fresh(Api::Ollama, &upstream.host(), n_texts);
        let report = sound(load(upstream, 2, Duration::from_secs(4)).closed(&lists).await)?;
        best = best.max(report.per_second * n_texts as f64);
    }
    Ok(best)
}

/// How many times faster four upstreams embed a list of 400 texts than one does.
pub(crate) async fn list() -> Result<Vec<Run>, String> {
    let simulators = fleet(4);
    let one = list_time(&simulators[..1]).await?;
    let four = list_time(&simulators).await?;
    let run = Run::new(one / four).with("over one", one, "ms").with("over four", four, "ms");
    Ok(vec![run])
}

/// The median time of three lists, one after the other, in milliseconds.
async fn list_time(upstreams: &[Server]) -> Result<f64, String> {
    let gateway = servers::gateway(&upstreams.iter().collect::<Vec<_>>(), "");
    let lists = texts::fresh_and_checked(Api::Openai, &gateway.host(), 400);
    let mut connection = Connection::open(gateway.address).await.map_err(|error| error.to_string())?;
    let mut times = Vec::new();
    for number in 0..3 {
        let list = lists(number);
        let since = Instant::now();
        let answer = connection.ask(list.bytes()).await.map_err(|error| error.to_string())?;
        times.push(since.elapsed().as_secs_f64() * 1000.0);
        if answer.status != 200 || !list.accepts(answer.body) {
            return Err(format!("a list got status {} or another text's vector", answer.status));
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[1])
}

/// How many times the requests of the script that people start with.
pub(crate) async fn pattern() -> Result<Vec<Run>, String> {
    let simulators = fleet(4);
    let script = servers::pattern(&simulators[0])?;
    let theirs = answered(&script).await?;
    drop(script);
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), "");
    let ours = answered(&gateway).await?;
    let run =
        Run::new(ours / theirs).with("gateway", ours, "requests/s").with("script", theirs, "requests/s");
    Ok(vec![run])
}

/// New texts of 64 clients that are answered in a second.
async fn answered(server: &Server) -> Result<f64, String> {
    let single = texts::fresh_and_checked(Api::OpenaiFloats, &server.host(), 1);
    let loaded = load(server, 64, Duration::from_secs(6));
    Ok(sound(loaded.steady(&single, Duration::from_secs(2)).await)?.per_second)
}

fn fleet(n: usize) -> Vec<Server> {
    (0..n).map(|_| servers::simulator(&busy())).collect()
}
