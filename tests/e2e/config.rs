//! Configuration: what is wrong is told with its place and remedy, and what is shown can be read again.

use super::desk;

#[track_caller]
fn check_refused(configuration: &str, want: &[&str]) {
    let desk = desk();
    let file = desk.write("embergate.toml", configuration);
    let said = desk.run(&["config", "check"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert_eq!(said.stdout, "");
    assert!(said.stderr.contains(file.file_name().unwrap().to_str().unwrap()), "{}", said.stderr);
    for want in want {
        assert!(said.stderr.contains(want), "`{want}` is not in: {}", said.stderr);
    }
}

#[test]
fn a_misspelt_key_suggests_the_right_one() {
    check_refused(
        "[batcher]\nmax_txts = 3\n",
        &[":2:", "`max_txts`", "[batcher]", "did you mean `max_texts`?"],
    );
}

#[test]
fn a_wrong_type_shows_the_value() {
    check_refused("[embed]\nmax_texts = \"many\"\n", &[":2:", "`max_texts = \"many\"`", "whole number"]);
}

#[test]
fn every_mistake_is_told_at_once() {
    check_refused(
        "[sever]\n[cache]\nmax_bytes = \"lots\"\n[[upstream]]\nname = \"a\"\nkind = \"olama\"\nurl = \"x\"\n",
        &["[server]?", "\"64MiB\"", "\"ollama\"?"],
    );
}

#[test]
fn a_model_without_its_upstream_is_refused() {
    check_refused(
        "[[model]]\nname = \"m\"\nupstreams = [\"gpu\"]\n",
        &[":3:", "model `m`", "upstream `gpu`"],
    );
}

#[test]
fn a_plugin_that_is_not_there_is_refused() {
    let desk = desk();
    desk.write(
        "embergate.toml",
        "[[upstream]]\nname = \"a\"\nkind = \"embedded\"\n[[model]]\nname = \"m\"\nupstreams = [\"a\"]\npreprocess = [\"unicoed\"]\n",
    );
    let said = desk.run(&["config", "check"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    for want in ["model `m`", "`unicoed`", "unicode"] {
        assert!(said.stderr.contains(want), "{}", said.stderr);
    }
}

#[test]
fn a_file_that_is_not_there_is_refused() {
    let said = desk().run(&["--config", "nowhere.toml", "config", "show"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("`nowhere.toml`"), "{}", said.stderr);
}

#[test]
fn errors_are_json_for_programs() {
    let said = desk().run(&["--json", "--config", "nowhere.toml", "config", "show"]);
    let error: serde_json::Value = serde_json::from_str(&said.stderr).unwrap();
    assert!(error["error"].as_str().unwrap().contains("nowhere.toml"));
    assert_eq!(said.stdout, "");
}

#[test]
fn what_is_shown_is_read_as_the_same() {
    let desk = desk();
    let shown = desk.run(&["config", "show"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("[server]\n# Where the HTTP APIs listen.\nlisten = \"127.0.0.1:8642\"\n"));
    desk.write("embergate.toml", &shown.stdout);
    assert_eq!(desk.run(&["config", "show"]).stdout, shown.stdout);
}

#[test]
fn the_current_folder_goes_before_the_user_s() {
    let desk = desk();
    let user = desk.home().join(".config/embergate");
    std::fs::create_dir_all(&user).unwrap();
    std::fs::write(user.join("embergate.toml"), "[embed]\nmax_texts = 11\n").unwrap();
    assert!(desk.run(&["config", "show"]).stdout.contains("max_texts = 11\n"));
    desk.write("embergate.toml", "[embed]\nmax_texts = 22\n");
    assert!(desk.run(&["config", "show"]).stdout.contains("max_texts = 22\n"));
    desk.write("own.toml", "[embed]\nmax_texts = 33\n");
    assert!(desk.run(&["config", "show", "--config", "own.toml"]).stdout.contains("max_texts = 33\n"));
}

#[test]
fn a_secret_is_named_and_never_shown() {
    let desk = desk();
    desk.write("key", "s3cr3t");
    desk.write(
        "embergate.toml",
        "[[upstream]]\nname = \"a\"\nkind = \"openai\"\nurl = \"http://h:1\"\napi_key_file = \"key\"\n",
    );
    let said = desk.run(&["config", "show"]);
    assert!(said.stdout.contains("api_key_file"), "{}", said.stdout);
    assert!(!said.stdout.contains("s3cr3t"));
}

#[test]
fn what_is_fine_is_said() {
    let said = desk().run(&["config", "check"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for want in ["fine", "static-embed-en-256", "markdown"] {
        assert!(said.stdout.contains(want), "{}", said.stdout);
    }
}
