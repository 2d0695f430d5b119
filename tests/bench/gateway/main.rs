//! The gateway against what it stands beside: `cargo bench --bench gateway`.
//!
//! Every figure is a ratio of two things measured in the same run, or a count.
//! Each is taken three times, and the median is what is told. Names choose
//! lines: `cargo bench --bench gateway -- hits list`. `page` writes the page about
//! what was taken last, and `--seconds` says how long the line about memory takes.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod circumstances;
mod figures;
mod roles;
mod scenes;
mod servers;
mod side_by_side;
mod texts;

use std::time::Duration;

use embergate_load::table::{Line, Subject, Taken};

use figures::Figures;
use scenes::{SCENES, Scene};

/// Writes the page, and measures nothing.
const PAGE: &str = "page";

/// What the command line says.
struct Options {
    names: Vec<String>,
    memory: Duration,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = |builder: &mut tokio::runtime::Builder| builder.enable_all().build().expect("a runtime");
    match words[..] {
        [roles::SIMULATOR, ref behaviour @ ..] => {
            runtime(&mut tokio::runtime::Builder::new_current_thread()).block_on(roles::simulate(behaviour));
        }
        // As many threads as the gateway has.
        [roles::BARE, path] => {
            runtime(&mut tokio::runtime::Builder::new_multi_thread()).block_on(roles::answer_bare(path));
        }
        [PAGE] => end(write_page(&Figures::read())),
        _ => match Options::new(arguments) {
            Ok(options) => {
                let runtime = runtime(&mut tokio::runtime::Builder::new_current_thread());
                end(runtime.block_on(measure(&options)));
            }
            Err(reason) => end(Err(reason)),
        },
    }
}

/// Says why it went wrong, where it did.
fn end(result: Result<(), String>) {
    if let Err(reason) = result {
        println!("{reason}");
        std::process::exit(2);
    }
}

impl Options {
    fn new(arguments: Vec<String>) -> Result<Self, String> {
        let mut options = Self { names: Vec::new(), memory: scenes::memory::WHOLE };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--seconds" {
                let seconds = arguments.next().and_then(|word| word.parse().ok());
                let seconds = seconds.filter(|seconds| scenes::memory::SHORTEST <= *seconds);
                let least = scenes::memory::SHORTEST;
                let seconds = seconds.ok_or_else(|| format!("`--seconds` needs a number from {least}"))?;
                options.memory = Duration::from_secs(seconds);
            } else if names().any(|name| name == argument) {
                options.names.push(argument);
            } else {
                let known: Vec<_> = names().collect();
                return Err(format!(
                    "there is no line `{argument}`: choose from {}, or `{PAGE}`",
                    known.join(", ")
                ));
            }
        }
        Ok(options)
    }

    /// Whether any line of `scene` is asked for.
    fn choose(&self, scene: &Scene) -> bool {
        self.names.is_empty()
            || scene.lines.iter().any(|line| self.names.iter().any(|name| name == line.name))
    }
}

/// The names of all lines.
fn names() -> impl Iterator<Item = &'static str> {
    subjects().map(|subject| subject.name)
}

fn subjects() -> impl Iterator<Item = &'static Subject> {
    SCENES.iter().flat_map(|scene| scene.lines)
}

async fn measure(options: &Options) -> Result<(), String> {
    let taken = circumstances::now();
    println!("{}\n{}\n{}\n", taken.machine, taken.gateway, taken.peers);
    println!("load average before: {}\n", taken.load_average);
    for scene in SCENES.iter().filter(|scene| options.choose(scene)) {
        let lines = lines_of(scene, options, &taken).await;
        lines.iter().for_each(|line| println!("{line}"));
        // Now, and not at the end: a run may be stopped.
        Figures::keep(lines)?;
    }
    if options.names.is_empty() {
        return write_page(&Figures::read());
    }
    println!("\nwritten: {}", figures::path().display());
    Ok(())
}

/// Measures `scene` as often as it says.
async fn lines_of(scene: &Scene, options: &Options, taken: &Taken) -> Vec<Line> {
    let mut lines: Vec<Line> = scene.lines.iter().map(|subject| Line::new(subject, taken.clone())).collect();
    for _ in 0..scene.times {
        match (scene.run)(options.memory).await {
            Ok(runs) => lines.iter_mut().zip(runs).for_each(|(line, run)| line.runs.push(run)),
            Err(reason) => {
                lines.iter_mut().for_each(|line| line.failure = Some(reason.clone()));
                break;
            }
        }
    }
    lines
}

/// Writes the page and its picture, unless the figures are of different things.
fn write_page(figures: &Figures) -> Result<(), String> {
    let subjects: Vec<&Subject> = subjects().collect();
    let paths = figures.write_page(&subjects)?;
    println!("\nwritten: {}", paths.join(", "));
    Ok(())
}
