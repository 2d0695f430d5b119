//! An upstream that is not there: the error names it, its address, and what to do.

use embergate_test_support::binary::closed_port;
use embergate_test_support::ollama::{Fault, OllamaSim};
use serde_json::json;

use super::{desk, write_corpus};

fn absent_ollama() -> String {
    format!(
        "[[upstream]]\nname = \"gpu\"\nkind = \"ollama\"\nurl = \"http://{}\"\n[[model]]\nname = \"m\"\nupstreams = [\"gpu\"]\n",
        closed_port()
    )
}

#[test]
fn indexing_says_which_server_is_not_there_and_writes_nothing() {
    let desk = desk();
    write_corpus(&desk);
    desk.write("embergate.toml", absent_ollama());
    let said = desk.run(&["index", "docs", "--collection", "docs"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    for want in ["`gpu`", "http://127.0.0.1:", "try: "] {
        assert!(said.stderr.contains(want), "`{want}` is not in: {}", said.stderr);
    }
    let said = desk.run(&["search", "kelp", "--collection", "docs"]);
    assert!(said.stderr.contains("there is no collection `docs`"), "{}", said.stderr);
}

#[test]
fn a_request_is_answered_with_502() {
    let desk = desk();
    let gateway = desk.serve(&absent_ollama());
    let answer = gateway.post("/v1/embeddings", &json!({ "model": "m", "input": "kelp" }));
    assert!([502, 503].contains(&answer.status), "{answer:?}");
    assert!(answer.body.contains("gpu"), "{answer:?}");
    assert_eq!(gateway.get("/healthz").status, 200);
    assert_eq!(gateway.get("/readyz").status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_under_the_same_name_is_indexed_beside_and_takes_over_when_complete() {
    let desk = desk();
    write_corpus(&desk);
    let configuration = |sim: &OllamaSim| {
        format!(
            "[[upstream]]\nname = \"gpu\"\nkind = \"ollama\"\nurl = \"{}\"\n[[model]]\nname = \"m\"\nupstreams = [\"gpu\"]\n",
            sim.url()
        )
    };
    let search = ["search", "mooring", "--collection", "docs", "--ranking", "sparse"];
    let small = OllamaSim::start(&[("m", 8)]).await;
    desk.write("embergate.toml", configuration(&small));
    desk.json(&["index", "docs", "--collection", "docs"]);
    let (listed, found) = (desk.json(&["collections", "list"]), desk.json(&search));
    assert_eq!(listed[0]["collections"][0]["dimensions"], 8);

    let large = OllamaSim::start(&[("m", 16)]).await;
    desk.write("embergate.toml", configuration(&large));
    large.fail_always(Fault::crash());
    let said = desk.run(&["index", "docs", "--collection", "docs"]);
    assert_ne!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(desk.json(&search), found, "the generation that was there serves on");

    large.heal();
    let events = desk.json(&["index", "docs", "--collection", "docs"]);
    assert_eq!((&events[0]["event"], &events[0]["beside"]), (&"building".into(), &"docs@1".into()));
    let summary = events.last().unwrap();
    assert_eq!((&summary["serves"], &summary["generation"]), (&"instead".into(), &"docs@2".into()));
    assert_eq!(desk.json(&["collections", "list"])[0]["collections"][0]["dimensions"], 16);
    assert_ne!(listed, desk.json(&["collections", "list"]));
}
