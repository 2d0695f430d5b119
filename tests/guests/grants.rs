//! What a plugin gets by a grant, and what it is told that wants more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use embergate::model::{Embedding, ModelName};
use embergate::plugin::{Call, Config, Edit, Limits, Plugin, PluginConfig, Plugins, SpanEmbedder};
use embergate_test_support::guest;

use super::{call, check_load, document, folder, hostile, limits, table};

fn embeds() -> Vec<u8> {
    guest::built(include_str!("embeds.wat"), "embedding-chunker-plugin")
}

/// `keeps.wat` with one function of `interface` imported, which is in `package`.
fn wants(package: &str, version: &str, interface: &str) -> Vec<u8> {
    let wit =
        guest::CONTRACT.replacen("package embergate:plugin@0.1.0;", "package embergate:plugin@0.1.0 {", 1);
    let wit = format!(
        "package other:plugin;
        world wanting {{
            include embergate:plugin/preprocessor-plugin@0.1.0;
            import {package}/{interface}@{version};
        }}
        package {package}@{version} {{ interface {interface} {{ open: func(); }} }}
        {wit}}}"
    );
    let import = format!("(module\n(import \"{package}/{interface}@{version}\" \"open\" (func))");
    guest::built_for(&wit, &include_str!("keeps.wat").replacen("(module", &import, 1), "wanting")
}

/// Counts what it embeds.
#[derive(Default)]
struct Counting {
    n_texts: AtomicUsize,
    last: Mutex<Vec<String>>,
}

#[async_trait]
impl SpanEmbedder for Counting {
    async fn embed(&self, _: &ModelName, texts: Vec<String>) -> Result<Vec<Embedding>, String> {
        self.n_texts.fetch_add(texts.len(), Ordering::Relaxed);
        let embed = |_| Embedding::new(vec![1.0]).map_err(|error| error.to_string());
        let embeddings = texts.iter().map(embed).collect();
        *self.last.lock().unwrap() = texts;
        embeddings
    }
}

async fn granted(limits: Limits) -> Arc<Plugin> {
    let folder = folder(&embeds());
    let config = Config { limits, ..folder.config.clone() };
    let table = PluginConfig { grants: vec!["embed".into()], ..table("") };
    Plugins::load(&config, &[table]).await.unwrap().chunker("hostile").unwrap()
}

/// The plugin has texts embedded until it is told `want`, after `n_texts`; so in each call.
async fn check_quota(limits: Limits, text: &str, n_texts: usize, want: &str) {
    let plugin = granted(limits).await;
    let embedder = Arc::new(Counting::default());
    let call = Call { embedder: Some(Arc::clone(&embedder) as Arc<dyn SpanEmbedder>), ..call() };
    for round in 1..=2 {
        let error = plugin.split(&call, &[document(text)]).await.unwrap_err().to_string();
        assert!(
            error.contains("refused `split` on document `a.txt`: unavailable: ") && error.contains(want),
            "{error}"
        );
        assert_eq!(embedder.n_texts.load(Ordering::Relaxed), round * n_texts);
    }
    assert_eq!(*embedder.last.lock().unwrap(), [text]);
}

#[tokio::test]
async fn a_call_has_no_more_texts_embedded_than_it_may() {
    let limits = Limits { embed_texts: 5, ..limits() };
    let want =
        "one call may have 5 texts embedded, and this would be 6: ask for fewer, or raise `embed_texts`";
    check_quota(limits, "kelp", 5, want).await;
}

#[tokio::test]
async fn a_call_has_its_documents_embedded_no_more_often_than_it_may() {
    let want = "one call may have its 40000 bytes embedded 4 times over, and this would be 200000 bytes";
    check_quota(limits(), &"kelp ".repeat(8_000), 4, want).await;
}

#[tokio::test]
async fn a_short_document_is_embedded_more_often() {
    let limits = Limits { embed_passes: 1, ..limits() };
    check_quota(limits, &"kelp ".repeat(2_000), 6, "this would be 70000 bytes").await;
}

#[tokio::test]
async fn where_nothing_embeds_the_plugin_is_told_so() {
    let error = granted(limits()).await.split(&call(), &[document("kelp")]).await.unwrap_err().to_string();
    assert!(
        error.contains("refused `split` on document `a.txt`: unavailable: nothing embeds in this call"),
        "{error}"
    );
}

#[tokio::test]
async fn the_embedder_is_refused_with_the_line_that_grants_it() {
    let want = "it wants to have texts embedded (`embergate:plugin/embedder@0.1.0`), which it is not granted: add grants = [\"embed\"] to the [[plugin]] table of `hostile`";
    check_load(&embeds(), table(""), want).await;
}

#[tokio::test]
async fn what_nothing_grants_is_refused_by_name() {
    for (package, version, interface, want) in [
        ("wasi:http", "0.2.3", "outgoing-handler", "nothing grants a plugin the network: build it without"),
        ("wasi:keyvalue", "0.2.0", "store", "nothing grants a plugin a database: build it without"),
        ("wasi:blobstore", "0.2.0", "blobstore", "nothing grants a plugin files: build it without"),
        ("wasi:clocks", "0.3.0", "wall-clock", "build it for WASI 0.2"),
        ("acme:db", "1.0.0", "query", "the gateway does not provide it, and nothing grants it"),
    ] {
        let name = format!("it wants `{package}/{interface}@{version}`");
        let bytes = wants(package, version, interface);
        check_load(&bytes, table(""), &name).await;
        check_load(&bytes, table(""), want).await;
    }
}

#[tokio::test]
async fn a_grant_that_does_not_exist_is_refused_with_the_reason() {
    let bytes = embeds();
    for (grant, want) in [
        ("files", "there is no grant `files`, only `embed`: nothing grants files"),
        ("sockets", "there is no grant `sockets`, only `embed`: nothing grants the network"),
        ("env", "put what the plugin needs into `config` of its table"),
        ("embedder", "it is called `embed`"),
    ] {
        check_load(&bytes, PluginConfig { grants: vec![grant.into()], ..table("") }, want).await;
    }
}

#[tokio::test]
async fn a_guest_that_looks_around_finds_nothing_and_in_each_call_the_same() {
    let plugin = hostile(limits()).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let answer = plugin.process(&call(), &[document("look around")]).await.unwrap();
        let Edit::Replace(text) = &answer[0].edit else { panic!("{answer:?}") };
        seen.push(text.clone());
    }
    for want in [
        "now 0 and 0.0\n",
        "environment [] []\n",
        "folders None 0\n",
        "tcp access-denied\n",
        "udp access-denied",
    ] {
        assert!(seen[0].contains(want), "`{want}` is not in:\n{}", seen[0]);
    }
    // One instance served both: what the first call drew is not missing in the second.
    assert_eq!(seen[0], seen[1]);
}
