//! What indexing a large corpus costs: `cargo bench --bench index`.
//!
//! The corpus is the HTML of Debian's package `rust-doc`, 32,101 files, which
//! `tests/bench/index/corpus.sh` fetches; another folder can be given:
//! `cargo bench --bench index -- FOLDER`. Embedded model, embedded store, a process of its own for
//! each run. Goals: both cores are busy for at least 80 % of the first run; the same again takes
//! 2 % of it; a changed paragraph embeds one chunk; memory does not grow with the corpus.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod run;

use std::path::{Path, PathBuf};

use embergate_load::table::{Goal, Line, Run, Subject, Taken};
use embergate_test_support::binary::Desk;

use run::{Index, Measured};

const LINES: [Subject; 4] = [
    Subject {
        name: "busy",
        what: "time of processors that the first run used, of all that there was",
        against: "all cores for as long as it took",
        goal: Goal::AtLeast(0.8),
        how: "user and system time of the process, from `/proc`",
    },
    Subject {
        name: "unchanged",
        what: "time of the same command again",
        against: "the first run",
        goal: Goal::AtMost(0.02),
        how: "",
    },
    Subject {
        name: "paragraph",
        what: "chunks embedded after one paragraph of one file changed",
        against: "",
        goal: Goal::AtMost(1.0),
        how: "",
    },
    Subject {
        name: "memory",
        what: "most memory of a run over the whole corpus",
        against: "a run over a quarter of its files",
        goal: Goal::AtMost(1.25),
        how: "the most that was resident",
    },
];

fn main() {
    let folder = std::env::args().skip(1).find(|argument| argument != "--bench").map(PathBuf::from);
    let corpus =
        folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/rust-doc/html"));
    let Ok(corpus) = corpus.canonicalize() else {
        println!("there is no corpus at {}: tests/bench/index/corpus.sh fetches it", corpus.display());
        std::process::exit(2);
    };
    let taken = Taken::of(Path::new(env!("CARGO_BIN_EXE_embergate")));
    let runs = measure(&corpus);
    let lines: Vec<Line> = LINES
        .iter()
        .zip(runs)
        .map(|(subject, run)| {
            let mut line = Line::new(subject, taken.clone());
            line.runs.push(run);
            line
        })
        .collect();
    lines.iter().for_each(|line| println!("{line}\n"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("index.json");
    let json = serde_json::to_vec_pretty(&lines).expect("figures can be written");
    std::fs::write(&path, json).expect("the folder for temporary files can be written to");
    println!("all figures: {}", path.display());
}

/// A figure for each line.
fn measure(corpus: &Path) -> [Run; 4] {
    let desk = Desk::to_measure(env!("CARGO_BIN_EXE_embergate"));
    // Compiles the plugins, which is no part of indexing.
    desk.write("warm/a.html", "<p>warm</p>");
    Index::of(&desk, &desk.folder().join("warm"), "warm");
    let quarter = run::quarter(corpus, &desk.folder().join("quarter"));
    let small = Index::of(&desk, &quarter, "quarter");
    let first = Index::of(&desk, corpus, "whole");
    let again = Index::of(&desk, corpus, "whole");
    let changed = run::with_one_paragraph_changed(corpus, || Index::of(&desk, corpus, "whole"));
    assert_eq!(again.count("unchanged"), first.count("documents"), "nothing had changed");
    [
        busy(&first),
        Run::new(again.seconds / first.seconds).with("first", first.seconds, "s").with(
            "again",
            again.seconds,
            "s",
        ),
        Run::new(changed.count("embedded") as f64).with("time", changed.seconds, "s"),
        Run::new(first.most_resident as f64 / small.most_resident as f64)
            .with("whole", first.mebibytes(), "MiB")
            .with("quarter", small.mebibytes(), "MiB")
            .with("files of the quarter", small.count("documents") as f64, ""),
    ]
}

fn busy(first: &Measured) -> Run {
    let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (n_files, n_bytes) = (first.count("documents") as f64, first.count("bytes") as f64);
    Run::new(first.cpu_seconds / first.seconds / n_cores as f64)
        .with("time", first.seconds, "s")
        .with("files", n_files / first.seconds, "/s")
        .with("text", n_bytes / 1e6 / first.seconds, "MB/s")
        .with("tokens embedded", first.count("tokens") as f64 / first.seconds, "/s")
        .with("chunks", first.count("chunks") as f64, "")
        .with("most memory", first.mebibytes(), "MiB")
}
