//! An upstream is enough: its embedding models are found, come and go.

use embergate_test_support::binary::{Desk, Gateway, closed_port};
use embergate_test_support::ollama::{OllamaSim, vector};
use serde_json::{Value, json};

use super::{desk, write_corpus};

const MODEL: &str = "sim-embed:latest";

fn upstream(name: &str, url: &str) -> String {
    format!("[[upstream]]\nname = \"{name}\"\nkind = \"ollama\"\nurl = \"{url}\"\n")
}

fn embed(gateway: &Gateway, model: &str, texts: &[String]) -> (u16, Value) {
    let answer = gateway.post("/api/embed", &json!({ "model": model, "input": texts }));
    (answer.status, answer.json())
}

#[track_caller]
fn assert_embeds(gateway: &Gateway, model: &str, dimensions: usize) {
    let (status, body) = embed(gateway, model, &["kelp".to_owned()]);
    assert_eq!(status, 200, "{body}");
    let numbers: Vec<f32> = serde_json::from_value(body["embeddings"][0].clone()).unwrap();
    assert_eq!(numbers, vector(model, "kelp", dimensions));
}

fn listed(gateway: &Gateway) -> Vec<String> {
    let list = gateway.get("/v1/models").json();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// Has all upstreams asked anew: an unknown name is answered only after that.
fn look_again(gateway: &Gateway) {
    assert_eq!(embed(gateway, "nobody", &["kelp".to_owned()]).0, 404);
}

async fn gateway_of(desk: &Desk, sims: &[&OllamaSim]) -> Gateway {
    let tables = sims.iter().enumerate().map(|(number, sim)| upstream(&format!("up-{number}"), &sim.url()));
    desk.serve(&tables.collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_started_before_its_ollama_embeds_at_the_first_request() {
    let (desk, later) = (desk(), OllamaSim::later());
    let gateway = desk.serve(&upstream("late", &later.url()));
    assert_eq!(gateway.get("/readyz").status, 503);
    let _sim = later.start(&[(MODEL, 8)]);
    assert_embeds(&gateway, MODEL, 8);
    assert_eq!(gateway.get("/readyz").status, 200);
    assert_eq!(embed(&gateway, "sim-embed", &["kelp".to_owned()]).0, 200, "without its tag");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_just_pulled_embeds_and_one_that_was_removed_is_gone() {
    let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8)]).await);
    let gateway = gateway_of(&desk, &[&sim]).await;
    assert_embeds(&gateway, MODEL, 8);
    sim.pull("other-embed:latest", 16);
    assert_embeds(&gateway, "other-embed:latest", 16);
    assert_eq!(listed(&gateway), ["other-embed:latest", MODEL, "static-embed-en-256"]);
    sim.remove(MODEL);
    look_again(&gateway);
    assert_eq!(listed(&gateway), ["other-embed:latest", "static-embed-en-256"]);
    assert_eq!(embed(&gateway, MODEL, &["kelp".to_owned()]).0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_upstreams_with_the_same_model_share_its_texts() {
    let desk = desk();
    let (one, other) = (OllamaSim::start(&[(MODEL, 8)]).await, OllamaSim::start(&[(MODEL, 8)]).await);
    let gateway = gateway_of(&desk, &[&one, &other]).await;
    // One may have been found before the other.
    look_again(&gateway);
    let texts: Vec<String> = (0..200).map(|number| format!("text {number}")).collect();
    let (status, body) = embed(&gateway, MODEL, &texts);
    assert_eq!(status, 200, "{body}");
    for (text, embedding) in texts.iter().zip(body["embeddings"].as_array().unwrap()) {
        let numbers: Vec<f32> = serde_json::from_value(embedding.clone()).unwrap();
        assert_eq!(numbers, vector(MODEL, text, 8));
    }
    assert!(!one.batches().is_empty() && !other.batches().is_empty());
    one.remove(MODEL);
    look_again(&gateway);
    assert_eq!(embed(&gateway, MODEL, &["another".to_owned()]).0, 200, "the other one still has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_pulled_anew_is_another_model() {
    let desk = desk();
    let one = OllamaSim::start(&[(MODEL, 8)]).await;
    let gateway = gateway_of(&desk, &[&one]).await;
    assert_embeds(&gateway, MODEL, 8);
    // Pulled anew: another digest, other dimensions, and nothing of the old one is reused.
    one.pull(MODEL, 16);
    one.set_digest(MODEL, "another");
    look_again(&gateway);
    assert_embeds(&gateway, MODEL, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_chats_is_not_listed() {
    let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8)]).await);
    sim.pull_chat("llama3:latest");
    let gateway = gateway_of(&desk, &[&sim]).await;
    look_again(&gateway);
    assert_eq!(listed(&gateway), [MODEL, "static-embed-en-256"]);
    assert_eq!(embed(&gateway, "llama3", &["kelp".to_owned()]).0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_ollama_is_asked_about_each_model_once() {
    for version in ["0.24.0", "0.5.1"] {
        let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8)]).await);
        sim.set_version(version);
        sim.pull_chat("llama3:latest");
        let gateway = gateway_of(&desk, &[&sim]).await;
        assert_embeds(&gateway, MODEL, 8);
        look_again(&gateway);
        assert_eq!(listed(&gateway), [MODEL, "static-embed-en-256"]);
        let mut shown = sim.questions();
        shown.retain(|question| question.starts_with("/api/show"));
        shown.sort();
        assert_eq!(shown, ["/api/show llama3:latest", &format!("/api/show {MODEL}")], "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_an_openai_server_the_name_tells_what_embeds() {
    let (desk, sim) = (desk(), OllamaSim::start(&[("text-embedding-3-small", 8), ("gpt-5", 8)]).await);
    let gateway = desk.serve(&upstream("up", &sim.url()).replace("ollama", "openai"));
    assert_embeds(&gateway, "text-embedding-3-small", 8);
    assert_eq!(listed(&gateway), ["static-embed-en-256", "text-embedding-3-small"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_with_ten_thousand_models_has_as_many_as_are_allowed() {
    for version in ["0.34.2", "0.24.0"] {
        let (desk, sim) = (desk(), OllamaSim::start(&[]).await);
        sim.set_version(version);
        (0..10_000).for_each(|number| sim.pull(&format!("embed-{number:05}"), 8));
        let gateway = desk.serve(&format!("{}[embed]\nmax_discovered = 7\n", upstream("up", &sim.url())));
        look_again(&gateway);
        assert_eq!(listed(&gateway).len(), 7 + 1, "those and the embedded one");
        assert_embeds(&gateway, "embed-00006", 8);
        let n_shown = sim.questions().iter().filter(|question| question.starts_with("/api/show")).count();
        assert!(n_shown <= 2 * 128 + 128, "{n_shown} models were asked about");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_says_of_a_model_holds() {
    let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8), ("other-embed:latest", 8)]).await);
    let tables = format!(
        "{}discover = true\n[[model]]\nname = \"sim-embed\"\nupstreams = [\"up\"]\nprompts = {{ query = \"q: \" }}\n",
        upstream("up", &sim.url())
    );
    let gateway = desk.serve(&tables);
    look_again(&gateway);
    let want = ["other-embed:latest", "sim-embed", "sim-embed:query", "static-embed-en-256"];
    assert_eq!(listed(&gateway), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_models_name_is_not_searched() {
    let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8), ("other-embed:latest", 8)]).await);
    let tables = format!(
        "{}[[model]]\nname = \"{MODEL}\"\nupstreams = [\"up\"]\n[health]\nwarm_up = false\n",
        upstream("up", &sim.url())
    );
    let gateway = desk.serve(&tables);
    look_again(&gateway);
    assert_eq!(listed(&gateway), [MODEL, "static-embed-en-256"]);
    assert!(sim.questions().is_empty(), "{:?}", sim.questions());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_may_have_a_model_that_is_found_first() {
    let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8)]).await);
    write_corpus(&desk);
    let collection = "[[collection]]\nname = \"docs\"\nmodel = \"sim-embed\"\n";
    desk.write("embergate.toml", format!("{}{collection}", upstream("up", &sim.url())));
    let said = desk.run(&["config", "check"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(sim.questions().is_empty(), "`config check` asks no upstream: {:?}", sim.questions());
    desk.json(&["index", "docs", "--collection", "docs"]);
    let listed = desk.json(&["collections", "list"]);
    assert_eq!(listed[0]["collections"][0]["model"], MODEL);
    let found = desk.json(&["search", "mooring", "--collection", "docs"]);
    assert!(!found.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_found_may_be_named_to_index() {
    let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8)]).await);
    write_corpus(&desk);
    desk.write("embergate.toml", upstream("up", &sim.url()));
    for written in [MODEL, "sim-embed", "SIM-EMBED"] {
        desk.json(&["index", "docs", "--collection", "docs", "--model", written]);
    }
    let listed = desk.json(&["collections", "list"]);
    assert_eq!(listed[0]["collections"][0]["model"], MODEL);
    let said = desk.run(&["index", "docs", "--collection", "others", "--model", "nobody"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    let known = "there is no model `nobody`; there are: sim-embed:latest, static-embed-en-256";
    assert!(said.stderr.contains(known), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn index_says_when_it_takes_the_built_in_model_though_there_is_an_upstream() {
    let (desk, sim) = (desk(), OllamaSim::start(&[(MODEL, 8)]).await);
    write_corpus(&desk);
    desk.write("embergate.toml", upstream("up", &sim.url()));
    let said = desk.run(&["index", "docs", "--collection", "docs"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("no --model: `static-embed-en-256`"), "{}", said.stderr);
}

#[test]
fn a_search_for_models_ends_with_the_gateway() {
    let desk = desk();
    let gateway = desk.serve(&upstream("gone", &format!("http://{}", closed_port())));
    gateway.terminate();
    assert_eq!(gateway.wait().0, Some(0));
}

/// An alias is promised by the configuration: who uses it must not get another model's vectors one day.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_found_takes_no_alias_away() {
    let desk = desk();
    let (mine, found) =
        (OllamaSim::start(&[(MODEL, 8)]).await, OllamaSim::start(&[("small-embed:latest", 16)]).await);
    let table = format!("[[model]]\nname = {MODEL:?}\nupstreams = [\"up-0\"]\naliases = [\"Small-Embed\"]\n");
    let gateway = desk.serve(&(upstream("up-0", &mine.url()) + &upstream("up-1", &found.url()) + &table));
    look_again(&gateway);
    for asked in ["Small-Embed", "small-embed", "small-embed:latest"] {
        let (status, body) = embed(&gateway, asked, &["kelp".to_owned()]);
        assert_eq!(status, 200, "{asked}: {body}");
        assert_eq!(body["embeddings"][0].as_array().unwrap().len(), 8, "{asked}");
    }
}
