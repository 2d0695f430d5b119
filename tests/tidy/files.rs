//! Files say what they are for, and suites run all that they hold.

use std::fs;

use crate::{assert_tidy, files_below, root, shown};

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    let complaints: Vec<_> = ["host", "plugins", "tests", "examples"]
        .iter()
        .map(|folder| root().join(folder))
        .filter(|folder| folder.exists())
        .flat_map(|folder| files_below(&folder, "rs"))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
        .map(|file| format!("{}: does not begin with `//! `", shown(&file)))
        .collect();
    assert_tidy(&complaints);
}

#[test]
fn every_file_of_a_suite_is_named_by_its_main() {
    let mut complaints = Vec::new();
    for suite in fs::read_dir(root().join("tests")).unwrap() {
        let suite = suite.unwrap().path();
        let Ok(main) = fs::read_to_string(suite.join("main.rs")) else { continue };
        for file in fs::read_dir(&suite).unwrap() {
            let file = file.unwrap().path();
            let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
            let is_module = file.extension().is_some_and(|e| e == "rs") && stem != "main";
            if is_module && !main.contains(&format!("mod {stem};")) {
                complaints.push(format!("{}: not named by main.rs, so it never runs", shown(&file)));
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn no_module_is_a_mod_rs() {
    let complaints: Vec<_> = files_below(&root().join("host"), "rs")
        .iter()
        .filter(|file| file.ends_with("mod.rs"))
        .map(|file| format!("{}: name it after its module", shown(file)))
        .collect();
    assert_tidy(&complaints);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut complaints = Vec::new();
    let documents = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name));
    for file in documents.into_iter().chain(files_below(&root().join("docs"), "md")) {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#', ' ']).next().unwrap();
            let is_elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !file.parent().unwrap().join(target).exists() {
                complaints.push(format!("{}: `{target}` is not there", shown(&file)));
            }
        }
    }
    assert_tidy(&complaints);
}
