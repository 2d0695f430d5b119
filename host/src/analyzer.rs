//! Turns text into a sparse vector for ranking by words: what BM25 needs.
//!
//! The same terms and weights go to both stores, so that they rank alike; the
//! store applies the inverse document frequency when it is asked.

mod fold;
mod stop;
mod words;

use std::collections::BTreeMap;
use std::ops::Range;

use rust_stemmers::{Algorithm, Stemmer};

use stop::StopWords;

/// How fast a term's weight saturates as it is repeated.
const K1: f32 = 1.2;
/// How much a long chunk is held against its terms.
const B: f32 = 0.75;
/// The length that is held against no chunk, in terms.
const AVERAGE_LENGTH: f32 = 256.0;

/// Term ids, ascending, and a weight for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    pub terms: Vec<u32>,
    pub weights: Vec<f32>,
}

/// Splits, folds and stems the words of one language.
#[derive(Clone, Debug)]
pub struct Analyzer {
    language: Language,
}

/// What is known about a language's words.
#[derive(Clone, Copy, Debug)]
struct Language {
    stemmer: Option<Stemming>,
    stop_words: StopWords,
    /// Whether what follows an apostrophe is a suffix: `Ankara'da` is `Ankara`.
    suffix_after_apostrophe: bool,
}

#[derive(Clone, Copy, Debug)]
struct Stemming {
    algorithm: Algorithm,
    /// Whether letters lose their marks before the stemmer sees them. Turkish
    /// is typed both with and without its letters, and only this order brings
    /// both to the same stem; other stemmers read the marks.
    fold_first: bool,
}

impl Analyzer {
    /// Part of a collection's fingerprint: rises when terms or weights change.
    pub const VERSION: u32 = 1;

    /// `language` is BCP 47 (`tr`, `en`, …); without one, words are folded and not stemmed.
    ///
    /// A language that has no stemmer here is treated like none.
    pub fn new(language: Option<&str>) -> Self {
        Self { language: Language::of(language) }
    }

    /// The vector of a chunk: each term's frequency saturated as in BM25
    /// (k1 = 1.2, b = 0.75, an average length of 256 terms, as Qdrant's own `bm25` has them).
    pub fn document(&self, text: &str) -> SparseVector {
        let frequencies = self.frequencies(text);
        let length = frequencies.values().sum::<u32>() as f32;
        let room = K1 * (1.0 - B + B * length / AVERAGE_LENGTH);
        let weigh = |frequency: u32| {
            let frequency = frequency as f32;
            frequency * (K1 + 1.0) / (frequency + room)
        };
        SparseVector {
            terms: frequencies.keys().copied().collect(),
            weights: frequencies.values().copied().map(weigh).collect(),
        }
    }

    /// The vector of a question: each of its terms once, with weight 1.
    pub fn query(&self, text: &str) -> SparseVector {
        let terms: Vec<u32> = self.frequencies(text).into_keys().collect();
        SparseVector { weights: vec![1.0; terms.len()], terms }
    }

    /// Where each term of a text stands, in order, stop words left out. Those of a script
    /// without spaces overlap.
    pub fn places(&self, text: &str) -> Vec<(Range<usize>, u32)> {
        let mut places = Vec::new();
        self.each_term(text, |piece, term| {
            let start = piece.as_ptr().addr() - text.as_ptr().addr();
            places.push((start..start + piece.len(), term));
        });
        places
    }

    /// How often each term occurs. Two words of one id count as one term.
    fn frequencies(&self, text: &str) -> BTreeMap<u32, u32> {
        let mut frequencies = BTreeMap::new();
        self.each_term(text, |_, term| *frequencies.entry(term).or_default() += 1);
        frequencies
    }

