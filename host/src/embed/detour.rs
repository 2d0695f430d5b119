//! Texts that a plugin of their model could not do: what was done instead decides where their
//! vectors are kept, and is told with them.

use std::sync::Arc;

use super::error::Failure;
use crate::cache::CacheKey;
use crate::plugin::Instead;

/// A text on its way through the preprocessors.
pub(super) struct Passing {
    pub(super) text: Result<String, Failure>,
    pub(super) detour: Option<Detour>,
}

/// What was done in the place of plugins that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Detour {
    /// Tells it from every other detour.
    mark: String,
    words: String,
}

impl Passing {
    pub(super) fn new(text: String) -> Self {
        Self { text: Ok(text), detour: None }
    }

    pub(super) fn take_detour(&mut self, instead: &Instead) {
        self.detour.get_or_insert_default().add(instead.mark(), &instead.to_string());
    }
}

impl Detour {
    fn add(&mut self, mark: &str, words: &str) {
        // Marks have no line ends.
        self.mark = format!("{}{mark}\n", self.mark);
        let and = if self.words.is_empty() { "" } else { "; " };
        // Whoever is told may take nothing but ASCII.
        self.words = format!("{}{and}{}", self.words, ascii(words));
    }

    /// The key of a text that takes `detour`, where it would have been `key` without one.
    pub(super) fn key(detour: Option<&Self>, key: CacheKey) -> CacheKey {
        detour.map_or(key, |detour| key.by_detour(&detour.mark))
    }

    pub(super) fn into_words(self) -> Arc<str> {
        self.words.into()
    }
}

/// Names of plugins are names of files, and may be in any script.
fn ascii(words: &str) -> String {
    let escaped = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => character.escape_default().to_string(),
    };
    words.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Space, Stamp};

    fn detour(instead: &[(&str, &str)]) -> Detour {
        let mut detour = Detour::default();
        for (mark, words) in instead {
            detour.add(mark, words);
        }
        detour
    }

    #[test]
    fn every_detour_is_kept_apart_from_the_way_itself_and_from_others() {
        let key = CacheKey::new(&Space::new(&[]), Stamp::default(), "text");
        assert_eq!(Detour::key(None, key), key);
        let keys = [&[("a", "")][..], &[("a", ""), ("b", "")], &[("b", ""), ("a", "")], &[("ab", "")]]
            .map(|instead| Detour::key(Some(&detour(instead)), key));
        assert!(!keys.contains(&key));
        assert!((1..4).all(|at| !keys[..at].contains(&keys[at])));
    }

    #[test]
    fn all_that_was_done_is_told_in_ascii() {
        let detour = detour(&[("a", "plugin `ölçü` failed"), ("b", "plugin `b` failed")]);
        let words = "plugin `\\u{f6}l\\u{e7}\\u{fc}` failed; plugin `b` failed";
        assert_eq!(&*detour.into_words(), words);
    }
}
