//! How fast vectors are scanned, against a plain loop, and how fast the embedded
//! store writes points and looks up records: `cargo bench --bench store`.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first surprise")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use embergate::analyzer::SparseVector;
use embergate::model::Embedding;
use embergate::store::{self, Collection, IndexState, Payload, Point, SourceRecord, Store, TextHash, dot};
use pulp::Arch;
use tokio::runtime::Runtime;
use uuid::Uuid;

const DIMENSIONS: usize = 256;
const N_VECTORS: usize = 10_000;

fn plain(query: &[f32], bytes: &[u8]) -> f32 {
    let values = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    query.iter().zip(values).map(|(query, value)| query * value).sum()
}

fn scan(c: &mut Criterion) {
    let query: Vec<f32> = (0..DIMENSIONS).map(|n| (n as f32).sin()).collect();
    let vectors: Vec<u8> = (0..DIMENSIONS * N_VECTORS).flat_map(|n| (n as f32).cos().to_le_bytes()).collect();
    let sum = |score: &dyn Fn(&[u8]) -> f32| vectors.chunks_exact(4 * DIMENSIONS).map(score).sum::<f32>();
    let arch = Arch::new();

    let mut group = c.benchmark_group("scan 10,000 vectors of 256 numbers");
    group.sample_size(20).throughput(Throughput::Elements(N_VECTORS as u64));
    group.bench_function("vector instructions", |b| {
        b.iter(|| black_box(sum(&|bytes| dot(arch, &query, bytes))))
    });
    group.bench_function("plain loop", |b| b.iter(|| black_box(sum(&|bytes| plain(&query, bytes)))));
    group.finish();
}

/// Files of Debian's `rust-doc`.
const N_FILES: usize = 32_101;
const COLLECTION: &str = "docs@1";

/// Numbers that look like chance and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A few terms often, and most of 400,000 seldom.
    fn term(&mut self) -> u32 {
        let rank = (self.part() * 400_000_f64.ln()).exp() as u32;
        rank.wrapping_mul(0x9e37_79b9)
    }
}

fn point(numbers: &mut Numbers) -> Point {
    let mut terms: Vec<u32> = (0..150).map(|_| numbers.term()).collect();
    terms.sort_unstable();
    terms.dedup();
    let weights = terms.iter().map(|_| (numbers.next() % 4 + 1) as f32 / 2.0).collect();
    let dense: Vec<f32> = (0..DIMENSIONS).map(|_| numbers.part() as f32 - 0.5).collect();
    let text: String = (0..75).map(|_| format!("{:016x}", numbers.next())).collect();
    Point {
        id: Uuid::from_u64_pair(numbers.next(), numbers.next()),
        dense: Embedding::new(dense).unwrap(),
        sparse: SparseVector { terms, weights },
        payload: Payload {
            source: format!("/usr/share/doc/rust-doc/html/std/{:016x}.html", numbers.next()),
            media_type: "text/html".to_owned(),
            text_hash: TextHash::of(&text),
            text,
            ..Payload::default()
        },
    }
}

async fn opened(folder: &Path) -> (Arc<dyn Store>, IndexState) {
    let (store, state) = store::open(&store::Config::default(), folder).await.unwrap();
    let collection = Collection {
        name: COLLECTION.to_owned(),
        model: "m".to_owned(),
        dimensions: DIMENSIONS,
        space: "s".to_owned(),
        language: None,
        pipeline: "p".to_owned(),
    };
    store.create(&collection).await.unwrap();
    (store, state)
}

fn write(c: &mut Criterion) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let (store, _state) = runtime.block_on(opened(folder.path()));
    let mut numbers = Numbers(88_172_645_463_325_252);
    let mut group = c.benchmark_group("write to the embedded store");
    for size in [256_usize, 1024] {
        group.sample_size(10).throughput(Throughput::Elements(size as u64));
        group.bench_function(format!("{size} points of 150 terms"), |b| {
            let points = || (0..size).map(|_| point(&mut numbers)).collect::<Vec<_>>();
            let write = |points| runtime.block_on(store.upsert(COLLECTION, points)).unwrap();
            b.iter_batched(points, write, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn look_up(c: &mut Criterion) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let (_store, state) = runtime.block_on(opened(folder.path()));
    let sources: Vec<String> =
        (0..N_FILES).map(|n| format!("/usr/share/doc/rust-doc/html/std/{n:06}.html")).collect();
    for some in sources.chunks(1024) {
        let record = |source: &String| SourceRecord {
            source: source.clone(),
            points: vec![Uuid::nil(); 3],
            ..SourceRecord::default()
        };
        runtime.block_on(state.record(COLLECTION, some.iter().map(record).collect())).unwrap();
    }
    let mut group = c.benchmark_group("look up");
    group.sample_size(10).throughput(Throughput::Elements(N_FILES as u64));
    group.bench_function("32,101 records in lists of 1,024", |b| {
        b.iter(|| {
            for some in sources.chunks(1024) {
                black_box(runtime.block_on(state.stamps(COLLECTION, some)).unwrap());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, scan, write, look_up);
criterion_main!(benches);
