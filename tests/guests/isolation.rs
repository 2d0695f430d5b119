//! How calls are kept apart and bounded, and what becomes of those that fail.

use std::time::Duration;

use embergate::document::Span;
use embergate::model::Purpose;
use embergate::plugin::{
    BreakerConfig, Call, Config, Edit, Isolation, Limits, Metering, OnError, Plugin, PluginConfig,
    PluginError, Plugins,
};

use super::{Folder, built, call, calls, document, folder, hurried, limits, table};

fn hostile_folder() -> Folder {
    folder(&std::fs::read(built()).unwrap())
}

async fn load(change: impl FnOnce(&mut Config), tables: &[PluginConfig]) -> Result<Plugins, PluginError> {
    let mut folder = hostile_folder();
    change(&mut folder.config);
    Plugins::load(&folder.config, tables).await
}

/// The hostile plugin, as `tables` and `change` have it.
async fn hostile(change: impl FnOnce(&mut Config), tables: &[PluginConfig]) -> std::sync::Arc<Plugin> {
    load(change, tables).await.unwrap().preprocessor("hostile").unwrap()
}

fn on_error(on_error: OnError) -> PluginConfig {
    PluginConfig { on_error, ..table("") }
}

/// The same component, and it does no harm.
fn meek() -> PluginConfig {
    PluginConfig { name: "meek".into(), file: Some("hostile.wasm".into()), ..table("meek = true") }
}

fn fallback(name: &str) -> PluginConfig {
    on_error(OnError::Fallback(name.into()))
}

async fn order(plugin: &Plugin, order: &str) -> Result<Edit, PluginError> {
    let answer = plugin.process(&call(), &[document(order)]).await;
    answer.map(|mut answers| answers.remove(0).edit)
}

#[tokio::test]
async fn an_instance_of_its_own_has_seen_no_call_before() {
    let plugin = hostile(|config| config.isolation = Isolation::PerCall, &[]).await;
    assert_eq!([calls(&plugin).await, calls(&plugin).await, calls(&plugin).await], [1, 1, 1]);
}

#[tokio::test]
async fn a_plugin_is_isolated_as_its_own_table_says() {
    let own = |isolation| PluginConfig { isolation: Some(isolation), ..table("") };
    let plugin = hostile(|config| config.isolation = Isolation::PerCall, &[own(Isolation::Shared)]).await;
    assert_eq!([calls(&plugin).await, calls(&plugin).await], [1, 2]);
    let plugin = hostile(|_| {}, &[own(Isolation::PerCall)]).await;
    assert_eq!([calls(&plugin).await, calls(&plugin).await], [1, 1]);
}

fn query() -> Call {
    Call { purpose: Purpose::Query, ..call() }
}

#[tokio::test]
async fn a_query_has_less_time_than_a_document() {
    let limits = Limits { query_time: hurried().time.into(), ..limits() };
    let plugin = hostile(|config| config.limits = limits, &[]).await;
    let stopped = plugin.process(&query(), &[document("spin")]).await.unwrap_err().to_string();
    assert!(stopped.contains("was stopped in `process`") && stopped.contains("300ms"), "{stopped}");
}

fn fuel(limits: Limits) -> impl FnOnce(&mut Config) {
    |config| (config.metering, config.limits) = (Metering::Fuel, limits)
}

#[tokio::test]
async fn a_guest_that_is_counted_is_stopped_at_its_last_instruction() {
    let plugin = hostile(fuel(Limits { fuel: 20_000_000, ..limits() }), &[]).await;
    let stopped = order(&plugin, "spin").await.unwrap_err().to_string();
    assert!(stopped.contains("a call may run 20000000 instructions"), "{stopped}");
    for _ in 0..3 {
        assert_eq!(order(&plugin, "keep").await.unwrap(), Edit::Keep);
    }
}

