//! Nothing of a document is lost unseen: what is in chunks and what was left out is told and kept.

use serde_json::{Value, json};

use super::{built_guest, desk, write_corpus};

fn finished<'e>(events: &'e [Value], file: &str) -> &'e Value {
    let of_file = |event: &&Value| event["source"].as_str().is_some_and(|source| source.ends_with(file));
    events.iter().find(of_file).unwrap_or_else(|| panic!("nothing of {file} in {events:#?}"))
}

#[test]
fn what_a_chunker_left_out_is_told_by_reason_and_kept() {
    let desk = desk();
    desk.write("docs/kelp.md", "---\ntitle: Kelp\n---\n\nKelp grows along cold coasts.\n");
    desk.write("docs/tide.md", "The tide was low.\n");
    let said = desk.run(&["index", "docs", "--collection", "docs"]);
    let told = said.stdout.lines().find(|line| line.contains("coverage")).unwrap_or_default();
    assert!(
        told.contains(" of the text is in chunks; left out: ") && told.ends_with(" % front matter"),
        "{told}"
    );

    desk.write("docs/kelp.md", "---\ntitle: Kelps\n---\n\nKelp grows along cold coasts.\n");
    let events = desk.json(&["index", "docs", "--collection", "docs"]);
    let coverage = &finished(&events, "kelp.md")["coverage"];
    assert_eq!(coverage["omitted_bytes"], json!({ "front matter": 21 }), "{coverage}");
    assert_eq!(coverage["chunked_bytes"], 29, "{coverage}");
    assert_eq!((&coverage["text_bytes"], &coverage["kept_bytes"]), (&52.into(), &52.into()), "{coverage}");
    assert_eq!(events.last().unwrap()["coverage"], *coverage, "the sum is of what was indexed");

    let listed = desk.json(&["collections", "list"]);
    let of_all = &listed[0]["collections"][0]["coverage"];
    assert_eq!((&of_all["text_bytes"], &of_all["omitted_bytes"]), (&70.into(), &coverage["omitted_bytes"]));
    let table = desk.run(&["collections", "list"]).stdout;
    assert!(table.contains("covered") && table.contains("68.7 %"), "{table}");
}

#[test]
fn what_preprocessors_left_of_a_page_is_told() {
    let desk = desk();
    write_corpus(&desk);
    let events = desk.json(&["index", "docs", "--collection", "docs"]);
    let coverage = |file| &finished(&events, file)["coverage"];
    let n_bytes = |file, key: &str| coverage(file)[key].as_u64().unwrap();
    let page = std::fs::metadata(desk.folder().join("docs/stars.html")).unwrap().len();
    assert_eq!(n_bytes("stars.html", "source_bytes"), page);
    assert!(n_bytes("stars.html", "kept_bytes") < page / 2 + 30, "{}", coverage("stars.html"));
    assert_eq!(n_bytes("bread.txt", "kept_bytes"), n_bytes("bread.txt", "source_bytes"));
    assert_eq!(coverage("stars.html")["share"], 1.0);
}

#[test]
fn after_a_replacement_places_are_of_the_extracted_text_and_say_so() {
    let desk = desk();
    desk.write("plugins/hostile.wasm", std::fs::read(built_guest()).unwrap());
    desk.write(
        "embergate.toml",
        "[[collection]]\nname = \"docs\"\nmodel = \"static-embed-en-256\"\n[[collection.rule]]\nmedia_type = \"text/plain\"\npreprocess = [\"hostile\"]\nchunker = \"recursive\"\n",
    );
    // The guest puts the number of its calls in the place of this text.
    desk.write("docs/a.txt", "calls");
    let events = desk.json(&["index", "docs", "--collection", "docs"]);
    let coverage = &finished(&events, "a.txt")["coverage"];
    let want = json!({
        "source_bytes": 5, "kept_bytes": 0, "text_bytes": 1, "chunked_bytes": 1, "omitted_bytes": {}, "share": 1.0,
    });
    assert_eq!(*coverage, want);
    let found = &desk.json(&["search", "1", "--collection", "docs"])[0]["results"][0];
    assert_eq!(
        (&found["extracted"], &found["span"], &found["text"]),
        (&true.into(), &json!([0, 1]), &"1".into())
    );
    let said = desk.run(&["search", "1", "--collection", "docs"]);
    assert!(said.stdout.contains("docs/a.txt, line 1 of its extracted text"), "{}", said.stdout);
}
