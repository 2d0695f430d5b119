//! The figures as a picture: for each line a bar from its goal to what was reached.

use std::ops::RangeInclusive;

use crate::paper::Line;

/// The plot's measures, in the units of its view box.
const WIDTH: f64 = 760.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
/// Where names end, bars may begin and end, and figures begin.
const NAMES: f64 = 120.0;
const BARS: RangeInclusive<f64> = 132.0..=572.0;
const FIGURES: f64 = 588.0;
/// Where the first row begins.
const TOP: f64 = 34.0;

const MET: &str = "#2a7f62";
const NOT_MET: &str = "#c4572b";

/// A bar for each line, from its goal to its figure, on a scale of powers of ten.
pub(crate) fn plot(lines: &[Line]) -> String {
    let height = TOP + ROW * lines.len() as f64 + 30.0;
    let bottom = height - 28.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (share, label) in [(0.1, "a tenth of it"), (1.0, "the goal"), (10.0, "ten times as good")] {
        let x = place(share);
        svg += &format!("<path d=\"M{x} 24V{bottom}\" stroke=\"#bbb\"/>\n");
        svg += &words(x, 16.0, "middle", "#555", label);
    }
    for (row, line) in lines.iter().enumerate() {
        svg += &bar(line, TOP + ROW * row as f64);
    }
    for (x, colour, label) in [(NAMES + 12.0, MET, "goal met"), (NAMES + 102.0, NOT_MET, "not met")] {
        let y = height - 20.0;
        svg += &format!("<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n");
        svg += &words(x + 18.0, y + 10.5, "start", "#555", label);
    }
    svg + "</svg>\n"
}

/// The row of `line`, which begins at `y`.
fn bar(line: &Line, y: f64) -> String {
    let base = y + 11.5;
    let mut row = words(NAMES, base, "end", "#222", line.name);
    row += &words(FIGURES, base, "start", "#222", &line.shown());
    row += &words(FIGURES + 50.0, base, "start", "#888", &line.goal.to_string());
    if let Some(figure) = line.figure() {
        let colour = if line.goal.is_met(figure) { MET } else { NOT_MET };
        let (goal, reached) = (place(1.0), place(line.goal.share(figure)));
        // What is just at its goal is seen too.
        let (from, width) = (goal.min(reached) - 1.5, (goal - reached).abs() + 3.0);
        row += &format!(
            "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n"
        );
    }
    row
}

/// Where on the scale `share` of a goal is; what is off it is at its end.
fn place(share: f64) -> f64 {
    let way = (share.clamp(0.1, 10.0).log10() + 1.0) / 2.0;
    BARS.start() + (BARS.end() - BARS.start()) * way
}

fn words(x: f64, y: f64, anchor: &str, colour: &str, words: &str) -> String {
    format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>\n")
}
