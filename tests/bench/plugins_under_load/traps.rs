//! Calls that trap, each followed by one that does not, and what is left of them.

use std::time::{Duration, Instant};

use embergate_load::Load;
use embergate_load::questions::questions;
use embergate_load::table::{Goal, Run, Subject};

use crate::PATIENCE;
use crate::desk::{Desked, PLAIN, ask, obedient};

pub(crate) const LINES: [Subject; 2] = [
    Subject {
        name: "traps-next",
        what: "calls after a trap that fail",
        against: "",
        goal: Goal::AtMost(0.0),
        how: "10,000 calls trap, and each is followed by one that has to have the vector of its text.",
    },
    Subject {
        name: "traps-memory",
        what: "resident memory after 10,000 traps",
        against: "that after 1,000",
        goal: Goal::AtMost(1.01),
        how: "The median of five looks, each after a hundred traps more.",
    },
];

const WARM_UP: Duration = Duration::from_secs(10);
const N_TRAPS: usize = 10_000;
const EARLY: usize = 1_000;
/// Looks at the memory, and the traps between two of them.
const N_LOOKS: usize = 5;
const APART: usize = 100;
const MIB: f64 = (1 << 20) as f64;

/// What the process has at one moment.
struct Seen {
    resident: f64,
    threads: u64,
    files: u64,
}

pub(crate) async fn measure() -> Result<Vec<Run>, String> {
    let tables = "[cache]\nmax_bytes = 0\n[plugins]\nwatch = false\n[plugins.breaker]\nmax_failures = 0\n";
    let gateway = Desked::start(&[("hostile", &obedient())], &[("trapping", "hostile")], tables);
    let texts: Vec<String> = (0..N_TRAPS).map(|number| format!("kelp {number}")).collect();
    let mut want = Vec::new();
    for some in texts.chunks(500) {
        want.extend(gateway.vectors(PLAIN, some).await?);
    }
    // What the gateway keeps of any requests is there before the first look.
    let load = Load { address: gateway.address, connections: 8, duration: WARM_UP, patience: PATIENCE };
    let warm = load.closed(&questions(gateway.address, "trapping").await).await;
    if 0 < warm.failed() {
        return Err(format!("requests without a trap failed: {warm}"));
    }
    let trap = gateway.request("trapping", "trap");
    let mut connection = gateway.connect().await?;
    let (mut n_failed, mut early, mut late) = (0, Vec::new(), Vec::new());
    let begun = Instant::now();
    for (number, (text, vector)) in texts.iter().zip(want).enumerate() {
        let trapped = ask(&mut connection, &trap).await?;
        let (message, code) = trapped.error();
        if (trapped.status, code.as_str()) != (500, "plugin_failed")
            || !message.contains(" trapped in `process`")
        {
            return Err(format!("a call that traps was answered {}: {message}", trapped.status));
        }
        let next = gateway.request("trapping", text);
        let said = ask(&mut connection, &next).await?;
        let is_right = embergate_load::exchange::numbers(&said.body).is_some_and(|got| got == [vector]);
        n_failed += usize::from(said.status != 200 || !is_right);
        let n_traps = number + 1;
        if n_traps.is_multiple_of(APART) {
            for (last, seen) in [(EARLY, &mut early), (N_TRAPS, &mut late)] {
                if (last - (N_LOOKS - 1) * APART..=last).contains(&n_traps) {
                    // As whoever collects metrics does it now and then, for whom samples are kept.
                    gateway.metrics().await?;
                    seen.push(look(&gateway));
                }
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let counted = gateway.metrics().await?.sum("embergate_plugin_failures_total", "class=\"trapped\"");
    if counted != N_TRAPS as f64 {
        return Err(format!("{counted} calls trapped where {N_TRAPS} should have"));
    }
    let next =
        Run::new(n_failed as f64).with("traps", counted, "").with("traps a second", counted / seconds, "");
    let (early, late) = (median(early), median(late));
    let memory = Run::new(late.resident / early.resident)
        .with("resident after 1,000", early.resident / MIB, "MiB")
        .with("resident after 10,000", late.resident / MIB, "MiB")
        .with("threads after 1,000", early.threads as f64, "")
        .with("threads after 10,000", late.threads as f64, "")
        .with("open files after 1,000", early.files as f64, "")
        .with("open files after 10,000", late.files as f64, "");
    Ok(vec![next, memory])
}

fn look(gateway: &Desked) -> Seen {
    let process = gateway.process;
    Seen { resident: process.resident() as f64, threads: process.threads(), files: process.open_files() }
}

/// The look with the median of memory.
fn median(mut seen: Vec<Seen>) -> Seen {
    seen.sort_by(|a, b| a.resident.total_cmp(&b.resident));
    seen.swap_remove(seen.len() / 2)
}
