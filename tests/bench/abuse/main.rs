//! What normal clients notice while others abuse the gateway: `cargo bench --bench abuse`.
//!
//! Goal: at a quarter of what the gateway can do, the 99th percentile of normal
//! requests at most doubles under each abuse, none of them fails, and memory stays
//! within what the configuration allows.
//! Names choose abuses: `cargo bench --bench abuse -- slow-heads idle`.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod attacker;
mod attacks;
mod gateway;
mod resets;
mod table;

use std::time::Duration;

use embergate_load::questions::questions;
use embergate_load::{Load, Report, Source};
use serde::Serialize;

use attacker::{Attacker, Done};
use attacks::{ATTACKS, Attack};
use gateway::{Gateway, MODEL};

/// Connections of the normal clients.
const CONNECTIONS: usize = 32;
/// Of what the gateway can do, what normal clients ask for.
const SHARE: f64 = 0.25;
const WARM_UP: Duration = Duration::from_secs(1);
const CAPACITY: Duration = Duration::from_secs(4);
/// Of each measurement, with an abuse and without.
const MEASURED: Duration = Duration::from_secs(5);
/// Between an abuse and what is measured next.
const REST: Duration = Duration::from_secs(1);
/// How long a normal client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything that was measured.
#[derive(Serialize)]
struct Measured {
    capacity_per_second: f64,
    normal_per_second: f64,
    idle_memory_bytes: u64,
    abuses: Vec<Abuse>,
}

/// One abuse, and what it did.
#[derive(Serialize)]
struct Abuse {
    name: &'static str,
    what: &'static str,
    without: Report,
    under: Report,
    ratio: f64,
    /// The most that was resident while the abuse went on.
    memory_bytes: u64,
    /// The most that may be: what was resident before, and what is configured for requests.
    memory_bound_bytes: u64,
    /// Lines beyond one for each normal request.
    log_lines: u64,
    done: Done,
}

impl Abuse {
    /// Whether the goal was met.
    fn is_withstood(&self) -> bool {
        self.ratio <= 2.0 && self.under.failed() == 0 && self.memory_bytes <= self.memory_bound_bytes
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [attacker::COMMAND, name, address] => runtime.block_on(attacker::attack(name, address)),
        ref names => runtime.block_on(measure(names)),
    }
}

async fn measure(names: &[&str]) {
    if let Some(unknown) = names.iter().find(|name| attacks::find(name).is_none()) {
        let known: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
        println!("there is no abuse `{unknown}`: choose from {}", known.join(", "));
        std::process::exit(2);
    }
    let gateway = Gateway::start();
    // Nothing is cached, so each is embedded every time.
    let normal = questions(gateway.address, MODEL).await;
    load(&gateway, WARM_UP).closed(&normal).await;
    let capacity = load(&gateway, CAPACITY).closed(&normal).await;
    let rate = capacity.per_second * SHARE;
    println!(
        "capacity {:.0} requests a second, {} failed; normal clients ask for {rate:.0}\n",
        capacity.per_second,
        capacity.failed()
    );
    let mut measured = Measured {
        capacity_per_second: capacity.per_second,
        normal_per_second: rate,
        idle_memory_bytes: gateway.process.most_resident(),
        abuses: Vec::new(),
    };
    let memory_bound_bytes = measured.idle_memory_bytes + gateway::MEMORY;
    println!("{}", table::HEAD);
    for attack in ATTACKS.iter().filter(|attack| names.is_empty() || names.contains(&attack.name)) {
        let abuse = under(&gateway, &normal, rate, memory_bound_bytes, attack).await;
        println!("{}", table::row(&abuse));
        measured.abuses.push(abuse);
    }
    println!("\n{}", table::noise(&measured.abuses));
    println!(
        "without abuse, the gateway has {} MiB resident; it may have {} MiB\n",
        measured.idle_memory_bytes >> 20,
        memory_bound_bytes >> 20
    );
    measured.abuses.iter().for_each(|abuse| println!("{:<14} {}; {}", abuse.name, abuse.what, abuse.done));
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/abuse.json");
    let json = serde_json::to_vec_pretty(&measured).expect("figures can be written");
    std::fs::write(path, json).expect("the folder for temporary files can be written to");
    println!("\nall figures: {path}");
}

async fn under(
    gateway: &Gateway,
    normal: &Source,
    rate: f64,
    memory_bound_bytes: u64,
    attack: &'static Attack,
) -> Abuse {
    let without = load(gateway, MEASURED).open(normal, rate).await;
    gateway.process.forget_most_resident();
    let lines = gateway.log_lines();
    let attacker = Attacker::start(attack.name, gateway.address);
    let under = load(gateway, MEASURED).open(normal, rate).await;
    let memory_bytes = gateway.process.most_resident();
    let done = attacker.stop();
    tokio::time::sleep(REST).await;
    let ratio = under.p99_ms / without.p99_ms;
    let log_lines = gateway.log_lines().saturating_sub(lines + under.requests);
    Abuse {
        name: attack.name,
        what: attack.what,
        without,
        under,
        ratio,
        memory_bytes,
        memory_bound_bytes,
        log_lines,
        done,
    }
}

fn load(gateway: &Gateway, duration: Duration) -> Load {
    Load { address: gateway.address, connections: CONNECTIONS, duration, patience: PATIENCE }
}
