//! What was measured, as people and programs read it: lines, JSON, and the page in `docs`.

use std::fmt;
use std::fs;
use std::io;

use serde::Serialize;

use crate::plot::plot;

/// What a figure should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    what: &'static str,
    against: &'static str,
    pub(crate) goal: Goal,
    /// In the order in which they were taken.
    pub(crate) runs: Vec<f64>,
    /// Why there is no figure.
    pub(crate) failure: Option<String>,
}

impl Goal {
    pub(crate) fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(goal) => goal <= figure,
            Self::AtMost(goal) => figure <= goal,
        }
    }

    /// How far `figure` is on the way to the goal: 1 is there, and more is better.
    pub(crate) fn share(self, figure: f64) -> f64 {
        match self {
            Self::AtLeast(goal) => figure / goal,
            // Counts of what must not happen have no ratio.
            Self::AtMost(0.0) => f64::from(u8::from(figure == 0.0)),
            Self::AtMost(goal) => goal / figure.max(f64::MIN_POSITIVE),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(goal) => write!(f, "at least {goal}"),
            Self::AtMost(goal) => write!(f, "at most {goal}"),
        }
    }
}

impl Line {
    pub(crate) fn new(name: &'static str, what: &'static str, against: &'static str, goal: Goal) -> Self {
        Self { name, what, against, goal, runs: Vec::new(), failure: None }
    }

    /// The median of the runs; nothing where one of them failed.
    pub(crate) fn figure(&self) -> Option<f64> {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        if self.failure.is_some() { None } else { sorted.get(sorted.len() / 2).copied() }
    }

    fn verdict(&self) -> &'static str {
        match self.figure() {
            Some(figure) if self.goal.is_met(figure) => "met",
            Some(_) => "NOT met",
            None => "no figure",
        }
    }

    pub(crate) fn shown(&self) -> String {
        self.figure().map_or_else(|| "–".to_owned(), shown)
    }
}

/// With as many places as matter.
fn shown(figure: f64) -> String {
    if figure.fract() == 0.0 || 100.0 <= figure { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs: Vec<String> = self.runs.iter().map(|run| shown(*run)).collect();
        write!(
            f,
            "{:<16} {:>8}  {:<14} {:<9} ({})",
            self.name,
            self.shown(),
            self.goal.to_string(),
            self.verdict(),
            runs.join(", ")
        )?;
        match &self.failure {
            Some(reason) => write!(f, "\n    {reason}"),
            None => Ok(()),
        }
    }
}

/// Writes JSON and plot beside what was built, and the page in `docs` where the table is `whole`.
pub(crate) fn write(lines: &[Line], whole: bool, machine: &str) -> io::Result<Vec<String>> {
    let root = env!("CARGO_MANIFEST_DIR");
    let folder = format!("{root}/target/bench");
    fs::create_dir_all(&folder)?;
    let mut files = vec![
        (format!("{folder}/gateway.json"), serde_json::to_string_pretty(lines)?),
        (format!("{folder}/gateway.svg"), plot(lines)),
    ];
    if whole {
        files.push((format!("{root}/docs/benchmarks.svg"), plot(lines)));
        files.push((format!("{root}/docs/benchmarks.md"), page(lines, machine)));
    }
    for (path, content) in &files {
        fs::write(path, content)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn page(lines: &[Line], machine: &str) -> String {
    let mut page = format!(
        "# Benchmarks\n\nWritten by `make bench`; not by hand. Every figure is a ratio of two things that were\n\
         measured in the same run, or a count: the median of three. {machine}\n\n\
         Vectors have 1,024 dimensions. Upstreams are simulated, each a process of its own; the load generator\n\
         shares the processors with what it measures.\n\n\
         ![How far each figure is on the way to its goal](benchmarks.svg)\n\n\
         | line | what | against | figure | goal | |\n|---|---|---|---|---|---|\n"
    );
    for line in lines {
        let Line { name, what, against, goal, .. } = line;
        let (figure, verdict) = (line.shown(), line.verdict());
        page += &format!("| `{name}` | {what} | {against} | {figure} | {goal} | {verdict} |\n");
    }
    page
}

/// What is measured on, and how busy it is now.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("Machine: {cores} cores, {model}; load average before {load}.")
}
