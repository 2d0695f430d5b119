//! The figures as a picture: for each line a bar from its goal to what was reached.

use std::ops::RangeInclusive;

use super::Line;

/// The plot's measures, in the units of its view box.
const WIDTH: f64 = 820.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
/// Where names end, bars may begin and end, and figures and goals begin.
const NAMES: f64 = 136.0;
const BARS: RangeInclusive<f64> = 150.0..=570.0;
const FIGURES: f64 = 682.0;
const GOALS: f64 = 704.0;
/// Where the first row begins.
const TOP: f64 = 46.0;

const MET: &str = "#2a7f62";
const NOT_MET: &str = "#c4572b";

/// A bar for each line, from its goal to its figure, on a scale of powers of ten.
pub fn plot(lines: &[Line]) -> String {
    let bottom = TOP + ROW * lines.len() as f64;
    let height = bottom + 36.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (share, label) in [(0.1, "a tenth as good"), (1.0, "the goal"), (10.0, "ten times as good")] {
        let x = place(share);
        svg += &format!("<path d=\"M{x:.1} {:.1}V{bottom:.1}\" stroke=\"#bbb\"/>\n", TOP - 10.0);
        svg += &words(x, 28.0, "middle", "#555", label);
    }
    svg += &words(FIGURES, 28.0, "end", "#555", "figure");
    svg += &words(GOALS, 28.0, "start", "#555", "goal");
    for (row, line) in lines.iter().enumerate() {
        svg += &bar(line, TOP + ROW * row as f64);
    }
    for (x, colour, label) in [(*BARS.start(), MET, "goal met"), (BARS.start() + 100.0, NOT_MET, "not met")] {
        let y = bottom + 14.0;
        svg += &format!("<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n");
        svg += &words(x + 18.0, y + 10.5, "start", "#555", label);
    }
    svg + "</svg>\n"
}

/// The row of `line`, which begins at `y`.
fn bar(line: &Line, y: f64) -> String {
    let base = y + 11.5;
    let mut row = words(NAMES, base, "end", "#222", &line.name);
    row += &words(FIGURES, base, "end", "#222", &line.shown());
    row += &words(GOALS, base, "start", "#777", &line.goal.to_string());
    let Some(figure) = line.figure() else { return row };
    let colour = if line.is_met() { MET } else { NOT_MET };
    let (goal, reached) = (place(1.0), place(line.goal.share(figure)));
    // What is just at its goal is seen too.
    let (from, width) = (goal.min(reached) - 2.0, (goal - reached).abs() + 4.0);
    row + &format!(
        "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n"
    )
}

/// Where on the scale `share` of a goal is; what is off it is at its end.
fn place(share: f64) -> f64 {
    let way = (share.clamp(0.1, 10.0).log10() + 1.0) / 2.0;
    BARS.start() + (BARS.end() - BARS.start()) * way
}

fn words(x: f64, y: f64, anchor: &str, colour: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::super::Goal;
    use super::super::tests::line;
    use super::*;

    #[test]
    fn the_goal_is_in_the_middle_and_what_is_off_the_scale_at_its_end() {
        let places = [0.0, 0.1, 1.0, 10.0, 1000.0].map(place);
        assert_eq!(places, [150.0, 150.0, 360.0, 570.0, 570.0]);
    }

    #[test]
    fn each_line_has_a_bar_of_its_own_colour() {
        let lines =
            [line(Goal::AtLeast(0.8), &[0.9]), line(Goal::AtMost(0.5), &[0.9]), line(Goal::AtMost(1.0), &[])];
        let svg = plot(&lines);
        let bars = |colour: &str| svg.matches(&format!("height=\"14\" fill=\"{colour}\"")).count();
        assert_eq!((bars(MET), bars(NOT_MET)), (1, 1), "{svg}");
        assert_eq!(svg.matches(">hits</text>").count(), 3, "{svg}");
    }
}
