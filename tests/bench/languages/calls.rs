//! A call by an instance that is there, and by one that is made for it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Bencher, Criterion};
use embergate::document::Document;
use embergate::model::{ModelName, Purpose};
use embergate::plugin::{Call, Config, Edit, Isolation, Plugin, Plugins};
use embergate::tokenizer::Tokenizer;
use tokio::runtime::Runtime;

use super::{folder, languages};

const TEXT: &str = "  The holdfast of a Kelp is no root: it only holds on, and the CAFÉ by the harbour sells its \
    pictures. At high tide the gate shuts; whoever is out by then waits for the next one, at NOON. ÇAY\n";

/// What every language makes of the text, or the comparison is none.
const WANT: &str = "the holdfast of a kelp is no root: it only holds on, and the café by the harbour sells its \
    pictures. at high tide the gate shuts; whoever is out by then waits for the next one, at noon. çay";

pub(crate) fn a_short_text(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let documents = [Document {
        id: "bench.txt".into(),
        media_type: "text/plain".into(),
        text: TEXT.into(),
        metadata: Vec::new(),
    }];
    for (isolation, how) in [(Isolation::Shared, "a warm instance"), (Isolation::PerCall, "a fresh instance")]
    {
        let languages = languages();
        if languages.is_empty() {
            return;
        }
        let config = Config { dir: folder(), isolation, ..Config::default() };
        let plugins = runtime.block_on(Plugins::load(&config, &[])).expect("the plugins load");
        let mut group = criterion.benchmark_group(format!("200 bytes, {how}"));
        for language in languages {
            let plugin = plugins.preprocessor(&language).expect("it is a preprocessor");
            group.bench_function(&language, |bench| bench_calls(bench, &runtime, &plugin, &documents));
        }
        group.finish();
    }
}

/// Runs the plugin again and again, with one entry into the runtime for all calls, as in a server.
fn bench_calls(bench: &mut Bencher<'_>, runtime: &Runtime, plugin: &Plugin, documents: &[Document]) {
    let call = Call {
        model: ModelName::new("static-embed-en-256").expect("a name"),
        purpose: Purpose::Document,
        max_tokens: 400,
        tokenizer: Arc::new(Tokenizer::estimate()),
        language: None,
        embedder: None,
    };
    let answer = runtime.block_on(plugin.process(&call, documents)).expect("an answer");
    assert_eq!(answer[0].edit, Edit::Replace(WANT.into()));
    bench.iter_custom(|n| {
        runtime.block_on(async {
            let started = Instant::now();
            for _ in 0..n {
                black_box(plugin.process(&call, documents).await.expect("an answer"));
            }
            started.elapsed()
        })
    });
}
