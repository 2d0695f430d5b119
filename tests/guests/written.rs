//! Guests written by hand, for what no compiler would make of any program.

use std::sync::Arc;

use embergate::document::Document;
use embergate::plugin::{Edit, Limits, Plugin, Plugins};
use embergate_test_support::guest;

use super::{call, check_load, document, folder, hurried, limits, table};

const KEEPS: &str = include_str!("keeps.wat");
const WORLD: &str = "preprocessor-plugin";

/// A contract with a resource of the guest's own.
const WITH_THINGS: &str = "
    package embergate:hostile;
    interface things { resource thing; }
    world hostile {
        include embergate:plugin/preprocessor-plugin@0.1.0;
        export things;
    }
";

/// The contract, and behind it, in braces, so that one file may have both, what `more` says.
fn contract_and(more: &str) -> String {
    let (head, rest) = guest::CONTRACT.split_once("package embergate:plugin@0.1.0;").unwrap();
    format!("{more}\n{head}package embergate:plugin@0.1.0 {{{rest}}}\n")
}

async fn loaded(bytes: &[u8], limits: Limits) -> Arc<Plugin> {
    let mut folder = folder(bytes);
    folder.config.limits = limits;
    Plugins::load(&folder.config, &[]).await.unwrap().preprocessor("hostile").unwrap()
}

fn documents(n_documents: usize) -> Vec<Document> {
    vec![document("x"); n_documents]
}

/// A call on `bad` fails with `want`, the next one is answered, and nothing is left behind.
async fn check(bytes: &[u8], limits: Limits, bad: &[Document], want: &str) {
    let plugin = loaded(bytes, limits).await;
    let held = plugin.held();
    let error = plugin.process(&call(), bad).await.unwrap_err().to_string();
    assert!(error.contains(want), "{error}");
    let next = plugin.process(&call(), &documents(2)).await.unwrap();
    assert!(next.iter().all(|answer| answer.edit == Edit::Keep));
    assert_eq!(plugin.held(), held);
}

#[tokio::test]
async fn a_trap_in_the_start_section_is_a_reason_not_to_load() {
    let bytes = guest::built(include_str!("start-section.wat"), WORLD);
    check_load(&bytes, table(""), "it fails to start: wasm trap: wasm `unreachable`").await;
}

#[tokio::test]
async fn a_trap_when_an_answer_is_freed_is_a_trap() {
    let bytes = guest::built(include_str!("post-return.wat"), WORLD);
    check(&bytes, limits(), &documents(1), "plugin `hostile` 6.6.6 trapped in `process`").await;
}

#[tokio::test]
async fn a_trap_in_a_destructor_is_a_trap() {
    let bytes = guest::built_for(&contract_and(WITH_THINGS), include_str!("resources.wat"), "hostile");
    check(&bytes, limits(), &documents(1), "plugin `hostile` 6.6.6 trapped in `process`").await;
}

#[tokio::test]
async fn a_guest_that_makes_ever_more_things_of_its_own_is_stopped() {
    let bytes = guest::built_for(&contract_and(WITH_THINGS), include_str!("resources.wat"), "hostile");
    let limits = Limits { handles: 77, ..limits() };
    check(&bytes, limits, &documents(3), "it wanted to hold more than 77 handles").await;
}

#[tokio::test]
async fn a_guest_that_grows_its_table_is_stopped() {
    let bytes = guest::built(include_str!("tables.wat"), WORLD);
    let want = "it asked for 100001 table elements, more than 100000";
    check(&bytes, limits(), &documents(1), want).await;
}

#[tokio::test]
async fn notes_of_four_gibibytes_in_one_mebibyte_of_memory_are_not_copied() {
    let bytes = guest::built(include_str!("notes.wat"), WORLD);
    check(&bytes, limits(), &documents(1), "it handed over more than 1MiB").await;
}

#[tokio::test]
async fn a_list_longer_than_memory_is_a_trap() {
    let bytes = guest::built(include_str!("notes.wat"), WORLD);
    check(&bytes, limits(), &documents(3), "which is a bug in it: list pointer/length out of bounds").await;
}

#[tokio::test]
async fn a_place_for_arguments_outside_of_memory_is_a_trap() {
    let bytes = guest::built(include_str!("allocates.wat"), WORLD);
    check(&bytes, limits(), &[document("7 bytes")], "trapped in `process` on ").await;
}

#[tokio::test]
async fn a_place_for_arguments_that_is_not_aligned_is_a_trap() {
    let bytes = guest::built(include_str!("allocates.wat"), WORLD);
    check(&bytes, limits(), &documents(3), "trapped in `process` on ").await;
}

#[tokio::test]
async fn a_trap_while_arguments_are_placed_is_a_trap() {
    let bytes = guest::built(include_str!("allocates.wat"), WORLD);
    check(&bytes, limits(), &[document("9 bytes..")], "trapped in `process` on ").await;
}

#[tokio::test]
async fn a_guest_that_spins_while_arguments_are_placed_is_stopped() {
    let bytes = guest::built(include_str!("allocates.wat"), WORLD);
    check(
        &bytes,
        hurried(),
        &[document("11 bytes...")],
        "was stopped in `process` on document `a.txt` after",
    )
    .await;
}

#[tokio::test]
async fn a_memory_larger_than_the_limit_is_a_reason_not_to_load() {
    let large = KEEPS.replace("(memory (export \"memory\") 2)", "(memory (export \"memory\") 65536)");
    check_load(&guest::built(&large, WORLD), table(""), "4294967296").await;
}

#[tokio::test]
async fn contracts_of_other_versions_are_refused_by_name() {
    for version in ["0.0.9", "0.2.0", "1.0.0"] {
        let there = format!("@{version}");
        let (wit, wat) = (guest::CONTRACT.replace("@0.1.0", &there), KEEPS.replace("@0.1.0", &there));
        let want = format!("it was built for embergate:plugin {version}, and this gateway has 0.1.0");
        check_load(&guest::built_for(&wit, &wat, WORLD), table(""), &want).await;
    }
}

#[tokio::test]
async fn a_contract_with_other_types_is_refused() {
    let wit = guest::CONTRACT
        .replace("record span { start: u32, end: u32 }", "record span { start: u64, end: u64 }");
    assert_ne!(wit, guest::CONTRACT);
    check_load(
        &guest::built_for(&wit, KEEPS, WORLD),
        table(""),
        "field start: expected `u32` found `u64`: build it again with this gateway's `wit` folder",
    )
    .await;
}

#[tokio::test]
async fn a_component_of_another_world_is_refused() {
    let wit = "package other:tool; world tool { export run: func(); }";
    let bytes = guest::built_for(wit, "(module (func (export \"run\")))", "tool");
    check_load(&bytes, table(""), "it does not export `lifecycle`, which every plugin has to").await;
}

#[tokio::test]
async fn every_beginning_of_a_file_is_refused_as_truncated() {
    let bytes = guest::built(KEEPS, WORLD);
    for len in [8, 9, 40, bytes.len() / 2, bytes.len() - 1] {
        let want = if len == 8 { "a core module without a component type" } else { "it is truncated" };
        check_load(&bytes[..len], table(""), want).await;
    }
}

#[tokio::test]
async fn the_bits_of_a_nan_are_the_same_on_every_processor() {
    let plugin = loaded(&guest::built(include_str!("nan.wat"), WORLD), limits()).await;
    let answer = plugin.process(&call(), &documents(1)).await.unwrap();
    assert_eq!(answer[0].edit, Edit::Keep);
}
