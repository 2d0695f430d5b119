//! Requests whose vectors are all in memory, beside the least that a server can do.

use embergate_load::connection::Connection;
use embergate_load::table::{Goal, Run, Subject};
use embergate_load::{Api, Source};
use embergate_test_support::ollama::OllamaSim;

use crate::roles::{DIMENSIONS, MODEL};
use crate::servers::{self, Server};
use crate::side_by_side::{Asked, WARM_UP, in_turns, load, sound};
use crate::texts;

pub(crate) const BASE64: Subject = Subject {
    name: "hits",
    what: "cache hits, one text, base64, 32 connections",
    against: "requests a second of a bare hyper server whose answer is ready",
    goal: Goal::AtLeast(0.7),
    how: "1,000 texts are embedded once. Then 32 connections ask for them again and again over `/v1/embeddings`, one \
          text in each request, in turns with a bare server: hyper with as many threads as the gateway, which reads \
          each request's body and answers with one body that lies ready. That is the gateway's own answer, so that \
          both send the same number of bytes in it; the gateway's four further headers, such as `x-request-id` and \
          `server-timing`, are its own to pay for. Checked: all answers of both, and that no text reaches the \
          upstream a second time.",
};

pub(crate) const FLOAT: Subject = Subject {
    name: "hits-float",
    what: "the same, float JSON",
    against: "the same",
    goal: Goal::AtLeast(0.8),
    how: "The same with vectors as numbers, some 21 KiB in an answer.",
};

const CONNECTIONS: usize = 32;

pub(crate) async fn measure(api: Api) -> Result<Vec<Run>, String> {
    // In this process, which has nothing to do with it once everything is known.
    let simulator = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
    let gateway = servers::gateway_at(&[simulator.url()], "");
    let known = texts::known(api, &gateway.host(), 1000);
    fill(&simulator, &gateway, &known, 1).await?;
    let n_calls = simulator.batches().len();

    let body = answer(&gateway, &texts::same(api, &gateway.host())).await?;
    let bare = servers::bare(&body);
    let same = texts::same(api, &bare.host());
    let ours = Asked { server: &gateway, checked: known.clone(), measured: known };
    let theirs = Asked { server: &bare, checked: same.clone(), measured: same };
    let (ours, limit) = in_turns(&ours, &theirs, CONNECTIONS).await?;
    if simulator.batches().len() != n_calls {
        return Err("texts that were known were embedded again".to_owned());
    }
    let run = Run::new(ours.per_second / limit.per_second)
        .with("gateway", ours.per_second, "requests/s")
        .with("bare server", limit.per_second, "requests/s")
        .with("gateway, median", ours.p50, "ms")
        .with("bare server, median", limit.p50, "ms")
        .with("body of an answer", body.len() as f64, "bytes");
    Ok(vec![run])
}

/// Asks for what `known` has until none of it reaches the upstream for so many seconds: where
/// a server has several workers, each has to learn it, once it has started.
pub(crate) async fn fill(
    simulator: &OllamaSim,
    server: &Server,
    known: &Source,
    quiet: usize,
) -> Result<(), String> {
    let begun = simulator.batches().len();
    let mut since = 0;
    for _ in 0..90 {
        let before = simulator.batches().len();
        sound(load(server, CONNECTIONS, WARM_UP).closed(known).await)?;
        since = if begun < before && simulator.batches().len() == before { since + 1 } else { 0 };
        if quiet <= since {
            return Ok(());
        }
    }
    Err("texts are embedded again and again: the cache does not hit".to_owned())
}

/// The body of the answer to the first request.
async fn answer(server: &Server, source: &Source) -> Result<Vec<u8>, String> {
    let mut connection = Connection::open(server.address).await.map_err(|error| error.to_string())?;
    let answer = connection.ask(source(0).bytes()).await.map_err(|error| error.to_string())?;
    Ok(answer.body.to_vec())
}
