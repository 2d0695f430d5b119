//! What `index` is given: folders by patterns, records in files, standard input, pages.

use std::fs::File;
use std::process::Stdio;

use embergate_test_support::binary::{Desk, Said};

use super::desk;

/// The sources of a collection that answer a question, without the folder.
fn found(desk: &Desk, question: &str) -> Vec<String> {
    let answer = desk.json(&["search", question, "--collection", "docs", "--limit", "50"]);
    let folder = format!("{}/", desk.folder().display());
    let results = answer[0]["results"].as_array().unwrap();
    let mut sources: Vec<_> =
        results.iter().map(|result| result["source"].as_str().unwrap().replace(&folder, "")).collect();
    sources.sort();
    sources.dedup();
    sources
}

fn index(desk: &Desk, arguments: &[&str]) -> Said {
    let said = desk.run(&[&["index", "--collection", "docs"], arguments].concat());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said
}

#[track_caller]
fn check_refused(arguments: &[&str], message: &str, remedy: &str) {
    let desk = desk();
    desk.write("a.txt", "kelp");
    let said = desk.run(&[&["index", "--collection", "docs"], arguments].concat());
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains(message) && said.stderr.contains(remedy), "{}", said.stderr);
}

#[test]
fn patterns_choose_files_and_what_they_leave_out_is_removed() {
    let desk = desk();
    for path in ["docs/a.md", "docs/b.txt", "docs/old/c.md", "docs/.hidden.md"] {
        desk.write(path, "Kelp forests grow along cold coasts.");
    }
    index(&desk, &["docs", "--hidden"]);
    assert_eq!(found(&desk, "kelp"), ["docs/.hidden.md", "docs/a.md", "docs/b.txt", "docs/old/c.md"]);
    let said = index(&desk, &["docs", "--include", "*.md", "--exclude", "old/"]);
    assert!(said.stdout.contains("1 unchanged, 3 removed"), "{}", said.stdout);
    assert_eq!(found(&desk, "kelp"), ["docs/a.md"]);
}

#[test]
fn what_is_piped_in_is_a_document_with_a_name() {
    let desk = desk();
    let path = desk.write("notes.md", "# Kelp\n\nKelp forests grow along cold coasts.");
    let arguments = ["index", "-", "--id", "notes", "--media-type", "text/markdown", "--collection", "docs"];
    let pipe = || {
        let mut command = desk.command(&arguments);
        Said::by(command.stdin(Stdio::from(File::open(&path).unwrap())))
    };
    let first = pipe();
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stderr.contains("only piping it in again brings it up to date"), "{}", first.stderr);
    assert_eq!(found(&desk, "kelp"), ["stdin:notes"]);
    assert!(pipe().stdout.contains("1 unchanged"));
    // A run without it leaves it alone.
    desk.write("docs/a.txt", "bread");
    index(&desk, &["docs"]);
    assert_eq!(found(&desk, "kelp"), ["docs/a.txt", "stdin:notes"]);
}

#[test]
fn records_are_documents_by_the_fields_that_are_named() {
    let desk = desk();
    desk.write(
        "tickets.jsonl",
        "{\"key\": \"T-1\", \"fields\": {\"summary\": \"Kelp\"}, \"body\": \"Kelp forests grow along cold coasts.\"}\n\
         {\"key\": \"T-2\", \"fields\": {\"summary\": \"Bread\"}, \"body\": \"Bread rises slowly.\", \"team\": \"bakery\"}\n",
    );
    let fields = ["--text-field", "fields.summary", "--text-field", "/body", "--id-field", "key"];
    let more = ["--title-field", "fields.summary", "--metadata-field", "team"];
    index(&desk, &[&["tickets.jsonl"], &fields[..], &more[..]].concat());
    let answer = desk.json(&["search", "bread", "--collection", "docs", "--limit", "1"]);
    let best = &answer[0]["results"][0];
    assert!(best["source"].as_str().unwrap().ends_with("tickets.jsonl#T-2"), "{best}");
    assert_eq!((&best["title"], &best["line"]), (&"Bread".into(), &2.into()));
    assert_eq!(best["metadata"], serde_json::json!([["team", "bakery"]]));
    let file = std::fs::read_to_string(desk.folder().join("tickets.jsonl")).unwrap();
    let span = |at: usize| usize::try_from(best["span"][at].as_u64().unwrap()).unwrap();
    assert_eq!(&file[span(0)..span(1)], "Bread\"}, \"body\": \"Bread rises slowly.");
}

