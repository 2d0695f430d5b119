//! Texts to send: the same ones again and again, or never one twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use embergate_load::{Api, Exchange, Source};
use embergate_test_support::ollama::vector;

use crate::roles::{DIMENSIONS, MODEL};

/// Different texts of a load that comes out of a cache.
const N_KNOWN: u64 = 1000;

/// Counts all loads of this run, so that none repeats the texts of another.
static LOADS: AtomicU64 = AtomicU64::new(0);

/// The same 1,000 requests of one text each, answers checked bit by bit.
pub(crate) fn known(api: Api, host: &str) -> Source {
    let exchanges: Vec<Arc<Exchange>> = (0..N_KNOWN)
        .map(|number| {
            let texts = [text(0, number, 0)];
            Arc::new(Exchange::embed(api, host, MODEL, &texts).wanting(api, vectors(&texts)))
        })
        .collect();
    Arc::new(move |number| exchanges[(number % N_KNOWN) as usize].clone())
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
