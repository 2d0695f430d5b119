//! Sends the APIs any request at all, in this process and with the embedded
//! model, and holds the answers to what `/openapi.json` says. This is a property
//! test (`tests/requests.rs`) as well.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use embergate::config::Config;
use embergate::embed::Embedder;
use embergate::plugin::Plugins;
use embergate::server::Apis;
use embergate::telemetry::Metrics;
use embergate_test_support::openapi::{Answer, Document};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use crate::seed::Asked;

/// Bounds so small that short bodies reach them.
const CONFIGURATION: &str = r#"
[server]
max_body = "32KiB"

[embed]
max_texts = 8

[[upstream]]
name = "inside"
kind = "embedded"

[[model]]
name = "static-embed-en-256"
upstreams = ["inside"]
max_tokens = 16
matryoshka = true

# Of the key `key`.
[[key]]
name = "all"
sha256 = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"
rights = ["embed", "index"]

# Of the key `few`.
[[key]]
name = "few"
sha256 = "fa95e5080882f52bd40ccab2dee9c88c4d1fad7ad1093f93a0edcd8fb42d2bee"
rights = ["search"]
texts_per_minute = 2
requests_per_minute = 1000000
"#;

/// The APIs without a socket, and what they say of themselves.
struct Gateway {
    runtime: Runtime,
    /// Open to everybody.
    open: Apis,
    /// What is asked by whoever sends a key.
    keyed: Apis,
    document: Document,
}

type Headers = Vec<(String, String)>;

/// Asks what `bytes` mean, if they mean a request.
///
/// # Panics
/// When the gateway panics, or its answer is not as it should be.
pub(crate) fn check_bytes(bytes: &[u8]) {
    if let Some(asked) = Asked::from_seed(bytes)
        && let Some(Err(why)) = check(&asked)
    {
        panic!("{why}");
    }
}

/// Returns the answer's status; nothing where `asked` is no HTTP.
///
/// # Errors
/// Says how the answer is not as it should be.
pub fn check(asked: &Asked) -> Option<Result<u16, String>> {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    let gateway = GATEWAY.get_or_init(Gateway::start);
    let (status, headers, body) = gateway.ask(asked)?;
    let answer = Answer { status, headers: &headers, body: &body };
    let promised = gateway.document.check_answer(&asked.method, &asked.path, &answer);
    Some(promised.and_then(|()| check_embeddings(asked, &answer)).map(|()| status))
}

impl Gateway {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let config: Config = toml::from_str(CONFIGURATION).expect("the configuration can be read");
        let entered = runtime.enter();
        let embedder = Embedder::spawn(
            config.embed,
            config.models,
            config.upstreams,
            config.cache,
            config.batcher,
            Arc::new(Plugins::none()),
        );
        let (embedder, metrics) = (embedder.expect("the model is inside"), Metrics::install());
        let apis = |keys| Apis::new(config.server.clone(), keys, embedder.clone(), metrics.clone());
        let open = apis(&[]).expect("there are no keys");
        let keyed = apis(&config.keys).expect("the keys have hashes");
        drop(entered);
        let nothing = Document::new(b"{}");
        let mut gateway = Self { runtime, open, keyed, document: nothing };
        let asked = Asked::new("GET", "/openapi.json");
        let (.., document) = gateway.ask(&asked).expect("it is HTTP");
        gateway.document = Document::new(&document);
        gateway
    }

    #[expect(clippy::disallowed_methods, reason = "the answer is in memory already")]
    fn ask(&self, asked: &Asked) -> Option<(u16, Headers, Bytes)> {
        let mut request = Request::builder().method(asked.method.as_str()).uri(asked.path.as_str());
        // Without one, HTTP/1.1 has nothing but a refusal.
        if !asked.sends("host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in &asked.headers {
            request = request.header(name.as_str(), value.as_slice());
        }
        let request = request.body(Full::new(Bytes::from(asked.body.clone()))).ok()?;
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let apis =
            if asked.sends("authorization") || asked.sends("x-api-key") { &self.keyed } else { &self.open };
        self.runtime.block_on(async {
            let (head, body) = apis.answer(request, peer).await.into_parts();
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
            let body = body.collect().await.expect("it is in memory").to_bytes();
            Some((head.status.as_u16(), headers.collect(), body))
        })
    }
}

/// What a schema cannot say: an embedding for each text, of finite numbers, as many in each.
fn check_embeddings(asked: &Asked, answer: &Answer<'_>) -> Result<(), String> {
    let Some(told) = answer.header("x-embergate-cache").filter(|_| answer.status == 200) else {
        return Ok(());
    };
    let text = std::str::from_utf8(&asked.body).map_err(|_| "a body that is no text was answered well")?;
    let request = match serde_json::from_str(text) {
        Ok(request) => request,
        // Half a character, or 1e999, in a field that is ignored: JSON that no `Value` can hold.
        Err(_) if serde_json::from_str::<&RawValue>(text).is_ok() => return Ok(()),
        Err(error) => return Err(format!("a body that is no JSON was answered well: {error}")),
    };
    let answer: Value = serde_json::from_slice(answer.body).map_err(|error| error.to_string())?;
    let list = |name: &str| answer[name].as_array().into_iter().flatten();
    let ours = list("data").map(|item| &item["embedding"]).chain(list("embeddings"));
    let embeddings: Vec<Vec<f32>> = ours.map(numbers).collect::<Result<_, _>>()?;
    let lengths: std::collections::BTreeSet<_> = embeddings.iter().map(Vec::len).collect();
    if !embeddings.iter().flatten().all(|number| number.is_finite()) || 1 < lengths.len() {
        return Err(format!("the embeddings are no vectors of one space: lengths {lengths:?}"));
    }
    let n_texts = texts(&request);
    let is_legacy = answer.get("embedding").is_some();
    if !is_legacy && (embeddings.len() != n_texts || !told.ends_with(&format!("/{n_texts}"))) {
        return Err(format!("{n_texts} texts gave {} embeddings, and `{told}`", embeddings.len()));
    }
    Ok(())
}

/// The texts of a request that was answered well.
fn texts(request: &Value) -> usize {
    let absent = request.get("input").is_none_or(Value::is_null);
    match request.get(if absent { "prompt" } else { "input" }) {
        Some(Value::String(text)) => usize::from(!text.is_empty()),
        // One text as token numbers.
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_number) => 1,
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    }
}

fn numbers(embedding: &Value) -> Result<Vec<f32>, String> {
    match embedding {
        Value::Array(items) => {
            Ok(items.iter().map(|item| item.as_f64().map_or(f32::NAN, |number| number as f32)).collect())
        }
        Value::String(text) => {
            let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            let whole =
                rest.is_empty().then(|| numbers.iter().map(|four| f32::from_le_bytes(*four)).collect());
            whole.ok_or_else(|| "the base64 ends within a number".to_owned())
        }
        other => Err(format!("an embedding is `{other}`")),
    }
}
