//! Looking after a collection: `status`, `doctor` and `replay`.

use serde_json::{Value, json};

use super::{desk, write_corpus};

const DOCTOR: [&str; 3] = ["doctor", "--collection", "docs"];

fn indexed() -> embergate_test_support::binary::Desk {
    let desk = desk();
    write_corpus(&desk);
    desk.json(&["index", "docs", "--collection", "docs"]);
    desk
}

fn first_chunk(desk: &embergate_test_support::binary::Desk, question: &str) -> Value {
    desk.json(&["search", question, "--collection", "docs"])[0]["results"][0].clone()
}

#[test]
fn status_says_what_is_indexed_and_how_the_last_run_ended() {
    let desk = indexed();
    let status = desk.json(&["status"]);
    let docs = &status[0]["collections"][0];
    assert_eq!((&docs["name"], &docs["serving"]), (&"docs".into(), &"docs@1".into()));
    assert_eq!((&docs["documents"], &docs["last_run"]["outcome"]), (&3.into(), &"done".into()));
    assert_eq!(docs["last_run"]["summary"]["indexed"], 3);
    let folder = desk.folder().join("docs");
    assert_eq!(docs["sources"][0]["path"], folder.to_str().unwrap());
    let said = desk.run(&["status", "--collection", "docs"]);
    for want in
        ["docs (docs@1)", "static-embed-en-256", "documents  3", folder.to_str().unwrap(), "last run   done"]
    {
        assert!(said.stdout.contains(want), "`{want}` is not in: {}", said.stdout);
    }
    assert_eq!(desk.run(&["status", "--collection", "nowhere"]).code, Some(2));
}

#[test]
fn a_collection_is_brought_up_to_date_without_naming_its_sources() {
    let desk = indexed();
    desk.write("docs/new.txt", "Lighthouses are painted every spring.\n");
    desk.remove("docs/bread.txt");
    let events = desk.json(&["index", "--collection", "docs"]);
    let summary = events.last().unwrap();
    assert_eq!((&summary["indexed"], &summary["removed"]), (&1.into(), &1.into()), "{summary}");
    let said = desk.run(&["index", "--collection", "nothing"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("`nothing` was never given anything to index"), "{}", said.stderr);
}

#[test]
fn a_source_that_is_gone_is_forgotten() {
    let desk = indexed();
    desk.write("more/tide.txt", "The tide was low.\n");
    desk.json(&["index", "more", "--collection", "docs"]);
    std::fs::rename(desk.folder().join("docs"), desk.folder().join("moved")).unwrap();
    let said = desk.run(&["index", "--collection", "docs"]);
    assert_eq!(said.code, Some(2), "nothing is taken for vanished: {}", said.stderr);
    let forgotten = desk.json(&["index", "docs", "--forget", "--collection", "docs"]).remove(0);
    assert_eq!(forgotten["removed"], 3);
    let summary = desk.json(&["index", "--collection", "docs"]).pop().unwrap();
    assert_eq!((&summary["documents"], &summary["unchanged"]), (&1.into(), &1.into()), "{summary}");
    assert_eq!(desk.json(&DOCTOR)[0]["points"], 1);
    let said = desk.run(&["index", "docs", "--forget", "--collection", "docs"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("was never given") && said.stderr.contains("/more"), "{}", said.stderr);
}

#[test]
fn a_healthy_collection_is_well() {
    let desk = indexed();
    let examined = desk.json(&DOCTOR).remove(0);
    assert_eq!((&examined["well"], &examined["documents"]), (&true.into(), &3.into()), "{examined}");
    assert_eq!(examined["sampled"], examined["points"], "all of a small collection are looked at");
    assert!(desk.run(&DOCTOR).stdout.contains("all is well"));
}

#[test]
fn what_the_state_forgot_is_found_and_mended_without_embedding() {
    let desk = indexed();
    // Two stores' files: the points' stays, the records go.
    desk.write("embergate.toml", "");
    let database = desk.home().join("data/embergate/embergate.db");
    let database = if database.exists() { database } else { find(&desk.home(), "embergate.db") };
    let connection = rusqlite::Connection::open(&database).unwrap();
    let n_forgotten = connection.execute("DELETE FROM documents WHERE source LIKE '%bread.txt'", []).unwrap();
    assert_eq!(n_forgotten, 1);
    drop(connection);

    let said = desk.run(&["doctor", "--collection", "docs", "--json"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    let examined: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(examined["counts"]["orphans"], 1, "{examined}");

    let events = desk.json(&["doctor", "--collection", "docs", "--repair"]);
    let summary = events.last().unwrap();
    assert_eq!((&summary["event"], &summary["embedded"]), (&"summary".into(), &0.into()), "{summary}");
    assert_eq!(desk.json(&DOCTOR)[0]["well"], true);
}

fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let found = find(&path, name);
            if found.exists() {
                return found;
            }
        } else if path.ends_with(name) {
            return path;
        }
    }
    std::path::PathBuf::new()
}

#[test]
fn a_chunk_is_derived_again_and_compared() {
    let desk = indexed();
    let chunk = first_chunk(&desk, "mooring fees");
    let id = chunk["id"].as_str().unwrap();
    let replay = ["replay", id, "--collection", "docs"];
    let replayed = desk.json(&replay).remove(0);
    assert_eq!((&replayed["verdict"], &replayed["text"]), (&"same".into(), &chunk["text"]), "{replayed}");
    assert!(desk.run(&replay).stdout.contains("the same: text, place, words and vector"));

    desk.write("docs/harbour.md", "# Harbour\n\nNothing here any more.\n");
    let said = desk.run(&replay);
    assert_eq!(said.code, Some(3), "{}", said.stdout);
    assert!(said.stdout.contains("its document has changed since it was indexed"), "{}", said.stdout);

    let unknown = "00000000-0000-5000-8000-000000000000";
    let said = desk.run(&["replay", unknown, "--collection", "docs"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains(unknown), "{}", said.stderr);
}

#[test]
fn a_vector_that_is_not_the_model_s_is_noticed() {
    let desk = indexed();
    let database = find(&desk.home(), "embergate.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    // Two vectors change places: each is a good one, of another text.
    let vectors: Vec<(i64, Vec<u8>)> = connection
        .prepare("SELECT point, value FROM vectors ORDER BY point LIMIT 2")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (point, value) in [(vectors[0].0, &vectors[1].1), (vectors[1].0, &vectors[0].1)] {
        connection
            .execute("UPDATE vectors SET value = ?2 WHERE point = ?1", rusqlite::params![point, value])
            .unwrap();
    }
    drop(connection);
    let said = desk.run(&["doctor", "--collection", "docs", "--json"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    let examined: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(examined["counts"], json!({ "unlike": 2 }), "{examined}");
    assert_eq!(examined["findings"][0]["verdict"], "differs");
}
