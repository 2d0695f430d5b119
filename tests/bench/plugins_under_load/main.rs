//! What plugins that misbehave, and files of plugins that change, cost everybody else:
//! `cargo bench --bench plugins_under_load`.
//!
//! Goals: a runaway call is stopped within its deadline and two ticks of the plugins' clock (2 ms),
//! and the 99th percentile of other requests, at a quarter of what the gateway can do, at most
//! doubles meanwhile; the call after a trap succeeds, and 10,000 traps leave memory where it was;
//! no request fails while a plugin is replaced ten times a second.
//! Names choose scenes: `cargo bench --bench plugins_under_load -- runaway traps`.
//! `tests/guests/build.sh` builds the guest that does as a text tells it.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod desk;
mod runaway;
mod swap;
mod traps;

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use embergate_load::table::{Line, Run, Subject, Taken};

/// One figure for each line of a scene.
type Measuring = Pin<Box<dyn Future<Output = Result<Vec<Run>, String>>>>;

/// Lines that are measured together.
struct Scene {
    name: &'static str,
    lines: &'static [Subject],
    /// How often they are taken.
    times: usize,
    run: fn() -> Measuring,
}

const SCENES: &[Scene] = &[
    Scene { name: "runaway", lines: &runaway::ONE, times: 5, run: || Box::pin(runaway::measure(1)) },
    Scene { name: "runaways", lines: &runaway::TWO, times: 5, run: || Box::pin(runaway::measure(2)) },
    Scene { name: "traps", lines: &traps::LINES, times: 1, run: || Box::pin(traps::measure()) },
    Scene { name: "swap", lines: &swap::LINES, times: 1, run: || Box::pin(swap::measure()) },
];

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = names.iter().find(|name| SCENES.iter().all(|scene| scene.name != **name)) {
        let known: Vec<_> = SCENES.iter().map(|scene| scene.name).collect();
        println!("there is no scene `{unknown}`: choose from {}", known.join(", "));
        std::process::exit(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut lines = Vec::new();
    for scene in SCENES.iter().filter(|scene| names.is_empty() || names.iter().any(|name| name == scene.name))
    {
        let taken = runtime.block_on(take(scene));
        taken.iter().for_each(|line| println!("{line}\n"));
        lines.extend(taken);
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins_under_load.json");
    let json = serde_json::to_vec_pretty(&lines).expect("figures can be written");
    std::fs::write(&path, json).expect("the folder for temporary files can be written to");
    println!("all figures: {}", path.display());
}

async fn take(scene: &Scene) -> Vec<Line> {
    let taken = Taken::of(Path::new(env!("CARGO_BIN_EXE_embergate")));
    let mut lines: Vec<Line> = scene.lines.iter().map(|subject| Line::new(subject, taken.clone())).collect();
    for _ in 0..scene.times {
        match (scene.run)().await {
            Ok(runs) => lines.iter_mut().zip(runs).for_each(|(line, run)| line.runs.push(run)),
            Err(reason) => {
                lines.iter_mut().for_each(|line| line.failure = Some(reason.clone()));
                break;
            }
        }
    }
    lines
}
