//! What each key is for, as the full example configuration says it.
//!
//! The example is the one place where keys are explained: `config show` prints
//! its comments, and tests hold it to the keys that the parser knows.

use std::sync::LazyLock;

pub(super) const EXAMPLE: &str = include_str!("../../../examples/config/embergate.toml");

/// Every key of the example in its order.
pub(super) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| keys_of(EXAMPLE));

/// A key or a table, and what it is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// `server`, or `server.listen`.
    pub(super) path: String,
    /// Lines without their comment sign.
    pub(super) comment: Vec<String>,
    /// What the example sets it to; nothing for a table.
    pub(super) value: Option<String>,
}

/// The key at `path`. A plugin's own limits are explained where those of all plugins are.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    let at = |path: &str| KEYS.iter().find(|key| key.path == path);
    at(path).or_else(|| at(&format!("plugins.limits.{}", path.strip_prefix("plugin.limits.")?)))
}

/// The table that has a key called `name`; nothing where several have.
pub(super) fn holding(name: &str) -> Option<&'static str> {
    let mut tables = KEYS.iter().filter_map(|key| match key.path.rsplit_once('.') {
        Some((table, last)) if last == name && key.value.is_some() => Some(table),
        _ => None,
    });
    tables.next().filter(|_| tables.next().is_none())
}

/// Keys directly in the table `path`, in the example's order.
pub(super) fn within(path: &str) -> impl Iterator<Item = (&'static str, &'static Key)> {
    KEYS.iter().filter_map(move |key| {
        let name = match path {
            "" => key.path.as_str(),
            _ => key.path.strip_prefix(path)?.strip_prefix('.')?,
        };
        (!name.contains('.')).then_some((name, key))
    })
}

// The example is ours and regular: a comment above each key, headers and keys
// on a line each, and what has no default behind a comment sign.
fn keys_of(example: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut comment = Vec::new();
    let mut table = String::new();
    for line in example.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = header.trim_matches(['[', ']']).to_owned();
            keys.push(Key { path: table.clone(), comment: std::mem::take(&mut comment), value: None });
        } else if let Some((name, value)) = key_and_value(bare) {
            let path = format!("{table}.{name}");
            keys.push(Key { path, comment: std::mem::take(&mut comment), value: Some(value.to_owned()) });
        } else if line.is_empty() {
            comment.clear();
        } else {
            comment.push(bare.to_owned());
        }
    }
    keys
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(" = ")?;
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        .then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_comment_above_it() {
        let keys = keys_of("# First.\n# Second.\n[a]\n# What x is.\nx = 1\n# What y is.\n# y = 2\n");
        let want = [("a", 2, None), ("a.x", 1, Some("1")), ("a.y", 1, Some("2"))];
        let got: Vec<_> =
            keys.iter().map(|key| (key.path.as_str(), key.comment.len(), key.value.as_deref())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn every_key_is_explained() {
        for key in KEYS.iter().filter(|key| key.value.is_some()) {
            assert!(!key.comment.is_empty(), "`{}` has no comment in the example", key.path);
        }
    }
}
