//! What people read when a plugin fails, word for word: on the command line, for each document of a
//! run, as the client of a gateway, and in the admin API.
//!
//! The snapshots are in `snapshots/`; `INSTA_UPDATE=always` writes them anew.

use serde_json::{Value, json};

use super::{built_guest, desk, renamed};
use embergate_test_support::binary::Desk;

/// A folder of plugins with the guest that does what a text tells it to.
fn hostile() -> Desk {
    let desk = desk();
    desk.write("plugins/hostile.wasm", std::fs::read(built_guest()).unwrap());
    desk
}

/// `said` without what differs from run to run: folders, times, hashes, and whatever
/// the compiler made of the functions that called the failing one.
fn steady(said: &str, desk: &Desk) -> String {
    let said = said.replace(&desk.folder().display().to_string(), "[FOLDER]");
    let lines = said.lines().map(|line| {
        let line = between(line, " after ", ": ", "[TIME]");
        let line = between(&line, "its SHA-256 is ", ",", "[SHA256]");
        without_callers(&line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Puts `word` in the place of what is between `start` and `end`.
fn between(line: &str, start: &str, end: &str, word: &str) -> String {
    let Some((before, rest)) = line.split_once(start) else { return line.to_owned() };
    match rest.find(end) {
        Some(at) => format!("{before}{start}{word}{}", &rest[at..]),
        None => line.to_owned(),
    }
}

/// Which functions there are depends on the compiler, but for those that it has to leave alone.
fn without_callers(line: &str) -> String {
    let Some((before, rest)) = line.split_once(", called by ") else { return line.to_owned() };
    let (before, innermost) = before.rsplit_once("in `").unwrap_or((before, ""));
    let is_kept = ["::trap`", "::spin`", "::recurse`"].iter().any(|name| innermost.ends_with(name));
    let innermost = if is_kept { format!("`{innermost}") } else { "[FUNCTION]".to_owned() };
    let output = rest.find(": its last output").map_or("", |at| &rest[at..]);
    format!("{before}in {innermost}, called by [MORE]{output}")
}

#[test]
fn a_file_that_is_no_plugin_is_told_to_its_author() {
    let desk = desk();
    let guest = std::fs::read(built_guest()).unwrap();
    let mut told = String::new();
    for (file, bytes, grants) in [
        ("notes", b"# notes".to_vec(), None),
        ("half", guest[..guest.len() / 2].to_vec(), None),
        ("empty-module", b"\0asm\x01\0\0\0".to_vec(), None),
        ("newer", renamed("@0.1.0", "@0.9.0"), None),
        ("no-lifecycle", renamed("plugin/lifecycle@", "plugin/lifecycla@"), None),
        ("network", renamed("wasi:clocks/monotonic-clock", "wasi:socket/monotonic-clock"), None),
        ("files", guest.clone(), Some("files")),
    ] {
        let path = desk.write(&format!("{file}.wasm"), bytes);
        let grant = grants.map(|grant| ["--grant", grant]);
        let path = path.display().to_string();
        let arguments: Vec<&str> =
            ["plugin", "check", &path].into_iter().chain(grant.into_iter().flatten()).collect();
        let said = desk.run(&arguments);
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{file}");
        told += &said.stderr;
    }
    insta::assert_snapshot!("plugin_check", steady(&told, &desk));
}

#[test]
fn a_plugin_that_does_not_start_is_told_with_its_reason() {
    let desk = hostile();
    let mut told = String::new();
    for start in ["trap", "cry", "refuse", "grow", "text", "spin"] {
        desk.write(
            "embergate.toml",
            format!("[[plugin]]\nname = \"hostile\"\nconfig = {{ start = \"{start}\" }}\n[plugin.limits]\ntime = \"300ms\"\nmemory = \"32MiB\"\n"),
        );
        let said = desk.run(&["config", "check"]);
        assert_eq!(said.code, Some(2), "{start}: {}", said.stderr);
        let errors = said.stderr.lines().filter(|line| !line.contains(" ERROR embergate::plugin: "));
        told += &errors.map(|line| format!("{line}\n")).collect::<String>();
    }
    desk.write(
        "embergate.toml",
        format!("[[plugin]]\nname = \"hostile\"\nsha256 = \"{}\"\n", "0".repeat(64)),
    );
    told += &desk.run(&["config", "check"]).stderr;
    desk.write("embergate.toml", "[[plugin]]\nname = \"nobody\"\n");
    told += &desk.run(&["config", "check"]).stderr;
    for preprocess in ["nobody", "recursive"] {
        desk.write(
            "embergate.toml",
            format!("[[collection]]\nname = \"docs\"\nmodel = \"static-embed-en-256\"\n[[collection.rule]]\nmedia_type = \"text/plain\"\npreprocess = [\"{preprocess}\"]\nchunker = \"recursive\"\n"),
        );
        told += &desk.run(&["config", "check"]).stderr;
    }
    insta::assert_snapshot!("start", steady(&told, &desk));
}

const RULES: &str = r#"
[plugin.limits]
memory = "32MiB"
output = "1MiB"

# Each failure is to be told, and not that there were many.
[plugins.breaker]
max_failures = 0

[[plugin]]
name = "hurried"
file = "hostile.wasm"
[plugin.limits]
time = "300ms"

[[collection]]
name = "docs"
model = "static-embed-en-256"
[[collection.rule]]
media_type = "text/plain"
preprocess = ["hostile"]
chunker = "hostile"
[[collection.rule]]
media_type = "text/markdown"
preprocess = ["hurried"]
chunker = "recursive"
"#;

#[test]
fn every_way_to_fail_on_a_document_is_told_with_its_name() {
    let desk = hostile();
    desk.write("embergate.toml", format!("[[plugin]]\nname = \"hostile\"\n{RULES}"));
    let orders = [
        "trap",
        "cry",
        "recurse",
        "grow",
        "huge",
        "refuse",
        "miscount",
        "overlap",
        "backwards",
        "insidé",
        "outside",
        "overlap and jump",
        "a gap",
        "no such document",
        "no such span",
    ];
    for order in orders {
        desk.write(&format!("docs/{}.txt", order.replace(' ', "-")), order);
    }
    for order in ["spin", "sleep"] {
        desk.write(&format!("docs/{order}.md"), order);
    }
    desk.write("docs/good.txt", "kelp grows along cold coasts");
    let said = desk.run(&["index", "docs", "--collection", "docs"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.stdout.contains("1 indexed, 17 failed"), "{}", said.stdout);
    let failed: Vec<_> = said.stderr.lines().filter(|line| line.starts_with("failed ")).collect();
    assert_eq!(failed.len(), 17, "{}", said.stderr);
    insta::assert_snapshot!("index", steady(&failed.join("\n"), &desk));
}

const MODEL: &str = r#"
[[upstream]]
name = "inside"
kind = "embedded"

[[model]]
name = "mine"
upstream_name = "static-embed-en-256"
upstreams = ["inside"]
preprocess = ["hurried"]
"#;

#[test]
fn clients_hear_that_a_plugin_failed_and_whoever_runs_the_gateway_why() {
    let desk = hostile();
    let gateway = desk.serve_logged(&format!("[[plugin]]\nname = \"hostile\"\n{RULES}{MODEL}"));
    let mut told = String::new();
    for order in ["trap", "cry", "spin", "refuse", "overlap", "miscount"] {
        let answer = gateway.post("/v1/embeddings", &json!({ "model": "mine", "input": order }));
        told += &format!("{order}: {} {}\n", answer.status, answer.body);
    }
    let answer = gateway.post("/api/embed", &json!({ "model": "mine", "input": "cry" }));
    told += &format!("cry: {} {}\n", answer.status, answer.body);
    for inside in ["legal.rs", "as told", "hostile_guest", "limits.", &desk.folder().display().to_string()] {
        assert!(!told.contains(inside), "`{inside}` is in: {told}");
    }
    insta::assert_snapshot!("http", told);
    gateway.terminate();
    gateway.wait();
    let log = desk.log();
    let told =
        log.lines().find(|line| line.contains("texts could not be embedded") && line.contains("legal.rs:7"));
    assert!(told.is_some_and(|line| line.contains("::trap`, called by ")), "{log}");
}

#[test]
fn the_admin_api_tells_all_about_plugins() {
    let desk = hostile();
    let gateway = desk.serve(&format!("[[plugin]]\nname = \"hostile\"\n{RULES}{MODEL}"));
    for order in ["kelp", "spin", "cry"] {
        gateway.post("/v1/embeddings", &json!({ "model": "mine", "input": order }));
    }
    let answer = gateway.get_admin("/admin/plugins");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.json();
    let of = |name: &str| -> &Value {
        let plugins = told["plugins"].as_array().unwrap();
        plugins.iter().find(|plugin| plugin["name"] == name).unwrap_or_else(|| panic!("no {name} in {told}"))
    };
    assert_eq!(told["refused"], json!([]));
    let hurried = of("hurried");
    assert_eq!(hurried["file"], desk.folder().join("plugins/hostile.wasm").display().to_string());
    assert_eq!(
        (&hurried["version"], &hurried["roles"]),
        (&"6.6.6".into(), &json!(["preprocessor", "chunker"]))
    );
    let rules = json!([{ "collection": "docs", "media_type": "text/markdown" }]);
    assert_eq!(hurried["used_by"], json!({ "models": ["mine"], "rules": rules }));
    assert_eq!(
        (&hurried["limits"]["time"], &of("hostile")["limits"]["time"]),
        (&"300ms".into(), &"1s".into())
    );
    let failures = json!({ "busy": 0, "contract": 0, "limit": 0, "refused": 0, "timeout": 1, "trapped": 1 });
    assert_eq!((&hurried["calls"], &hurried["failures"]), (&3.into(), &failures));
    assert!(0.3 <= hurried["seconds"].as_f64().unwrap(), "{hurried}");
    let last = hurried["last_error"]["message"].as_str().unwrap();
    for want in
        ["trapped in `process`", "::trap`, called by ", "its last output: panicked at src/legal.rs:7: | "]
    {
        assert!(last.contains(want), "`{want}` is not in: {last}");
    }
    let bundled = of("unicode");
    assert_eq!(
        (&bundled["file"], &bundled["calls"], &bundled["last_error"]),
        (&Value::Null, &0.into(), &Value::Null)
    );
    assert_eq!(bundled["sha256"].as_str().unwrap().len(), 64);

    let metrics = gateway.get_admin("/metrics").body;
    for want in [
        "embergate_plugin_calls_total{plugin=\"hurried\"} 3",
        "embergate_plugin_call_seconds_count{plugin=\"hurried\"} 3",
        "embergate_plugin_failures_total{plugin=\"hurried\",class=\"timeout\"} 1",
        "embergate_plugin_failures_total{plugin=\"unicode\",class=\"trapped\"} 0",
    ] {
        assert!(metrics.contains(want), "`{want}` is not in: {metrics}");
    }
}
