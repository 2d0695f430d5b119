//! What the language costs that a plugin is written in: `cargo bench --bench languages`.
//!
//! One plugin, in Rust, Python and JavaScript: a call on a text of 200 bytes by a warm instance
//! and by one made for it; and what compiling its code takes beside loading it compiled. Goal: a
//! load takes at most 1 % of the compilation. The plugins are built by
//! `tests/bench/languages/build.sh`; other components of the same behaviour in
//! `target/languages` are measured with them, and what is not there is said and left out.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod calls;
mod loads;

use std::path::{Path, PathBuf};

use criterion::{criterion_group, criterion_main};

const LANGUAGES: [&str; 3] = ["rust", "python", "javascript"];
const BUILD: &str = "tests/bench/languages/build.sh";

/// Where the plugins are.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    target.join("languages")
}

/// The languages that there is a plugin in, those that are asked for first.
fn languages() -> Vec<String> {
    let mut names: Vec<String> = LANGUAGES.map(str::to_owned).into();
    for entry in std::fs::read_dir(folder()).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|ending| ending == "wasm") && !names.contains(&name) {
            names.push(name);
        }
    }
    names.retain(|name| {
        let is_there = file(name).is_file();
        if !is_there {
            println!("{name}: skipped, because there is no {}: run {BUILD} {name}", file(name).display());
        }
        is_there
    });
    names
}

fn file(language: &str) -> PathBuf {
    folder().join(format!("{language}.wasm"))
}

criterion_group!(benches, calls::a_short_text, loads::a_load);
criterion_main!(benches);
