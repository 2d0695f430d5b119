//! What a plugin costs beside the same work done natively.
//!
//! Goals: a warm call on a text of 200 bytes at most 4 times its native code; 64 texts of
//! 1 KB in one call at least 0.35 times as fast; a loop over 1 MiB that is metered at least
//! half as fast as one that is not; `recursive` on 1 MiB at least a third as fast as
//! tokenizing it once.
//!
//! The guest that loops is built by `tests/guests/build.sh`.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use embergate::document::Document;
use embergate::model::{ModelName, Purpose};
use embergate::plugin::{Call, Config, Isolation, Limits, Metering, Plugin, Plugins};
use embergate::tokenizer::Tokenizer;
use embergate_unicode::clean::clean;
use embergate_unicode::options::Options;
use tokio::runtime::Runtime;

const TOKENIZER: &[u8] = include_bytes!("../../model/tokenizer.json");

/// Text with a decomposed letter and a soft hyphen in every sentence.
const SENTENCE: &str = "The holdfast of a kelp is no root: it only holds on, and the cafe\u{301} by the har\u{ad}bour sells its pictures. ";

fn plugins(runtime: &Runtime) -> Plugins {
    runtime.block_on(Plugins::load(&Config::default(), &[])).expect("the bundled plugins load")
}

/// The first-party plugins as `config` has them.
fn unicode(runtime: &Runtime, config: &Config) -> Arc<Plugin> {
    let plugins = runtime.block_on(Plugins::load(config, &[])).expect("the bundled plugins load");
    plugins.preprocessor("unicode").expect("it is bundled")
}

/// The guest of `tests/guests` that does as a text tells it.
fn obedient(runtime: &Runtime, metering: Metering) -> Arc<Plugin> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let limits = Limits { fuel: u64::MAX, ..Limits::default() };
    let config = Config { dir: target.join("guests"), metering, limits, ..Config::default() };
    let plugins = runtime.block_on(Plugins::load(&config, &[])).expect("the plugins load");
    plugins.preprocessor("hostile").expect("run tests/guests/build.sh first")
}

const METERINGS: [(&str, Metering); 3] =
    [("epoch", Metering::Epoch), ("fuel", Metering::Fuel), ("unmetered", Metering::None)];

/// Runs the plugin again and again, with one entry into the runtime for all calls, as in a server.
fn bench_calls(bench: &mut Bencher<'_>, runtime: &Runtime, plugin: &Plugin, documents: &[Document]) {
    let call = call();
    bench.iter_custom(|n| {
        runtime.block_on(async {
            let started = std::time::Instant::now();
            for _ in 0..n {
                black_box(plugin.process(&call, documents).await.expect("an answer"));
            }
            started.elapsed()
        })
    });
}

fn call() -> Call {
    Call {
        model: ModelName::new("static-embed-en-256").expect("a name"),
        purpose: Purpose::Document,
        max_tokens: 400,
        tokenizer: Arc::new(Tokenizer::from_bytes("the embedded model", TOKENIZER).expect("a tokenizer")),
        language: None,
        embedder: None,
    }
}

/// `piece` again and again, up to `n_bytes`.
fn document(piece: &str, n_bytes: usize) -> Document {
    let mut text = piece.repeat(n_bytes / piece.len() + 1);
    text.truncate(text.floor_char_boundary(n_bytes));
    Document { id: "bench.txt".into(), media_type: "text/plain".into(), text, metadata: Vec::new() }
}

/// The texts of the example corpus, English and Turkish, one after another.
fn prose() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/corpus");
    let mut folders = vec![folder];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the example corpus") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let is_text = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md" || ending == "txt");
    files.iter().filter(|path| is_text(path)).map(|path| fs::read_to_string(path).expect("a text")).collect()
}

fn a_short_text(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let documents = [document(SENTENCE, 200)];
    let mut group = criterion.benchmark_group("unicode, 200 bytes");
    group.bench_function("native", |bench| {
        bench.iter(|| clean(black_box(&documents[0].text), Options::default()));
    });
    for (name, metering) in METERINGS {
        let plugin = unicode(&runtime, &Config { metering, ..Config::default() });
        group.bench_function(format!("plugin, {name}"), |bench| {
            bench_calls(bench, &runtime, &plugin, &documents);
        });
    }
    let plugin = unicode(&runtime, &Config { isolation: Isolation::PerCall, ..Config::default() });
    group.bench_function("plugin, an instance for each call", |bench| {
        bench_calls(bench, &runtime, &plugin, &documents);
    });
    group.finish();
}

fn a_batch(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let documents = vec![document(SENTENCE, 1_024); 64];
    let mut group = criterion.benchmark_group("unicode, 64 texts of 1 KB");
    group.throughput(Throughput::Bytes(64 << 10));
    group.bench_function("native", |bench| {
        bench.iter(|| -> Vec<_> {
            documents.iter().map(|document| clean(black_box(&document.text), Options::default())).collect()
        });
    });
    let plugin = unicode(&runtime, &Config::default());
    group.bench_function("plugin", |bench| bench_calls(bench, &runtime, &plugin, &documents));
    group.finish();
}

/// What the guest does with a text that begins with `sum `.
fn sum(text: &str) -> String {
    text.bytes().fold(0, |sum: u64, byte| sum.rotate_left(5) ^ u64::from(byte)).to_string()
}

fn a_loop(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let documents = [document("sum of all that there is ", 1 << 20)];
    let mut group = criterion.benchmark_group("loop over 1 MiB");
    group.sample_size(20).throughput(Throughput::Bytes(1 << 20));
    group.bench_function("native", |bench| bench.iter(|| sum(black_box(&documents[0].text))));
    for (name, metering) in METERINGS {
        let plugin = obedient(&runtime, metering);
        group.bench_function(format!("plugin, {name}"), |bench| {
            bench_calls(bench, &runtime, &plugin, &documents);
        });
    }
    group.finish();
}

fn a_large_text(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let recursive = plugins(&runtime).chunker("recursive").expect("it is bundled");
    let plain = tokenizers::Tokenizer::from_bytes(TOKENIZER).expect("a tokenizer");
    let (call, documents) = (call(), [document(&prose(), 1 << 20)]);
    let mut group = criterion.benchmark_group("recursive, 1 MiB");
    group.sample_size(10).throughput(Throughput::Bytes(1 << 20));
    group.bench_function("plain tokenization", |bench| {
        bench.iter(|| plain.encode(black_box(documents[0].text.as_str()), false).expect("tokens"));
    });
    group.bench_function("remembered words", |bench| {
        bench.iter(|| call.tokenizer.ends(black_box(&documents[0].text)));
    });
    group.bench_function("plugin", |bench| {
        bench.iter(|| runtime.block_on(recursive.split(&call, &documents)).expect("an answer"));
    });
    group.finish();
}

criterion_group!(benches, a_short_text, a_batch, a_loop, a_large_text);
criterion_main!(benches);
