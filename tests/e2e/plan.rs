//! `index --plan` and `index --limit`: knowing before, and doing a part.

use serde_json::Value;

use super::{desk, write_corpus};

const INDEX: [&str; 4] = ["index", "docs", "--collection", "docs"];

fn plan(desk: &embergate_test_support::binary::Desk) -> Value {
    let events = desk.json(&["index", "docs", "--collection", "docs", "--plan"]);
    events.last().unwrap().clone()
}

#[test]
fn a_plan_says_what_a_run_then_does_and_writes_nothing() {
    let desk = desk();
    write_corpus(&desk);
    let planned = plan(&desk);
    assert_eq!((&planned["event"], &planned["new"]), (&"plan".into(), &3.into()), "{planned}");
    assert_eq!(desk.json(&["collections", "list"])[0]["collections"], serde_json::json!([]));
    let done = desk.json(&INDEX).pop().unwrap();
    assert_eq!((&planned["to_embed"], &planned["tokens"]), (&done["embedded"], &done["tokens"]), "{done}");
    assert!(0.0 < planned["seconds"].as_f64().unwrap(), "{planned}");

    let again = plan(&desk);
    assert_eq!((&again["unchanged"], &again["to_embed"]), (&3.into(), &0.into()), "{again}");
    desk.write("docs/bread.txt", "Rye bread keeps for a week.\n");
    desk.remove("docs/stars.html");
    let changed = plan(&desk);
    let counts =
        ["new", "changed", "removed", "unchanged", "to_embed"].map(|key| changed[key].as_u64().unwrap());
    assert_eq!(counts, [0, 1, 1, 1, 1], "{changed}");
    let said = desk.run(&["index", "docs", "--collection", "docs", "--plan"]);
    assert!(said.stdout.contains("nothing is written; a run would change docs@1"), "{}", said.stdout);
}

#[test]
fn a_plan_says_that_another_model_builds_a_generation_beside() {
    let desk = desk();
    write_corpus(&desk);
    desk.json(&INDEX);
    let said = desk.run(&["index", "--collection", "docs", "--language", "de", "--plan"]);
    assert!(
        said.stdout.contains("docs@2, beside docs@1, because the language changed, and let it serve then"),
        "{}",
        said.stdout
    );
}

#[test]
fn limited_runs_end_where_one_run_does() {
    let desk = desk();
    write_corpus(&desk);
    let limited = ["index", "docs", "--collection", "docs", "--limit", "1"];
    for n_unchanged in 0..3 {
        let summary = desk.json(&limited).pop().unwrap();
        assert_eq!(
            (&summary["indexed"], &summary["unchanged"]),
            (&1.into(), &n_unchanged.into()),
            "{summary}"
        );
    }
    let summary = desk.json(&INDEX).pop().unwrap();
    assert_eq!((&summary["unchanged"], &summary["indexed"]), (&3.into(), &0.into()), "{summary}");
}
