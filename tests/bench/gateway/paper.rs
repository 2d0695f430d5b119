//! What was measured, as people and programs read it: lines, JSON, a plot, and the page in `docs`.

use std::fmt;
use std::fs;
use std::io;

use serde::Serialize;

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
    name: &'static str,
    what: &'static str,
    against: &'static str,
    goal: Goal,
    /// In the order in which they were taken.
    pub(crate) runs: Vec<f64>,
    /// Why there is no figure.
    pub(crate) failure: Option<String>,
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(goal) => goal <= figure,
            Self::AtMost(goal) => figure <= goal,
        }
    }

    /// How far `figure` is on the way to the goal: 1 is there, and more is better.
    fn share(self, figure: f64) -> f64 {
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
    fn figure(&self) -> Option<f64> {
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

    fn shown(&self) -> String {
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
pub(crate) fn write(lines: &[Line], whole: bool) -> io::Result<Vec<String>> {
    let root = env!("CARGO_MANIFEST_DIR");
    let folder = format!("{root}/target/bench");
    fs::create_dir_all(&folder)?;
    let mut files = vec![
        (format!("{folder}/gateway.json"), serde_json::to_string_pretty(lines)?),
        (format!("{folder}/gateway.svg"), plot(lines)),
    ];
    if whole {
        files.push((format!("{root}/docs/benchmarks.svg"), plot(lines)));
        files.push((format!("{root}/docs/benchmarks.md"), page(lines)));
    }
    for (path, content) in &files {
        fs::write(path, content)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn page(lines: &[Line]) -> String {
    let mut page = format!(
        "# Benchmarks\n\nWritten by `make bench`; not by hand. Every figure is a ratio of two things that were\n\
         measured in the same run, or a count: the median of three. {}\n\n\
         Vectors have 1,024 dimensions. Upstreams are simulated, each a process of its own; the load generator\n\
         shares the processors with what it measures.\n\n\
         ![How far each figure is on the way to its goal](benchmarks.svg)\n\n\
         | what | against | figure | goal | |\n|---|---|---|---|---|\n",
        machine()
    );
    for line in lines {
        let Line { what, against, goal, .. } = line;
        let (figure, verdict) = (line.shown(), line.verdict());
        page += &format!("| {what} | {against} | {figure} | {goal} | {verdict} |\n");
    }
    page
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("Machine: {cores} cores, {model}; load average at the end {load}.")
}

/// A bar for each line: its figure as a share of its goal, on a scale of powers of ten.
fn plot(lines: &[Line]) -> String {
    const ROW: usize = 24;
    const LEFT: f64 = 150.0;
    const WIDTH: f64 = 440.0;
    let x = |share: f64| LEFT + WIDTH * ((share.clamp(0.1, 10.0).log10() + 1.0) / 2.0);
    let height = 40 + lines.len() * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"680\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (share, label) in [(0.1, "a tenth"), (1.0, "the goal"), (10.0, "ten times")] {
        let at = x(share);
        let line = format!(
            "<line x1=\"{at}\" y1=\"24\" x2=\"{at}\" y2=\"{}\" stroke=\"#999\"/><text x=\"{at}\" y=\"16\" text-anchor=\"middle\" fill=\"#444\">{label}</text>\n",
            height - 8
        );
        svg += &line;
    }
    for (row, line) in lines.iter().enumerate() {
        let y = 30 + row * ROW;
        let share = line.figure().map_or(0.1, |figure| line.goal.share(figure));
        let colour =
            if line.figure().is_some_and(|figure| line.goal.is_met(figure)) { "#2a7f62" } else { "#c4572b" };
        let (from, to) = (x(1.0).min(x(share)), x(1.0).max(x(share)));
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#222\">{}</text>\
             <rect x=\"{from}\" y=\"{y}\" width=\"{}\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"#222\">{}</text>\n",
            LEFT - 8.0,
            y + 11,
            line.name,
            (to - from).max(2.0),
            LEFT + WIDTH + 10.0,
            y + 11,
            line.shown()
        );
    }
    svg + "</svg>\n"
}
