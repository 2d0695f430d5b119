//! What a plugin costs beside the same work done natively.
//!
//! When all was measured, a table says how the figures of this run stand to each other,
//! and to the goals.
//! The guest that loops is built by `tests/guests/build.sh`.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group};
use embergate::document::Document;
use embergate::model::{ModelName, Purpose};
use embergate::plugin::segment::{self, segment};
use embergate::plugin::{Call, Config, Isolation, Limits, Metering, Plugin, Plugins};
use embergate::tokenizer::Tokenizer;
use embergate_cut::{Boundary, Span, Text};
use embergate_recursive::recursive;
use embergate_unicode::clean::clean;
use embergate_unicode::options::Options;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

// Groups of measurements.
const SMALL: &str = "unicode, 200 bytes";
const BATCH: &str = "unicode, 64 texts of 1 KB";
const LOOP: &str = "loop over 1 MiB";
const LARGE: &str = "recursive, 1 MiB";
const MANY: &str = "unicode, 200 bytes, many tasks";

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

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

/// The guest of `tests/guests` that does as a text tells it.
fn obedient(runtime: &Runtime, metering: Metering) -> Arc<Plugin> {
    let limits = Limits { fuel: u64::MAX, ..Limits::default() };
    let config = Config { dir: target().join("guests"), metering, limits, ..Config::default() };
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
    let mut group = criterion.benchmark_group(SMALL);
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
    let mut group = criterion.benchmark_group(BATCH);
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
    let mut group = criterion.benchmark_group(LOOP);
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

/// What `text` is to a chunker, without a guest in between.
struct Native<'t> {
    text: &'t str,
    tokenizer: &'t Tokenizer,
}

impl Text for Native<'_> {
    fn segment(&self, at: Boundary) -> Vec<u32> {
        let at = match at {
            Boundary::Sentence => segment::Boundary::Sentence,
            Boundary::Word => segment::Boundary::Word,
            Boundary::Grapheme => segment::Boundary::Grapheme,
        };
        segment(self.text, at)
    }

    fn token_ends(&self) -> Vec<u32> {
        self.tokenizer.ends(self.text)
    }

    fn count_tokens(&self, spans: &[Span]) -> Vec<u32> {
        spans.iter().map(|span| self.tokenizer.count(span.of(self.text))).collect()
    }

    fn count_texts(&self, texts: &[String]) -> Vec<u32> {
        texts.iter().map(|text| self.tokenizer.count(text)).collect()
    }
}

fn a_large_text(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let chunker = plugins(&runtime).chunker("recursive").expect("it is bundled");
    let plain = tokenizers::Tokenizer::from_bytes(TOKENIZER).expect("a tokenizer");
    let (call, documents) = (call(), [document(&prose(), 1 << 20)]);
    let text = documents[0].text.as_str();
    let mut group = criterion.benchmark_group(LARGE);
    group.sample_size(20).throughput(Throughput::Bytes(1 << 20));
    group.bench_function("plain tokenization", |bench| {
        bench.iter(|| plain.encode(black_box(text), false).expect("tokens"));
    });
    group.bench_function("native", |bench| {
        let host = Native { text, tokenizer: &call.tokenizer };
        let config = recursive::Config::default();
        bench.iter(|| {
            recursive::split(black_box(text), &host, config, call.max_tokens, None).expect("chunks")
        });
    });
    group.bench_function("plugin", |bench| {
        bench.iter(|| runtime.block_on(chunker.split(&call, &documents)).expect("an answer"));
    });
    group.finish();
}

/// Calls that one task makes of a round.
const CALLS_OF_A_TASK: usize = 256;
/// Tasks of a round: as many whatever the cores are.
const TASKS: usize = 16;

/// The same small calls, by one worker thread and by two.
fn two_cores(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(MANY);
    group.throughput(Throughput::Elements((TASKS * CALLS_OF_A_TASK) as u64));
    for n_cores in [1, 2] {
        let runtime =
            Builder::new_multi_thread().worker_threads(n_cores).enable_all().build().expect("a runtime");
        let plugin = unicode(&runtime, &Config::default());
        let call = Arc::new((call(), [document(SENTENCE, 200)]));
        group.bench_function(BenchmarkId::new("workers", n_cores), |bench| {
            bench.iter(|| runtime.block_on(round(&plugin, &call)));
        });
    }
    group.finish();
}

async fn round(plugin: &Arc<Plugin>, call: &Arc<(Call, [Document; 1])>) {
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (plugin, call) = (Arc::clone(plugin), Arc::clone(call));
        tasks.spawn(async move {
            for _ in 0..CALLS_OF_A_TASK {
                black_box(plugin.process(&call.0, &call.1).await.expect("an answer"));
                // As between the requests of a server.
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
}

/// A time beside another one of the same run.
struct Goal {
    what: &'static str,
    /// Group and function of what is divided, and of what it is divided by.
    times: [[&'static str; 2]; 2],
    goal: &'static str,
    is_met: fn(f64) -> bool,
}

#[rustfmt::skip]
const GOALS: [Goal; 7] = [
    Goal { what: "200 bytes, warm: time of native", times: [[SMALL, "plugin, epoch"], [SMALL, "native"]], goal: "at most 4", is_met: |ratio| ratio <= 4.0 },
    Goal { what: "64 texts of 1 KB: speed of native", times: [[BATCH, "native"], [BATCH, "plugin"]], goal: "at least 0.35", is_met: |ratio| 0.35 <= ratio },
    Goal { what: "loop, epochs: speed of unmetered", times: [[LOOP, "plugin, unmetered"], [LOOP, "plugin, epoch"]], goal: "at least 0.5", is_met: |ratio| 0.5 <= ratio },
    Goal { what: "loop, fuel: speed of unmetered", times: [[LOOP, "plugin, unmetered"], [LOOP, "plugin, fuel"]], goal: "at least 0.5", is_met: |ratio| 0.5 <= ratio },
    Goal { what: "chunking by `text`: speed of native", times: [[LARGE, "native"], [LARGE, "plugin"]], goal: "at least 0.85", is_met: |ratio| 0.85 <= ratio },
    Goal { what: "chunking: speed of one tokenization", times: [[LARGE, "plain tokenization"], [LARGE, "plugin"]], goal: "at least 0.33", is_met: |ratio| 0.33 <= ratio },
    Goal { what: "small calls: throughput of 1 to 2 cores", times: [[MANY, "workers/1"], [MANY, "workers/2"]], goal: "at least 1.8", is_met: |ratio| 1.8 <= ratio },
];

/// Prints how the medians of this run stand to each other, as far as they were measured.
fn table(begun: SystemTime) {
    println!("\n{:<42} {:>6}  {:<14}", "what", "ratio", "goal");
    for Goal { what, times: [over, under], goal, is_met } in GOALS {
        let (Some(over), Some(under)) = (median(over, begun), median(under, begun)) else { continue };
        let ratio = over / under;
        println!("{what:<42} {ratio:>6.2}  {goal:<14} {}", if is_met(ratio) { "met" } else { "NOT met" });
    }
}

/// The median that criterion wrote since `begun`, in nanoseconds.
fn median([group, function]: [&str; 2], begun: SystemTime) -> Option<f64> {
    let path = target().join("criterion").join(group).join(function).join("new/estimates.json");
    if path.metadata().ok()?.modified().ok()? < begun {
        return None;
    }
    let estimates: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

criterion_group!(benches, a_short_text, a_batch, a_loop, a_large_text, two_cores);

fn main() {
    let begun = SystemTime::now();
    benches();
    Criterion::default().configure_from_args().final_summary();
    table(begun);
}
