//! What benchmarks tell: lines, each a figure against its goal, taken several times.

mod page;
mod plot;
mod taken;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use page::{page, why_not_whole};
pub use plot::plot;

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// What a line is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub name: &'static str,
    pub what: &'static str,
    /// Empty where the figure is no ratio.
    pub against: &'static str,
    pub goal: Goal,
    /// How it is measured, in Markdown.
    pub how: &'static str,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    what: String,
    against: String,
    how: String,
    goal: Goal,
    /// In the order in which they were taken.
    pub runs: Vec<Run>,
    /// Why there is no figure.
    pub failure: Option<String>,
    pub taken: Taken,
}

/// A figure, and what it was made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub figure: f64,
    pub values: Vec<Value>,
}

/// One of the numbers behind a figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    what: String,
    amount: f64,
    unit: String,
}

/// Of what, on what and when a line was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// When the program was started that took it.
    pub at: String,
    pub gateway: String,
    pub machine: String,
    pub peers: String,
    /// Of the machine, before anything was measured.
    pub load_average: String,
}

impl Goal {
    pub fn is_met(self, figure: f64) -> bool {
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

impl Run {
    pub fn new(figure: f64) -> Self {
        Self { figure, values: Vec::new() }
    }

    /// Adds a number behind the figure.
    pub fn with(mut self, what: &str, amount: f64, unit: &str) -> Self {
        self.values.push(Value { what: what.to_owned(), amount, unit: unit.to_owned() });
        self
    }
}

impl Line {
    pub fn new(subject: &Subject, taken: Taken) -> Self {
        let Subject { name, what, against, goal, how } = *subject;
        let [name, what, against, how] = [name, what, against, how].map(str::to_owned);
        Self { name, what, against, how, goal, runs: Vec::new(), failure: None, taken }
    }

    /// The same figures under the words and the goal of `subject`.
    pub fn described(self, subject: &Subject) -> Self {
        Self { runs: self.runs, failure: self.failure, ..Self::new(subject, self.taken) }
    }

    /// The median of the runs, or of counts the worst, because what must not happen may not
    /// happen once; nothing where one of them failed.
    pub fn figure(&self) -> Option<f64> {
        if self.failure.is_some() {
            return None;
        }
        let mut figures: Vec<f64> = self.runs.iter().map(|run| run.figure).collect();
        figures.sort_by(f64::total_cmp);
        let at = if self.is_count() { figures.len().saturating_sub(1) } else { figures.len() / 2 };
        figures.get(at).copied()
    }

    /// Whether it counts what must not happen.
    fn is_count(&self) -> bool {
        self.against.is_empty()
    }

    fn is_met(&self) -> bool {
        self.figure().is_some_and(|figure| self.goal.is_met(figure))
    }

    fn verdict(&self) -> &'static str {
        match self.figure() {
            Some(_) if self.is_met() => "met",
            Some(_) => "NOT met",
            None => "no figure",
        }
    }

    fn shown(&self) -> String {
        self.figure().map_or_else(|| "–".to_owned(), shown)
    }

    /// The figures of all runs.
    fn each(&self) -> String {
        self.runs.iter().map(|run| shown(run.figure)).collect::<Vec<_>>().join(", ")
    }
}

/// With as many places as matter.
fn shown(amount: f64) -> String {
    if amount.fract() != 0.0 && amount.abs() < 10.0 {
        return format!("{amount:.2}");
    }
    if amount.fract() != 0.0 && amount.abs() < 100.0 {
        return format!("{amount:.1}");
    }
    let digits = format!("{amount:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goal = self.goal.to_string();
        write!(
            f,
            "{:<16} {:>8}  {goal:<14} {:<9} ({})",
            self.name,
            self.shown(),
            self.verdict(),
            self.each()
        )?;
        for value in self.runs.first().map_or(&[][..], |run| &run.values) {
            let amounts: Vec<String> = self.amounts(&value.what);
            let unit = if value.unit.is_empty() { String::new() } else { format!(" {}", value.unit) };
            write!(f, "\n    {}: {}{unit}", value.what, amounts.join(", "))?;
        }
        match &self.failure {
            Some(reason) => write!(f, "\n    {reason}"),
            None => Ok(()),
        }
    }
}

impl Line {
    /// The number called `what` of each run.
    fn amounts(&self, what: &str) -> Vec<String> {
        let of =
            |run: &Run| run.values.iter().find(|value| value.what == what).map(|value| shown(value.amount));
        self.runs.iter().map(|run| of(run).unwrap_or_else(|| "–".to_owned())).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const SUBJECT: Subject = Subject {
        name: "hits",
        what: "hits a second",
        against: "a bare server's",
        goal: Goal::AtLeast(0.8),
        how: "By asking.",
    };

    pub(crate) fn line(goal: Goal, figures: &[f64]) -> Line {
        let mut line = Line::new(&Subject { goal, ..SUBJECT }, Taken::default());
        let run = |figure: &f64| Run::new(*figure).with("gateway", 41_234.4, "requests/s");
        line.runs.extend(figures.iter().map(run));
        line
    }

    #[track_caller]
    fn check(goal: Goal, figures: &[f64], figure: Option<f64>, verdict: &str) {
        let line = line(goal, figures);
        assert_eq!((line.figure(), line.verdict()), (figure, verdict));
    }

    #[test]
    fn the_median_is_what_counts() {
        check(Goal::AtLeast(0.8), &[0.9, 0.7, 0.85], Some(0.85), "met");
        check(Goal::AtLeast(0.8), &[0.9, 0.7, 0.79], Some(0.79), "NOT met");
        check(Goal::AtMost(1.5), &[1.5], Some(1.5), "met");
        check(Goal::AtMost(0.0), &[0.0, 1.0, 2.0], Some(1.0), "NOT met");
        check(Goal::AtMost(0.0), &[], None, "no figure");
    }

    #[test]
    fn of_counts_the_worst_is_what_counts() {
        let line = Line { against: String::new(), ..line(Goal::AtMost(0.0), &[0.0, 2.0, 0.0]) };
        assert_eq!((line.figure(), line.verdict()), (Some(2.0), "NOT met"));
    }

    #[test]
    fn a_line_of_which_one_run_failed_has_no_figure() {
        let failed = Line { failure: Some("it burns".to_owned()), ..line(Goal::AtLeast(0.8), &[0.9]) };
        assert_eq!((failed.figure(), failed.verdict(), failed.is_met()), (None, "no figure", false));
        assert!(failed.to_string().ends_with("\n    it burns"), "{failed}");
    }

    #[test]
    fn more_than_one_is_better_than_the_goal() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(Goal::AtLeast(0.8).share(0.4), 0.5));
        assert!(near(Goal::AtMost(0.1).share(0.05), 2.0));
        assert!(near(Goal::AtMost(0.0).share(0.0), 1.0));
        assert!(near(Goal::AtMost(0.0).share(3.0), 0.0));
    }

    #[test]
    fn numbers_have_as_many_places_as_matter() {
        let cases = [
            (0.0, "0"),
            (0.824, "0.82"),
            (12.34, "12.3"),
            (123.4, "123"),
            (999.6, "1,000"),
            (41_234.4, "41,234"),
            (1_234_567.0, "1,234,567"),
            (-123.4, "-123"),
        ];
        for (amount, want) in cases {
            assert_eq!(shown(amount), want);
        }
    }

    #[test]
    fn figures_outlive_another_wording() {
        let line = line(Goal::AtLeast(0.8), &[0.9]);
        let again: Line = serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
        let again =
            again.described(&Subject { what: "answers a second", goal: Goal::AtLeast(0.95), ..SUBJECT });
        assert_eq!((again.runs.clone(), again.what.as_str()), (line.runs, "answers a second"));
        assert_eq!(again.verdict(), "NOT met");
    }
}
