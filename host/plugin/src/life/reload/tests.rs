//! Files of real plugins, put there, changed and taken away.

use std::path::Path;
use std::sync::Arc;

use embergate_core::document::Document;
use embergate_core::model::{ModelName, Purpose};
use embergate_core::tokenizer::Tokenizer;

use super::*;
use crate::{Call, Config, PluginConfig};

/// A plugin `mine` in a folder of its own, with whatever comes to it.
struct Desk {
    dir: tempfile::TempDir,
    loader: Loader,
    serving: Serving,
    refused: Mutex<BTreeMap<String, Refused>>,
    uses: Vec<Use>,
}

impl Desk {
    fn new(config: Config, tables: &[PluginConfig]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Compiled once for all tests, and once for all runs of them.
        let cache_dir = Some(std::env::temp_dir().join("embergate-unit-cache/plugins"));
        let config = Config { dir: dir.path().into(), cache_dir, ..config };
        let loader = Loader::new(&config, tables, &[]).unwrap();
        Self { dir, loader, serving: Serving::default(), refused: Mutex::default(), uses: Vec::new() }
    }

    fn needing(mut self, role: Role) -> Self {
        self.uses.push(Use { plugin: "mine".into(), role, user: "model `docs`".into() });
        self
    }

    /// What comes of `mine` now that its file is what it is.
    async fn act(&self, sight: Option<Sight>) -> Vec<Reload> {
        let told = Mutex::new(Vec::new());
        let changed = |change: &Change<'_>| {
            assert_eq!(change.plugin, "mine");
            told.lock().unwrap().push(change.reload);
        };
        let Self { loader, serving, uses, refused, .. } = self;
        let reloading = Reloading { loader, serving, uses: uses.clone(), refused, changed: &changed };
        reloading.act("mine".into(), sight).await;
        told.into_inner().unwrap()
    }

    async fn put(&self, bytes: &[u8]) -> Vec<Reload> {
        let path = self.path();
        std::fs::write(&path, bytes).unwrap();
        let stamp = Stamp::of(&path);
        self.act(Some(Sight::File(path, stamp))).await
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mine.wasm")
    }

    fn mine(&self) -> Option<Arc<Plugin>> {
        self.serving.load().get("mine").cloned()
    }

    #[track_caller]
    fn assert_refused(&self, want: &str) {
        let refused = self.refused.lock().unwrap();
        let reason = &refused["mine"].reason;
        assert!(reason.contains(want), "{reason}");
    }
}

fn bundled(name: &str) -> Vec<u8> {
    Source::bundled(name).expect("a build with bundled plugins").read().unwrap()
}

async fn answers(plugin: &Plugin) -> bool {
    let call = Call {
        model: ModelName::new("m").unwrap(),
        purpose: Purpose::Document,
        max_tokens: 100,
        tokenizer: Arc::new(Tokenizer::estimate()),
        language: None,
        embedder: None,
    };
    let document = Document { text: "kelp".into(), media_type: "text/plain".into(), ..Document::default() };
    plugin.process(&call, &[document]).await.is_ok()
}

#[tokio::test]
async fn a_file_serves_and_another_one_takes_its_place_while_the_first_goes_on() {
    let desk = Desk::new(Config::default(), &[]).needing(Role::Preprocessor);
    assert_eq!(desk.put(&bundled("unicode")).await, [Reload::Loaded]);
    let first = desk.mine().unwrap();
    assert_eq!(desk.put(&bundled("html")).await, [Reload::Replaced]);
    let second = desk.mine().unwrap();
    assert_ne!(first.fingerprint(), second.fingerprint());
    assert!(answers(&first).await && answers(&second).await);
    assert_eq!(first.instances.n_waiting(), 0, "one that was replaced keeps no instance");
    assert_eq!(second.instances.n_waiting(), 1);
}

/// One thread does it all: what held it would hold the call, too.
#[tokio::test]
async fn a_plugin_that_takes_long_to_compile_holds_no_call() {
    let mut desk = Desk::new(Config::default(), &[]).needing(Role::Preprocessor);
    assert_eq!(desk.put(&bundled("unicode")).await, [Reload::Loaded]);
    let first = desk.mine().unwrap();

    let cache = tempfile::tempdir().unwrap();
    let config = Config { cache_dir: Some(cache.path().into()), ..desk.loader.config.clone() };
    let (begin, begun) = tokio::sync::mpsc::channel(1);
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let compiling = move |_: &str, _| {
        begin.try_send(()).unwrap();
        // Where the gate is shut for ever, the test fails, and does not hang.
        let opened = gate.lock().unwrap().recv_timeout(std::time::Duration::from_secs(60));
        opened.expect("a call is answered while a plugin is compiled");
    };
    desk.loader = Loader::new(&config, &[], &[]).unwrap().telling(Box::new(compiling));

    let calling = async {
        let mut begun = begun;
        begun.recv().await.unwrap();
        assert!(answers(&first).await);
        assert!(Arc::ptr_eq(&first, &desk.mine().unwrap()), "it serves until the other one is there");
        open.send(()).unwrap();
    };
    let html = bundled("html");
    let (reloaded, ()) = tokio::join!(desk.put(&html), calling);
    assert_eq!(reloaded, [Reload::Replaced]);
}

#[tokio::test]
async fn the_same_bytes_again_change_nothing() {
    let desk = Desk::new(Config::default(), &[]);
    assert_eq!(desk.put(&bundled("unicode")).await, [Reload::Loaded]);
    let first = desk.mine().unwrap();
    assert_eq!(desk.put(&bundled("unicode")).await, [Reload::Unchanged]);
    assert!(Arc::ptr_eq(&first, &desk.mine().unwrap()));
}

