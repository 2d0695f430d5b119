//! How much of documents is in chunks, for people and for programs.

use serde_json::{Value, json};

use crate::document::Coverage;

pub(super) fn as_json(coverage: &Coverage) -> Value {
    let Coverage { n_source, n_kept, n_text, n_chunked, omitted } = coverage;
    json!({
        "source_bytes": n_source, "kept_bytes": n_kept, "text_bytes": n_text, "chunked_bytes": n_chunked,
        "omitted_bytes": omitted, "share": coverage.share(),
    })
}

/// The share of the text that is in chunks; nothing where there is no text, or none is known of.
pub(super) fn share(coverage: &Coverage) -> Option<String> {
    (0 < coverage.n_text).then(|| percent(coverage.share()))
}

/// What was left out and why; nothing where nothing was.
pub(super) fn in_words(coverage: &Coverage) -> Option<String> {
    if coverage.omitted.is_empty() {
        return None;
    }
    let all = (coverage.n_chunked + coverage.n_omitted()) as f64;
    let mut parts: Vec<_> = coverage.omitted.iter().collect();
    parts.sort_by_key(|(_, n_bytes)| std::cmp::Reverse(**n_bytes));
    let part = |(reason, n_bytes): (&String, &u64)| format!("{} {reason}", percent(*n_bytes as f64 / all));
    let parts: Vec<String> = parts.into_iter().map(part).collect();
    Some(format!("{} of the text is in chunks; left out: {}", percent(coverage.share()), parts.join(", ")))
}

/// Rounded away from what would say "all" or "nothing" of what is not quite that.
fn percent(share: f64) -> String {
    match share {
        share if share <= 0.0 => "0 %".to_owned(),
        share if 1.0 <= share => "100 %".to_owned(),
        share => format!("{:.1} %", (100.0 * share).clamp(0.1, 99.9)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[track_caller]
    fn check(n_chunked: u64, omitted: &[(&str, u64)], want: Option<&str>) {
        let omitted: BTreeMap<_, _> = omitted.iter().map(|(why, n)| ((*why).to_owned(), *n)).collect();
        let coverage = Coverage { n_text: 1_000, n_chunked, omitted, ..Coverage::default() };
        assert_eq!(in_words(&coverage).as_deref(), want);
    }

    #[test]
    fn what_is_left_out_is_told_the_most_first() {
        let want = "75.0 % of the text is in chunks; left out: 20.0 % tables, 5.0 % front matter";
        check(750, &[("front matter", 50), ("tables", 200)], Some(want));
    }

    #[test]
    fn a_little_is_not_rounded_to_nothing() {
        check(99_999, &[("a", 1)], Some("99.9 % of the text is in chunks; left out: 0.1 % a"));
    }

    #[test]
    fn where_all_is_covered_there_is_nothing_to_tell() {
        check(1_000, &[], None);
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        assert_eq!(share(&Coverage::default()), None);
        assert_eq!(share(&Coverage::of_text(3)).as_deref(), Some("100 %"));
    }
}
