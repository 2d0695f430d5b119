//! What a plugin costs beside the same work done natively.
//!
//! Goals: a warm call on a text of 200 bytes at most 4 times its native code;
//! `recursive` on 1 MiB at least a third as fast as tokenizing it once.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use embergate::document::Document;
use embergate::model::{ModelName, Purpose};
use embergate::plugin::{Call, Config, Plugins};
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
    let unicode = plugins(&runtime).preprocessor("unicode").expect("it is bundled");
    let (call, documents) = (call(), [document(SENTENCE, 200)]);
    let mut group = criterion.benchmark_group("unicode, 200 bytes");
    group.bench_function("native", |bench| {
        bench.iter(|| clean(black_box(&documents[0].text), Options::default()));
    });
    group.bench_function("plugin", |bench| {
        // One entry into the runtime for all calls, as in a server.
        bench.iter_custom(|n| {
            runtime.block_on(async {
                let started = std::time::Instant::now();
                for _ in 0..n {
                    black_box(unicode.process(&call, &documents).await.expect("an answer"));
                }
                started.elapsed()
            })
        });
    });
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

criterion_group!(benches, a_short_text, a_large_text);
criterion_main!(benches);
