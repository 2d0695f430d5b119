//! Plugins: the bundled ones are listed, and a file is checked before it is used.

use super::desk;

#[test]
fn the_bundled_plugins_are_listed() {
    let listed = desk().json(&["plugin", "list"]);
    let plugins = listed[0]["plugins"].as_array().unwrap();
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["html", "markdown", "recursive", "unicode"]);
    let said = desk().run(&["plugin", "list"]);
    for name in names {
        assert!(said.stdout.lines().any(|line| line.starts_with(name)), "{}", said.stdout);
    }
}

#[test]
fn a_file_that_is_no_component_is_refused() {
    let desk = desk();
    desk.write("broken.wasm", "this is not WebAssembly");
    let said = desk.run(&["plugin", "check", "broken.wasm"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.starts_with("error: ") && said.stderr.contains("broken"), "{}", said.stderr);
    assert_eq!(said.stdout, "");
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let said = desk().run(&["plugin", "check", "nowhere.wasm"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("nowhere"), "{}", said.stderr);
}

#[test]
fn a_broken_file_in_the_folder_of_plugins_stops_everything() {
    let desk = desk();
    desk.write("plugins/broken.wasm", "this is not WebAssembly");
    let said = desk.run(&["plugin", "list"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("broken.wasm"), "{}", said.stderr);
}
