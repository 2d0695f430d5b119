//! `index --watch`: what changes is found without another command.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use embergate_test_support::binary::signal;
use serde_json::Value;

use super::{desk, write_corpus};

#[test]
fn what_changes_is_indexed_until_it_is_stopped() {
    let desk = desk();
    write_corpus(&desk);
    desk.write("embergate.toml", "[index]\nwatch_settle = \"10ms\"\n");
    let mut command = desk.command(&["index", "docs", "--collection", "docs", "--watch", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut summary_of = |key: &str| {
        events.by_ref().find(|event| event["event"] == "summary" && 0 < event[key].as_u64().unwrap()).unwrap()
    };
    assert_eq!(summary_of("indexed")["indexed"], 3);
    desk.write("docs/new.txt", "Lighthouses are painted every spring.\n");
    assert_eq!(summary_of("indexed")["indexed"], 1);
    desk.remove("docs/bread.txt");
    assert_eq!(summary_of("removed")["removed"], 1);
    signal("INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