    /// Hands every term to `take`, with the piece of `text` that it comes from.
    fn each_term(&self, text: &str, mut take: impl FnMut(&str, u32)) {
        let stemmer = self.language.stemmer.map(|stemming| Stemmer::create(stemming.algorithm));
        words::split(text, |piece| match piece {
            words::Piece::Bigram(pair) => take(pair, term_id(&fold::full(pair))),
            words::Piece::Word(word) => {
                if let Some(form) = self.normal_form(word, stemmer.as_ref()) {
                    take(word, term_id(&form));
                }
            }
        });
    }

    /// The form in which a word is compared; nothing for a stop word.
    fn normal_form(&self, word: &str, stemmer: Option<&Stemmer>) -> Option<String> {
        let word = match word.find(['\'', '’']) {
            Some(end) if self.language.suffix_after_apostrophe && 0 < end => &word[..end],
            _ => word,
        };
        let folded = fold::full(word);
        if folded.is_empty() || self.language.stop_words.contain(&folded) {
            return None;
        }
        let fold_first = self.language.stemmer.is_none_or(|stemming| stemming.fold_first);
        Some(match stemmer {
            None => folded,
            Some(stemmer) if fold_first => stemmer.stem(&folded).into_owned(),
            Some(stemmer) => fold::full(&stemmer.stem(&fold::lower(word))),
        })
    }
}

impl Language {
    fn of(tag: Option<&str>) -> Self {
        let primary =
            tag.and_then(|tag| tag.split(['-', '_']).next()).unwrap_or_default().to_ascii_lowercase();
        let stemmer = algorithm(&primary)
            .map(|algorithm| Stemming { algorithm, fold_first: matches!(algorithm, Algorithm::Turkish) });
        Self { stemmer, stop_words: StopWords::of(&primary), suffix_after_apostrophe: primary == "tr" }
    }
}

fn algorithm(primary: &str) -> Option<Algorithm> {
    Some(match primary {
        "ar" => Algorithm::Arabic,
        "da" => Algorithm::Danish,
        "de" => Algorithm::German,
        "el" => Algorithm::Greek,
        "en" => Algorithm::English,
        "es" => Algorithm::Spanish,
        "fi" => Algorithm::Finnish,
        "fr" => Algorithm::French,
        "hu" => Algorithm::Hungarian,
        "it" => Algorithm::Italian,
        "nb" | "nn" | "no" => Algorithm::Norwegian,
        "nl" => Algorithm::Dutch,
        "pt" => Algorithm::Portuguese,
        "ro" => Algorithm::Romanian,
        "ru" => Algorithm::Russian,
        "sv" => Algorithm::Swedish,
        "ta" => Algorithm::Tamil,
        "tr" => Algorithm::Turkish,
        _ => return None,
    })
}

