//! A simulated Ollama as a process of its own, for benchmarks.
//!
//! ```text
//! ollama-sim [--port N] [--model NAME] [--dimensions N] [--call-ms N] [--text-ms N]
//!            [--fail-every N] [--crash-on TEXT]
//! ```
//! Prints its address, and ends when its standard input does, so that none
//! outlives the benchmark that started it.

#![expect(clippy::print_stdout, reason = "whoever starts it reads its address there")]

use std::time::Duration;

use embergate_test_support::ollama::{Fault, OllamaSim, Pace};
use tokio::io::AsyncReadExt;

struct Arguments {
    port: u16,
    model: String,
    dimensions: usize,
    pace: Pace,
    fail_every: Option<usize>,
    crash_on: Option<String>,
}

impl Arguments {
    /// # Errors
    /// Names the argument that is wrong.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            port: 0,
            model: "bench-embed".to_owned(),
            dimensions: 1024,
            pace: Pace::default(),
            fail_every: None,
            crash_on: None,
        };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("`{name}` needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("`{name} {value}` is no whole number"));
            match name.as_str() {
                "--port" => arguments.port = value.parse().map_err(|_| format!("`{value}` is no port"))?,
                "--model" => arguments.model = value,
                "--dimensions" => arguments.dimensions = number()? as usize,
                "--call-ms" => arguments.pace.call = Duration::from_millis(number()?),
                "--text-ms" => arguments.pace.text = Duration::from_millis(number()?),
                "--fail-every" => arguments.fail_every = Some(number()?.max(1) as usize),
                "--crash-on" => arguments.crash_on = Some(value),
                _ => return Err(format!("there is no `{name}`")),
            }
        }
        Ok(arguments)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let sim = OllamaSim::start_at(arguments.port, &[(&arguments.model, arguments.dimensions)]).await;
    sim.forget_calls();
    sim.set_pace(arguments.pace);
    if let Some(every) = arguments.fail_every {
        sim.fail_every(every, Fault::crash());
    }
    if let Some(text) = &arguments.crash_on {
        sim.fail_on(text, Fault::crash());
    }
    println!("{}", sim.url());
    let mut nothing = Vec::new();
    // Whatever ends the input ends the simulator.
    tokio::io::stdin().read_to_end(&mut nothing).await.map_err(|error| error.to_string())?;
    Ok(())
}