#[test]
fn a_broken_record_costs_itself_and_the_exit_code() {
    let desk = desk();
    desk.write("a.csv", "id,text\n1,kelp\n2\n1,again\n3,bread\n");
    let said = desk.run(&["index", "a.csv", "--collection", "docs"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(
        said.stderr.contains("failed a.csv#L3: line 3: it has 1 fields, and the first row has 2"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("failed a.csv#L4: line 4: its id `1` is that of line 2"), "{}", said.stderr);
    assert_eq!(found(&desk, "kelp bread"), ["a.csv#1", "a.csv#3"]);
}

#[test]
fn a_record_that_moved_is_not_embedded_again() {
    let desk = desk();
    desk.write("a.jsonl", "{\"id\":1,\"text\":\"kelp\"}\n{\"id\":2,\"text\":\"bread\"}\n");
    index(&desk, &["a.jsonl"]);
    assert!(index(&desk, &["a.jsonl"]).stdout.contains("2 unchanged"));
    desk.write("a.jsonl", "{\"id\":0,\"text\":\"tide\"}\n{\"id\":1,\"text\":\"kelp\"}\n");
    let said = index(&desk, &["a.jsonl"]);
    for want in ["2 indexed, 1 removed", "2: 1 embedded, 1 kept"] {
        assert!(said.stdout.contains(want), "{}", said.stdout);
    }
    let best = &desk.json(&["search", "kelp", "--collection", "docs", "--limit", "1"])[0]["results"][0];
    assert_eq!((&best["line"], &best["span"]), (&2.into(), &serde_json::json!([39, 43])));
}

#[test]
fn encodings_are_told() {
    let desk = desk();
    desk.write("docs/a.txt", b"Diyarbak\xFDr'\xFDn k\xFD\xFE g\xFCne\xFEi \xFEehrin \xFCst\xFCne do\xF0du.");
    desk.write("docs/b.txt", "Iğdır");
    let said = index(&desk, &["docs"]);
    assert!(said.stdout.contains("1 in windows-1254, the rest in UTF-8"), "{}", said.stdout);
    desk.write("docs/a.txt", b"k\xFD\xFE g\xFCne\xFEi");
    let events = desk.json(&["index", "docs", "--collection", "docs"]);
    let told = events.iter().find(|event| event["outcome"] == "indexed").unwrap();
    assert_eq!(told["encoding"], "windows-1254");
    assert_eq!(events.last().unwrap()["encodings"], serde_json::json!({ "windows-1254": 1 }));
    desk.write("strict.toml", "[index]\nencoding = \"utf-8\"\n");
    desk.write("docs/a.txt", b"g\xFCn");
    let said = desk.run(&["--config", "strict.toml", "index", "docs", "--collection", "strict"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(
        said.stderr.contains("`index.encoding` says UTF-8, and the byte 0xFC at offset 1 is none of it"),
        "{}",
        said.stderr
    );
}

#[test]
fn minified_code_is_left_out_unless_a_rule_wants_it() {
    let desk = desk();
    desk.write("docs/a.js", format!("var a = 1;\n{}", "b();".repeat(600)));
    let said = index(&desk, &["docs"]);
    let why = "skipped docs/a.js: line 2 is too long for code that people write: give its collection a rule for `text/javascript` to index it";
    assert!(said.stderr.contains(why), "{}", said.stderr);
    let rule = "[[collection]]\nname = \"docs\"\nmodel = \"static-embed-en-256\"\n[[collection.rule]]\nmedia_type = \"text/javascript\"\nchunker = \"recursive\"\n";
    desk.write("rule.toml", rule);
    let said = desk.run(&["--config", "rule.toml", "index", "docs", "--collection", "docs"]);
    assert!(said.stdout.contains("1 indexed"), "{} {}", said.stdout, said.stderr);
}

#[test]
fn what_cannot_be_a_source_is_refused_with_a_way_out() {
    check_refused(&["-"], "what comes from standard input has no name", "--id NAME");
    check_refused(&["a.txt", "--id", "x"], "`-` is not among the sources", "add `-`");
    check_refused(&["https://docs.example.org/a"], "add `docs.example.org` to `index.allowed_hosts`", "");
    check_refused(&["a.txt", "--include", "a{b"], "`a{b` is no pattern of files", "");
    check_refused(&["none.txt"], "cannot read `none.txt`", "");
    check_refused(&["a.txt", "--delimiter", "\""], "cannot stand between columns", "");
    check_refused(
        &["-", "--id", "x", "--media-type", "image/png"],
        "there is no media type `image/png`",
        "text/markdown",
    );
}

#[test]
fn the_examples_are_read_as_their_readme_says() {
    let readme = include_str!("../../examples/README.md");
    let commands: Vec<&str> =
        readme.lines().filter_map(|line| line.trim_start().strip_prefix("embergate ")).collect();
    assert_eq!(commands.len(), 2);
    let desk = desk();
    let root = env!("CARGO_MANIFEST_DIR");
    for command in commands {
        let command = command.replace("examples/", &format!("{root}/examples/"));
        let said = desk.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert!(
            said.stdout.contains("3 indexed") && said.stdout.contains("3: 3 embedded"),
            "{}",
            said.stdout
        );
    }
    let best = &desk.json(&["search", "yağmur", "--collection", "logbook", "--limit", "1"])[0]["results"][0];
    assert!(best["source"].as_str().unwrap().ends_with("logbook.csv#2"), "{best}");
    assert_eq!(best["metadata"], serde_json::json!([["saat", "12:15"]]));
}

#[test]
fn what_stands_in_a_file_does_not_steer_the_terminal() {
    let desk = desk();
    let line = "{\"id\": \"\\u001b[2Jx\", \"text\": \"kelp\"}\n";
    desk.write("a.jsonl", line.repeat(2));
    let said = desk.run(&["index", "a.jsonl", "--collection", "docs"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(
        said.stderr.contains("its id `[2Jx` is that of line 1") && !said.stderr.contains('\u{1b}'),
        "{:?}",
        said.stderr
    );
    let found = desk.run(&["search", "kelp", "--collection", "docs"]);
    assert!(
        found.stdout.contains("a.jsonl#[2Jx:1") && !found.stdout.contains('\u{1b}'),
        "{:?}",
        found.stdout
    );
}
