//! Pages in `cases/` and the text that is taken out of them. `UPDATE_GOLDEN=1` rewrites the texts.

use std::fs;
use std::path::Path;

use embergate_html::extract::extract;
use embergate_html::options::Options;

/// Returns what the golden file holds: what is known of the page, then its text.
fn rendered(page: &str) -> String {
    let found = extract(page, Options { alt: true, ..Options::default() });
    let mut text = String::new();
    let mut from = 0;
    for patch in &found.patches {
        text.push_str(&page[from..patch.start]);
        text.push_str(&patch.text);
        from = patch.end;
    }
    text.push_str(&page[from..]);
    format!(
        "title: {}\nlanguage: {}\n---\n{text}\n",
        found.title.unwrap_or_default(),
        found.language.unwrap_or_default()
    )
}

#[test]
fn every_case_gives_the_expected_text() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut n_cases = 0;
    for entry in fs::read_dir(&cases).unwrap() {
        let input = entry.unwrap().path();
        if input.extension().is_none_or(|extension| extension != "html") {
            continue;
        }
        n_cases += 1;
        let expected = input.with_extension("expected.txt");
        let got = rendered(&fs::read_to_string(&input).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &got).unwrap();
        }
        let want = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(got, want, "{} (UPDATE_GOLDEN=1 rewrites it)", input.display());
    }
    assert!(n_cases >= 8, "only {n_cases} cases in {}", cases.display());
}
