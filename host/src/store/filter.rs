//! What filters may look at, the same in both stores.

use super::{Filter, StoreError};

/// How deep filters may stand in one another.
pub(super) const MAX_DEPTH: usize = 32;

/// A key of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Text(&'static str),
    Number(&'static str),
    Metadata(String),
}

impl Key {
    pub(super) fn parse(key: &str) -> Result<Self, StoreError> {
        Ok(match key {
            "source" => Self::Text("source"),
            "media_type" => Self::Text("media_type"),
            "title" => Self::Text("title"),
            "ordinal" => Self::Number("ordinal"),
            "line" => Self::Number("line"),
            other => match other.strip_prefix("metadata.") {
                Some(name) if !name.is_empty() && !name.contains('"') => Self::Metadata(name.to_owned()),
                _ => {
                    return Err(refused(
                        key,
                        "there are `source`, `media_type`, `title`, `ordinal`, `line` and `metadata.KEY`",
                    ));
                }
            },
        })
    }
}

/// Reads the value that a key of numbers is compared with.
pub(super) fn number(key: &str, value: &str) -> Result<i64, StoreError> {
    value.parse().map_err(|_| refused(key, &format!("`{value}` is no whole number")))
}

/// Reads a value as a range over metadata sees it.
pub(super) fn as_number(value: &str) -> Option<f64> {
    value.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The error for a range over what is no number.
pub(super) fn no_range(key: &str) -> StoreError {
    refused(key, "a range is over numbers: `ordinal`, `line` or `metadata.KEY`")
}

/// Refuses a filter that would cost the one who walks it too much.
pub(super) fn check_depth(filter: &Filter) -> Result<(), StoreError> {
    if MAX_DEPTH < depth(filter, MAX_DEPTH) {
        return Err(refused("and", &format!("filters stand in one another more than {MAX_DEPTH} deep")));
    }
    Ok(())
}

/// Counts to one more than `limit`, at most.
fn depth(filter: &Filter, limit: usize) -> usize {
    if limit == 0 {
        return 1;
    }
    let inner = match filter {
        Filter::Equals(..) | Filter::AnyOf(..) | Filter::Range { .. } | Filter::Ids(_) => 0,
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().map(|part| depth(part, limit - 1)).max().unwrap_or(0)
        }
        Filter::Not(part) => depth(part, limit - 1),
    };
    1 + inner
}

fn refused(key: &str, reason: &str) -> StoreError {
    StoreError::Filter { key: key.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_refused_with_those_that_there_are() {
        let error = Key::parse("sorce").unwrap_err().to_string();
        assert!(error.contains("`sorce`") && error.contains("`source`"), "{error}");
        assert_eq!(Key::parse("metadata.author").unwrap(), Key::Metadata("author".into()));
        assert!(Key::parse("metadata.").is_err());
    }

    #[test]
    fn a_filter_that_is_too_deep_is_refused() {
        let nest = |n: usize| (1..n).fold(Filter::And(vec![]), |inner, _| Filter::Not(Box::new(inner)));
        assert!(check_depth(&nest(MAX_DEPTH)).is_ok());
        assert!(check_depth(&nest(MAX_DEPTH + 1)).is_err());
    }
}
