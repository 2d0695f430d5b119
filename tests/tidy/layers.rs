//! Modules import downwards only, and each library has one home.

use std::fs;
use std::path::Path;

use crate::{assert_tidy, files_below, root, shown};

/// Libraries that one module alone may name; the second name is where it lives.
const HOMES: &[(&str, &[&str])] = &[
    ("wasmtime", &["plugin"]),
    ("wasmtime_wasi", &["plugin"]),
    ("wit_component", &["plugin"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    ("tokio_rustls", &["server"]),
    ("rustix", &["server"]),
    ("reqwest", &["upstream"]),
    ("rusqlite", &["store"]),
    ("qdrant_client", &["store"]),
    ("moka", &["cache"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("indicatif", &["cli"]),
    ("comfy_table", &["cli"]),
    ("unicode_width", &["cli"]),
    ("icu_segmenter", &["analyzer", "plugin"]),
    ("tokenizers", &["tokenizer"]),
    ("tiktoken_rs", &["tokenizer"]),
    ("model2vec_rs", &["upstream"]),
];

/// The modules of `lib.rs`, from the bottom of the stack to the top: the map is the ranking.
fn ranking() -> Vec<String> {
    fs::read_to_string(root().join("host/src/lib.rs"))
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.split(';').next().map(str::to_owned))
        .collect()
}

/// The top-level module that a file belongs to; nothing for `lib.rs` and `main.rs`.
fn module_of(file: &Path) -> Option<String> {
    let relative = file.strip_prefix(root().join("host/src")).unwrap();
    let first = relative.components().next()?.as_os_str().to_string_lossy().into_owned();
    let module = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
    (module != "lib" && module != "main").then_some(module)
}

/// The code of a file: no comments, and nothing from its tests on.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The identifiers that follow each `prefix` in `code`.
fn names_after<'c>(code: &'c str, prefix: &'c str) -> impl Iterator<Item = &'c str> {
    code.match_indices(prefix).map(move |(at, _)| {
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// The first identifiers of what stands in `use crate::{…}`.
fn names_in_braces(code: &str) -> impl Iterator<Item = &str> {
    let lists = code
        .match_indices("use crate::{")
        .filter_map(|(at, found)| code[at + found.len()..].split(';').next());
    lists.flat_map(names_after_commas)
}

/// What stands first behind each comma that is in no inner braces.
fn names_after_commas(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let parts = list.split(move |c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts.filter_map(|part| part.trim().split([':', ' ', '}']).next()).filter(|name| !name.is_empty())
}

#[test]
fn every_module_of_the_tree_is_on_the_map() {
    let ranking = ranking();
    let complaints: Vec<_> = files_below(&root().join("host/src"), "rs")
        .iter()
        .filter_map(|file| Some((file, module_of(file)?)))
        .filter(|(_, module)| !ranking.contains(module))
        .map(|(file, module)| format!("{}: `{module}` is not in lib.rs", shown(file)))
        .collect();
    assert_tidy(&complaints);
}

#[test]
fn modules_name_only_modules_below_them() {
    let ranking = ranking();
    let rank = |name: &str| ranking.iter().position(|module| module == name);
    let mut complaints = Vec::new();
    for file in files_below(&root().join("host/src"), "rs") {
        let Some(module) = module_of(&file) else { continue };
        let code = code(&file);
        for used in names_after(&code, "crate::").chain(names_in_braces(&code)) {
            if rank(used).is_some_and(|used| rank(&module).unwrap() < used) {
                complaints.push(format!("{}: `{module}` uses `{used}`", shown(&file)));
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn each_library_is_named_in_its_home_only() {
    let mut complaints = Vec::new();
    for file in files_below(&root().join("host/src"), "rs") {
        let Some(module) = module_of(&file) else { continue };
        let code = code(&file);
        for (library, homes) in HOMES {
            let named = code.match_indices(&format!("{library}::")).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
            });
            if named && !homes.contains(&module.as_str()) {
                complaints.push(format!("{}: `{library}` belongs to `{}`", shown(&file), homes.join("`, `")));
            }
        }
    }
    assert_tidy(&complaints);
}
