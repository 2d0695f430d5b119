//! API keys: made by the command, pasted into the configuration, and seen nowhere else.

use std::io::Write;
use std::process::Stdio;

use embergate_test_support::binary::{Desk, Gateway, Said};
use serde_json::json;

use super::desk;

const MODEL: &str = "static-embed-en-256";

/// A new key, and the table that lets it in.
#[track_caller]
fn new_key(desk: &Desk, arguments: &[&str]) -> (String, String) {
    let said = desk.run(&[&["key", "new", "--quiet"], arguments].concat());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let key = said.stderr.trim().to_owned();
    assert!(key.starts_with("emb_") && key.len() == 47, "{}", said.stderr);
    assert!(!said.stdout.contains(&key[4..]), "{}", said.stdout);
    (key, said.stdout)
}

fn embed(gateway: &Gateway, headers: &[(&str, &str)]) -> u16 {
    let body = json!({ "model": MODEL, "input": "kelp" }).to_string();
    gateway.ask("POST", "/v1/embeddings", headers, &body).status
}

fn hash_of(desk: &Desk, key: &str) -> Said {
    let path = desk.write("key.txt", key);
    let stdin = std::fs::File::open(path).unwrap();
    Said::by(desk.command(&["key", "hash"]).stdin(stdin))
}

#[test]
fn a_new_key_is_let_in_once_its_table_is_pasted() {
    let desk = desk();
    let (key, table) = new_key(&desk, &["notes"]);
    let (search, search_table) = new_key(&desk, &["search-page", "--rights", "search"]);
    let gateway = desk.serve(&format!("{table}\n{search_table}"));
    assert_eq!(embed(&gateway, &[]), 401);
    assert_eq!(embed(&gateway, &[("authorization", "Bearer emb_guess")]), 401);
    assert_eq!(embed(&gateway, &[("authorization", &format!("Bearer {key}"))]), 200);
    assert_eq!(embed(&gateway, &[("x-api-key", &key)]), 200);
    let query = ("x-embergate-purpose", "query");
    assert_eq!(embed(&gateway, &[("x-api-key", &search)]), 403);
    assert_eq!(embed(&gateway, &[("x-api-key", &search), query]), 200);
    assert_eq!(gateway.get("/healthz").status, 200);
}

