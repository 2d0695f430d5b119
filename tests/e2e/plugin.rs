//! Plugins: the bundled ones are listed, and a file is checked before it is used.

use std::io::{Read, Write};

use embergate_test_support::binary::Gateway;
use embergate_test_support::guest;
use serde_json::json;

use super::{built_guest, desk, renamed};

#[test]
fn the_bundled_plugins_are_listed() {
    let listed = desk().json(&["plugin", "list"]);
    let plugins = listed[0]["plugins"].as_array().unwrap();
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["html", "markdown", "recursive", "unicode"]);
    let said = desk().run(&["plugin", "list"]);
    for name in names {
        assert!(said.stdout.lines().any(|line| line.starts_with(name)), "{}", said.stdout);
    }
}

/// A bundled plugin, as built.
fn unicode() -> Vec<u8> {
    std::fs::read(built_guest().parent().unwrap().join("../plugins/unicode.wasm")).unwrap()
}

/// `plugin check` refuses the file, naming it, and says this.
#[track_caller]
fn check_refused(bytes: &[u8], grants: &[&str], want: &[&str]) {
    let desk = desk();
    desk.write("broken.wasm", bytes);
    let said = desk.run(&[&["plugin", "check", "broken.wasm"], grants].concat());
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert_eq!(said.stdout, "");
    assert!(said.stderr.starts_with("error: "), "{}", said.stderr);
    for want in ["broken.wasm"].iter().chain(want) {
        assert!(said.stderr.contains(want), "`{want}` is not in: {}", said.stderr);
    }
}

