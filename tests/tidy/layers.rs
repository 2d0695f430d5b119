//! Modules and packages import downwards only, and each library has one home.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{assert_tidy, files_below, root, shown};

/// Libraries that one module alone may name; the second name is where it lives.
const HOMES: &[(&str, &[&str])] = &[
    ("wasmtime", &["plugin"]),
    ("wasmtime_wasi", &["plugin"]),
    ("wit_component", &["plugin"]),
    ("wit_parser", &["plugin"]),
    ("notify", &["plugin", "index"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    ("tokio_rustls", &["server"]),
    ("rustix", &["server"]),
    ("reqwest", &["index", "upstream"]),
    ("ignore", &["index"]),
    ("chardetng", &["index"]),
    ("encoding_rs", &["index"]),
    ("rusqlite", &["store"]),
    ("qdrant_client", &["store"]),
    ("tonic", &["store"]),
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

/// The packages of the gateway, from the bottom to the top.
const PACKAGES: &[Package] = &[
    Package { name: "embergate_core", manifest: "host/core/Cargo.toml", sources: "host/core/src" },
    Package { name: "embergate_plugin", manifest: "host/plugin/Cargo.toml", sources: "host/plugin/src" },
    Package { name: "embergate", manifest: "Cargo.toml", sources: "host/src" },
];

struct Package {
    name: &'static str,
    manifest: &'static str,
    sources: &'static str,
}

impl Package {
    fn files(&self) -> Vec<PathBuf> {
        files_below(&root().join(self.sources), "rs")
    }

    /// The modules of its `lib.rs`, its own and those that it takes from packages below, from the
    /// bottom to the top: the map is the ranking.
    fn ranking(&self) -> Vec<String> {
        let map = fs::read_to_string(root().join(self.sources).join("lib.rs")).unwrap();
        let named = map.lines().filter_map(|line| {
            let (line, _) = line.split_once(';')?;
            line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("pub use embergate_"))
        });
        named.filter_map(|name| name.rsplit([':', ' ']).next()).map(str::to_owned).collect()
    }

    /// The top-level module that a file belongs to; nothing for `lib.rs` and `main.rs`. The
    /// plugins' package is one module to all others.
    fn module_of(&self, file: &Path) -> Option<String> {
        if self.name == "embergate_plugin" {
            return Some("plugin".into());
        }
        let relative = file.strip_prefix(root().join(self.sources)).unwrap();
        let first = relative.components().next()?.as_os_str().to_string_lossy().into_owned();
        let module = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
        (module != "lib" && module != "main").then_some(module)
    }

    /// What its manifest lists, for its tests as well, by the names in code.
    fn dependencies(&self, tables: &[&str]) -> BTreeSet<String> {
        let text = fs::read_to_string(root().join(self.manifest)).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let tables = tables.iter().filter_map(|table| manifest.get(*table)?.as_table());
        tables.flat_map(toml::Table::keys).map(|name| name.replace('-', "_")).collect()
    }
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
    let mut complaints = Vec::new();
    for package in PACKAGES.iter().filter(|package| package.name != "embergate_plugin") {
        let ranking = package.ranking();
        for file in package.files() {
            if let Some(module) = package.module_of(&file).filter(|module| !ranking.contains(module)) {
                complaints.push(format!("{}: `{module}` is not in lib.rs", shown(&file)));
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn modules_name_only_modules_below_them() {
    let mut complaints = Vec::new();
    for package in PACKAGES {
        let ranking = package.ranking();
        let rank = |name: &str| ranking.iter().position(|module| module == name);
        for file in package.files() {
            let Some(module) = package.module_of(&file) else { continue };
            let code = code(&file);
            for used in names_after(&code, "crate::").chain(names_in_braces(&code)) {
                if rank(used).is_some_and(|used| rank(&module).is_some_and(|own| own < used)) {
                    complaints.push(format!("{}: `{module}` uses `{used}`", shown(&file)));
                }
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn packages_depend_only_on_packages_below_them() {
    let mut complaints = Vec::new();
    for (at, package) in PACKAGES.iter().enumerate() {
        let dependencies = package.dependencies(&["dependencies", "dev-dependencies", "build-dependencies"]);
        for above in &PACKAGES[at..] {
            if dependencies.contains(above.name) {
                complaints.push(format!("{}: depends on `{}`", package.manifest, above.name));
            }
        }
    }
    assert_tidy(&complaints);
}

/// One name for each thing: what the gateway takes from a package below is a module of its own map.
#[test]
fn the_gateway_names_packages_below_it_on_the_map_only() {
    let mut complaints = Vec::new();
    for package in PACKAGES.iter().filter(|package| package.name == "embergate") {
        for file in package.files().iter().filter(|file| package.module_of(file).is_some()) {
            let text = fs::read_to_string(file).unwrap();
            for below in PACKAGES.iter().filter(|below| below.name != package.name) {
                if text.contains(&format!("{}::", below.name)) {
                    complaints.push(format!("{}: `{}` is a `crate::` module", shown(file), below.name));
                }
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn each_library_is_named_in_its_home_only() {
    let mut complaints = Vec::new();
    for package in PACKAGES {
        for file in package.files() {
            let Some(module) = package.module_of(&file) else { continue };
            let code = code(&file);
            for (library, homes) in HOMES {
                let named = code.match_indices(&format!("{library}::")).any(|(at, _)| {
                    let before = code[..at].chars().next_back();
                    before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
                });
                if named && !homes.contains(&module.as_str()) {
                    let homes = homes.join("`, `");
                    complaints.push(format!("{}: `{library}` belongs to `{homes}`", shown(&file)));
                }
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn each_library_is_a_dependency_of_its_homes_package_only() {
    let mut complaints = Vec::new();
    for package in PACKAGES {
        let dependencies = package.dependencies(&["dependencies"]);
        let modules: BTreeSet<_> =
            package.files().iter().filter_map(|file| package.module_of(file)).collect();
        for (library, homes) in HOMES {
            let is_home = homes.iter().any(|home| modules.contains(*home));
            if dependencies.contains(*library) && !is_home {
                let homes = homes.join("`, `");
                complaints.push(format!("{}: `{library}` belongs to `{homes}`", package.manifest));
            }
        }
    }
    assert_tidy(&complaints);
}

/// A filter of the log names modules of the gateway, whatever package they live in.
#[test]
fn lines_of_the_log_stand_under_modules_of_the_gateway() {
    let mut complaints = Vec::new();
    for package in PACKAGES.iter().filter(|package| package.name != "embergate") {
        for file in package.files() {
            for (_, rest) in code(&file).split("tracing::").skip(1).filter_map(|rest| rest.split_once("!(")) {
                if !rest.trim_start().starts_with("target: LOG,") {
                    complaints.push(format!("{}: a line of the log without `target: LOG`", shown(&file)));
                }
            }
        }
    }
    assert_tidy(&complaints);
}
