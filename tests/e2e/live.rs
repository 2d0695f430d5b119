//! Plugins come, change and go while the gateway serves.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use embergate_test_support::binary::{Desk, Gateway, Log};
use embergate_test_support::ollama::{self, OllamaSim};
use serde_json::json;

use super::{built_guest, desk};

/// Short waits, so that tests end soon; what they wait for is told by the log.
const PLUGINS: &str = "[plugins]\nsettle = \"20ms\"\nlook_every = \"1s\"\n";

/// A model whose texts go through `plugin`.
fn model_with(plugin: &str) -> String {
    format!(
        "[[upstream]]\nname = \"here\"\nkind = \"embedded\"\n[[model]]\nname = \"docs\"\nupstream_name = \"static-embed-en-256\"\nupstreams = [\"here\"]\npreprocess = [\"{plugin}\"]\n"
    )
}

fn bundled(name: &str) -> Vec<u8> {
    std::fs::read(built_guest().parent().unwrap().join(format!("../plugins/{name}.wasm"))).unwrap()
}

fn hostile() -> Vec<u8> {
    std::fs::read(built_guest()).unwrap()
}

/// As `cp` to another name and `mv` do it: the file is whole when it has its name.
fn put(desk: &Desk, name: &str, bytes: &[u8]) {
    let whole = desk.write(&format!("plugins/{name}.part"), bytes);
    std::fs::rename(&whole, whole.with_extension("wasm")).unwrap();
}

fn serve(desk: &Desk, configuration: &str) -> (Gateway, Log) {
    std::fs::create_dir_all(desk.folder().join("plugins")).unwrap();
    desk.serve_watched("", configuration)
}

#[track_caller]
fn vector(gateway: &Gateway, text: &str) -> Vec<f32> {
    let answer = gateway.post("/api/embed", &json!({ "model": "docs", "input": text }));
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_value(answer.json()["embeddings"][0].take()).unwrap()
}

#[track_caller]
fn assert_counted(gateway: &Gateway, plugin: &str, result: &str, times: u32) {
    let line = format!("embergate_plugin_reloads_total{{plugin=\"{plugin}\",result=\"{result}\"}} {times}\n");
    let metrics = gateway.get_admin("/metrics").body;
    assert!(metrics.contains(&line), "{line} is not in:\n{metrics}");
}

#[test]
fn a_file_takes_effect_and_what_another_plugin_has_made_is_not_served() {
    let desk = desk();
    let (gateway, log) = serve(&desk, &format!("{PLUGINS}{}", model_with("unicode")));
    // The guest answers this text with the number of calls of its instance; `unicode` keeps it.
    let (kept, one) = (vector(&gateway, "calls"), vector(&gateway, "1"));
    assert_ne!(kept, one);
    put(&desk, "unicode", &hostile());
    let line = log.until(&["plugin replaced", "unicode"]);
    assert!(line.contains("6.6.6"), "{line}");
    assert_eq!(vector(&gateway, "calls"), one);
    desk.remove("plugins/unicode.wasm");
    log.until(&["plugin replaced", "bundled"]);
    assert_eq!(vector(&gateway, "calls"), kept, "the bundled plugin took over");
    assert_counted(&gateway, "unicode", "replaced", 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_under_way_ends_with_the_plugin_that_it_began_with() {
    const MODEL: &str = "sim-embed:latest";
    let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8)]).await);
    let tables = format!(
        "[[upstream]]\nname = \"up\"\nkind = \"ollama\"\nurl = \"{}\"\nmax_in_flight = 2\n[[model]]\nname = \"docs\"\nupstream_name = \"{MODEL}\"\nupstreams = [\"up\"]\npreprocess = [\"unicode\"]\n[health]\nwarm_up = false\n",
        sim.url()
    );
    let (gateway, log) = serve(&desk, &format!("{PLUGINS}{tables}"));
    vector(&gateway, "kelp");
    let vector_of = |text: &str| ollama::vector(MODEL, text, 8);
    let held = sim.hold();
    std::thread::scope(|scope| {
        let before = scope.spawn(|| vector(&gateway, "calls"));
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(held.until_waiting(1)));
        put(&desk, "unicode", &hostile());
        log.until(&["plugin replaced", "unicode"]);
        let after = scope.spawn(|| vector(&gateway, "calls"));
        // It does not join the flight of the first: it is another text by now.
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(held.until_waiting(2)));
        held.release();
        assert_eq!(before.join().unwrap(), vector_of("calls"));
        assert_eq!(after.join().unwrap(), vector_of("1"));
    });
    assert_eq!(vector(&gateway, "calls"), vector_of("1"), "the cache has the new one's");
}

