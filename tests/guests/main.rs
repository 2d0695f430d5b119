//! Plugins that do all they can to hurt: each is stopped or refused with an
//! error that says why, and the next call succeeds.
//!
//! One guest does what texts tell it to, and is built by `tests/guests/build.sh`; others
//! are WebAssembly text.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod detours;
mod grants;
mod isolation;
mod processes;
mod written;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use embergate::document::{Document, Span};
use embergate::model::{ModelName, Purpose};
use embergate::plugin::{
    BreakerConfig, Call, Config, Edit, Limits, Plugin, PluginConfig, PluginError, Plugins,
};
use embergate::tokenizer::Tokenizer;
use embergate::units::ByteSize;

fn built() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let path = target.join("guests/hostile.wasm");
    assert!(path.exists(), "`{}` is missing: run tests/guests/build.sh", path.display());
    path
}

/// Limits that a busy machine does not reach by being slow.
fn limits() -> Limits {
    Limits {
        time: Duration::from_secs(60),
        memory: ByteSize::mib(32),
        output: ByteSize::mib(1),
        log_lines: 3,
        instances: 1,
        ..Limits::default()
    }
}

/// For guests that use up whatever time they are given.
fn hurried() -> Limits {
    Limits { time: Duration::from_millis(300), ..limits() }
}

struct Folder {
    _dir: tempfile::TempDir,
    config: Config,
}

/// A folder of plugins with `bytes` as `hostile.wasm`.
fn folder(bytes: &[u8]) -> Folder {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hostile.wasm"), bytes).unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let config = Config {
        dir: dir.path().into(),
        cache_dir: Some(cache),
        // What a guest does first, and how often it may fail, is up to each test.
        smoke_test: false,
        breaker: BreakerConfig { max_failures: 0, ..BreakerConfig::default() },
        limits: limits(),
        ..Config::default()
    };
    Folder { _dir: dir, config }
}

fn table(config: &str) -> PluginConfig {
    PluginConfig { name: "hostile".into(), config: config.parse().unwrap(), ..PluginConfig::default() }
}

async fn hostile(limits: Limits) -> Arc<Plugin> {
    let mut folder = folder(&std::fs::read(built()).unwrap());
    folder.config.limits = limits;
    let plugins = Plugins::load(&folder.config, &[]).await.unwrap();
    plugins.preprocessor("hostile").unwrap()
}

fn call() -> Call {
    Call {
        model: ModelName::new("model").unwrap(),
        purpose: Purpose::Document,
        max_tokens: 8,
        tokenizer: Arc::new(Tokenizer::estimate()),
        language: None,
        embedder: None,
    }
}

fn document(text: &str) -> Document {
    Document { id: "a.txt".into(), text: text.into(), ..Document::default() }
}

/// The first call does as `order` says and fails with `want`; the next one gets an answer,
/// and memory and all else that the first one held is there again.
async fn check_process(order: &str, want: &str) {
    check_process_within(limits(), order, want).await;
}

async fn check_process_within(limits: Limits, order: &str, want: &str) {
    let plugin = hostile(limits).await;
    let held = plugin.held();
    let error = plugin.process(&call(), &[document(order)]).await.unwrap_err().to_string();
    assert!(error.contains(want), "{error}");
    let next = plugin.process(&call(), &[document("keep")]).await.unwrap();
    assert_eq!(next[0].edit, Edit::Keep);
    assert_eq!(plugin.held(), held);
}

/// The document that does as `order` says fails with `want`; the one beside it passes.
async fn check_split(order: &str, want: &str) {
    let plugin = hostile(limits()).await;
    let answers = plugin.split(&call(), &[document(order), document("whole")]).await.unwrap();
    let error = answers[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("on document `a.txt`") && error.contains(want), "{error}");
    assert_eq!(answers[1].as_ref().unwrap().chunks[0].span, Span::new(0, 5));
}

async fn check_load(bytes: &[u8], table: PluginConfig, want: &str) {
    let mut folder = folder(bytes);
    folder.config.limits = hurried();
    let error = Plugins::load(&folder.config, &[table]).await.err().unwrap().to_string();
    assert!(error.contains("hostile.wasm") && error.contains(want), "{error}");
}

#[tokio::test]
async fn a_guest_that_spins_is_stopped() {
    check_process_within(hurried(), "spin", "was stopped in `process` on document `a.txt` after").await;
}

#[tokio::test]
async fn a_guest_that_sleeps_is_stopped() {
    check_process_within(hurried(), "sleep", "was stopped in `process` on document `a.txt` after").await;
}

#[tokio::test]
async fn a_guest_that_grows_is_stopped() {
    check_process("grow", "bytes of memory, more than 33554432").await;
}

#[tokio::test]
async fn a_guest_that_traps_is_named_with_its_fault() {
    check_process("trap", "plugin `hostile` 6.6.6 trapped in `process`").await;
}