/// A term's id: the first four bytes of its BLAKE3 hash, the lowest first.
///
/// Among 100,000 different terms about one has a twin, which costs a little
/// precision where both occur.
fn term_id(term: &str) -> u32 {
    let hash = blake3::hash(term.as_bytes());
    let [first, second, third, fourth, ..] = *hash.as_bytes();
    u32::from_le_bytes([first, second, third, fourth])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether all of `texts` have the same terms.
    #[track_caller]
    fn check_same(language: Option<&str>, texts: &[&str]) {
        let analyzer = Analyzer::new(language);
        let first = analyzer.query(texts[0]);
        assert!(!first.terms.is_empty(), "`{}` has no term", texts[0]);
        for text in &texts[1..] {
            assert_eq!(analyzer.query(text), first, "`{text}` and `{}`", texts[0]);
        }
    }

    #[track_caller]
    fn check_differ(language: Option<&str>, one: &str, other: &str) {
        let analyzer = Analyzer::new(language);
        assert_ne!(analyzer.query(one), analyzer.query(other), "`{one}` and `{other}`");
    }

    #[track_caller]
    fn check_n_terms(language: Option<&str>, text: &str, want: usize) {
        assert_eq!(Analyzer::new(language).query(text).terms.len(), want, "terms of `{text}`");
    }

    #[test]
    fn turkish_words_are_the_same_in_any_case_and_any_keyboard() {
        check_same(Some("tr"), &["DİYARBAKIR", "Diyarbakır", "diyarbakir", "DIYARBAKIR", "diyarbakır"]);
        check_same(Some("tr"), &["ISPARTA", "Isparta", "ısparta", "isparta"]);
        check_same(Some("tr-TR"), &["Iğdır", "ığdır", "igdir", "IĞDIR"]);
        check_same(Some("tr"), &["WIFI", "wifi", "WİFİ"]);
    }

    #[test]
    fn letters_written_as_letter_and_mark_are_the_same() {
        check_same(Some("tr"), &["I\u{307}zmir", "İzmir", "izmir"]);
        check_same(None, &["cafe\u{301}", "café", "CAFE"]);
    }

    #[test]
    fn a_turkish_suffix_after_an_apostrophe_is_left_out() {
        check_same(Some("tr"), &["Ankara", "Ankara'da", "ANKARA’NIN"]);
    }

    #[test]
    fn english_words_are_stemmed_and_lower_case() {
        check_same(Some("en"), &["ISO", "iso"]);
        check_same(Some("en-GB"), &["running", "Runs", "run"]);
        check_same(Some("en"), &["Tesla's", "Tesla’s", "tesla"]);
    }

    #[test]
    fn without_a_language_words_are_folded_and_not_stemmed() {
        check_same(None, &["Straße", "STRASSE"]);
        check_same(Some("xx"), &["ﬁle", "FILE", "ｆｉｌｅ"]);
        check_differ(None, "running", "run");
    }

    #[test]
    fn stop_words_are_left_out() {
        check_same(Some("en"), &["the temple of artemis", "temple artemis"]);
        check_same(Some("tr"), &["kedi ve köpek için", "KEDİ KÖPEK"]);
        check_n_terms(Some("en"), "the", 0);
        check_n_terms(None, "the", 1);
    }

    #[test]
    fn terms_know_where_they_stand() {
        let analyzer = Analyzer::new(Some("tr"));
        let text = "ve Iğdır'da 東京都";
        let places: Vec<&str> = analyzer.places(text).into_iter().map(|(place, _)| &text[place]).collect();
        assert_eq!(places, ["Iğdır'da", "東京", "京都"]);
        assert_eq!(analyzer.places(text)[0].1, analyzer.query("IGDIR").terms[0]);
    }

    #[test]
    fn chinese_and_thai_are_cut_into_pairs() {
        check_n_terms(Some("zh"), "我们是学生", 4);
        check_n_terms(None, "猫", 1);
        check_n_terms(None, "東京タワー", 4);
        check_same(None, &["東京 vector", "vector、東京"]);
        check_n_terms(Some("th"), "แมว", 2);
    }

    #[test]
    fn numbers_and_parts_of_names_are_kept() {
        check_n_terms(Some("en"), "3.14 1453", 2);
        check_same(Some("en"), &["set_payload", "set payload"]);
        check_same(None, &["embergate.toml", "embergate toml"]);
        check_differ(None, "3.14", "314");
    }

    #[test]
    fn nothing_and_signs_have_no_terms() {
        check_n_terms(None, "", 0);
        check_n_terms(Some("tr"), " — … !? ' _ ", 0);
    }

    #[test]
    fn a_repeated_word_weighs_more_but_never_much_more() {
        let analyzer = Analyzer::new(Some("en"));
        let weight = |text: &str| analyzer.document(text).weights[0];
        assert!(weight("kelp") < weight("kelp kelp"));
        assert!(weight(&"kelp ".repeat(500)) < 2.2);
    }

    #[test]
    fn terms_ascend_and_ids_stay_the_same_for_good() {
        let vector = Analyzer::new(Some("en")).document("kelp forests grow along cold coasts");
        assert!(vector.terms.is_sorted_by(|one, next| one < next));
        assert_eq!(vector.terms.len(), vector.weights.len());
        assert_eq!(term_id(""), 0xb94913af);
    }
}