#[test]
fn a_good_file_is_described() {
    let desk = desk();
    let bytes = unicode();
    desk.write("mine.wasm", &bytes);
    let said = desk.run(&["plugin", "check", "mine.wasm"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert!(said.stdout.starts_with("mine.wasm: fine, and it started\n"), "{}", said.stdout);
    for want in [
        "\n  name     mine\n",
        "\n  role     preprocessor\n",
        "\n  grants   none\n",
        "\n  code     compiled ",
        "\n  sha256   ",
    ] {
        assert!(said.stdout.contains(want), "`{want}` is not in: {}", said.stdout);
    }
    let told = desk.json(&["plugin", "check", "mine.wasm"]).remove(0);
    assert_eq!((&told["name"], &told["size"]), (&"mine".into(), &bytes.len().into()));
}

#[test]
fn what_cannot_be_a_plugin_is_refused_with_what_to_do() {
    check_refused(b"this is not WebAssembly", &[], &["it is not WebAssembly", "wit-bindgen"]);
    let bytes = unicode();
    check_refused(&bytes[..bytes.len() / 2], &[], &["it is truncated: copy or build it again"]);
    check_refused(
        &renamed("@0.1.0", "@0.2.0"),
        &[],
        &["it was built for embergate:plugin 0.2.0, and this gateway has 0.1.0", "build it again"],
    );
    check_refused(&renamed("plugin/lifecycle@", "plugin/lifecycla@"), &[], &["does not export `lifecycle`"]);
    check_refused(&renamed("wasi:clocks", "wasi:clockz"), &[], &["`wasi:clockz/", "does not provide"]);
}

/// A plugin that has texts embedded.
fn embeds() -> Vec<u8> {
    guest::built(include_str!("../guests/embeds.wat"), "embedding-chunker-plugin")
}

/// A plugin that does nothing, and wants this.
fn wants(package: &str, version: &str) -> Vec<u8> {
    let (head, rest) = guest::CONTRACT.split_once("package embergate:plugin@0.1.0;").unwrap();
    let wit = format!(
        "package other:plugin;
        world wanting {{
            include embergate:plugin/preprocessor-plugin@0.1.0;
            import {package}/things@{version};
        }}
        package {package}@{version} {{ interface things {{ open: func(); }} }}
        {head}package embergate:plugin@0.1.0 {{{rest}}}"
    );
    let import = format!("(module\n(import \"{package}/things@{version}\" \"open\" (func))");
    let keeps = include_str!("../guests/keeps.wat").replacen("(module", &import, 1);
    guest::built_for(&wit, &keeps, "wanting")
}

#[test]
fn a_plugin_that_wants_what_it_is_not_granted_is_told_what_grants_it() {
    let asked =
        "it wants to have texts embedded (`embergate:plugin/embedder@0.1.0`), which it is not granted";
    let way_out =
        "add grants = [\"embed\"] to the [[plugin]] table of `broken`, or `--grant embed` to `plugin check`";
    check_refused(&embeds(), &[], &[asked, way_out]);
    for (package, version, want) in [
        ("wasi:http", "0.2.3", "and nothing grants a plugin the network: build it without"),
        ("wasi:blobstore", "0.2.0", "and nothing grants a plugin files: build it without"),
        ("wasi:sql", "0.2.0", "and nothing grants a plugin a database: build it without"),
        ("wasi:cli", "0.3.0", "of WASI 0.3: build it for WASI 0.2"),
        ("acme:db", "1.0.0", "the gateway does not provide it, and nothing grants it"),
    ] {
        let name = format!("it wants `{package}/things@{version}`");
        check_refused(&wants(package, version), &[], &[name.as_str(), want]);
    }
}

#[test]
fn a_grant_that_nothing_is_behind_is_refused_with_the_reason() {
    for (grant, want) in [
        ("files", "nothing grants files, because a plugin gets its texts from the gateway"),
        ("network", "nothing grants the network"),
        ("env", "put what the plugin needs into `config` of its table"),
        ("clock", "nothing grants clocks that move"),
        ("embedder", "it is called `embed`"),
    ] {
        let name = format!("there is no grant `{grant}`, only `embed`: ");
        check_refused(&embeds(), &["--grant", grant], &[name.as_str(), want]);
    }
}

#[test]
fn the_line_that_a_refusal_names_grants_it() {
    let desk = desk();
    desk.write("plugins/wants.wasm", embeds());
    let said = desk.run(&["config", "check"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(
        said.stderr.contains("add grants = [\"embed\"] to the [[plugin]] table of `wants`"),
        "{}",
        said.stderr
    );

    desk.write("embergate.toml", "[[plugin]]\nname = \"wants\"\ngrants = [\"embed\"]\n");
    let said = desk.run(&["config", "check"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let said = desk.run(&["plugin", "check", "plugins/wants.wasm", "--grant", "embed"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert!(said.stdout.contains("\n  may use  log, text, embedder\n"), "{}", said.stdout);
}

#[test]
fn a_plugin_that_traps_in_start_stops_everything_and_says_where() {
    let desk = desk();
    desk.write("plugins/hostile.wasm", std::fs::read(built_guest()).unwrap());
    desk.write("embergate.toml", "[[plugin]]\nname = \"hostile\"\nconfig = { start = \"trap\" }\n");
    let said = desk.run(&["config", "check"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(
        said.stderr.contains("hostile.wasm") && said.stderr.contains("it fails to start"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let said = desk().run(&["plugin", "check", "nowhere.wasm"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("nowhere"), "{}", said.stderr);
}

#[test]
fn a_broken_file_in_the_folder_of_plugins_stops_everything() {
    let desk = desk();
    desk.write("plugins/broken.wasm", "this is not WebAssembly");
    let said = desk.run(&["plugin", "list"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("broken.wasm"), "{}", said.stderr);
}

/// All of the answer to a request, its head included.
fn whole_answer(address: &str, request: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn embed(gateway: &Gateway, model: &str, text: &str) -> String {
    let body = json!({ "model": model, "input": text }).to_string();
    let head = format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    whole_answer(&gateway.api, &(head + &body))
}

#[test]
fn a_plugin_that_fails_is_skipped_or_taken_out_of_service() {
    let desk = desk();
    desk.write("plugins/hostile.wasm", std::fs::read(built_guest()).unwrap());
    let model = |name: &str| {
        format!(
            "[[model]]\nname = \"{name}\"\nupstream_name = \"static-embed-en-256\"\nupstreams = [\"built-in\"]\npreprocess = [\"{name}\"]\n"
        )
    };
    let plugin = |name: &str, on_error: &str| {
        format!("[[plugin]]\nname = \"{name}\"\nfile = \"hostile.wasm\"\non_error = \"{on_error}\"\n")
    };
    let gateway = desk.serve(&format!(
        "[plugins.breaker]\nmax_failures = 2\n[[upstream]]\nname = \"built-in\"\nkind = \"embedded\"\n{}{}{}{}",
        model("strict"),
        model("mild"),
        plugin("strict", "fail"),
        plugin("mild", "skip"),
    ));
    for _ in 0..2 {
        let answer = embed(&gateway, "strict", "trap");
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("\"plugin_failed\""), "{answer}");
    }
    let answer = embed(&gateway, "strict", "kelp");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"plugin_out_of_service\""), "{answer}");
    assert!(
        answer.contains("\r\nretry-after: ") && answer.contains("plugin `strict` 6.6.6 has been"),
        "{answer}"
    );

    let notice = "x-embergate-notice: plugin `mild` failed and was skipped, texts: 0\r\n";
    for text in ["trap", "trap", "trap"] {
        let answer = embed(&gateway, "mild", text);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(notice), "{answer}");
    }
    let told = gateway.get_admin("/admin/plugins").json();
    let plugins = told["plugins"].as_array().unwrap().iter();
    let out: Vec<_> = plugins.filter(|plugin| !plugin["out_of_service"].is_null()).collect();
    assert_eq!(out.iter().map(|plugin| &plugin["name"]).collect::<Vec<_>>(), ["mild", "strict"]);
    assert!(out[0]["out_of_service"]["because"].as_str().unwrap().starts_with("2 calls failed"), "{told}");
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let metrics = whole_answer(&gateway.admin, request);
    for (plugin, open) in [("strict", 1), ("mild", 1), ("unicode", 0)] {
        let line = format!("embergate_plugin_breaker_open{{plugin=\"{plugin}\"}} {open}");
        assert!(metrics.contains(&line), "`{line}` is not in: {metrics}");
    }
    assert!(metrics.contains("embergate_plugin_replaced_calls_total{plugin=\"mild\"} 3"), "{metrics}");
}
