//! First-party plugins are built alike, and proved alike.

use std::fs;
use std::path::PathBuf;

use crate::{assert_tidy, root, shown};

fn plugins() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("plugins")).unwrap();
    let mut folders: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("Cargo.toml").exists()).collect();
    folders.sort();
    folders
}

#[test]
fn every_plugin_has_golden_cases() {
    let complaints: Vec<_> = plugins()
        .iter()
        .filter(|plugin| fs::read_dir(plugin.join("cases")).map_or(0, Iterator::count) == 0)
        .map(|plugin| format!("{}: has no golden cases in `cases`", shown(plugin)))
        .collect();
    assert_tidy(&complaints);
}

#[test]
fn every_plugin_keeps_its_glue_in_one_file() {
    let mut complaints = Vec::new();
    for plugin in plugins() {
        for file in crate::files_below(&plugin.join("src"), "rs") {
            let is_glue = file.ends_with("component.rs");
            if !is_glue && fs::read_to_string(&file).unwrap().contains("wit_bindgen::") {
                complaints.push(format!("{}: glue belongs in component.rs", shown(&file)));
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn every_plugin_is_documented() {
    let page = fs::read_to_string(root().join("docs/plugins.md")).unwrap();
    let complaints: Vec<_> = plugins()
        .iter()
        .map(|plugin| plugin.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| !page.contains(&format!("`{name}`")))
        .map(|name| format!("docs/plugins.md: does not tell of `{name}`"))
        .collect();
    assert_tidy(&complaints);
}