#[tokio::test]
async fn a_trap_while_dropping_is_a_trap() {
    check_process("drop", "plugin `hostile` 6.6.6 trapped in `process`").await;
}

#[tokio::test]
async fn a_guest_that_holds_ever_more_handles_is_stopped() {
    check_process("hold", "it wanted to hold more than 1000 handles").await;
}

#[tokio::test]
async fn a_guest_that_calls_the_gateway_for_ever_is_stopped() {
    check_process_within(hurried(), "ask for ever", "was stopped in `process` on document `a.txt` after")
        .await;
}

#[tokio::test]
async fn a_guest_that_logs_for_ever_is_stopped() {
    check_process_within(hurried(), "log for ever", "was stopped in `process` on document `a.txt` after")
        .await;
}

#[tokio::test]
async fn a_guest_that_recurses_for_ever_meets_the_end_of_its_stack() {
    check_process("recurse", "call stack exhausted").await;
}

#[tokio::test]
async fn a_guest_that_answers_too_much_is_stopped() {
    check_process("huge", "it handed over more than 1MiB").await;
}

#[tokio::test]
async fn a_guest_that_asks_for_a_document_out_of_range_traps() {
    check_process("no such document", "document 99 is out of range: the call has 1").await;
}

#[tokio::test]
async fn a_guest_that_counts_a_span_out_of_range_traps() {
    check_process("no such span", "is outside the document").await;
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    check_process("refuse", "plugin `hostile` 6.6.6 refused `process` on document `a.txt`: unsupported: no")
        .await;
}

#[tokio::test]
async fn an_answer_for_fewer_documents_is_refused() {
    check_process("miscount", "it gave 0 answers for 1 documents").await;
}

#[tokio::test]
async fn patches_that_overlap_are_refused() {
    check_process("overlap", "patch 1 starts at byte 2").await;
}

#[tokio::test]
async fn a_patch_that_runs_backwards_is_refused() {
    check_process("backwards", "patch 0 runs backwards").await;
}

#[tokio::test]
async fn a_patch_inside_a_character_is_refused() {
    check_process("insidé", "patch 0 ends at 6").await;
}

#[tokio::test]
async fn a_patch_outside_the_text_is_refused() {
    check_process("outside", "patch 0 ends at 99").await;
}

#[tokio::test]
async fn spans_out_of_order_fail_their_document_alone() {
    check_split("overlap and jump", "span 1 starts at byte 0").await;
}

#[tokio::test]
async fn a_span_that_runs_backwards_fails_its_document_alone() {
    check_split("backwards", "span 0 runs backwards").await;
}

#[tokio::test]
async fn a_span_inside_a_character_fails_its_document_alone() {
    check_split("insidé", "inside a character").await;
}

#[tokio::test]
async fn a_span_outside_the_text_fails_its_document_alone() {
    check_split("outside", "span 0 ends at 99").await;
}

#[tokio::test]
async fn text_left_out_fails_its_document_alone() {
    check_split("a gap", "bytes 1 to 5 have text that is in no chunk").await;
}

#[tokio::test]
async fn a_chunk_of_too_many_tokens_fails_its_document_alone() {
    check_split("one two three four five six seven eight nine", "more than the 8 that `model` takes").await;
}

#[tokio::test]
async fn a_flood_of_log_lines_is_dropped_without_harm() {
    let plugin = hostile(limits()).await;
    let answer = plugin.process(&call(), &[document("flood")]).await.unwrap();
    assert_eq!(answer[0].edit, Edit::Keep);
}

#[tokio::test]
async fn a_guest_gets_the_tokens_of_a_large_document() {
    let plugin = hostile(limits()).await;
    let documents = [document(&"kelp, é. ".repeat(50_000)), document("count")];
    let answers = plugin.process(&call(), &documents).await.unwrap();
    assert_eq!(answers.len(), 2);
}

/// Returns how many calls the instance has served that served this one.
async fn calls(plugin: &Plugin) -> u32 {
    let answer = plugin.process(&call(), &[document("calls")]).await.unwrap();
    let Edit::Replace(calls) = &answer[0].edit else { panic!("{answer:?}") };
    calls.parse().unwrap()
}

#[tokio::test]
async fn an_instance_serves_again_until_it_is_used_up() {
    let plugin = hostile(Limits { uses: 2, ..limits() }).await;
    assert_eq!([calls(&plugin).await, calls(&plugin).await, calls(&plugin).await], [1, 2, 1]);
}

#[tokio::test]
async fn an_instance_that_trapped_never_serves_again() {
    let plugin = hostile(limits()).await;
    assert_eq!(calls(&plugin).await, 1);
    plugin.process(&call(), &[document("trap")]).await.unwrap_err();
    assert_eq!(calls(&plugin).await, 1);
}

#[tokio::test]
async fn an_instance_whose_call_was_cancelled_never_serves_again() {
    let plugin = hostile(limits()).await;
    assert_eq!(calls(&plugin).await, 1);
    let documents = [document("sleep")];
    let cancelled =
        tokio::time::timeout(Duration::from_millis(30), plugin.process(&call(), &documents)).await;
    assert!(cancelled.is_err());
    assert_eq!(calls(&plugin).await, 1);
}

