//! Questions of people while a hundred thousand texts wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use embergate_load::connection::Connection;
use embergate_load::table::{Goal, Run, Subject};
use embergate_load::{Api, Exchange, Source};
use tokio::task::JoinSet;

use super::busy;
use crate::roles::MODEL;
use crate::servers::{self, Server};
use crate::side_by_side::{load, sound};
use crate::texts;

pub(crate) const INTERACTIVE: Subject = Subject {
    name: "interactive",
    what: "p99 of single questions while 100,000 bulk texts run on 2 such upstreams",
    against: "own service time and one slice of 50 ms",
    goal: Goal::AtMost(1.5),
    how: "One connection asks single questions for four seconds, one after the other: their median is the own \
          service time. Then 50 clients send a list of 2,000 texts each, to the same gateway, whose \
          `batcher.max_queued` is above 100,000 and whose times allow for the eight minutes that this would take. \
          Once all wait, 600 questions come at random moments, 20 a second, whatever became of those before. Lists \
          are answered in the order in which they came, so that some are done by then; most of the texts must still \
          wait at the end. Checked, lists and questions.",
};

const N_LISTS: usize = 50;
const LIST: usize = 2000;
const N_QUESTIONS: u64 = 600;
/// Questions a second: a tenth of what the two upstreams can do.
const RATE: f64 = 20.0;
/// As in the configuration below.
const SLICE_MS: f64 = 50.0;
const CONFIGURATION: &str = "\
    [server]\nlisten = \"127.0.0.1:0\"\nmax_timeout = \"30m\"\n\
    [embed]\ntimeout = \"30m\"\n\
    [batcher]\nmax_queued = 131072\nbulk_slice = \"50ms\"\n";

type Bulk = JoinSet<Result<(), String>>;

/// The 99th percentile of questions, as a multiple of their own time and one slice of bulk work.
pub(crate) async fn measure() -> Result<Vec<Run>, String> {
    let simulators = [busy(), busy()].map(|behaviour| servers::simulator(&behaviour));
    let gateway = servers::gateway(&simulators.iter().collect::<Vec<_>>(), CONFIGURATION);
    let questions = texts::fresh_and_checked(Api::Openai, &gateway.host(), 1);
    let own = sound(load(&gateway, 1, Duration::from_secs(4)).closed(&questions).await)?.p50_ms;

    let mut bulk = bulk(&gateway);
    let waiting = all_waiting(&gateway, &mut bulk).await?;
    let questions = texts::fresh_and_checked(Api::Openai, &gateway.host(), 1);
    let mut times = at_random(&gateway, &questions).await?;
    let left = queued(&gateway).await?;
    let n_done = only_done(&mut bulk)?;
    bulk.shutdown().await;
    if left < (N_LISTS * LIST) as f64 * 0.5 {
        return Err(format!("only {left} bulk texts were left at the end"));
    }

    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
    let run = Run::new(at(99) / (own + SLICE_MS))
        .with("p99 beside bulk work", at(99), "ms")
        .with("median beside bulk work", at(50), "ms")
        .with("slowest", at(100), "ms")
        .with("own service time, median", own, "ms")
        .with("questions", times.len() as f64, "")
        .with("bulk texts waiting before", waiting, "")
        .with("bulk texts waiting after", left, "")
        .with("lists done meanwhile", n_done as f64, "");
    Ok(vec![run])
}

/// Clients that send a list each; one that ends says whether it got its vectors.
fn bulk(gateway: &Server) -> Bulk {
    let mut clients = JoinSet::new();
    for list in 0..N_LISTS {
        let (address, host) = (gateway.address, gateway.host());
        clients.spawn(async move {
            let texts: Vec<String> = (0..LIST).map(|text| format!("bulk {list}, {text}")).collect();
            let exchange = Exchange::embed(Api::Openai, &host, MODEL, &texts);
            let mut connection = Connection::open(address).await.map_err(|error| error.to_string())?;
            let answer = connection.ask(exchange.bytes()).await.map_err(|error| error.to_string())?;
            let (status, body) = (answer.status, answer.body.to_vec());
            // Made only now, because those of all lists together are half a gigabyte; and on
            // another thread, because questions are being timed on this one.
            let check = move || exchange.wanting(Api::Openai, texts::vectors(&texts)).accepts(&body);
            let accepted = tokio::task::spawn_blocking(check).await.map_err(|error| error.to_string())?;
            if status == 200 && accepted {
                return Ok(());
            }
            Err(format!("a list got status {status} or another text's vector"))
        });
    }
    clients
}

/// Waits until all lists are accepted, and returns how many of their texts wait then.
async fn all_waiting(gateway: &Server, bulk: &mut Bulk) -> Result<f64, String> {
    let since = Instant::now();
    loop {
        only_done(bulk)?;
        let waiting = queued(gateway).await?;
        // Some are under way already, and some were embedded.
        if (N_LISTS * LIST) as f64 * 0.98 <= waiting {
            return Ok(waiting);
        }
        if Duration::from_secs(10) < since.elapsed() {
            return Err(format!("only {waiting} bulk texts wait"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many lists are done by now; none may have been refused.
fn only_done(bulk: &mut Bulk) -> Result<usize, String> {
    let mut n_done = 0;
    while let Some(list) = bulk.try_join_next() {
        list.map_err(|error| error.to_string())??;
        n_done += 1;
    }
    Ok(n_done)
}

/// Bulk texts that wait for an upstream.
async fn queued(gateway: &Server) -> Result<f64, String> {
    Ok(gateway.metrics().await?.sum("embergate_queued_texts", "lane=\"bulk\""))
}

/// Asks at moments that nobody can foresee, and returns how long each answer took in milliseconds.
async fn at_random(gateway: &Server, questions: &Source) -> Result<Vec<f64>, String> {
    let idle: Arc<Mutex<Vec<Connection>>> = Arc::default();
    let mut asked = JoinSet::new();
    let mut due = Instant::now();
    for number in 0..N_QUESTIONS {
        due += Duration::from_secs_f64(pause(number) / RATE);
        tokio::time::sleep_until(due.into()).await;
        let (address, question, idle) = (gateway.address, questions(number), idle.clone());
        asked.spawn(async move {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(address).await.map_err(|error| error.to_string())?,
            };
            let answer = connection.ask(question.bytes()).await.map_err(|error| error.to_string())?;
            let took = due.elapsed().as_secs_f64() * 1000.0;
            if answer.status != 200 || !question.accepts(answer.body) {
                return Err(format!("a question got status {} or another text's vector", answer.status));
            }
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(took)
        });
    }
    let mut times = Vec::new();
    while let Some(question) = asked.join_next().await {
        times.push(question.map_err(|error| error.to_string())??);
    }
    Ok(times)
}

/// The pause before each of many events that know nothing of one another, in multiples of
/// their mean: the same ones in every run.
fn pause(number: u64) -> f64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let uniform = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
    -(1.0 - uniform).ln()
}
