//! Do the features work together, through the real binary? One file for each feature.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod behind;
mod care;
mod collections;
mod config;
mod covered;
mod discovery;
mod failed;
mod files;
mod index;
mod keys;
mod live;
mod log;
mod output;
mod plan;
mod plugin;
mod plugin_errors;
mod qdrant;
mod resume;
mod serve;
mod sources;
mod store;
mod through;
mod transfer;
mod upstream;
mod watch;

use embergate_test_support::binary::Desk;

fn desk() -> Desk {
    Desk::new(env!("CARGO_BIN_EXE_embergate"))
}

/// The plugin that does what each document's text tells it to.
fn built_guest() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into(), std::path::PathBuf::from);
    let path = target.join("guests/hostile.wasm");
    assert!(path.exists(), "`{}` is missing: run tests/guests/build.sh", path.display());
    path
}

/// The guest with one name in it changed for another of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(built_guest()).unwrap();
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty() && from.len() == to.len());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// A small corpus: Markdown, text and HTML, each about something of its own.
fn write_corpus(desk: &Desk) {
    // Sections long enough that each is a chunk of its own.
    let tides = "The harbour gate opens at high tide, twice a day. ".repeat(30);
    let fees = "Mooring costs nine crowns a night, paid to the harbour master. ".repeat(24);
    desk.write("docs/harbour.md", format!("# Harbour\n\n## Tides\n\n{tides}\n\n## Fees\n\n{fees}\n"));
    desk.write(
        "docs/bread.txt",
        "Sourdough bread rises slowly. Feed the starter with rye flour the evening before baking.\n",
    );
    desk.write(
        "docs/stars.html",
        "<html><head><title>Stars</title><script>var x = 1;</script></head><body><h1>Telescopes</h1><p>A telescope with a wide mirror gathers more light from faint galaxies.</p></body></html>",
    );
}
