//! Indexing and searching with the embedded model, the embedded store and the bundled plugins.

use std::process::Stdio;

use embergate_test_support::binary::Desk;
use serde_json::Value;

use super::{desk, write_corpus};

const INDEX: [&str; 4] = ["index", "docs", "--collection", "docs"];

/// The counts `indexed`, `unchanged`, `removed`, `skipped`, `failed`, and chunks embedded.
#[track_caller]
fn check_index(desk: &Desk, want: [u64; 5], embeds: bool) {
    let events = desk.json(&INDEX);
    let summary = events.last().unwrap();
    assert_eq!(summary["event"], "summary");
    let counts = ["indexed", "unchanged", "removed", "skipped", "failed"];
    assert_eq!(counts.map(|name| summary[name].as_u64().unwrap()), want, "{summary}");
    assert_eq!(0 < summary["embedded"].as_u64().unwrap(), embeds, "{summary}");
}

fn search(desk: &Desk, question: &str) -> Vec<Value> {
    let answer = desk.json(&["search", question, "--collection", "docs"]);
    answer[0]["results"].as_array().unwrap().clone()
}

#[track_caller]
fn check_best(desk: &Desk, question: &str, file: &str, text: &str) {
    let found = search(desk, question);
    let best = &found[0];
    assert_eq!(best["rank"], 1);
    assert!(best["source"].as_str().unwrap().ends_with(file), "{found:#?}");
    assert!(best["text"].as_str().unwrap().contains(text), "{found:#?}");
}

#[test]
fn documents_of_three_kinds_are_found() {
    let desk = desk();
    write_corpus(&desk);
    check_index(&desk, [3, 0, 0, 0, 0], true);
    check_best(&desk, "what does mooring cost", "harbour.md", "nine crowns");
    check_best(&desk, "feeding a sourdough starter", "bread.txt", "rye flour");
    check_best(&desk, "telescope mirror", "stars.html", "faint galaxies");
    let found = search(&desk, "telescope mirror");
    assert_eq!((&found[0]["media_type"], &found[0]["title"]), (&"text/html".into(), &"Stars".into()));
    assert!(found.iter().all(|found| (0.0..=1.0).contains(&found["score"].as_f64().unwrap())), "{found:#?}");
    let found = search(&desk, "mooring fees");
    assert_eq!(found[0]["headings"].as_array().unwrap().last().unwrap(), "Fees");
    assert!(
        !search(&desk, "telescope").iter().any(|found| found["text"].as_str().unwrap().contains("var x"))
    );
}

#[test]
fn a_span_points_at_the_bytes_of_the_file() {
    let desk = desk();
    write_corpus(&desk);
    check_index(&desk, [3, 0, 0, 0, 0], true);
    for found in search(&desk, "harbour bread telescope") {
        let file = std::fs::read(found["source"].as_str().unwrap()).unwrap();
        let [start, end] = [0, 1].map(|at| found["span"][at].as_u64().unwrap() as usize);
        let line = 1 + file[..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(found["line"], line, "{found}");
        if !found["source"].as_str().unwrap().ends_with(".html") {
            assert_eq!(std::str::from_utf8(&file[start..end]).unwrap(), found["text"].as_str().unwrap());
        }
    }
}

#[test]
fn indexing_twice_changes_nothing_and_edits_are_followed() {
    let desk = desk();
    write_corpus(&desk);
    check_index(&desk, [3, 0, 0, 0, 0], true);
    check_index(&desk, [0, 3, 0, 0, 0], false);
    desk.write("docs/bread.txt", "Flat bread needs no starter, only flour, water and a very hot stone.\n");
    check_index(&desk, [1, 2, 0, 0, 0], true);
    check_best(&desk, "bread", "bread.txt", "hot stone");
    assert!(
        !search(&desk, "bread").iter().any(|found| found["text"].as_str().unwrap().contains("rye flour"))
    );
    desk.remove("docs/stars.html");
    check_index(&desk, [0, 2, 1, 0, 0], false);
    assert!(
        !search(&desk, "telescope").iter().any(|found| found["source"].as_str().unwrap().contains("stars"))
    );
}

#[test]
fn what_is_no_text_is_skipped_and_said() {
    let desk = desk();
    write_corpus(&desk);
    desk.write("docs/odd.txt", b"caf\0 au lait");
    let said = desk.run(&INDEX);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("skipped docs/odd.txt: "), "{}", said.stderr);
    check_best(&desk, "mooring", "harbour.md", "nine crowns");
}

