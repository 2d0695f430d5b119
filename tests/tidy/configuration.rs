//! The example configuration holds every key, and the documentation tells of each.

use std::fs;

use crate::{assert_tidy, root};

#[test]
fn every_key_of_the_full_example_is_documented() {
    let example = fs::read_to_string(root().join("examples/config/embergate.toml")).unwrap();
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let mut complaints = Vec::new();
    for line in example.lines() {
        // A key that is shown with its default stands behind a `#`, without a space.
        let line = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line);
        let Some((key, _)) = line.split_once(" = ") else { continue };
        let key = key.trim();
        if !key.is_empty() && !key.contains(' ') && !page.contains(&format!("`{key}`")) {
            complaints.push(format!("docs/configuration.md: does not tell of `{key}`"));
        }
    }
    assert_tidy(&complaints);
}
