//! A minute of mixed load through the built binary while three upstreams fail in every
//! way, one after the other and together: every vector of every answer is checked bit
//! by bit, and at the end nothing is left of what went wrong.
//!
//! `EMBERGATE_SOAK_SECONDS` makes it longer or shorter, `EMBERGATE_SOAK_SEED` makes other
//! requests and other weather of the same kinds.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod answer;
mod chance;
mod client;
mod gateway;
mod request;
mod tally;
mod weather;

use std::sync::Arc;
use std::time::{Duration, Instant};

use embergate_test_support::ollama::{Fault, OllamaSim};
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::gateway::Soaked;
use crate::tally::Tally;

const MODEL: &str = "sim-embed";
const DIMENSIONS: usize = 64;
const N_UPSTREAMS: usize = 3;
const N_CLIENTS: u64 = 8;
/// How long the weather stays as it is.
const PERIOD: Duration = Duration::from_secs(2);
/// Crashes whoever embeds it.
const POISON: &str = "a text that crashes whoever embeds it";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vector_is_right_while_upstreams_come_and_go() {
    let (seconds, seed) = (setting("EMBERGATE_SOAK_SECONDS", 60), setting("EMBERGATE_SOAK_SEED", 1));
    let sims = upstreams().await;
    let soaked = Soaked::start(&sims);
    let end = Instant::now() + Duration::from_secs(seconds);
    let tally = Arc::new(Tally::default());
    let mut clients = JoinSet::new();
    for number in 0..N_CLIENTS {
        let chance = Chance::new(seed).branch(number);
        clients.spawn(client::ask_until(end, soaked.address(), chance, tally.clone()));
    }
    weather::change_until(end, &sims, &mut Chance::new(seed), tally.shelter()).await;
    while let Some(client) = clients.join_next().await {
        // A wrong vector has panicked there, with all that is to be known of it.
        client.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    for sim in &sims {
        weather::clear(sim);
    }
    soaked.until_all_is_well().await;
    soaked.until_nothing_is_left(&sims).await;
    soaked.has_bounded_memory();
    soaked.has_not_panicked();
    tally.tell();
    tally.has_seen_all_kinds();
    tally.answers_nearly_all_while_one_is_well();
}

async fn upstreams() -> Vec<OllamaSim> {
    let mut sims = Vec::new();
    for _ in 0..N_UPSTREAMS {
        let sim = OllamaSim::start(&[(MODEL, DIMENSIONS)]).await;
        sim.forget_calls();
        sim.fail_on(POISON, Fault::crash());
        sims.push(sim);
    }
    sims
}

/// A whole number from the environment.
fn setting(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => {
            value.parse().unwrap_or_else(|_| panic!("{name} is `{value}`, which is no whole number"))
        }
        Err(_) => usual,
    }
}