#[tokio::test]
async fn a_bad_file_leaves_the_one_before_and_a_good_one_makes_it_forgotten() {
    let desk = Desk::new(Config::default(), &[]);
    assert_eq!(desk.put(b"this is not WebAssembly").await, [Reload::Failed]);
    assert!(desk.mine().is_none());
    let bytes = bundled("unicode");
    assert_eq!(desk.put(&bytes).await, [Reload::Loaded]);
    assert!(desk.refused.lock().unwrap().is_empty());
    let first = desk.mine().unwrap();
    assert_eq!(desk.put(&bytes[..bytes.len() / 2]).await, [Reload::Failed]);
    desk.assert_refused("it is truncated");
    assert!(Arc::ptr_eq(&first, &desk.mine().unwrap()));
}

#[tokio::test]
async fn a_plugin_that_somebody_needs_keeps_its_role() {
    let desk = Desk::new(Config::default(), &[]).needing(Role::Preprocessor);
    assert_eq!(desk.put(&bundled("unicode")).await, [Reload::Loaded]);
    assert_eq!(desk.put(&bundled("recursive")).await, [Reload::Failed]);
    desk.assert_refused("it is no preprocessor, and model `docs` uses it as one");
    assert!(desk.mine().unwrap().info.is_preprocessor);
}

#[tokio::test]
async fn a_plugin_goes_with_its_file_unless_somebody_needs_it() {
    for (needed, want) in [(false, Reload::Removed), (true, Reload::Kept)] {
        let desk = Desk::new(Config::default(), &[]);
        let desk = if needed { desk.needing(Role::Preprocessor) } else { desk };
        desk.put(&bundled("unicode")).await;
        assert_eq!(desk.act(None).await, [want]);
        assert_eq!(desk.mine().is_some(), needed);
        assert_eq!(desk.act(Some(Sight::File(desk.path(), None))).await.len(), usize::from(needed));
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_not_believed() {
    let desk = Desk::new(Config::default(), &[]);
    let path = desk.path();
    std::fs::write(&path, "half").unwrap();
    let stamp = Stamp::of(&path);
    std::fs::write(&path, bundled("unicode")).unwrap();
    assert_eq!(desk.act(Some(Sight::File(path, stamp))).await, []);
    assert!(desk.mine().is_none() && desk.refused.lock().unwrap().is_empty());
}

#[tokio::test]
async fn another_file_than_the_pinned_one_is_refused_and_so_is_one_without_a_pin() {
    let config = Config { require_pins: true, ..Config::default() };
    let free = Desk::new(config.clone(), &[]);
    assert_eq!(free.put(&bundled("unicode")).await, [Reload::Failed]);
    let line = |reason: &str| reason.split_once("sha256 = \"").unwrap().1[..64].to_owned();
    let sha256 = line(&free.refused.lock().unwrap()["mine"].reason);
    let table: PluginConfig = toml::from_str(&format!("name = \"mine\"\nsha256 = \"{sha256}\"")).unwrap();
    let pinned = Desk::new(config, &[table]);
    assert_eq!(pinned.put(&bundled("unicode")).await, [Reload::Loaded]);
    assert_eq!(pinned.put(&bundled("html")).await, [Reload::Failed]);
    pinned.assert_refused(&format!("wants {sha256}"));
    assert_eq!(pinned.mine().unwrap().info.sha256, sha256);
}

#[tokio::test]
async fn a_file_that_can_be_no_plugin_is_told_once() {
    let desk = Desk::new(Config::default(), &[]);
    let told = Mutex::new(0);
    let changed = |_: &Change<'_>| *told.lock().unwrap() += 1;
    let Desk { loader, serving, refused, .. } = &desk;
    let reloading = Reloading { loader, serving, uses: Vec::new(), refused, changed: &changed };
    let unfit = BTreeMap::from([(Path::new("plugins/mine.cwasm").to_owned(), "compiled".to_owned())]);
    reloading.unfit(unfit.clone());
    reloading.unfit(unfit);
    assert_eq!((*told.lock().unwrap(), refused.lock().unwrap().len()), (1, 1));
    reloading.unfit(BTreeMap::new());
    assert!(refused.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_plugin_that_stands_in_is_found_anew_and_stays() {
    let table = toml::from_str("name = \"other\"\non_error = \"fallback:mine\"").unwrap();
    let desk = Desk::new(Config::default(), &[table]);
    assert_eq!(desk.put(&bundled("unicode")).await, [Reload::Loaded]);
    let source = Source::bundled("unicode").unwrap();
    let other = desk.loader.load(Found::new("other".into(), source, &desk.loader.tables)).await.unwrap();
    let other = Arc::new(other);
    let both = [("mine".to_owned(), desk.mine().unwrap()), ("other".to_owned(), other.clone())];
    desk.serving.store(Arc::new(both.into()));
    assert_eq!(desk.put(&bundled("html")).await, [Reload::Replaced]);
    let stands_in = other.fallback.lock().unwrap().clone().unwrap();
    assert!(Arc::ptr_eq(&stands_in, &desk.mine().unwrap()));
    assert_eq!(desk.put(&bundled("recursive")).await, [Reload::Failed]);
    desk.assert_refused("`mine` is no preprocessor, and `other` is");
    assert_eq!(desk.act(None).await, [Reload::Kept]);
}
