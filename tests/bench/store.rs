//! How fast vectors are scanned, against a plain loop: `cargo bench --bench store`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use embergate::store::dot;
use pulp::Arch;

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

criterion_group!(benches, scan);
criterion_main!(benches);