#[test]
fn a_bad_file_leaves_the_plugin_before_it_in_service_and_the_log_says_why() {
    let desk = desk();
    let (gateway, log) = serve(&desk, &format!("{PLUGINS}{}", model_with("unicode")));
    let bytes = bundled("unicode");
    put(&desk, "unicode", &bytes[..bytes.len() / 2]);
    let line = log.until(&["the one before it serves on"]);
    assert!(line.contains("it is truncated: copy or build it again"), "{line}");
    assert_counted(&gateway, "unicode", "failed", 1);
    let told = gateway.get_admin("/admin/plugins").json();
    let refused = &told["refused"][0];
    assert_eq!((&refused["plugin"], &told["refused"][1]), (&"unicode".into(), &serde_json::Value::Null));
    assert!(refused["reason"].as_str().unwrap().contains("it is truncated"), "{told}");
    assert!(refused["file"].as_str().unwrap().ends_with("unicode.wasm"), "{told}");
    vector(&gateway, "calls");
    put(&desk, "unicode", &bundled("recursive"));
    let line = log.until(&["the one before it serves on"]);
    assert!(line.contains("it is no preprocessor, and model `docs` uses it as one"), "{line}");
    vector(&gateway, "kelp");
}

#[test]
fn a_plugin_goes_with_its_file_but_for_one_that_a_model_needs() {
    let desk = desk();
    put(&desk, "mine", &bundled("unicode"));
    let (gateway, log) = serve(&desk, &format!("{PLUGINS}{}", model_with("mine")));
    put(&desk, "other", &bundled("unicode"));
    log.until(&["plugin loaded", "other"]);
    desk.remove("plugins/other.wasm");
    log.until(&["plugin removed", "other"]);
    desk.remove("plugins/mine.wasm");
    log.until(&["the file of a plugin is gone, and model `docs` uses it"]);
    assert_counted(&gateway, "mine", "kept", 1);
    vector(&gateway, "kelp");
}

#[test]
fn where_pins_are_required_a_file_without_one_is_refused_with_the_line_to_write() {
    let desk = desk();
    put(&desk, "mine", &bundled("unicode"));
    let file = "plugins/mine.wasm";
    let sha256 = desk.json(&["plugin", "check", file])[0]["sha256"].as_str().unwrap().to_owned();
    let pins = format!("{PLUGINS}require_pins = true\n");
    let config = desk.write("unpinned.toml", &pins);
    let said = desk.run(&["config", "check", "--config", config.to_str().unwrap()]);
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    let table = format!("[[plugin]]\nname = \"mine\"\nsha256 = \"{sha256}\"\n");
    assert!(
        said.stderr.contains(&format!("sha256 = \"{sha256}\" in the [[plugin]] table of `mine`")),
        "{}",
        said.stderr
    );

    let (gateway, log) = serve(&desk, &format!("{pins}{table}{}", model_with("mine")));
    put(&desk, "mine", &hostile());
    let line = log.until(&["the one before it serves on"]);
    assert!(line.contains(&format!("wants {sha256}")), "{line}");
    put(&desk, "other", &bundled("unicode"));
    let line = log.until(&["a plugin cannot be used", "other"]);
    assert!(line.contains(&sha256) && line.contains("[[plugin]] table of `other`"), "{line}");
    vector(&gateway, "kelp");
}

#[test]
fn no_request_fails_while_a_plugin_is_replaced_ten_times() {
    const CLIENTS: usize = 4;
    let desk = desk();
    put(&desk, "mine", &bundled("unicode"));
    let (gateway, log) = serve(&desk, &format!("{PLUGINS}{}", model_with("mine")));
    let (ended, n_answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (gateway, ended, n_answered) = (&gateway, &ended, &n_answered);
            scope.spawn(move || {
                for number in 0.. {
                    let texts: Vec<_> =
                        (0..100).map(|text| format!("kelp {client} {number} {text}")).collect();
                    let answer = gateway.post("/api/embed", &json!({ "model": "docs", "input": texts }));
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    n_answered.fetch_add(1, Ordering::Relaxed);
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for number in 0..10 {
            put(&desk, "mine", &if number % 2 == 0 { hostile() } else { bundled("unicode") });
            log.until(&["plugin replaced", "mine"]);
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(CLIENTS <= n_answered.into_inner());
    assert_counted(&gateway, "mine", "replaced", 10);
}
