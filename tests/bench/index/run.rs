//! One run of `index` in a process of its own, and what it used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use embergate_test_support::binary::Desk;
use embergate_test_support::process::Process;
use serde_json::Value;

/// What a run took, and what it said at its end.
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    /// Of all threads, in the program and in the system for it.
    pub(crate) cpu_seconds: f64,
    /// Bytes.
    pub(crate) most_resident: u64,
    summary: Value,
}

impl Measured {
    /// A number of the summary.
    pub(crate) fn count(&self, key: &str) -> u64 {
        self.summary[key].as_u64().expect("the summary has it")
    }

    pub(crate) fn mebibytes(&self) -> f64 {
        self.most_resident as f64 / f64::from(1 << 20)
    }
}

/// `embergate index`.
pub(crate) struct Index;

impl Index {
    /// Indexes `folder` and waits for the end.
    pub(crate) fn of(desk: &Desk, folder: &Path, collection: &str) -> Measured {
        let folder = folder.to_str().expect("a path in UTF-8");
        let arguments = ["index", folder, "--collection", collection, "--json"];
        let began = Instant::now();
        let mut child = desk.command(&arguments).stdout(Stdio::piped()).spawn().expect("it starts");
        let process = Process(child.id());
        let mut summary = Value::Null;
        let mut most_resident = 0;
        for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
            let line = line.expect("its output is text");
            if line.contains("\"event\":\"summary\"") {
                most_resident = process.most_resident();
                summary = serde_json::from_str(&line).expect("an event");
            }
        }
        let cpu_seconds = cpu_seconds_of_ended(&mut child);
        let seconds = began.elapsed().as_secs_f64();
        assert!(child.wait().expect("it ended").success(), "{summary}");
        Measured { seconds, cpu_seconds, most_resident, summary }
    }
}

/// What a child used that has ended, and that nobody has waited for yet.
fn cpu_seconds_of_ended(child: &mut Child) -> f64 {
    // The clock that the system counts in.
    const TICKS: f64 = 100.0;
    loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it is not waited for");
        let (_, fields) = stat.rsplit_once(") ").expect("its name stands in brackets");
        let fields: Vec<&str> = fields.split(' ').collect();
        if fields[0] == "Z" {
            let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
            return (ticks(11) + ticks(12)) / TICKS;
        }
        std::thread::yield_now();
    }
}

/// Copies every fourth file of `corpus` into `into`.
pub(crate) fn quarter(corpus: &Path, into: &Path) -> PathBuf {
    for (at, file) in files(corpus).into_iter().enumerate().filter(|(at, _)| at % 4 == 0) {
        let below = file.strip_prefix(corpus).expect("it is in the corpus");
        let copy = into.join(below);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder can be made");
        fs::copy(&file, &copy).unwrap_or_else(|error| panic!("file {at}: {error}"));
    }
    into.to_owned()
}

/// Runs `act` while a file of the corpus has another paragraph, and then puts back what it had.
pub(crate) fn with_one_paragraph_changed<T>(corpus: &Path, act: impl FnOnce() -> T) -> T {
    let is_large = |file: &PathBuf| fs::metadata(file).is_ok_and(|metadata| 50_000 < metadata.len());
    let file = files(corpus).into_iter().find(is_large).expect("a file of some size");
    let before = fs::read_to_string(&file).expect("a file in UTF-8");
    let at = before.find("<p>").expect("it has a paragraph") + "<p>".len();
    let after = format!("{}This sentence is new. {}", &before[..at], &before[at..]);
    fs::write(&file, after).expect("it can be written");
    let value = act();
    fs::write(&file, before).expect("it can be written");
    value
}

/// All files below `folder`, by path.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}
