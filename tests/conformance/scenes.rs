//! The upstreams that cases suppose: an Ollama that works, one that does not, one that is full.

use embergate_test_support::gate::Held;
use embergate_test_support::ollama::{Fault, OllamaSim};

use crate::cases::Case;
use crate::gateway::{Answer, Gateway};

/// Numbers in a vector of the simulated model.
pub(crate) const DIMENSIONS: usize = 768;

const EMBED: &str = "test-embed";
const CHAT: &str = "test-chat";

/// A gateway, and the Ollama behind it.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    sim: OllamaSim,
    seen: usize,
}

impl Scene {
    /// An Ollama that works.
    pub(crate) async fn usual() -> Self {
        let name = "hf.co/Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0";
        let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/model/tokenizer.json");
        let more = format!(
            "tokenizer = {tokenizer:?}\nmax_tokens = 8192\nmatryoshka = true\n\
             [[model]]\nname = {name:?}\nupstream_name = {EMBED:?}\nupstreams = [\"sim\"]\n"
        );
        Self::new("", EMBED, &more).await
    }

    /// An Ollama whose every call for embeddings goes wrong.
    async fn broken(model: &str, fault: Fault) -> Self {
        let scene = Self::new("", model, "").await;
        scene.sim.fail_always(fault);
        scene
    }

    /// `head` is the configuration's beginning, `more` is added to the table of `model`.
    async fn new(head: &str, model: &str, more: &str) -> Self {
        let sim = OllamaSim::start(&[(model, DIMENSIONS)]).await;
        let url = sim.url();
        let toml = format!(
            "{head}\n[[upstream]]\nname = \"sim\"\nkind = \"ollama\"\nurl = {url:?}\nmax_in_flight = 1\n\
             [[model]]\nname = {model:?}\nupstreams = [\"sim\"]\n{more}"
        );
        Self { gateway: Gateway::start(&toml).await, sim, seen: 0 }
    }

    /// Holds all calls to the upstream from now on.
    pub(crate) fn hold(&self) -> Held {
        self.sim.hold()
    }

    /// Calls for embeddings that arrived at the upstream since this was last asked.
    pub(crate) fn calls_since(&mut self) -> usize {
        let before = std::mem::replace(&mut self.seen, self.sim.batches().len());
        self.seen - before
    }
}

/// Sends a case.
pub(crate) async fn ask(gateway: &Gateway, case: &Case) -> Answer {
    let own = case.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
    let headers: Vec<_> = [("content-type", "application/json")].into_iter().chain(own).collect();
    gateway.ask(&case.method, &case.path, &headers, case.body()).await
}

/// The answer to a case that supposes another upstream than the usual one.
pub(crate) async fn own_answer(case: &Case) -> Option<Answer> {
    let scene = match case.id.as_str() {
        "oai-045" => {
            let body = r#"{"error":"This server does not support embeddings. Start it with `--embeddings`"}"#;
            Scene::broken(CHAT, Fault::Answer(501, body.to_owned())).await
        }
        "oai-053" => return Some(unreachable(case).await),
        "oai-055" => {
            let body = r#"{"error":"embedding contains NaN or Inf values"}"#;
            Scene::broken(EMBED, Fault::Answer(400, body.to_owned())).await
        }
        "oai-056" => Scene::broken(EMBED, Fault::Short).await,
        "emb-039" => return Some(full(case).await),
        _ => return None,
    };
    let answer = ask(&scene.gateway, case).await;
    scene.gateway.stop().await;
    Some(answer)
}

/// Nobody listens at the upstream's port.
async fn unreachable(case: &Case) -> Answer {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let toml = format!(
        "[[upstream]]\nname = \"gone\"\nkind = \"ollama\"\nurl = \"http://127.0.0.1:{port}\"\n\
         [[model]]\nname = {EMBED:?}\nupstreams = [\"gone\"]\n"
    );
    let gateway = Gateway::start(&toml).await;
    let answer = ask(&gateway, case).await;
    gateway.stop().await;
    answer
}

/// One text is under way and held, one may wait: of two more, one is refused at once.
async fn full(case: &Case) -> Answer {
    let head = "[embed]\nmax_texts = 1\n[batcher]\nmax_queued = 1\nmax_texts = 1\n";
    let scene = Scene::new(head, EMBED, "").await;
    let other = |text: &str| format!(r#"{{"model":"{EMBED}","input":"{text}"}}"#);
    let (first, second) = (other("under way"), other("waiting"));
    let held = scene.sim.hold();
    let under_way = scene.gateway.post("/api/embed", &first);
    let refused = async {
        held.until_waiting(1).await;
        tokio::select! {
            refused = ask(&scene.gateway, case) => refused,
            refused = scene.gateway.post("/api/embed", &second) => refused,
        }
    };
    let refused = tokio::select! {
        answer = under_way => answer,
        refused = refused => refused,
    };
    drop(held);
    scene.gateway.stop().await;
    refused
}
