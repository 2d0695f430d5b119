//! How a document's coverage stands in its record: as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::Coverage;

/// Short keys, because there is one of these for each document.
#[derive(Deserialize, Serialize)]
struct Written {
    source: u64,
    kept: u64,
    text: u64,
    chunked: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    omitted: BTreeMap<String, u64>,
}

pub(super) fn to_json(coverage: &Coverage) -> Option<String> {
    let Coverage { n_source, n_kept, n_text, n_chunked, omitted } = coverage.clone();
    let written = Written { source: n_source, kept: n_kept, text: n_text, chunked: n_chunked, omitted };
    serde_json::to_string(&written).ok()
}

/// Nothing where it is none: a record is no less good for it.
pub(super) fn from_json(json: &str) -> Option<Coverage> {
    let Written { source, kept, text, chunked, omitted } = serde_json::from_str(json).ok()?;
    Some(Coverage { n_source: source, n_kept: kept, n_text: text, n_chunked: chunked, omitted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coverage_comes_back_as_it_was() {
        let omitted = BTreeMap::from([("front matter".to_owned(), 7)]);
        let coverage = Coverage { n_source: 90, n_kept: 80, n_text: 85, n_chunked: 70, omitted };
        assert_eq!(to_json(&coverage).and_then(|json| from_json(&json)), Some(coverage));
        assert_eq!(from_json("something else"), None);
    }
}
