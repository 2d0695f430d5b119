//! What compiling takes beside loading what was compiled.
//!
//! Loads of the code alone, which is what the two ways differ in, and of the whole plugin: read,
//! checked, linked, started, and tried out by a first call, as `plugin check` does it.

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;
use embergate::plugin::{Code, Config, Plugins};
use embergate::units::ByteSize;
use tokio::runtime::Runtime;

use super::{file, languages};

const TIMES: usize = 15;
/// A load is to take no more of the compilation than this.
const GOAL: f64 = 0.01;

/// Compiling takes seconds: Criterion would have it a hundred times.
pub(crate) fn a_load(_: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    println!(
        "\n{:<16}{:>12}{:>12}{:>8}{:>14}{:>14}",
        "language", "compiling", "loading", "share", "whole, first", "whole, later"
    );
    for language in languages() {
        let cache = tempfile::tempdir().expect("a folder");
        let (Code::Compiled(compiling), first) = load(&runtime, &language, cache.path()) else {
            panic!("the folder of compiled code was empty")
        };
        let (mut loading, mut later) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let (Code::Kept(code), whole) = load(&runtime, &language, cache.path()) else {
                panic!("what was compiled was not kept")
            };
            loading.push(code);
            later.push(whole);
        }
        let (loading, later) = (median(loading), median(later));
        let share = loading.as_secs_f64() / compiling.as_secs_f64();
        let verdict = if share <= GOAL { "" } else { "  missed: 1 % at most" };
        println!(
            "{language:<16}{compiling:>12.1?}{loading:>12.2?}{:>6.2} %{first:>14.1?}{later:>14.2?}{verdict}",
            share * 100.0
        );
    }
}

/// How the code was come by, and how long all of it took.
fn load(runtime: &Runtime, language: &str, cache: &Path) -> (Code, Duration) {
    let config =
        Config { cache_dir: Some(cache.to_owned()), max_compiled: ByteSize::gib(1), ..Config::default() };
    let begun = Instant::now();
    let info = runtime.block_on(Plugins::check(&config, &file(language), &[])).expect("the plugin loads");
    (info.code, begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
