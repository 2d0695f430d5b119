//! Collections: listed, and deleted with all that was indexed into them.

use super::{desk, write_corpus};

#[test]
fn a_deleted_collection_is_gone_and_can_be_made_anew() {
    let desk = desk();
    write_corpus(&desk);
    desk.json(&["index", "docs", "--collection", "docs", "--language", "en"]);
    desk.json(&["index", "docs/bread.txt", "--collection", "bread"]);
    let listed = desk.json(&["collections", "list"]);
    let [bread, docs] = listed[0]["collections"].as_array().unwrap().as_slice() else { panic!("{listed:?}") };
    assert_eq!(
        (&bread["name"], &bread["chunks"], &bread["dimensions"]),
        (&"bread".into(), &1.into(), &256.into())
    );
    assert_eq!((&docs["name"], &docs["language"]), (&"docs".into(), &"en".into()));
    assert_eq!(desk.json(&["collections", "delete", "docs"])[0]["deleted"], "docs");
    let said = desk.run(&["collections", "list"]);
    assert!(said.stdout.starts_with("name") && said.stdout.contains("\nbread  1 "), "{}", said.stdout);
    assert!(!said.stdout.contains("docs"), "{}", said.stdout);
    let events = desk.json(&["index", "docs", "--collection", "docs"]);
    assert_eq!(events.last().unwrap()["indexed"], 3);
}

#[test]
fn only_the_whole_name_deletes() {
    let desk = desk();
    write_corpus(&desk);
    desk.json(&["index", "docs", "--collection", "docs"]);
    for name in ["doc", "docs*", "DOCS"] {
        let said = desk.run(&["collections", "delete", name]);
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(
            said.stderr.contains(name) && said.stderr.contains("embergate collections list"),
            "{}",
            said.stderr
        );
    }
    assert_eq!(desk.json(&["collections", "list"])[0]["collections"].as_array().unwrap().len(), 1);
}

#[test]
fn nothing_to_list_is_said() {
    let said = desk().run(&["collections", "list"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{}", said.stderr);
    assert!(said.stderr.contains("no collections yet"), "{}", said.stderr);
}
