//! Plugins that are replaced while requests are under way: a request keeps to one plugin and its
//! key, whatever it waits for meanwhile.

use async_trait::async_trait;
use embergate_test_support::gate::Gate;
use embergate_test_support::guest;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::plugin::{self, Reload};
use crate::upstream::{Answers, Backend, Call, Identity, Offered};

const MODEL: &str = "docs";
const TEXT: &str = "a forest of kelp";
/// What one of the plugins makes of every text.
const OTHER: &str = "kelp";

/// A plugin that keeps a text as it is.
fn keeps() -> Vec<u8> {
    guest::built(include_str!("../../../../tests/guests/keeps.wat"), "preprocessor-plugin")
}

/// The same, but that its answer for a text is [`OTHER`] in its place: the third kind of an edit,
/// four bytes at 0xc8.
fn replaces() -> Vec<u8> {
    let keeps = include_str!("../../../../tests/guests/keeps.wat");
    let edit = r#"(data (i32.const 128) "\02\00\00\00\c8\00\00\00\04\00\00\00")"#;
    let text = format!("(data (i32.const 200) \"{OTHER}\")");
    guest::built(&keeps.replacen("(module", &format!("(module {edit} {text}"), 1), "preprocessor-plugin")
}

fn vector(text: &str) -> Embedding {
    Embedding::new(vec![text.len() as f32, 1.0]).unwrap()
}

/// An upstream with a door before what it says of its model, and one before its vectors.
#[derive(Default)]
struct Fake {
    identity: Gate,
    vectors: Gate,
}

#[async_trait]
impl Backend for Fake {
    async fn embed(&self, call: Call) -> Result<Answers, UpstreamError> {
        self.vectors.pass().await;
        Ok(Answers { texts: call.texts.iter().map(|text| Ok(vector(text))).collect(), n_tokens: None })
    }

    async fn identity(&self, _: &str) -> Result<Identity, UpstreamError> {
        self.identity.pass().await;
        Ok(Identity { text: "one".into(), is_read: true })
    }

    async fn models(&self) -> Result<Vec<Offered>, UpstreamError> {
        Ok(Vec::new())
    }

    async fn reach(&self) -> Result<(), UpstreamError> {
        Ok(())
    }
}

/// A model whose texts go through the plugin `mine`, the file of which comes and goes.
struct Desk {
    dir: tempfile::TempDir,
    fake: Arc<Fake>,
    embedder: Arc<Embedder>,
    replaced: Arc<Notify>,
    _following: JoinSet<()>,
}

impl Desk {
    /// With [`keeps`] as the plugin.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine.wasm"), keeps()).unwrap();
        // Compiled once for all tests, and once for all runs of them.
        let cache_dir = Some(std::env::temp_dir().join("embergate-unit-cache/plugins"));
        let (settle, dir_of) = (Duration::from_millis(1), dir.path().into());
        let config = plugin::Config { dir: dir_of, cache_dir, settle, ..Default::default() };
        let plugins = Arc::new(Plugins::load(&config, &[]).await.unwrap());
        let fake = Arc::<Fake>::default();
        let client = |table: &crate::upstream::Config| match table.name.as_str() {
            "up" => Ok(fake.clone() as Arc<dyn Backend>),
            _ => crate::upstream::connect(table),
        };
        let embedder = setup::embedder_over(
            client,
            Config::default(),
            model_table(&format!("name = \"{MODEL}\"\nupstreams = [\"up\"]\npreprocess = [\"mine\"]")),
            upstream_table("name = \"up\"\nkind = \"ollama\"\nurl = \"http://nowhere\"\nmax_in_flight = 2"),
            &Default::default(),
            Default::default(),
            plugins.clone(),
        );
        let (embedder, replaced) = (Arc::new(embedder.unwrap()), Arc::<Notify>::default());
        let mut following = JoinSet::new();
        let (follows, tells) = (embedder.clone(), replaced.clone());
        following.spawn(async move {
            let changed = |change: &plugin::Change<'_>| {
                assert_eq!((change.plugin, change.reload), ("mine", Reload::Replaced));
                follows.follow_plugins();
                tells.notify_one();
            };
            plugins.follow(Vec::new(), changed).await;
        });
        Self { dir, fake, embedder, replaced, _following: following }
    }

    /// Puts another plugin into its place, and waits until models go through it.
    async fn put(&self, component: Vec<u8>) {
        let (part, whole) = (self.dir.path().join("part"), self.dir.path().join("mine.wasm"));
        std::fs::write(&part, component).unwrap();
        std::fs::rename(part, whole).unwrap();
        self.replaced.notified().await;
    }

    /// Asks for [`TEXT`], in a task of its own.
    fn ask(&self) -> JoinHandle<(Embedding, usize)> {
        let (embedder, request) = (
            self.embedder.clone(),
            EmbedRequest { model: ModelName::new(MODEL).unwrap(), ..request(&[TEXT]) },
        );
        tokio::spawn(async move {
            let mut answer = embedder.embed(request).await.unwrap();
            (answer.embeddings.swap_remove(0), answer.n_hits)
        })
    }

    /// What comes back for [`TEXT`], and whether the cache had it.
    async fn check(asked: JoinHandle<(Embedding, usize)>, want: &str, n_hits: usize) {
        assert_eq!(asked.await.unwrap(), (vector(want), n_hits));
    }

    /// Swaps the plugin while one request waits at `gate`. That one has its text done, and kept, by
    /// the plugin before; one that comes later by the plugin after.
    async fn check_swap_at(&self, gate: &Gate, n_waiting: usize) {
        let held = gate.hold();
        let before = self.ask();
        held.until_waiting(1).await;
        self.put(replaces()).await;
        let after = self.ask();
        held.until_waiting(n_waiting).await;
        held.release();
        Self::check(before, TEXT, 0).await;
        Self::check(after, OTHER, 0).await;
        Self::check(self.ask(), OTHER, 1).await;
        self.put(keeps()).await;
        Self::check(self.ask(), TEXT, 1).await;
    }
}

#[tokio::test]
async fn a_request_that_waits_for_the_agreement_keeps_to_its_plugin_and_its_key() {
    let desk = Desk::new().await;
    // Both wait for the same answer.
    desk.check_swap_at(&desk.fake.identity, 1).await;
}

#[tokio::test]
async fn a_request_that_waits_for_its_vector_keeps_to_its_plugin_and_its_key() {
    let desk = Desk::new().await;
    desk.embedder.dimensions(&ModelName::new(MODEL).unwrap()).await.unwrap();
    // Neither flies with the other: two texts are under way.
    desk.check_swap_at(&desk.fake.vectors, 2).await;
}

#[tokio::test]
async fn a_model_that_was_built_before_a_swap_goes_through_the_plugin_after_it() {
    let desk = Desk::new().await;
    let (renewer, name) = (desk.embedder.discovery.renewer(), ModelName::new(MODEL).unwrap());
    let served = desk.embedder.catalog.get(&name).unwrap();
    let rebuilt = renewer.rebuilt(&served).unwrap();
    desk.put(replaces()).await;
    renewer.replace(&served, rebuilt);
    Desk::check(desk.ask(), OTHER, 0).await;
}
