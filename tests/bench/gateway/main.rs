//! The gateway against what it stands beside: `cargo bench --bench gateway`.
//!
//! Every figure is a ratio of two things measured in the same run, or a count.
//! Each is taken three times, and the median is what is told. Names choose
//! lines: `cargo bench --bench gateway -- hits list`.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod paper;
mod plot;
mod roles;
mod scenes;
mod servers;
mod texts;

use std::pin::Pin;

use embergate_load::Api;

use paper::{Goal, Line};

/// Times that each figure is taken.
const RUNS: usize = 3;

type Figure = Pin<Box<dyn Future<Output = Result<f64, String>>>>;

/// A line of the table before it is measured.
struct Scene {
    name: &'static str,
    what: &'static str,
    against: &'static str,
    goal: Goal,
    run: fn() -> Figure,
}

const SCENES: &[Scene] = &[
    Scene {
        name: "hits",
        what: "cache hits, one text, base64, 32 connections",
        against: "requests a second of a bare hyper server whose answer is ready",
        goal: Goal::AtLeast(0.7),
        run: || Box::pin(scenes::hits(Api::Openai)),
    },
    Scene {
        name: "hits-float",
        what: "the same, float JSON",
        against: "the same",
        goal: Goal::AtLeast(0.8),
        run: || Box::pin(scenes::hits(Api::OpenaiFloats)),
    },
    Scene {
        name: "miss-latency",
        what: "misses, one connection: median time",
        against: "the simulator asked directly",
        goal: Goal::AtMost(1.9),
        run: || Box::pin(scenes::miss_latency()),
    },
    Scene {
        name: "miss-throughput",
        what: "misses, 32 connections, simulator without delay",
        against: "nginx passing the same requests through",
        goal: Goal::AtLeast(1.0),
        run: || Box::pin(scenes::miss_throughput()),
    },
    Scene {
        name: "fleet",
        what: "64 clients with single texts, 4 upstreams of 5 ms a call and 10 ms a text",
        against: "the sum of what the four can do",
        goal: Goal::AtLeast(0.95),
        run: || Box::pin(scenes::fleet(1)),
    },
    Scene {
        name: "fleet-uneven",
        what: "the same, one of the four ten times slower",
        against: "the sum of what they can do",
        goal: Goal::AtLeast(0.9),
        run: || Box::pin(scenes::fleet(10)),
    },
    Scene {
        name: "list",
        what: "one list of 400 texts over 4 such upstreams",
        against: "the same over one",
        goal: Goal::AtLeast(3.8),
        run: || Box::pin(scenes::list()),
    },
    Scene {
        name: "identical",
        what: "200 identical requests at once: texts sent upstream",
        against: "",
        goal: Goal::AtMost(1.0),
        run: || Box::pin(scenes::identical()),
    },
    Scene {
        name: "killed",
        what: "one of two upstreams killed under load: requests that failed or got a wrong vector",
        against: "",
        goal: Goal::AtMost(0.0),
        run: || Box::pin(scenes::killed()),
    },
    Scene {
        name: "flaky",
        what: "one of two upstreams failing one call in five: requests that failed or got a wrong vector",
        against: "",
        goal: Goal::AtMost(0.0),
        run: || Box::pin(scenes::flaky()),
    },
    Scene {
        name: "poison",
        what: "a text that crashes its runner, among 10,000: errors",
        against: "",
        goal: Goal::AtMost(1.0),
        run: || Box::pin(scenes::poison()),
    },
    Scene {
        name: "interactive",
        what: "p99 of single questions while 100,000 bulk texts wait, 2 such upstreams",
        against: "own service time and one slice of 50 ms",
        goal: Goal::AtMost(1.5),
        run: || Box::pin(scenes::interactive()),
    },
    Scene {
        name: "litellm-hits",
        what: "cache hits, float JSON, 32 connections",
        against: "LiteLLM's requests a second",
        goal: Goal::AtLeast(50.0),
        run: || Box::pin(async { scenes::litellm(true).await.map(|(requests, _)| requests) }),
    },
    Scene {
        name: "litellm-misses",
        what: "misses, float JSON, 32 connections",
        against: "LiteLLM's requests a second",
        goal: Goal::AtLeast(50.0),
        run: || Box::pin(async { scenes::litellm(false).await.map(|(requests, _)| requests) }),
    },
    Scene {
        name: "litellm-memory",
        what: "resident memory after cache hits",
        against: "LiteLLM's",
        goal: Goal::AtMost(0.1),
        run: || Box::pin(async { scenes::litellm(true).await.map(|(_, memory)| memory) }),
    },
    Scene {
        name: "pattern",
        what: "misses, 64 clients, 4 upstreams of 5 ms a call and 10 ms a text",
        against: "a blocking client that asks one of them for one text at a time",
        goal: Goal::AtLeast(3.8),
        run: || Box::pin(scenes::pattern()),
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = |builder: &mut tokio::runtime::Builder| builder.enable_all().build().expect("a runtime");
    match arguments[..] {
        [roles::SIMULATOR, ref behaviour @ ..] => {
            runtime(&mut tokio::runtime::Builder::new_current_thread()).block_on(roles::simulate(behaviour));
        }
        // As many threads as the gateway has.
        [roles::BARE, form] => {
            runtime(&mut tokio::runtime::Builder::new_multi_thread()).block_on(roles::answer_bare(form));
        }
        ref names => {
            runtime(&mut tokio::runtime::Builder::new_current_thread()).block_on(measure(names));
        }
    }
}

async fn measure(names: &[&str]) {
    if let Some(unknown) = names.iter().find(|name| SCENES.iter().all(|scene| scene.name != **name)) {
        let known: Vec<_> = SCENES.iter().map(|scene| scene.name).collect();
        println!("there is no line `{unknown}`: choose from {}", known.join(", "));
        std::process::exit(2);
    }
    let machine = paper::machine();
    println!("{machine}\n");
    let mut lines = Vec::new();
    for scene in SCENES.iter().filter(|scene| names.is_empty() || names.contains(&scene.name)) {
        let mut line = Line::new(scene.name, scene.what, scene.against, scene.goal);
        for _ in 0..RUNS {
            match (scene.run)().await {
                Ok(figure) => line.runs.push(figure),
                Err(reason) => {
                    line.failure = Some(reason);
                    break;
                }
            }
        }
        println!("{line}");
        lines.push(line);
    }
    match paper::write(&lines, names.is_empty(), &machine) {
        Ok(paths) => println!("\nwritten: {}", paths.join(", ")),
        Err(error) => println!("\ncannot write the figures: {error}"),
    }
}
