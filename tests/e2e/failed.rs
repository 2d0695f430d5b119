//! Some documents fail: the others are indexed, and the code says so.

use super::{built_guest, desk};

#[test]
fn a_document_that_fails_alone_is_code_3_and_named() {
    let desk = desk();
    std::fs::create_dir_all(desk.folder().join("plugins")).unwrap();
    std::fs::copy(built_guest(), desk.folder().join("plugins/hostile.wasm")).unwrap();
    desk.write(
        "embergate.toml",
        "[[collection]]\nname = \"docs\"\nmodel = \"static-embed-en-256\"\n[[collection.rule]]\nmedia_type = \"text/plain\"\npreprocess = []\nchunker = \"hostile\"\n",
    );
    // The guest does what a text tells it: this one leaves most of it out.
    desk.write("docs/bad.txt", "a gap");
    desk.write("docs/crash.txt", "trap");
    desk.write("docs/good.txt", "kelp grows along cold coasts");
    let index = ["index", "docs", "--collection", "docs"];
    let said = desk.run(&index);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.stdout.contains("1 indexed, 2 failed"), "{}", said.stdout);
    for want in ["failed docs/bad.txt: plugin `hostile`", "failed docs/crash.txt: ", "trapped"] {
        assert!(said.stderr.contains(want), "`{want}` is not in: {}", said.stderr);
    }
    let found = desk.json(&["search", "kelp", "--collection", "docs"]);
    assert!(found[0]["results"][0]["source"].as_str().unwrap().ends_with("good.txt"));
    assert_eq!(desk.run(&index).code, Some(3), "they are tried again");
    desk.write("docs/bad.txt", "mended");
    desk.remove("docs/crash.txt");
    assert_eq!(desk.run(&index).code, Some(0));
}
