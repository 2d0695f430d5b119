//! `kill -9` at any point of `index`, then the same again: the store is that of one clean run.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use embergate_test_support::binary::{Desk, signal};
use serde_json::Value;

use super::desk;

const N_FILES: usize = 40;

/// Many documents, written two at a time: a run is far from its end when the first is finished.
fn write_many(desk: &Desk) {
    desk.write("embergate.toml", "[index]\nbatch_documents = 2\n");
    for number in 0..N_FILES {
        let sections: Vec<String> = (0..12)
            .map(|section| {
                format!(
                    "## Part {section}\n\n{}\n",
                    format!("Document {number} speaks of matter {section}. ").repeat(40)
                )
            })
            .collect();
        desk.write(&format!("docs/{number}.md"), format!("# Number {number}\n\n{}", sections.join("\n")));
    }
}

/// What a search can see of the whole collection, without the folder that the test ran in.
fn seen(desk: &Desk) -> Vec<Value> {
    let folder = desk.folder();
    let mut seen = Vec::new();
    for question in ["document matter", "number seven", "part eleven speaks"] {
        let arguments = ["search", question, "--collection", "docs", "--limit", "1000"];
        let answer = desk.json(&arguments);
        for result in answer[0]["results"].as_array().unwrap() {
            let mut result = result.clone();
            result["source"] =
                result["source"].as_str().unwrap().replace(folder.to_str().unwrap(), "").into();
            // Ids depend on the path, and with them the order of equal scores.
            for key in ["id", "rank"] {
                result.as_object_mut().unwrap().remove(key);
            }
            seen.push(result);
        }
    }
    seen.sort_by_key(ToString::to_string);
    seen
}

/// Kills `index` after `n_finished` documents were reported, 0 for as soon as the scan is done.
fn kill_after(desk: &Desk, n_finished: usize) {
    let mut command = desk.command(&["index", "docs", "--collection", "docs", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let events = BufReader::new(child.stdout.take().unwrap());
    let mut n_seen = 0;
    for line in events.lines() {
        n_seen += usize::from(line.unwrap().contains("\"finished\""));
        if n_finished <= n_seen {
            break;
        }
    }
    signal("KILL", child.id());
    assert_eq!(child.wait().unwrap().code(), None, "it ended before it was killed");
}

#[test]
fn a_run_after_kills_ends_as_a_clean_run() {
    let (clean, killed) = (desk(), desk());
    write_many(&clean);
    write_many(&killed);
    clean.json(&["index", "docs", "--collection", "docs"]);
    for n_finished in [0, 1, 3, 8] {
        kill_after(&killed, n_finished);
    }
    let events = killed.json(&["index", "docs", "--collection", "docs"]);
    let summary = events.last().unwrap();
    assert!(0 < summary["unchanged"].as_u64().unwrap(), "what was done was kept: {summary}");
    assert_eq!(summary["failed"], 0);
    let (want, got) = (seen(&clean), seen(&killed));
    assert!(N_FILES <= want.len());
    assert_eq!(got, want);
    let again = killed.json(&["index", "docs", "--collection", "docs"]);
    assert_eq!(again.last().unwrap()["unchanged"], N_FILES);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_its_code_and_keeps_what_was_done() {
    let desk = desk();
    write_many(&desk);
    let mut command = desk.command(&["index", "docs", "--collection", "docs", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = events.by_ref().map(|line| line.unwrap()).find(|line| line.contains("\"finished\""));
    assert!(first.is_some());
    signal("INT", child.id());
    let rest = events.map_while(Result::ok).filter(|line| line.contains("\"summary\"")).count();
    assert_eq!((child.wait().unwrap().code(), rest), (Some(130), 0));
    let events = desk.json(&["index", "docs", "--collection", "docs"]);
    assert!(0 < events.last().unwrap()["unchanged"].as_u64().unwrap());
}
