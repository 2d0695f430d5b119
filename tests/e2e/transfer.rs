//! Collections go from store to store by `export` and `import`.

use std::io::Write;
use std::process::Stdio;

use embergate_test_support::qdrant::QdrantSim;
use serde_json::Value;

use super::{desk, write_corpus};

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_moves_to_qdrant_and_is_found_there() {
    let sim = QdrantSim::spawn().await.unwrap();
    let desk = desk();
    write_corpus(&desk);
    let remote = desk.write("qdrant.toml", format!("[store]\nkind = \"qdrant\"\nurl = \"{}\"\n", sim.url()));
    let remote = remote.to_str().unwrap();
    desk.json(&["index", "docs", "--collection", "docs", "--language", "en"]);
    let said = desk.json(&["export", "docs", "--output", "docs.jsonl"]);
    assert_eq!((&said[0]["exported"], &said[0]["documents"]), (&"docs".into(), &3.into()));
    let exported = lines(&desk.folder().join("docs.jsonl"));
    assert_eq!(exported[0]["header"]["model"], "static-embed-en-256");
    assert_eq!(exported.last().unwrap()["end"]["points"], said[0]["points"]);
    let said = desk.json(&["import", "docs.jsonl", "--collection", "harbour", "--config", remote]);
    assert_eq!((&said[0]["imported"], &said[0]["documents"]), (&"harbour".into(), &3.into()));
    let question = ["search", "what does mooring cost", "--collection"];
    let here = &desk.json(&[&question[..], &["docs"]].concat())[0]["results"];
    let there = &desk.json(&[&question[..], &["harbour", "--config", remote]].concat())[0]["results"];
    assert_eq!(here[0]["id"], there[0]["id"]);
    assert!(there[0]["source"].as_str().unwrap().ends_with("harbour.md"), "{there}");
    // At once, by the same name in both stores.
    let mut export = desk.command(&["export", "docs"]).stdout(Stdio::piped()).spawn().unwrap();
    let import = desk
        .command(&["import", "--collection", "docs", "--config", remote])
        .stdin(export.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(export.wait().unwrap().success());
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    desk.json(&["export", "harbour", "--output", "back.jsonl", "--config", remote]);
    assert_eq!(lines(&desk.folder().join("back.jsonl"))[1..], exported[1..]);
}

#[test]
fn what_is_exported_can_be_piped_and_a_part_of_it_is_refused() {
    let desk = desk();
    write_corpus(&desk);
    desk.json(&["index", "docs", "--collection", "docs"]);
    let said = desk.run(&["export", "docs"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("3 documents exported"), "{}", said.stderr);
    desk.write("whole.jsonl", &said.stdout);
    let all: Vec<&str> = said.stdout.lines().collect();
    desk.write("cut.jsonl", all[..all.len() - 1].join("\n"));
    let cut = desk.run(&["import", "cut.jsonl", "--collection", "copy"]);
    assert_eq!(cut.code, Some(2), "{}", cut.stderr);
    assert!(cut.stderr.contains("was cut") && cut.stderr.contains("export it again"), "{}", cut.stderr);
    assert_eq!(desk.json(&["collections", "list"])[0]["collections"].as_array().unwrap().len(), 1);
    let output = desk
        .command(&["import", "--collection", "copy"])
        .stdin(std::fs::File::open(desk.folder().join("whole.jsonl")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        !desk.json(&["search", "mooring", "--collection", "copy"])[0]["results"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_import_that_is_killed_is_not_seen_and_begins_anew() {
    let desk = desk();
    write_corpus(&desk);
    desk.json(&["index", "docs", "--collection", "docs"]);
    let whole = desk.run(&["export", "docs"]).stdout;
    let mut killed = desk.command(&["import", "--collection", "copy"]).stdin(Stdio::piped()).spawn().unwrap();
    let without_last = &whole[..whole.trim_end().rfind('\n').unwrap() + 1];
    let mut stdin = killed.stdin.take().unwrap();
    stdin.write_all(without_last.as_bytes()).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(desk.run(&["search", "mooring", "--collection", "copy"]).code, Some(2));
    desk.write("whole.jsonl", &whole);
    desk.json(&["import", "whole.jsonl", "--collection", "copy"]);
    let again = desk.run(&["export", "copy"]).stdout;
    assert_eq!(again.lines().skip(1).collect::<Vec<_>>(), whole.lines().skip(1).collect::<Vec<_>>());
}

#[test]
fn what_was_embedded_otherwise_is_refused() {
    let desk = desk();
    write_corpus(&desk);
    desk.json(&["index", "docs", "--collection", "docs"]);
    let whole = desk.run(&["export", "docs"]).stdout;
    let refused = |old: &str, new: &str| {
        assert!(whole.contains(old), "{whole}");
        desk.write("other.jsonl", whole.replacen(old, new, 1));
        let said = desk.run(&["import", "other.jsonl", "--collection", "copy"]);
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        said.stderr
    };
    let said = refused("\"model\":\"static-embed-en-256\"", "\"model\":\"nobody-knows\"");
    assert!(said.contains("`nobody-knows`") && said.contains("[[model]]"), "{said}");
    let said = refused("\"space\":\"", "\"space\":\"0");
    assert!(said.contains("embeds otherwise here"), "{said}");
    desk.write(
        "embergate.toml",
        "[[upstream]]\nname = \"far\"\nkind = \"ollama\"\nurl = \"http://127.0.0.1:9\"\n\
         [[model]]\nname = \"other\"\nupstreams = [\"far\"]\n\
         [[collection]]\nname = \"copy\"\nmodel = \"other\"\n",
    );
    desk.write("whole.jsonl", &whole);
    let said = desk.run(&["import", "whole.jsonl", "--collection", "copy"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("[[collection]] table of `copy`"), "{}", said.stderr);
    let said = desk.run(&["import", "nowhere.jsonl", "--collection", "copy"]);
    assert!(said.stderr.contains("nowhere.jsonl"), "{}", said.stderr);
    let said = desk.run(&["export", "nowhere"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
}
