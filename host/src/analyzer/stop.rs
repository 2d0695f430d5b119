//! Words that say nothing about what a text is about.

/// The stop words of one language, lower-case and folded.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopWords(&'static [&'static str]);

impl StopWords {
    pub(super) fn of(language: &str) -> Self {
        Self(match language {
            "en" => ENGLISH,
            "tr" => TURKISH,
            _ => &[],
        })
    }

    pub(super) fn contain(self, folded: &str) -> bool {
        self.0.binary_search(&folded).is_ok()
    }
}

/// In the order of bytes.
const ENGLISH: &[&str] = &[
    "a", "about", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did", "do",
    "does", "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "if", "in", "into", "is",
    "it", "its", "may", "of", "on", "or", "our", "she", "should", "so", "such", "than", "that", "the",
    "their", "them", "then", "there", "these", "they", "this", "those", "to", "was", "we", "were", "what",
    "when", "where", "which", "who", "why", "will", "with", "would", "you", "your",
];

/// In the order of bytes.
const TURKISH: &[&str] = &[
    "ama", "ancak", "bana", "bazi", "ben", "bir", "biz", "bu", "bunu", "bunun", "da", "daha", "de", "diye",
    "en", "gibi", "hangi", "hem", "her", "icin", "idi", "ile", "ise", "kadar", "ki", "kim", "mi", "mu",
    "nasil", "ne", "neden", "nedir", "o", "olan", "olarak", "oldu", "oldugu", "olup", "onu", "onun", "sonra",
    "ve", "veya", "ya", "yani",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order_and_folded() {
        for list in [ENGLISH, TURKISH] {
            assert!(list.is_sorted_by(|one, next| one < next), "{list:?}");
            assert!(list.iter().all(|word| super::super::fold::full(word) == *word));
        }
    }
}