#[test]
fn a_table_may_be_appended_to_a_line_that_is_not_ended() {
    let desk = desk();
    let table = desk.run(&["key", "new", "notes"]).stdout;
    desk.write("embergate.toml", format!("[store]\npath = \"data\"{table}"));
    let said = desk.run(&["config", "check"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn a_table_says_what_was_asked_for() {
    let desk = desk();
    let (key, table) = new_key(
        &desk,
        &["indexer", "--rights", "index,search", "--requests-per-minute", "60", "--texts-per-minute", "6000"],
    );
    let hash = hash_of(&desk, &format!("{key}\n"));
    assert_eq!((hash.code, hash.stderr.as_str()), (Some(0), ""));
    let want = format!(
        "\n[[key]]\nname = \"indexer\"\nsha256 = \"{}\"\nrights = [\"index\", \"search\"]\nrequests_per_minute = 60\ntexts_per_minute = 6000\n",
        hash.stdout.trim()
    );
    assert_eq!(table, want);
    let documents = desk.json(&["key", "new", "indexer", "--rights", "admin"]);
    let said = &documents[0];
    assert!(said["key"].as_str().unwrap().starts_with("emb_") && said["key"] != key.as_str());
    assert!(said["table"].as_str().unwrap().contains("rights = [\"admin\"]\n"), "{said}");
}

#[track_caller]
fn check_refused(said: &Said, want: &str) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{}", said.stderr);
    assert!(said.stderr.contains(want), "`{want}` is not in: {}", said.stderr);
}

#[test]
fn what_makes_no_key_is_refused_and_what_is_weak_is_said() {
    let desk = desk();
    check_refused(&desk.run(&["key", "new", "two words"]), "letters, digits");
    check_refused(&desk.run(&["key", "new", "a", "--rights", "serch"]), "'search'");
    check_refused(&desk.run(&["key", "new", "a", "--lane", "slow"]), "'slow'");
    check_refused(&desk.run(&["key", "new", "a", "--texts-per-minute", "0"]), "1..");
    check_refused(&hash_of(&desk, " \n"), "no key on standard input");
    check_refused(&hash_of(&desk, "one\ntwo"), "cannot be a key");
    check_refused(&hash_of(&desk, &"x".repeat(2000)), "cannot be a key");
    check_refused(&desk.run(&["key", "hash", "emb_secret"]), "unexpected argument");
    let weak = hash_of(&desk, "passw0rd");
    assert_eq!(weak.code, Some(0));
    assert!(weak.stderr.contains("short") && !weak.stderr.contains("passw0rd"), "{}", weak.stderr);
}

#[test]
fn keys_are_made_beside_a_configuration_that_is_broken() {
    let desk = desk();
    desk.write("embergate.toml", "[[key]]\nname = \"a\"\n");
    check_refused(&desk.run(&["config", "check"]), "lacks the key `sha256`");
    new_key(&desk, &["a"]);
}

/// Sends one request over HTTP/2.
async fn over_http_2(address: &str, key: &str) -> u16 {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let running = tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://{address}/v1/models"))
        .header("authorization", format!("Bearer {key}"))
        .body(())
        .unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let status = response.await.unwrap().status().as_u16();
    running.abort();
    status
}

#[test]
fn no_key_is_in_the_log_however_much_is_logged() {
    let desk = desk();
    let (right, table) = new_key(&desk, &["notes", "--requests-per-minute", "3"]);
    let wrong = new_key(&desk, &["stranger"]).0;
    let log = desk.write("log", "");
    let stderr = std::fs::File::create(&log).unwrap();
    let gateway = desk.serve_with(&format!("[log]\nfilter = \"trace\"\n{table}"), Stdio::from(stderr));
    for key in [&right, &wrong] {
        let status = if key == &right { 200 } else { 401 };
        assert_eq!(embed(&gateway, &[("authorization", &format!("Bearer {key}"))]), status);
        assert_eq!(embed(&gateway, &[("x-api-key", key)]), status);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(over_http_2(&gateway.api, key)), status);
    }
    // Over the limit, in the wrong place, and in what is no HTTP at all.
    assert_eq!(embed(&gateway, &[("x-api-key", &right)]), 429);
    assert_eq!(gateway.ask("GET", "/v1/models", &[("authorization", &right)], "").status, 401);
    let mut stream = std::net::TcpStream::connect(&gateway.api).unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nauthorization {right}\r\n\r\n").as_bytes()).unwrap();
    drop(stream);
    gateway.terminate();
    assert_eq!(gateway.wait().0, Some(0));
    let log = std::fs::read_to_string(log).unwrap();
    for word in ["TRACE", "requests without a valid key were refused", "127.0.0.1", "key=\"notes\""] {
        assert!(log.contains(word), "`{word}` is not in the log");
    }
    for key in [&right, &wrong] {
        let part = &key[4..16];
        let line = log.lines().find(|line| line.contains(part)).unwrap_or_default();
        assert_eq!(line, "", "a key is in the log");
    }
}

#[test]
fn a_listener_that_others_reach_is_warned_of() {
    let check = |listen: &str, table: &str, want: &[&str]| {
        let desk = desk();
        let file = desk.write("log", "");
        let configuration =
            format!("{table}\n[server]\nlisten = \"{listen}\"\n[admin]\nlisten = \"127.0.0.1:0\"");
        let path = desk.write("embergate.toml", configuration);
        let stderr = std::fs::File::create(&file).unwrap();
        let gateway = desk.serve_file(&path, Stdio::from(stderr));
        gateway.terminate();
        assert_eq!(gateway.wait().0, Some(0));
        let log = std::fs::read_to_string(file).unwrap();
        let warned: Vec<&str> = log.lines().filter(|line| line.contains("server.listen")).collect();
        assert_eq!(warned.len(), want.len(), "{log}");
        for (line, want) in warned.iter().zip(want) {
            assert!(line.contains(want), "{line}");
        }
    };
    let table = new_key(&desk(), &["a"]).1;
    check("0.0.0.0:0", "", &["add [[key]] tables"]);
    check("0.0.0.0:0", &table, &["API keys travel unencrypted"]);
    check("127.0.0.1:0", &table, &[]);
}