#[test]
fn another_language_builds_a_generation_beside_and_copies_its_vectors() {
    let desk = desk();
    write_corpus(&desk);
    check_index(&desk, [3, 0, 0, 0, 0], true);
    let events = desk.json(&["index", "--collection", "docs", "--language", "tr"]);
    assert_eq!(events[0]["why"], "the language");
    let summary = events.last().unwrap();
    assert_eq!((&summary["embedded"], &summary["indexed"]), (&0.into(), &3.into()), "{summary}");
    assert_eq!((&summary["serves"], &summary["serves_detail"]), (&"instead".into(), &"docs@1".into()));
    let shown = || desk.json(&["collections", "show", "docs"]).remove(0);
    assert_eq!((&shown()["serving"], &shown()["previous"]), (&"docs@2".into(), &"docs@1".into()));
    check_best(&desk, "mooring", "harbour.md", "nine crowns");

    desk.json(&["collections", "rollback", "docs"]);
    assert_eq!((&shown()["serving"], &shown()["previous"]), (&"docs@1".into(), &"docs@2".into()));
    check_best(&desk, "mooring", "harbour.md", "nine crowns");
    let pruned = desk.json(&["collections", "prune", "docs"]);
    assert_eq!(pruned[0]["deleted"], serde_json::json!(["docs@2"]));
    assert_eq!(shown()["generations"].as_array().unwrap().len(), 1);
    let said = desk.run(&["collections", "rollback", "docs"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    // The language that the collection has now is that of the generation that serves.
    let again = desk.json(&["index", "--collection", "docs"]);
    assert_eq!(again.last().unwrap()["unchanged"], 3);
}

#[test]
fn a_model_that_is_not_there_is_refused() {
    let desk = desk();
    write_corpus(&desk);
    let said = desk.run(&["index", "docs", "--collection", "new", "--model", "nobody"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(
        said.stderr.contains("`nobody`") && said.stderr.contains("static-embed-en-256"),
        "{}",
        said.stderr
    );
}

#[test]
fn what_is_not_there_is_said() {
    let desk = desk();
    let said = desk.run(&["index", "nowhere", "--collection", "docs"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("nowhere"), "{}", said.stderr);
    let said = desk.run(&["search", "kelp", "--collection", "none"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("`none`") && said.stderr.contains("embergate index"), "{}", said.stderr);
}

#[test]
fn a_second_indexer_is_refused_and_a_search_is_not() {
    let desk = desk();
    write_corpus(&desk);
    check_index(&desk, [3, 0, 0, 0, 0], true);
    let paragraph = "Many words about harbours, bread and telescopes follow one another here.\n\n";
    for number in 0..200 {
        desk.write(&format!("many/{number}.txt"), format!("{number} {}", paragraph.repeat(60)));
    }
    // It is stopped, not slowed: the lock is held for as long as we look.
    let mut first = desk.command(&["index", "many", "--collection", "docs", "--json"]);
    let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
    let mut events = std::io::BufReader::new(first.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("finished") {
        line.clear();
        assert!(0 < std::io::BufRead::read_line(&mut events, &mut line).unwrap());
    }
    embergate_test_support::binary::signal("STOP", first.id());
    let said = desk.run(&INDEX);
    check_best(&desk, "mooring", "harbour.md", "nine crowns");
    embergate_test_support::binary::signal("KILL", first.id());
    first.wait().unwrap();
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("another indexer"), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("(process {})", first.id())), "{}", said.stderr);
    check_index(&desk, [0, 3, 0, 0, 0], false);
}