#[tokio::test]
async fn a_guest_that_is_counted_is_stopped_by_the_clock_as_well() {
    let plugin = hostile(fuel(Limits { fuel: u64::MAX, ..hurried() }), &[]).await;
    for way in ["spin", "sleep"] {
        let stopped = order(&plugin, way).await.unwrap_err().to_string();
        assert!(stopped.contains("a call may take 300ms"), "{stopped}");
    }
    assert_eq!(order(&plugin, "keep").await.unwrap(), Edit::Keep);
}

#[tokio::test]
async fn counting_changes_no_answer() {
    let text = format!("sum {}", "kelp ".repeat(100_000));
    let mut sums = Vec::new();
    for metering in [Metering::Epoch, Metering::Fuel, Metering::None] {
        let plugin = hostile(|config| config.metering = metering, &[]).await;
        sums.push(order(&plugin, &text).await.unwrap());
    }
    assert!(matches!(&sums[0], Edit::Replace(_)) && sums[0] == sums[1] && sums[1] == sums[2], "{sums:?}");
}

fn brittle(config: &mut Config) {
    config.breaker = BreakerConfig { max_failures: 2, pause: Duration::from_secs(1), ..Default::default() };
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_traps_again_and_again_is_out_of_service_for_a_while() {
    let plugin = hostile(brittle, &[]).await;
    for _ in 0..2 {
        assert!(matches!(order(&plugin, "trap").await, Err(PluginError::Trapped { .. })));
    }
    for _ in 0..3 {
        let error = order(&plugin, "keep").await.unwrap_err();
        assert!(matches!(error, PluginError::OutOfService { .. }), "{error}");
        let error = error.to_string();
        let want = "is tried again in 1s: 2 calls failed within 30s, the last one: it trapped in `process`";
        assert!(error.contains("plugin `hostile` 6.6.6") && error.contains(want), "{error}");
    }
    assert!(plugin.outage().is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(order(&plugin, "keep").await.unwrap(), Edit::Keep);
    assert!(plugin.outage().is_none());
}

#[tokio::test]
async fn refusals_and_broken_rules_keep_a_plugin_in_service() {
    let plugin = hostile(brittle, &[]).await;
    for wrong in ["refuse", "backwards", "miscount", "refuse"] {
        order(&plugin, wrong).await.unwrap_err();
    }
    assert_eq!(order(&plugin, "keep").await.unwrap(), Edit::Keep);
}

/// What is told of what was done instead; the documents keep what `want` says.
#[track_caller]
fn check_instead(processed: embergate::plugin::Processed, want: &[Edit], told: &str) {
    let edits: Vec<_> = processed.answers.into_iter().map(|answer| answer.edit).collect();
    assert_eq!(edits, want);
    assert_eq!(processed.instead.map(|instead| instead.to_string()).as_deref(), Some(told));
}

#[tokio::test]
async fn a_preprocessor_that_fails_is_skipped_where_its_table_says_so() {
    let plugin = hostile(brittle, &[on_error(OnError::Skip)]).await;
    let told = "plugin `hostile` failed and was skipped";
    // It breaks a rule, traps twice, and is out of service then.
    for way in ["backwards", "trap", "trap", "calls"] {
        let documents = [document("keep"), document(way)];
        let processed = plugin.process_or_instead(&call(), &documents).await.unwrap();
        check_instead(processed, &[Edit::Keep, Edit::Keep], told);
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_that_nobody_stands_in_for() {
    for table in [on_error(OnError::Skip), fallback("meek")] {
        let plugin = hostile(|_| {}, &[table, meek()]).await;
        let refused = plugin.process_or_instead(&call(), &[document("refuse")]).await;
        assert!(matches!(refused, Err(PluginError::Refused { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_call_that_succeeds_has_nothing_done_instead() {
    let plugin = hostile(|_| {}, &[on_error(OnError::Skip)]).await;
    let processed = plugin.process_or_instead(&call(), &[document("keep")]).await.unwrap();
    assert_eq!(processed.instead, None);
}

#[tokio::test]
async fn another_plugin_stands_in_where_the_table_names_one() {
    let plugin = hostile(brittle, &[fallback("meek"), meek()]).await;
    let told = "plugin `hostile` failed, and `meek` stood in";
    for (at, way) in ["trap", "trap", "calls"].into_iter().enumerate() {
        let processed = plugin.process_or_instead(&call(), &[document(way)]).await.unwrap();
        let want = if way == "calls" { Edit::Replace((at + 1).to_string()) } else { Edit::Keep };
        check_instead(processed, &[want], told);
    }
}

#[tokio::test]
async fn where_both_fail_the_error_is_of_the_one_that_stood_in() {
    let spare = PluginConfig { name: "spare".into(), file: Some("hostile.wasm".into()), ..table("") };
    let plugin = hostile(|_| {}, &[fallback("spare"), spare]).await;
    let error = plugin.process_or_instead(&call(), &[document("trap")]).await.unwrap_err().to_string();
    assert!(error.contains("plugin `spare` 6.6.6 trapped"), "{error}");
}

#[tokio::test]
async fn what_was_done_instead_has_a_mark_that_tells_it_apart() {
    let mut marks = Vec::new();
    for (own, spare) in [
        (on_error(OnError::Skip), meek()),
        (fallback("meek"), meek()),
        (fallback("meek"), PluginConfig { config: "meek = true\nother = 1".parse().unwrap(), ..meek() }),
        (PluginConfig { config: "other = 1".parse().unwrap(), ..on_error(OnError::Skip) }, meek()),
    ] {
        let plugin = hostile(|_| {}, &[own, spare]).await;
        let processed = plugin.process_or_instead(&call(), &[document("trap")]).await.unwrap();
        marks.push(processed.instead.unwrap().mark().to_owned());
    }
    assert!((1..4).all(|at| !marks[..at].contains(&marks[at])), "{marks:?}");
}

#[tokio::test]
async fn another_chunker_stands_in() {
    let plugin = hostile(|_| {}, &[fallback("meek"), meek()]).await;
    for way in ["trap", "whole"] {
        let (chunks, instead) = plugin.split_or_instead(&call(), &document(way)).await.unwrap();
        assert_eq!(chunks.chunks[0].span, Span::new(0, way.len()));
        assert_eq!(instead.is_some(), way == "trap");
    }
    // A rule that is broken is a failure like any other, and the other one breaks it too.
    let error = plugin.split_or_instead(&call(), &document("a gap")).await.unwrap_err().to_string();
    assert!(error.contains("plugin `meek` 6.6.6 broke the contract"), "{error}");
}

#[tokio::test]
async fn a_chunker_is_not_skipped() {
    let plugin = hostile(|_| {}, &[on_error(OnError::Skip)]).await;
    let failed = plugin.split_or_instead(&call(), &document("trap")).await;
    assert!(matches!(failed, Err(PluginError::Trapped { .. })), "{failed:?}");
}

async fn check_refused(tables: &[PluginConfig], want: &str) {
    let error = load(|_| {}, tables).await.err().unwrap().to_string();
    assert!(error.contains(want), "{error}");
}

#[tokio::test]
async fn a_plugin_that_only_cuts_cannot_be_skipped() {
    let recursive = PluginConfig { name: "recursive".into(), ..on_error(OnError::Skip) };
    check_refused(&[recursive], "`on_error = \"skip\"` is for preprocessors").await;
}

#[tokio::test]
async fn a_fallback_has_to_be_there_and_of_the_same_roles() {
    check_refused(&[fallback("mild")], "there is no plugin `mild`; there are: hostile, html").await;
    check_refused(&[fallback("unicode")], "`unicode` is no chunker, and `hostile` is").await;
}

#[tokio::test]
async fn a_fallback_has_none_itself() {
    let circle = PluginConfig { on_error: OnError::Fallback("hostile".into()), ..meek() };
    check_refused(&[fallback("meek"), circle], "has a fallback itself").await;
}
