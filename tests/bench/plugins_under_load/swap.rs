//! A plugin that is replaced again and again while texts go through it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use embergate_load::table::{Goal, Run, Subject};
use embergate_load::{Api, Exchange, Load, Source};

use crate::PATIENCE;
use crate::desk::{Desked, first_party, obedient};

pub(crate) const LINES: [Subject; 3] = [
    Subject {
        name: "swap-failed",
        what: "requests that fail while a plugin is replaced ten times a second",
        against: "",
        goal: Goal::AtMost(0.0),
        how: "Two plugins that make different texts of each text take each other's place for 20 seconds, while eight \
              connections ask as fast as they are answered. A vector that neither plugin leads to has failed.",
    },
    Subject {
        name: "swap-mixed",
        what: "texts that have the vector of the plugin that is gone",
        against: "",
        goal: Goal::AtMost(0.0),
        how: "Afterwards, with either plugin alone, every text is asked for twice.",
    },
    Subject {
        name: "swap-memory",
        what: "resident memory at the end of the swaps",
        against: "that after the first tenth of them",
        goal: Goal::AtMost(1.05),
        how: "Read each half second; medians of the second tenth and the last.",
    },
];

const MODEL: &str = "docs";
const EACH: Duration = Duration::from_millis(100);
const WHOLE: Duration = Duration::from_secs(20);
const WITHOUT: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 8;
/// More than the cache holds, so that most go through the plugin and some do not.
const N_TEXTS: usize = 4_096;
const CACHE: &str = "1 MiB";
/// Texts of one request.
const LIST: usize = 4;
/// How long a file may take to take effect where nothing else is done.
const SOON: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(500);
const MIB: f64 = (1 << 20) as f64;

/// The two plugins, and the file that is now the one and now the other.
#[derive(Clone)]
struct Files {
    components: Arc<[Vec<u8>; 2]>,
    path: PathBuf,
}

impl Files {
    /// As `mv` does it: the file is whole when it has its name.
    fn put(&self, which: usize) {
        let part = self.path.with_extension("part");
        std::fs::write(&part, &self.components[which % 2]).expect("a file can be written");
        std::fs::rename(&part, &self.path).expect("a file can be renamed");
    }
}

pub(crate) async fn measure() -> Result<Vec<Run>, String> {
    // One keeps these texts, the other makes a number of each.
    let components = [first_party("unicode"), obedient()];
    let tables = format!("[plugins]\nsettle = \"10ms\"\n[cache]\nmax_bytes = \"{CACHE}\"\n");
    let gateway = Desked::start(&[("mine", &components[0])], &[(MODEL, "mine")], &tables);
    let path = gateway.desk.folder().join("plugins/mine.wasm");
    let files = Files { components: Arc::new(components), path };

    let texts: Vec<String> = (0..N_TEXTS).map(|number| format!("sum of kelp {number}")).collect();
    let kept = vectors(&gateway, &texts).await?;
    replaced(&gateway, &files, 1).await?;
    let summed = vectors(&gateway, &texts).await?;
    if kept.iter().zip(&summed).any(|(one, other)| one == other) {
        return Err("the plugins make the same of a text".to_owned());
    }
    let source = source(&gateway, &texts, [&kept, &summed]);
    let load =
        |duration| Load { address: gateway.address, connections: CONNECTIONS, duration, patience: PATIENCE };
    let without = load(WITHOUT).closed(&source).await;

    let before = n_replaced(&gateway).await?;
    let putting = std::thread::spawn({
        let files = files.clone();
        move || put_again_and_again(&files)
    });
    let whole = load(WHOLE);
    let (under, resident) = tokio::join!(whole.closed(&source), watch(&gateway));
    let n_put = putting.join().map_err(|_| "the files could not be put")?;
    let n_swaps = n_replaced(&gateway).await? - before;

    let mut n_mixed = 0;
    for (which, want) in [(0, &kept), (1, &summed), (0, &kept)] {
        settled(&gateway, &files, which, want[0].as_slice(), &texts[0]).await?;
        for _ in 0..2 {
            let got = vectors(&gateway, &texts).await?;
            n_mixed += got.iter().zip(want).filter(|(got, want)| got != want).count();
        }
    }
    let failed = Run::new(under.failed() as f64)
        .with("requests", under.requests as f64, "")
        .with("wrong among them", under.wrong as f64, "")
        .with("files put", n_put as f64, "")
        .with("swaps", n_swaps, "")
        .with("requests a second without", without.per_second, "")
        .with("requests a second meanwhile", under.per_second, "")
        .with("99th percentile without", without.p99_ms, "ms")
        .with("99th percentile meanwhile", under.p99_ms, "ms")
        .with("most meanwhile", under.max_ms, "ms");
    let tenth = resident.len() / 10;
    let (early, late) =
        (median(&resident[tenth..3 * tenth]), median(&resident[resident.len() - 2 * tenth..]));
    let memory = Run::new(late / early)
        .with("resident in the second tenth and third", early / MIB, "MiB")
        .with("resident in the last fifth", late / MIB, "MiB")
        .with("threads at the end", gateway.process.threads() as f64, "")
        .with("open files at the end", gateway.process.open_files() as f64, "");
    Ok(vec![failed, Run::new(n_mixed as f64), memory])
}

