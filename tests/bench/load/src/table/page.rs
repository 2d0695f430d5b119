//! The table as a page for people, in Markdown.

use super::{Line, Taken};

/// Why `lines` are no page: one of `names` is missing, or they are not all of the same thing.
pub fn why_not_whole(names: &[&str], lines: &[Line]) -> Option<String> {
    let of = |name: &&&str| lines.iter().any(|line| line.name == **name);
    let missing: Vec<&str> = names.iter().filter(|name| !of(name)).copied().collect();
    if !missing.is_empty() {
        return Some(format!("these lines were never taken: {}", missing.join(", ")));
    }
    // What was taken last is what the page would be about.
    let newest = &lines.iter().max_by_key(|line| &line.taken.at)?.taken;
    let same = |taken: &Taken| {
        (&taken.gateway, &taken.machine, &taken.peers) == (&newest.gateway, &newest.machine, &newest.peers)
    };
    let others: Vec<&str> =
        lines.iter().filter(|line| !same(&line.taken)).map(|line| line.name.as_str()).collect();
    (!others.is_empty()).then(|| {
        format!(
            "these lines were taken with another gateway, on another machine or beside other peers than the newest: {}",
            others.join(", ")
        )
    })
}

/// The page about `lines`, which are of the same gateway, machine and peers. `plot` is the
/// file beside it with their picture.
pub fn page(lines: &[Line], plot: &str) -> String {
    let Some(first) = lines.first() else { return String::new() };
    let n_met = lines.iter().filter(|line| line.is_met()).count();
    let mut page = format!(
        "# Benchmarks\n\n\
         Written by `make bench`, not by hand. Each line is a ratio of two things that were measured beside one\n\
         another, or a count of what must not happen, and has a goal. **{n_met} of {} goals are met.** Times and\n\
         rates are those of one small machine; ratios are what carries over to others.\n\n\
         ![How far each figure is on the way to its goal]({plot})\n\n\
         | line | what | against | figure (runs) | goal | |\n|---|---|---|---|---|---|\n",
        lines.len()
    );
    for line in lines {
        page += &row(line);
    }
    page += &format!("\n## Measured on\n\n{}", circumstances(lines, &first.taken));
    page += HOW;
    page += "\n## Line by line\n";
    for line in lines {
        page += &section(line);
    }
    page
}

const HOW: &str = "\n## How it is measured\n\n\
- **One machine for all.** The gateway, the upstreams, the peers and the load generator share its cores. Each is a\n  \
  process of its own; an upstream is a simulated Ollama that embeds one text at a time, as Ollama does. Vectors have\n  \
  1,024 dimensions.\n\
- **Closed loops.** A connection sends its next request when it has the answer to the last one, unless a line says\n  \
  otherwise. Requests that are under way at the end are waited for, and count where they fail.\n\
- **Right answers only.** Where a line says *checked*, every vector is compared with its text's own, bit by bit, in\n  \
  the measured time. Where checking would take the processor from what is measured, it is done in the second\n  \
  before, and then every answer must have status 200. Where an answer is wrong or missing, there is no\n  \
  figure, unless the line counts those.\n\
- **In turns.** What is compared by its speed is loaded for two seconds each in the order A B B A, so that a machine\n  \
  that gets slower or faster meanwhile favours nobody.\n\
- **Medians.** Each line is taken three times, from new processes, and the median counts, of counts the worst. What\n  \
  is about memory takes ten minutes and is taken once.\n\
- **Defaults.** The gateway has its default configuration but for what a line names, the release build and its log at\n  \
  `error`.\n\n\
```sh\n\
make bench                                       # everything; tests/bench/peers/install.sh gets the peers\n\
cargo bench --bench gateway                      # these lines and this page, in some forty minutes\n\
cargo bench --bench gateway -- hits list         # only these lines, into target/bench/gateway.json\n\
cargo bench --bench gateway -- memory --seconds 90\n\
cargo bench --bench gateway -- page              # this page from lines that were taken one by one\n\
```\n";

/// A line of the table.
fn row(line: &Line) -> String {
    let Line { name, what, against, goal, .. } = line;
    let (figure, each) = (line.shown(), line.each());
    let verdict = if line.is_met() { "met".to_owned() } else { format!("**{}**", line.verdict()) };
    let against = if against.is_empty() { "–" } else { against };
    format!("| [`{name}`](#{name}) | {what} | {against} | **{figure}** ({each}) | {goal} | {verdict} |\n")
}

