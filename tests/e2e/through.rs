//! `--gateway`: one process embeds, another one indexes and searches.

use std::process::Stdio;

use embergate_test_support::binary::{Desk, Gateway, Said, closed_port};
use embergate_test_support::ollama::OllamaSim;
use serde_json::Value;

use super::{desk, write_corpus};

const MODEL: &str = "static-embed-en-256";

/// The embedded model with prompts and a preprocessor, and the name that everybody gets.
const BEHIND: &str = r#"
[embed]
default_model = "prose"

[[upstream]]
name = "inside"
kind = "embedded"

[[model]]
name = "prose"
aliases = ["words"]
upstream_name = "static-embed-en-256"
upstreams = ["inside"]
preprocess = ["unicode"]
max_tokens = 200
[model.prompts]
query = "search for: "
document = "passage: "
"#;

fn url(gateway: &Gateway) -> String {
    format!("http://{}", gateway.api)
}

fn gateway() -> (Desk, Gateway) {
    let desk = desk();
    let gateway = desk.serve(BEHIND);
    (desk, gateway)
}

/// A desk with something to index.
fn corpus() -> Desk {
    let desk = desk();
    write_corpus(&desk);
    desk
}

/// A key of this right, and the table that lets it in.
fn new_key(desk: &Desk, right: &str) -> (String, String) {
    let said = desk.run(&["key", "new", "--quiet", right, "--rights", right]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    (said.stderr.trim().to_owned(), said.stdout)
}

fn summary(events: &[Value]) -> [u64; 4] {
    let last = events.last().unwrap();
    ["indexed", "unchanged", "chunks", "embedded"].map(|key| last[key].as_u64().unwrap())
}

/// What a search gives, scores and all.
fn found(desk: &Desk, more: &[&str]) -> Value {
    let question = ["search", "when does the harbour gate open", "--collection", "docs"];
    desk.json(&[&question, more].concat())[0]["results"].clone()
}

#[test]
fn what_is_indexed_by_a_gateway_is_found_by_it_and_without_it() {
    let (_behind, gateway) = gateway();
    let desk = corpus();
    let by = ["--gateway", &url(&gateway)];
    let index = ["index", "docs", "--collection", "docs"];
    let first = summary(&desk.json(&[&index[..], &by].concat()));
    assert_eq!((first[0], first[1]), (3, 0));
    assert_eq!(first[2], first[3], "all of it is new");
    let through = found(&desk, &by);
    assert!(through[0]["source"].as_str().unwrap().ends_with("harbour.md"), "{through}");
    let again = summary(&desk.json(&[&index[..], &by].concat()));
    assert_eq!(again, [0, 3, 0, 0]);
    // The same configuration here: it is the same collection.
    desk.write("embergate.toml", BEHIND);
    assert_eq!(summary(&desk.json(&index)), [0, 3, 0, 0], "nothing is embedded anew");
    assert_eq!(found(&desk, &[]), through, "and questions have the same vectors");
    let collections = desk.json(&["collections", "list"]);
    assert!(collections[0].to_string().contains("prose"), "the gateway's default: {}", collections[0]);
}

#[test]
fn a_collection_that_was_indexed_here_goes_on_by_a_gateway() {
    let (_behind, gateway) = gateway();
    let desk = corpus();
    desk.write("embergate.toml", BEHIND);
    let index = ["index", "docs", "--collection", "docs", "--model", "words"];
    let here = summary(&desk.json(&index));
    let before = found(&desk, &[]);
    desk.remove("embergate.toml");
    let by = ["--gateway", &url(&gateway)];
    assert_eq!(summary(&desk.json(&[&index[..], &by].concat())), [0, 3, 0, 0]);
    assert_eq!(found(&desk, &by), before);
    let other = desk.json(&["index", "docs", "--collection", "other", by[0], by[1]]);
    assert_eq!(summary(&other), here);
    let results = |collection| {
        let found = desk.json(&["search", "bread", "--collection", collection, by[0], by[1]]);
        let results = found[0]["results"].as_array().unwrap().iter();
        results.map(|result| (result["text"].to_string(), result["score"].to_string())).collect::<Vec<_>>()
    };
    assert_eq!(results("docs"), results("other"), "to the last digit");
}

#[test]
fn a_gateway_that_is_not_there_is_named_with_the_way_out() {
    let desk = corpus();
    let address = format!("http://{}", closed_port());
    let index = ["index", "docs", "--collection", "docs", "--model", "prose", "--gateway", &address];
    let said = desk.run(&index);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(
        said.stderr.contains(&format!("cannot reach upstream `--gateway` at {address}")),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("try: start it there with `embergate serve`"), "{}", said.stderr);
    let without_model = desk.run(&["index", "docs", "--collection", "docs", "--gateway", &address]);
    let told =
        |said: &Said| said.stderr.lines().skip_while(|line| !line.starts_with("error: ")).collect::<String>();
    assert_eq!(told(&without_model), told(&said));
    assert_eq!(desk.json(&["collections", "list"])[0]["collections"].as_array().unwrap().len(), 0);
}

#[test]
fn a_gateway_may_be_a_table_of_the_configuration() {
    let (_behind, gateway) = gateway();
    let desk = corpus();
    desk.write(
        "embergate.toml",
        format!(
            "[[upstream]]\nname = \"far\"\nkind = \"embergate\"\nurl = \"{}\"\nmax_in_flight = 4\n\
             [[upstream]]\nname = \"here\"\nkind = \"embedded\"\n",
            url(&gateway)
        ),
    );
    let index = ["index", "docs", "--collection", "docs", "--gateway", "far"];
    assert_eq!(summary(&desk.json(&index))[0], 3);
    let said = desk.run(&["index", "docs", "--collection", "docs", "--gateway", "near"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("write one like http://127.0.0.1:8642, or one of: far"), "{}", said.stderr);
}

#[test]
fn a_key_that_may_not_index_is_told_apart_from_one_that_is_missing() {
    let behind = desk();
    let [(index_key, index_table), (search_key, search_table)] =
        ["index", "search"].map(|right| new_key(&behind, right));
    let gateway = behind.serve(&format!("{BEHIND}\n{index_table}\n{search_table}"));
    let desk = corpus();
    let address = url(&gateway);
    let (may_index, may_search) = (desk.write("i", index_key), desk.write("s", search_key));
    let index = |key: Option<&std::path::Path>| {
        let mut words = vec!["index", "docs", "--collection", "docs", "--gateway", &address];
        if let Some(key) = key {
            words.extend(["--gateway-key-file", key.to_str().unwrap()]);
        }
        desk.run(&words)
    };
    for key in [None, Some(may_search.as_path())] {
        let said = index(key);
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains("upstream `--gateway` does not let this in"), "{}", said.stderr);
        assert!(said.stderr.contains("--gateway-key-file FILE"), "{}", said.stderr);
    }
    let said = index(Some(&may_index));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let by = ["--gateway", &address, "--gateway-key-file", may_search.to_str().unwrap()];
    assert!(!found(&desk, &by).as_array().unwrap().is_empty(), "searching takes the right to search");
}

#[test]
fn over_tls_a_gateway_is_who_the_system_trusts() {
    let behind = desk();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = behind.write("server.crt", made.cert.pem());
    let key = behind.write("server.key", made.signing_key.serialize_pem());
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let (gateway, _log) = behind.serve_watched(&tls, BEHIND);
    let port = gateway.api.rsplit(':').next().unwrap();
    let desk = corpus();
    let address = format!("https://localhost:{port}");
    let index = ["index", "docs", "--collection", "docs", "--gateway", &address];
    let said = desk.run(&index);
    assert_eq!(said.code, Some(2), "a certificate that nobody vouches for: {}", said.stderr);
    assert!(
        said.stderr.contains(&format!("cannot reach upstream `--gateway` at {address}")),
        "{}",
        said.stderr
    );
    let trusting = Said::by(desk.command(&index).env("SSL_CERT_FILE", &certificate));
    assert_eq!(trusting.code, Some(0), "{}", trusting.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_in_the_middle_is_code_3_and_the_next_run_goes_on() {
    let sim = OllamaSim::start(&[("m", 8)]).await;
    let configuration = format!(
        "[health]\nwarm_up = false\n[[upstream]]\nname = \"sim\"\nkind = \"ollama\"\nurl = \"{}\"\n\
         [[model]]\nname = \"m\"\nupstreams = [\"sim\"]\n",
        sim.url()
    );
    let (behind, desk) = (desk(), corpus());
    let gateway = behind.serve(&configuration);
    let index = |gateway: &Gateway| {
        let url = url(gateway);
        desk.command(&["index", "docs", "--collection", "docs", "--json", "--gateway", &url])
    };
    assert_eq!(Said::by(&mut index(&gateway)).code, Some(0));
    let before = found(&desk, &["--gateway", &url(&gateway)]);
    desk.write("docs/harbour.md", "# Harbour\n\nThe gate is closed now, and opens for nobody.\n");
    let held = sim.hold();
    let run = index(&gateway).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    held.until_waiting(1).await;
    drop(gateway);
    let output = run.wait_with_output().unwrap();
    held.release();
    let (told, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(3), "{told}{said}");
    assert!(told.contains("upstream `--gateway`"), "the reason is told with the document: {told}");
    let gateway = behind.serve(&configuration);
    assert_eq!(found(&desk, &["--gateway", &url(&gateway)]), before, "it keeps what it had");
    let again = Said::by(&mut index(&gateway));
    assert_eq!((again.code, summary(&again.documents())), (Some(0), [1, 2, 1, 1]), "{}", again.stderr);
}

#[test]
fn a_gateway_in_front_of_gateways_serves_what_they_have() {
    let behind = [desk(), desk()];
    let gateways = [behind[0].serve(BEHIND), behind[1].serve(BEHIND)];
    let front = desk();
    let tables: Vec<String> = gateways
        .iter()
        .enumerate()
        .map(|(number, gateway)| {
            format!(
                "[[upstream]]\nname = \"far-{number}\"\nkind = \"embergate\"\nurl = \"{}\"\n",
                url(gateway)
            )
        })
        .collect();
    let front = front.serve(&tables.concat());
    let body = serde_json::json!({ "model": "words", "input": ["kelp", "bread"], "input_type": "query" });
    let asked = |gateway: &Gateway| {
        let answer = gateway.post("/v1/embeddings", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    assert_eq!(asked(&front), asked(&gateways[0]), "vectors and tokens alike");
    let about = |gateway: &Gateway| gateway.get("/api/embergate").json();
    let names = |about: &Value| {
        let models = about["models"].as_array().unwrap();
        models.iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (ours, theirs) = (about(&front), about(&gateways[0]));
    assert_eq!(names(&ours), ["prose", MODEL]);
    assert_eq!(ours["models"][0]["preprocess"], theirs["models"][0]["preprocess"]);
    assert_eq!(ours["default_model"], "prose");
    let spaces = |gateway: &Gateway| gateway.get("/api/embergate/spaces/words").json();
    assert_eq!(spaces(&front), spaces(&gateways[0]));
    let id = theirs["models"][0]["tokenizer"].as_str().unwrap();
    let tokenizer = front.get(&format!("/api/embergate/tokenizers/{id}"));
    assert_eq!(tokenizer.status, 200);
    assert!(tokenizer.json()["model"].is_object(), "it can be fetched here too");
    assert_eq!(front.get("/api/embergate/tokenizers/00").status, 404);
    assert_eq!(front.get("/api/embergate/spaces/nobody").status, 404);
}
