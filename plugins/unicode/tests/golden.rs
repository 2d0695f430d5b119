//! Texts in `cases/` and what they are cleaned to. `UPDATE_GOLDEN=1` rewrites the results.

use std::fs;
use std::path::Path;

use embergate_unicode::clean::clean;
use embergate_unicode::options::Options;

fn cleaned(text: &str, options: Options) -> String {
    let mut cleaned = String::new();
    let mut from = 0;
    for patch in clean(text, options).patches {
        cleaned.push_str(&text[from..patch.start]);
        cleaned.push_str(&patch.text);
        from = patch.end;
    }
    cleaned + &text[from..]
}

#[test]
fn every_case_gives_the_expected_text() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut n_cases = 0;
    for entry in fs::read_dir(&cases).unwrap() {
        let input = entry.unwrap().path();
        let name = input.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".input.txt") {
            continue;
        }
        n_cases += 1;
        let expected = cases.join(name.replace(".input.", ".expected."));
        let options = Options { nfkc: name.starts_with("nfkc") };
        let got = cleaned(&fs::read_to_string(&input).unwrap(), options);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &got).unwrap();
        }
        let want = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(got, want, "{name} (UPDATE_GOLDEN=1 rewrites it)");
    }
    assert!(n_cases >= 5, "only {n_cases} cases in {}", cases.display());
}