/// What `line` is made from.
fn section(line: &Line) -> String {
    let mut section = format!("\n### {}\n{}\n\n", line.name, wrapped(&line.how));
    if let Some(failure) = &line.failure {
        section += &format!("No figure: {failure}\n\n");
    }
    let Some(run) = line.runs.first() else { return section };
    let cells = |cells: Vec<String>| cells.iter().map(|cell| format!(" {cell} |")).collect::<String>();
    let heads = (1..=line.runs.len()).map(|number| format!("run {number}")).collect();
    section += &format!("| |{}\n|---|{}\n", cells(heads), "--:|".repeat(line.runs.len()));
    for value in &run.values {
        let unit = if value.unit.is_empty() { String::new() } else { format!(", {}", value.unit) };
        section += &format!("| {}{unit} |{}\n", value.what, cells(line.amounts(&value.what)));
    }
    let figures = line.runs.iter().map(|run| format!("**{}**", super::shown(run.figure))).collect();
    section + &format!("| **figure** |{}\n", cells(figures))
}

/// The machine and all that ran on it.
fn circumstances(lines: &[Line], taken: &Taken) -> String {
    let mut times: Vec<(&str, &str)> =
        lines.iter().map(|line| (line.taken.at.as_str(), line.taken.load_average.as_str())).collect();
    times.sort_unstable();
    times.dedup();
    let of = |what: fn(&(&str, &str)) -> String| times.iter().map(what).collect::<Vec<_>>().join(", ");
    let runs = if times.len() == 1 { "in one run".to_owned() } else { format!("in {} runs", times.len()) };
    format!(
        "| | |\n|---|---|\n| machine | {} |\n| gateway | {} |\n| peers | {} |\n| when | {}, {runs} |\n\
         | load average before | {} |\n",
        taken.machine,
        taken.gateway,
        taken.peers,
        of(|(at, _)| (*at).to_owned()),
        of(|(_, load)| (*load).to_owned()),
    )
}

/// `text` in lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 120 => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::Goal;
    use super::super::tests::line;
    use super::*;

    /// A line called `name` that was taken `at`, of `gateway`.
    fn taken(name: &str, at: &str, gateway: &str) -> Line {
        let mut line = line(Goal::AtLeast(0.8), &[0.9, 0.7, 0.85]);
        line.name = name.to_owned();
        line.taken = Taken { at: at.to_owned(), gateway: gateway.to_owned(), ..Taken::default() };
        line
    }

    #[test]
    fn all_lines_of_one_gateway_are_a_page() {
        let lines = [taken("a", "noon", "1"), taken("b", "later", "1")];
        assert_eq!(why_not_whole(&["a", "b"], &lines), None);
        let page = page(&lines, "plot.svg");
        for part in [
            "**2 of 2 goals are met.**",
            "| [`a`](#a) | hits a second | a bare server's | **0.85** (0.90, 0.70, 0.85) | at least 0.8 | met |",
            "\n### b\nBy asking.\n",
            "| | run 1 | run 2 | run 3 |\n|---|--:|--:|--:|\n",
            "| gateway, requests/s | 41,234 | 41,234 | 41,234 |\n| **figure** | **0.90** | **0.70** | **0.85** |\n",
            "| when | later, noon, in 2 runs |",
            "(plot.svg)",
        ] {
            assert!(page.contains(part), "no {part} in {page}");
        }
    }

    #[test]
    fn a_page_says_what_is_not_met_and_what_failed() {
        let mut lines = [line(Goal::AtMost(0.5), &[0.6]), taken("b", "", "")];
        lines[1].failure = Some("nginx is not installed".to_owned());
        let page = page(&lines, "plot.svg");
        assert!(page.contains("**0 of 2 goals are met.**"), "{page}");
        assert!(page.contains("| at most 0.5 | **NOT met** |"), "{page}");
        assert!(page.contains("| **–** (0.90, 0.70, 0.85) | at least 0.8 | **no figure** |"), "{page}");
        assert!(page.contains("No figure: nginx is not installed\n"), "{page}");
    }

    #[test]
    fn lines_of_two_gateways_are_no_page() {
        let lines = [taken("a", "1", "old"), taken("b", "2", "new")];
        let why = why_not_whole(&["a", "b"], &lines).unwrap();
        assert!(why.ends_with("than the newest: a"), "{why}");
        let why = why_not_whole(&["a", "b", "c", "d"], &lines).unwrap();
        assert_eq!(why, "these lines were never taken: c, d");
    }

    #[test]
    fn long_text_is_wrapped() {
        let text = "word ".repeat(60);
        let lines: Vec<usize> = wrapped(&text).lines().map(str::len).collect();
        assert_eq!(lines, [119, 119, 59]);
    }
}
