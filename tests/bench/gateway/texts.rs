//! Texts to send: the same ones again and again, or never one twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use embergate_load::connection::Connection;
use embergate_load::{Api, Exchange, Source};
use embergate_test_support::ollama::vector;
use tokio::task::JoinSet;

use crate::roles::{DIMENSIONS, MODEL};
use crate::servers::Server;

/// Counts all loads of this run, so that none repeats the texts of another.
static LOADS: AtomicU64 = AtomicU64::new(0);

/// The same `n` requests of one text each, answers checked bit by bit.
pub(crate) fn known(api: Api, host: &str, n: u64) -> Source {
    let exchanges: Vec<Arc<Exchange>> = (0..n)
        .map(|number| {
            let texts = [text(0, number, 0)];
            Arc::new(Exchange::embed(api, host, MODEL, &texts).wanting(api, vectors(&texts)))
        })
        .collect();
    Arc::new(move |number| exchanges[(number % n) as usize].clone())
}

/// The same request again and again, answers checked bit by bit.
pub(crate) fn same(api: Api, host: &str) -> Source {
    let texts = [first()];
    let exchange = Arc::new(Exchange::embed(api, host, MODEL, &texts).wanting(api, vectors(&texts)));
    Arc::new(move |_| exchange.clone())
}

/// The first of the texts that are known.
pub(crate) fn first() -> String {
    text(0, 0, 0)
}

/// `n_texts` in each request, none of which was ever sent before.
pub(crate) fn fresh(api: Api, host: &str, n_texts: u64) -> Source {
    let (load, host) = (1 + LOADS.fetch_add(1, Ordering::Relaxed), host.to_owned());
    Arc::new(move |number| Arc::new(Exchange::embed(api, &host, MODEL, &request(load, number, n_texts))))
}

/// The same, with every vector of every answer checked.
pub(crate) fn fresh_and_checked(api: Api, host: &str, n_texts: u64) -> Source {
    let (load, host) = (1 + LOADS.fetch_add(1, Ordering::Relaxed), host.to_owned());
    Arc::new(move |number| {
        let texts = request(load, number, n_texts);
        Arc::new(Exchange::embed(api, &host, MODEL, &texts).wanting(api, vectors(&texts)))
    })
}

/// Lists of ten and single texts, one to three, none of which was ever sent before; checked.
pub(crate) fn mixed_and_checked(host: &str) -> Source {
    let (one, ten) = (fresh_and_checked(Api::Openai, host, 1), fresh_and_checked(Api::Openai, host, 10));
    Arc::new(move |number| if number % 4 == 0 { ten(number) } else { one(number) })
}

/// Everything that clients send, right and wrong, in both APIs; checked.
pub(crate) fn mixed_forms(host: &str) -> Source {
    let apis = [Api::Openai, Api::OpenaiFloats, Api::Ollama];
    let known = apis.map(|api| known(api, host, 200));
    let one = apis.map(|api| fresh_and_checked(api, host, 1));
    let half = apis.map(|api| half_known(api, host));
    let many = fresh_and_checked(Api::Openai, host, 256);
    let missing = Exchange::embed(Api::Openai, host, "no-such-model", &["text"]).expecting(404);
    let broken = Exchange::post(host, "/v1/embeddings", "{\"model\":").expecting(400);
    let (missing, broken) = (Arc::new(missing), Arc::new(broken));
    Arc::new(move |number| {
        let api = (number / 16 % 3) as usize;
        match number % 16 {
            0..=4 => known[api](number),
            5..=9 => one[api](number),
            10..=12 => half[api](number),
            13 => many(number),
            14 => missing.clone(),
            _ => broken.clone(),
        }
    })
}

/// Lists of 40 texts: known ones and new ones by turns.
fn half_known(api: Api, host: &str) -> Source {
    let (load, host) = (1 + LOADS.fetch_add(1, Ordering::Relaxed), host.to_owned());
    Arc::new(move |number| {
        let one = |at| if at % 2 == 0 { text(0, (number + at) % 200, 0) } else { text(load, number, at) };
        let texts: Vec<String> = (0..40).map(one).collect();
        Arc::new(Exchange::embed(api, &host, MODEL, &texts).wanting(api, vectors(&texts)))
    })
}

/// Sends the first `n` requests of `source` once each, over some connections; all must be answered well.
pub(crate) async fn send_each(
    server: &Server,
    source: &Source,
    n: u64,
    connections: usize,
) -> Result<(), String> {
    let numbers = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (address, source, numbers) = (server.address, source.clone(), numbers.clone());
        clients.spawn(async move {
            let mut connection = Connection::open(address).await.map_err(|error| error.to_string())?;
            loop {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if n <= number {
                    return Ok::<_, String>(());
                }
                let exchange = source(number);
                let answer = connection.ask(exchange.bytes()).await.map_err(|error| error.to_string())?;
                if answer.status != 200 || !exchange.accepts(answer.body) {
                    return Err(format!("a request got status {} or another text's vector", answer.status));
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// What a simulator gives for `texts`.
pub(crate) fn vectors(texts: &[String]) -> Vec<Vec<f32>> {
    texts.iter().map(|text| vector(MODEL, text, DIMENSIONS)).collect()
}

fn request(load: u64, number: u64, n_texts: u64) -> Vec<String> {
    (0..n_texts).map(|at| text(load, number, at)).collect()
}

fn text(load: u64, number: u64, at: u64) -> String {
    format!("load {load}, request {number}, text {at}: kelp grows fast in cold water")
}