#[tokio::test]
async fn a_deadline_is_of_one_call_not_of_an_instance() {
    let plugin = hostile(Limits { time: Duration::from_millis(100), ..limits() }).await;
    assert_eq!(calls(&plugin).await, 1);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(calls(&plugin).await, 2);
}

#[tokio::test]
async fn a_call_waits_for_an_instance_no_longer_than_configured() {
    let plugin = hostile(Limits { wait: Duration::from_millis(20), ..hurried() }).await;
    let (call, sleep, keep) = (call(), [document("sleep")], [document("keep")]);
    let (first, second) = tokio::join!(plugin.process(&call, &sleep), plugin.process(&call, &keep));
    assert!(matches!(first, Err(PluginError::Stopped { .. })), "{first:?}");
    assert!(matches!(second, Err(PluginError::Busy { .. })), "{second:?}");
}

#[tokio::test]
async fn others_run_while_a_guest_spins() {
    let plugin = hostile(hurried()).await;
    let spinning = tokio::spawn(async move { plugin.process(&call(), &[document("spin")]).await });
    let started = Instant::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(started.elapsed() < Duration::from_millis(250), "{:?}", started.elapsed());
    assert!(matches!(spinning.await.unwrap(), Err(PluginError::Stopped { .. })));
}

#[tokio::test]
async fn a_trap_in_start_is_a_reason_not_to_load() {
    let bytes = std::fs::read(built()).unwrap();
    check_load(&bytes, table("start = 'trap'"), "it fails to start: wasm trap").await;
}

#[tokio::test]
async fn a_start_that_spins_is_a_reason_not_to_load() {
    let bytes = std::fs::read(built()).unwrap();
    check_load(&bytes, table("start = 'spin'"), "it fails to start").await;
}

#[tokio::test]
async fn a_start_that_wants_documents_is_told_that_there_are_none() {
    let bytes = std::fs::read(built()).unwrap();
    check_load(&bytes, table("start = 'text'"), "`start` has no documents").await;
}

#[tokio::test]
async fn a_refused_configuration_is_a_reason_not_to_load() {
    let bytes = std::fs::read(built()).unwrap();
    let want = "it refuses its configuration: no such thing";
    check_load(&bytes, table("start = 'refuse'"), want).await;
}

/// The guest with one name in it changed for another of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(built()).unwrap();
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[tokio::test]
async fn a_plugin_for_another_contract_is_refused() {
    let want = "it was built for embergate:plugin 0.2.0, and this gateway has 0.1.0";
    check_load(&renamed("@0.1.0", "@0.2.0"), table(""), want).await;
}

#[tokio::test]
async fn a_plugin_without_lifecycle_is_refused() {
    check_load(&renamed("plugin/lifecycle@", "plugin/lifecycla@"), table(""), "does not export `lifecycle`")
        .await;
}

#[tokio::test]
async fn a_plugin_that_imports_what_nobody_provides_is_refused() {
    let want = "it wants `wasi:clockz/monotonic-clock@0.2.0`, which the gateway does not provide";
    check_load(&renamed("wasi:clocks", "wasi:clockz"), table(""), want).await;
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let bytes = std::fs::read(built()).unwrap();
    check_load(&bytes[..bytes.len() / 2], table(""), "it is truncated").await;
}

#[tokio::test]
async fn a_file_with_another_hash_than_its_pin_is_refused() {
    let bytes = std::fs::read(built()).unwrap();
    let pinned = PluginConfig { sha256: Some("00".into()), ..table("") };
    check_load(&bytes, pinned, "its SHA-256 is").await;
}

#[tokio::test]
async fn a_grant_that_does_not_exist_is_refused() {
    let bytes = std::fs::read(built()).unwrap();
    let granted = PluginConfig { grants: vec!["files".into()], ..table("") };
    check_load(&bytes, granted, "there is no grant `files`").await;
}

#[tokio::test]
async fn a_file_can_be_checked_by_itself() {
    let info = Plugins::check(&folder(b"").config, &built(), &[]).await.unwrap();
    assert_eq!((info.name.as_str(), info.version.as_str()), ("hostile", "6.6.6"));
    assert!(info.is_preprocessor && info.is_chunker && !info.needs_embedder);
}

#[tokio::test]
async fn a_fingerprint_changes_with_the_configuration() {
    let folder = folder(&std::fs::read(built()).unwrap());
    let mut fingerprints = Vec::new();
    for config in ["a = 1", "a = 1", "a = 2"] {
        let plugins = Plugins::load(&folder.config, &[table(config)]).await.unwrap();
        fingerprints.push(plugins.chunker("hostile").unwrap().fingerprint().to_owned());
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
    assert_ne!(fingerprints[0], fingerprints[2]);
}