/// Lists of texts, each of which has to have the vectors of either plugin: what it made of all of
/// them, because a request keeps to one.
fn source(gateway: &Desked, texts: &[String], [kept, summed]: [&[Vec<f32>]; 2]) -> Source {
    let host = gateway.address.to_string();
    let exchange = |at: usize| {
        let list = at * LIST..(at + 1) * LIST;
        let exchange = Exchange::embed(Api::Openai, &host, MODEL, &texts[list.clone()]);
        Arc::new(
            exchange
                .wanting(Api::Openai, kept[list.clone()].to_vec())
                .or_wanting(Api::Openai, summed[list].to_vec()),
        )
    };
    let exchanges: Vec<_> = (0..texts.len() / LIST).map(exchange).collect();
    Arc::new(move |number| exchanges[(number % exchanges.len() as u64) as usize].clone())
}

/// Puts one file after the other, evenly; returns how many.
fn put_again_and_again(files: &Files) -> usize {
    let begun = Instant::now();
    let mut n_put = 0;
    while begun.elapsed() < WHOLE {
        files.put(n_put);
        n_put += 1;
        std::thread::sleep((EACH * n_put as u32).saturating_sub(begun.elapsed()));
    }
    n_put
}

async fn watch(gateway: &Desked) -> Vec<f64> {
    let begun = Instant::now();
    let mut resident = Vec::new();
    while begun.elapsed() < WHOLE {
        resident.push(gateway.process.resident() as f64);
        tokio::time::sleep(LOOK).await;
    }
    resident
}

async fn vectors(gateway: &Desked, texts: &[String]) -> Result<Vec<Vec<f32>>, String> {
    let mut vectors = Vec::new();
    for some in texts.chunks(256) {
        vectors.extend(gateway.vectors(MODEL, some).await?);
    }
    Ok(vectors)
}

async fn n_replaced(gateway: &Desked) -> Result<f64, String> {
    Ok(gateway.metrics().await?.sum("embergate_plugin_reloads_total", "result=\"replaced\""))
}

/// Puts a file, and waits until it has taken the place of the one before.
async fn replaced(gateway: &Desked, files: &Files, which: usize) -> Result<(), String> {
    let before = n_replaced(gateway).await?;
    files.put(which);
    let begun = Instant::now();
    while n_replaced(gateway).await? == before {
        if SOON < begun.elapsed() {
            return Err("a file does not take effect".to_owned());
        }
        tokio::time::sleep(EACH / 10).await;
    }
    Ok(())
}

/// Puts a file, which may be the one that serves, and waits until it does.
async fn settled(
    gateway: &Desked,
    files: &Files,
    which: usize,
    want: &[f32],
    text: &str,
) -> Result<(), String> {
    files.put(which);
    let (begun, text) = (Instant::now(), [text.to_owned()]);
    // The file that was put last may still be on its way.
    tokio::time::sleep(10 * EACH).await;
    while gateway.vectors(MODEL, &text).await?[0] != want {
        if SOON < begun.elapsed() {
            return Err("a file does not take effect".to_owned());
        }
        tokio::time::sleep(EACH).await;
    }
    Ok(())
}

fn median(numbers: &[f64]) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
