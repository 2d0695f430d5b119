//! Every metric in the code is explained at `/metrics` and in the documentation, with its
//! kind and its labels, and nothing else is.

use std::collections::BTreeMap;
use std::fs;

use crate::{assert_tidy, files_below, root};

/// By name: the kind, and the labels in alphabetical order.
type Metrics = BTreeMap<String, (String, Vec<String>)>;

const KINDS: [&str; 3] = ["counter", "gauge", "histogram"];

/// Metrics that are made in the code, tests left out.
fn made() -> Metrics {
    let mut metrics = Metrics::new();
    let sources = ["host/core/src", "host/plugin/src", "host/src"];
    for file in sources.iter().flat_map(|folder| files_below(&root().join(folder), "rs")) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for kind in KINDS {
            for (at, opening) in code.match_indices(&format!("{kind}!(")) {
                let words: Vec<&str> = arguments(&code[at + opening.len()..]).split('"').collect();
                let Some(name) = words.get(1).filter(|name| name.starts_with("embergate_")) else { continue };
                let labels = words[2..].windows(2).filter(|pair| pair[1].trim_start().starts_with("=>"));
                let mut labels: Vec<String> = labels.map(|pair| pair[0].to_owned()).collect();
                labels.sort();
                metrics.insert((*name).to_owned(), (kind.to_owned(), labels));
            }
        }
    }
    metrics
}

/// What stands before the parenthesis that closes the one before `rest`.
fn arguments(rest: &str) -> &str {
    let mut depth = 1_usize;
    let end = rest.find(|letter| {
        depth += usize::from(letter == '(');
        depth -= usize::from(letter == ')');
        depth == 0
    });
    &rest[..end.unwrap_or(rest.len())]
}

/// Metrics in the table of the documentation.
fn documented() -> Metrics {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `embergate_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let mut labels: Vec<String> =
            without_parentheses(cells[3]).split('`').skip(1).step_by(2).map(str::to_owned).collect();
        labels.sort();
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
    })
    .collect()
}

/// Values of labels stand in parentheses behind them.
fn without_parentheses(cell: &str) -> String {
    let mut depth = 0_usize;
    cell.chars()
        .filter(|letter| {
            depth += usize::from(*letter == '(');
            let outside = depth == 0;
            depth -= usize::from(*letter == ')');
            outside
        })
        .collect()
}

/// Metrics with a line of help, by kind.
fn helped() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("host/src/telemetry/help.rs")).unwrap();
    let mut kind = String::new();
    let mut metrics = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("const ") {
            kind = rest.split("S:").next().unwrap().to_lowercase();
        }
        let name = line.split('"').nth(1).filter(|name| name.starts_with("embergate_"));
        metrics.extend(name.map(|name| (name.to_owned(), kind.clone())));
    }
    metrics
}

#[test]
fn documentation_and_help_tell_of_every_metric() {
    let (made, documented, helped) = (made(), documented(), helped());
    assert!(20 < made.len(), "{made:?}");
    let mut complaints = Vec::new();
    for (name, metric) in &made {
        if documented.get(name) != Some(metric) {
            let page = documented.get(name);
            complaints.push(format!("docs/operations.md: `{name}` is {metric:?}, and there it is {page:?}"));
        }
        if helped.get(name) != Some(&metric.0) {
            complaints.push(format!("host/src/telemetry/help.rs: has no {} `{name}`", metric.0));
        }
    }
    let others = documented.keys().chain(helped.keys()).filter(|name| !made.contains_key(*name));
    complaints.extend(others.map(|name| format!("`{name}` is explained, and no code makes it")));
    assert_tidy(&complaints);
}

#[test]
fn names_end_in_their_unit_and_counters_in_total() {
    let complaints: Vec<_> = made()
        .into_iter()
        .filter(|(name, (kind, _))| {
            let has_unit =
                ["_seconds", "_texts", "_tokens", "_bytes"].iter().any(|unit| name.ends_with(unit));
            match kind.as_str() {
                "counter" => !name.ends_with("_total"),
                "histogram" => !has_unit,
                _ => name.ends_with("_total"),
            }
        })
        .map(|(name, (kind, _))| format!("`{name}` is no name of a {kind}"))
        .collect();
    assert_tidy(&complaints);
}
