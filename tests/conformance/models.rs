//! What Ollama's cases do not say: when a model is listed, what is refused, and which text is taken.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Answer, EMBEDDED, Gateway};
use crate::scenes::Scene;

/// The entry of the embedded model in a list.
async fn entry(gateway: &Gateway, path: &str) -> Option<Value> {
    let list = gateway.ask("GET", path, &[], Vec::new()).await;
    assert_eq!(list.status, 200, "{}", list.text);
    let models = list.json["models"].as_array().unwrap().clone();
    models.into_iter().find(|model| model["name"] == "test-embed:latest")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_runs_and_has_a_length_once_it_has_embedded() {
    let gateway = Gateway::start(EMBEDDED).await;
    assert_eq!(entry(&gateway, "/api/ps").await, None);
    let before = entry(&gateway, "/api/tags").await.unwrap();
    assert_eq!(before["details"].get("embedding_length"), None);
    gateway.post("/api/embed", r#"{"model":"test-embed","input":"kelp"}"#).await;
    let (running, after) =
        (entry(&gateway, "/api/ps").await.unwrap(), entry(&gateway, "/api/tags").await.unwrap());
    assert_eq!(after["details"]["embedding_length"], 256);
    assert_eq!(after["details"]["context_length"], 8192);
    assert_eq!([&running["digest"], &after["digest"]], [&before["digest"]; 2]);
    let shown = gateway.post("/api/show", r#"{"model":"test-embed:latest"}"#).await.json;
    let info = json!({
        "general.architecture": "embergate",
        "embergate.context_length": 8192,
        "embergate.embedding_length": 256,
    });
    assert_eq!(shown["model_info"], info);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_says_nothing_does_not_hold_up_the_list() {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let gateway = Gateway::start(&format!(
        "[server]\nready_timeout = \"50ms\"\n{EMBEDDED}\n\
         [[upstream]]\nname = \"mute\"\nkind = \"ollama\"\nurl = {url:?}\n\
         [[model]]\nname = \"a\"\nupstreams = [\"mute\"]\n[[model]]\nname = \"b\"\nupstreams = [\"mute\"]\n"
    ))
    .await;
    let begun = Instant::now();
    let list = gateway.ask("GET", "/api/tags", &[], Vec::new()).await.json;
    // An upstream has 5 seconds to say which models it has.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let names: Vec<_> = list["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["static-embed-en-256:latest", "test-embed:latest"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_listed_once_the_slowest_of_its_upstreams_was_given_up() {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute_url = format!("http://{}", mute.local_addr().unwrap());
    let scene = Scene::usual().await;
    let url = scene.upstream_url();
    let gateway = Gateway::start(&format!(
        "[server]\nready_timeout = \"50ms\"\n\
         [[upstream]]\nname = \"good\"\nkind = \"ollama\"\nurl = {url:?}\n\
         [[upstream]]\nname = \"mute\"\nkind = \"ollama\"\nurl = {mute_url:?}\ntimeout = \"300ms\"\n\
         [[model]]\nname = \"test-embed\"\nupstreams = [\"mute\", \"good\"]\n"
    ))
    .await;
    assert_eq!(entry(&gateway, "/api/tags").await, None);
    let listed = async { while entry(&gateway, "/api/tags").await.is_none() {} };
    tokio::time::timeout(Duration::from_secs(20), listed).await.unwrap();
    gateway.stop().await;
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_little_time_does_not_wait_until_an_upstream_says_what_it_has() {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let gateway = Gateway::start(&format!(
        "[embed]\ndiscover_wait = \"60s\"\n{EMBEDDED}\n\
         [[upstream]]\nname = \"mute\"\nkind = \"ollama\"\nurl = {url:?}\ndiscover = true\n\
         [[model]]\nname = \"a\"\nupstreams = [\"mute\"]\n"
    ))
    .await;
    let begun = Instant::now();
    for (path, body) in [
        ("/v1/embeddings", r#"{"model":"nobody","input":"kelp"}"#),
        ("/api/embed", r#"{"model":"nobody","input":"kelp"}"#),
        ("/api/embed", r#"{"model":"a","input":"kelp","dimensions":4}"#),
    ] {
        let headers = [("content-type", "application/json"), ("x-embergate-timeout-ms", "50")];
        let answer = gateway.ask("POST", path, &headers, body.into()).await;
        assert_eq!((answer.status, answer.header("x-should-retry")), (504, Some("true")), "{}", answer.text);
    }
    // An upstream has 5 seconds to say which models it has.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_with_its_tag_means_the_model_that_has_it() {
    let both = EMBEDDED.to_owned()
        + &EMBEDDED[EMBEDDED.find("[[model]]").unwrap()..]
            .replace("test-embed", "test-embed:latest")
            .replace("8192", "64");
    let gateway = Gateway::start(&both).await;
    let list = gateway.ask("GET", "/api/tags", &[], Vec::new()).await.json;
    let names: Vec<_> = list["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["static-embed-en-256:latest", "test-embed:latest"]);
    assert_eq!(entry(&gateway, "/api/tags").await.unwrap()["details"]["context_length"], 64);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_manages_models_or_generates_is_refused_however_it_is_asked() {
    let gateway = Gateway::start(EMBEDDED).await;
    for path in ["pull", "push", "create", "copy", "delete", "blobs/sha256:00ff", "generate", "chat"] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
            let answer = gateway.ask(method, &format!("/api/{path}"), &[], b"{".to_vec()).await;
            assert_eq!(answer.status, 501, "{method} {path}: {}", answer.text);
            let words = answer.json["error"].as_str().unwrap_or_default();
            assert!(method == "HEAD" || words.contains(path) && words.contains("is served here"), "{words}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_only_tells_takes_nothing_else() {
    let gateway = Gateway::start(EMBEDDED).await;
    for path in ["/api/tags", "/api/ps", "/api/version"] {
        let answer = gateway.post(path, "{}").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{path}");
        assert!(answer.json["error"].is_string(), "{}", answer.text);
    }
    let answer = gateway.ask("GET", "/api/show", &[], Vec::new()).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_plain_numbers_and_says_whose_it_is() {
    let gateway = Gateway::start(EMBEDDED).await;
    let json = gateway.ask("GET", "/api/version", &[], Vec::new()).await.json;
    let numbers: Vec<u32> =
        json["version"].as_str().unwrap().split('.').map(|number| number.parse().unwrap()).collect();
    assert!([0, 30, 0].as_slice() <= numbers.as_slice(), "{json}");
    assert_eq!(json["embergate"], env!("CARGO_PKG_VERSION"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_field_is_taken_on_either_path() {
    let mut scene = Scene::usual().await;
    let ask = async |path: &str, field: &str| -> Answer {
        scene.gateway.post(path, &format!(r#"{{"model":"test-embed","{field}":"kelp"}}"#)).await
    };
    let (newer, newer_other) = (ask("/api/embed", "input").await, ask("/api/embed", "prompt").await);
    let (older, older_other) =
        (ask("/api/embeddings", "prompt").await, ask("/api/embeddings", "input").await);
    assert_eq!(newer.header("x-embergate-notice"), None);
    assert_eq!(older.header("x-embergate-notice"), None);
    assert_eq!(newer_other.header("x-embergate-notice"), Some("`prompt` was taken for `input`"));
    assert_eq!(older_other.header("x-embergate-notice"), Some("`input` was taken for `prompt`"));
    let vector = &newer.json["embeddings"][0];
    assert_eq!(vector, &newer_other.json["embeddings"][0]);
    assert_eq!([&older.json["embedding"], &older_other.json["embedding"]], [vector; 2]);
    assert_eq!(older.header("x-embergate-purpose"), Some("document"));
    // The older path never cuts, which makes no difference to a text that fits.
    assert_eq!(older.header("x-embergate-cache"), Some("1/1"));
    assert_eq!(older_other.header("x-embergate-cache"), Some("1/1"));
    assert_eq!(scene.calls_since(), 1);
    scene.gateway.stop().await;
}
