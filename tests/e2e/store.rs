//! A store that cannot be used says why, with what to do.

use super::{desk, write_corpus};

/// Makes `data` a store with a collection.
fn desk_with_store() -> embergate_test_support::binary::Desk {
    let desk = desk();
    write_corpus(&desk);
    desk.write("embergate.toml", "[store]\npath = \"data\"\ntimeout = \"50ms\"\n");
    desk.json(&["index", "docs", "--collection", "docs"]);
    desk
}

#[test]
fn a_store_that_another_program_holds_is_said_to_be_locked() {
    let desk = desk_with_store();
    let stranger = rusqlite::Connection::open(desk.folder().join("data/embergate.db")).unwrap();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    desk.write("docs/new.txt", "kelp");
    let said = desk.run(&["index", "docs", "--collection", "docs"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    for want in ["error: another program holds `", "embergate.db` locked: ", "store.timeout"] {
        assert!(said.stderr.contains(want), "`{want}` is not in: {}", said.stderr);
    }
    assert_eq!(desk.run(&["search", "mooring", "--collection", "docs"]).code, Some(0), "reading goes on");
    drop(stranger);
    assert_eq!(desk.run(&["index", "docs", "--collection", "docs"]).code, Some(0));
}

#[test]
fn a_path_that_cannot_be_a_folder_is_named() {
    let desk = desk();
    desk.write("embergate.toml", "[store]\npath = \"embergate.toml/data\"\n");
    let said = desk.run(&["collections", "list"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(
        said.stderr.contains("embergate.toml/data") && said.stderr.contains("`store.path`"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_file_of_another_program_is_left_alone() {
    let desk = desk();
    desk.write("embergate.toml", "[store]\npath = \".\"\n");
    let path = desk.write("embergate.db", "");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let said = desk.run(&["collections", "list"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("some other program"), "{}", said.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
