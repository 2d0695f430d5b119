//! Files that are no text, or hardly: each is indexed or left out with a reason, and nothing waits for one.

use std::process::Command;

use embergate_test_support::binary::Desk;
use serde_json::Value;

use super::desk;

/// What became of each file of `docs`, by name: the outcome and the reason.
fn outcomes(desk: &Desk) -> Vec<(String, String, String)> {
    let events = desk.json(&["index", "docs", "--collection", "docs"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let finished = events.iter().filter(|event| event["event"] == "finished");
    let mut outcomes: Vec<_> = finished
        .map(|event| {
            let source = text(&event["source"]);
            (source.rsplit('/').next().unwrap().to_owned(), text(&event["outcome"]), text(&event["reason"]))
        })
        .collect();
    outcomes.sort();
    outcomes
}

#[track_caller]
fn check(name: &str, content: impl AsRef<[u8]>, want: &str, reason: &str) {
    let desk = desk();
    desk.write(&format!("docs/{name}"), content);
    assert_eq!(outcomes(&desk), [(name.to_owned(), want.to_owned(), reason.to_owned())]);
}

#[test]
fn an_empty_file_is_a_document_without_chunks() {
    check("empty.txt", "", "indexed", "");
}

#[test]
fn bytes_that_are_no_text_are_left_out() {
    check("odd.txt", b"odd\0", "skipped", "it is not text: there is a zero byte at offset 3");
    check("picture.txt", b"\x89PNG\0\x01", "skipped", "it is a PNG picture, not text");
    check("paper.txt", "%PDF-1.7\n", "skipped", "it is a PDF document, not text");
}

#[test]
fn utf_16_with_a_mark_is_text() {
    let desk = desk();
    let text = "\u{feff}Kelp forests grow along cold coasts; ığüşöç.";
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    desk.write("docs/wide.txt", bytes);
    assert_eq!(outcomes(&desk), [("wide.txt".into(), "indexed".into(), String::new())]);
    let found = desk.json(&["search", "kelp", "--collection", "docs"]);
    assert_eq!(found[0]["results"][0]["text"], text.trim_start_matches('\u{feff}'));
}

#[test]
fn a_file_over_the_limit_is_left_out_unread() {
    let desk = desk();
    let path = desk.write("docs/huge.txt", "");
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(200 << 20).unwrap();
    let reason = "it has 209715200 bytes, more than the 67108864 of `index.max_file`";
    assert_eq!(outcomes(&desk), [("huge.txt".into(), "skipped".into(), reason.into())]);
}

#[cfg(unix)]
#[test]
fn sockets_and_pipes_are_left_out_and_not_waited_for() {
    let desk = desk();
    desk.write("docs/a.txt", "kelp");
    let _socket = std::os::unix::net::UnixListener::bind(desk.folder().join("docs/s.sock")).unwrap();
    assert!(Command::new("mkfifo").arg(desk.folder().join("docs/pipe")).status().unwrap().success());
    let skipped = |name: &str, reason: &str| (name.to_owned(), "skipped".to_owned(), reason.to_owned());
    let want = [
        ("a.txt".to_owned(), "indexed".to_owned(), String::new()),
        skipped("pipe", "it is a pipe, not a file"),
        skipped("s.sock", "it is a socket, not a file"),
    ];
    assert_eq!(outcomes(&desk), want);
    let said = desk.run(&["index", "docs/pipe", "--collection", "docs"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("skipped docs/pipe: it is a pipe, not a file"), "{}", said.stderr);
}

#[test]
fn a_file_that_became_no_text_leaves_nothing_behind() {
    let desk = desk();
    desk.write("docs/a.txt", "kelp forests");
    desk.write("docs/b.txt", "bread");
    outcomes(&desk);
    desk.write("docs/a.txt", b"\0\0");
    outcomes(&desk);
    let found = desk.json(&["search", "kelp forests", "--collection", "docs"]);
    let found = found[0]["results"].as_array().unwrap();
    assert!(found.iter().all(|found| found["source"].as_str().unwrap().ends_with("b.txt")), "{found:?}");
}

#[test]
fn a_folder_of_pictures_is_told_in_a_few_lines() {
    let desk = desk();
    for number in 0..25 {
        desk.write(&format!("docs/{number:02}.png"), b"\x89PNG\0");
    }
    let said = desk.run(&["index", "docs", "--collection", "docs"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let lines: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("skipped ")).collect();
    assert_eq!(lines.len(), 11, "{}", said.stderr);
    assert!(lines[0].starts_with("skipped docs/00.png: "), "{}", lines[0]);
    assert!(lines[10].starts_with("skipped 15 more files") && lines[10].contains("--json"), "{}", lines[10]);
    assert!(said.stdout.contains("25 skipped"), "{}", said.stdout);
    assert_eq!(desk.run(&["index", "docs", "--collection", "docs", "--quiet"]).stderr, "");
}
