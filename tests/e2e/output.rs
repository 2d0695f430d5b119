//! What commands print: no colour into a pipe, no panic when nobody reads, exit codes in the help.

use std::process::Stdio;

use super::{desk, write_corpus};

#[test]
fn nothing_but_text_goes_into_a_pipe() {
    let desk = desk();
    write_corpus(&desk);
    for arguments in
        [["index", "docs", "--collection", "docs"], ["search", "mooring costs", "--collection", "docs"]]
    {
        let said = desk.run(&arguments);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert!(!said.stdout.is_empty());
        assert!(!said.stdout.contains('\u{1b}') && !said.stderr.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn a_search_shows_place_headings_and_text() {
    let desk = desk();
    write_corpus(&desk);
    assert_eq!(desk.run(&["index", "docs", "--collection", "docs", "--quiet"]).code, Some(0));
    let said = desk.run(&["search", "what does mooring cost", "--collection", "docs", "--limit", "1"]);
    assert!(said.stdout.starts_with(" 1  "), "{}", said.stdout);
    for want in ["docs/harbour.md:9", "Harbour › Fees", "nine crowns"] {
        assert!(said.stdout.contains(want), "`{want}` is not in:\n{}", said.stdout);
    }
}

#[test]
fn a_result_is_the_part_that_answers_with_its_own_line() {
    let desk = desk();
    let filler = "Nothing of note happened that day, and the log has no entry.\n".repeat(12);
    desk.write("docs/log.txt", format!("{filler}\nThe lighthouse keeper found a kelp crab.\n\n{filler}"));
    desk.json(&["index", "docs", "--collection", "docs", "--language", "en"]);
    let said = desk.run(&["search", "lighthouse keepers", "--collection", "docs", "--limit", "1"]);
    assert!(said.stdout.contains("docs/log.txt:14\n"), "{}", said.stdout);
    assert!(said.stdout.contains("\n    The lighthouse keeper found a kelp crab.\n"), "{}", said.stdout);
    // Where the file changed since, the chunk's line is all that is known.
    desk.write("docs/log.txt", "new");
    let said = desk.run(&["search", "lighthouse keepers", "--collection", "docs", "--limit", "1"]);
    assert!(said.stdout.contains("docs/log.txt:1\n"), "{}", said.stdout);
}

#[test]
fn a_notice_is_told_to_people_on_stderr_and_to_programs_in_the_answer() {
    let desk = desk();
    write_corpus(&desk);
    desk.json(&["index", "docs", "--collection", "docs"]);
    let search = ["search", "🌊", "--collection", "docs"];
    let said = desk.run(&search);
    assert!(said.stderr.starts_with("note: the model knows no word"), "{}", said.stderr);
    let said = desk.run(&[&search[..], &["--json"]].concat());
    assert_eq!(said.stderr, "");
    assert!(said.documents()[0]["notices"][0].as_str().unwrap().contains("knows no word"), "{}", said.stdout);
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let desk = desk();
    let mut command = desk.command(&["config", "show"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn usage_that_makes_no_sense_is_code_2() {
    for arguments in [vec!["serch"], vec!["search"], vec!["search", "x", "--collection", "c", "--limit", "0"]]
    {
        assert_eq!(desk().run(&arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn the_help_names_every_exit_code() {
    let said = desk().run(&["--help"]);
    assert_eq!(said.code, Some(0));
    let (_, codes) = said.stdout.split_once("Exit codes:").unwrap();
    for code in ["0 ", "1 ", "2 ", "3 ", "130 "] {
        assert!(codes.contains(code), "{codes}");
    }
}
