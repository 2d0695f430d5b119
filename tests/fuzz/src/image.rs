//! A guest that answers what it is told to the byte, and the bytes to tell it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use embergate::document::{Chunks, Document};
use embergate::model::{ModelName, Purpose};
use embergate::plugin::{BreakerConfig, Call, Config, Limits, Plugin, PluginError, Plugins, Preprocessed};
use embergate::tokenizer::Tokenizer;
use embergate_test_support::guest;
use tokio::runtime::Runtime;

/// Tokens that a chunk may have: few, so that short texts reach it.
pub(crate) const MAX_TOKENS: u32 = 12;
/// Where the bytes stand in the guest's memory.
const BASE: u32 = 0x20000;

/// `tests/guests/parrot.wat`, loaded.
struct Parrot {
    runtime: Runtime,
    plugin: Arc<Plugin>,
}

static PARROT: LazyLock<Parrot> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let dir = tempfile::tempdir().expect("a folder can be made");
    let bytes = guest::built(include_str!("../../guests/parrot.wat"), "both-roles-plugin");
    std::fs::write(dir.path().join("parrot.wasm"), bytes).expect("a file can be written");
    let limits = Limits { time: Duration::from_secs(20), instances: 1, uses: u32::MAX, ..Limits::default() };
    let cache_dir = Some(std::env::temp_dir().join("embergate-e2e-cache"));
    // Most of what it is told to answer is wrong, and the first call says nothing.
    let breaker = BreakerConfig { max_failures: 0, ..BreakerConfig::default() };
    let config =
        Config { dir: dir.path().into(), cache_dir, limits, breaker, smoke_test: false, ..Config::default() };
    let plugins = runtime.block_on(Plugins::load(&config, &[])).expect("it is a plugin");
    let plugin = plugins.chunker("parrot").expect("it has both roles");
    Parrot { runtime, plugin }
});

pub(crate) fn call() -> Call {
    Call {
        model: ModelName::new("model").expect("it is a name"),
        purpose: Purpose::Document,
        max_tokens: MAX_TOKENS,
        tokenizer: Arc::new(Tokenizer::estimate()),
        language: None,
        embedder: None,
    }
}

/// The gateway's view of a guest that answers `bytes` for one document with this text.
pub(crate) fn process(text: &str, bytes: &[u8]) -> Result<Vec<Preprocessed>, PluginError> {
    PARROT.runtime.block_on(PARROT.plugin.process(&call(), &[document(text, bytes)]))
}

/// The same of a chunker.
pub(crate) fn split(text: &str, bytes: &[u8]) -> Result<Vec<Result<Chunks, PluginError>>, PluginError> {
    PARROT.runtime.block_on(PARROT.plugin.split(&call(), &[document(text, bytes)]))
}

fn document(text: &str, bytes: &[u8]) -> Document {
    let letters = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(b'a' + half));
    Document { id: "made up".into(), media_type: letters.collect(), text: text.into(), metadata: Vec::new() }
}

/// Bytes of a guest's memory, written as the canonical ABI lays values out.
#[derive(Default)]
pub(crate) struct Image {
    bytes: Vec<u8>,
}

impl Image {
    /// Makes room for a value of `n_words` words of four bytes; returns its place.
    pub(crate) fn room(&mut self, n_words: usize) -> usize {
        let at = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(at + 4 * n_words, 0);
        at
    }

    /// A number, or a byte with three bytes of nothing behind it.
    pub(crate) fn word(&mut self, at: usize, word: u32) {
        self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    /// A list of `len` things that begin at `place`.
    pub(crate) fn list(&mut self, at: usize, place: usize, len: usize) {
        self.word(at, BASE + place as u32);
        self.word(at + 4, len as u32);
    }

    pub(crate) fn text(&mut self, at: usize, text: &str) {
        let place = self.bytes.len();
        self.bytes.extend(text.as_bytes());
        self.list(at, place, text.len());
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
