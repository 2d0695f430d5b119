//! A host in plain Rust for the plugins' tests: segments as the gateway does, tokens by simple rules.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use icu_segmenter::options::{SentenceBreakInvariantOptions, WordBreakInvariantOptions};
use icu_segmenter::{GraphemeClusterSegmenter, SentenceSegmenter, WordSegmenter};

use crate::{Boundary, Span, Text};

/// How [`Host`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Runs of up to six letters or digits; any other character but a space is a token of its own.
    Words,
    /// A token for each byte, so that one character can be over a limit of 1.
    Bytes,
    /// Counts of spans that do not add up to that of the whole, and do not even grow with length.
    Odd,
}

/// Stands in for the gateway, and counts the bytes that it was asked to tokenize.
pub struct Host<'t> {
    text: &'t str,
    tokens: Tokens,
    pub n_tokenized: Cell<usize>,
    pub n_segmented: Cell<usize>,
}

impl<'t> Host<'t> {
    pub fn new(text: &'t str, tokens: Tokens) -> Self {
        Self { text, tokens, n_tokenized: Cell::new(0), n_segmented: Cell::new(0) }
    }

    /// Tokens of `text` alone.
    pub fn count(&self, text: &str) -> u32 {
        let n = self.ends(text).len() as u32;
        match self.tokens {
            Tokens::Odd => n + text.bytes().fold(0, |hash, b| (hash * 31 + u32::from(b)) % 3),
            _ => n,
        }
    }

    fn ends(&self, text: &str) -> Vec<u32> {
        let mut ends: Vec<u32> = Vec::new();
        let mut run = 0;
        for (at, c) in text.char_indices() {
            let end = (at + c.len_utf8()) as u32;
            match self.tokens {
                Tokens::Bytes => ends.extend((0..c.len_utf8()).map(|_| end)),
                _ if c.is_whitespace() => run = 0,
                _ if c.is_alphanumeric() && c.len_utf8() < 3 && 0 < run && run < 6 => {
                    run += 1;
                    if let Some(last) = ends.last_mut() {
                        *last = end;
                    }
                }
                _ => {
                    run = usize::from(c.is_alphanumeric() && c.len_utf8() < 3);
                    ends.push(end);
                }
            }
        }
        ends
    }
}

impl Text for Host<'_> {
    fn segment(&self, at: Boundary) -> Vec<u32> {
        self.n_segmented.set(self.n_segmented.get() + self.text.len());
        segment(self.text, at)
    }

    fn token_ends(&self) -> Vec<u32> {
        self.n_tokenized.set(self.n_tokenized.get() + self.text.len());
        self.ends(self.text)
    }

    fn count_tokens(&self, spans: &[Span]) -> Vec<u32> {
        let count = |span: &Span| {
            self.n_tokenized.set(self.n_tokenized.get() + span.end - span.start);
            self.count(span.of(self.text))
        };
        spans.iter().map(count).collect()
    }

    fn count_texts(&self, texts: &[String]) -> Vec<u32> {
        let count = |text: &String| {
            self.n_tokenized.set(self.n_tokenized.get() + text.len());
            self.count(text)
        };
        texts.iter().map(count).collect()
    }
}

/// Ends of the segments of `text`.
pub fn segment(text: &str, at: Boundary) -> Vec<u32> {
    let ends: Vec<usize> = match at {
        Boundary::Sentence => {
            SentenceSegmenter::new(SentenceBreakInvariantOptions::default()).segment_str(text).collect()
        }
        Boundary::Word => {
            WordSegmenter::new_auto(WordBreakInvariantOptions::default()).segment_str(text).collect()
        }
        Boundary::Grapheme => GraphemeClusterSegmenter::new().segment_str(text).collect(),
    };
    ends.into_iter().filter(|&end| end > 0).map(|end| end as u32).collect()
}

/// One paragraph for each language whose letters, spaces or stops differ.
pub const PARAGRAPHS: &[(&str, &str)] = &[
    (
        "en",
        "The ferry left at nine. Dr. Hale, who had missed it twice, ran along the quay; nobody waited. At 9.30 the fog lifted, and the island stood there, e.g. its lighthouse, as if it had never been away.",
    ),
    (
        "tr",
        "Vapur saat dokuzda kalktı. Prof. Dr. Işıl Gün iskelede, M.Ö. 3. yüzyıldan kalma bir taşın yanında bekliyordu. İstanbul'da 19. Yüzyıl yapıları (bkz. Şekil 2) sis içindeydi… Kimse acele etmedi.",
    ),
    (
        "zh",
        "渡船九点离开码头。海尔医生跑了两次，都没有赶上；没有人等他。雾散了，小岛像从来没有离开过一样！灯塔还亮着吗？",
    ),
    (
        "ja",
        "船は九時に出た。霧が晴れると、島はずっとそこにあったかのように立っていた。灯台の光は、まだ消えていない！誰も急がなかった。",
    ),
    ("th", "เรือออกจากท่าตอนเก้าโมงเช้า หมอกจางลงแล้วเกาะก็ปรากฏขึ้น ไม่มีใครรีบร้อนเลย ประภาคารยังส่องแสงอยู่ริมทะเล"),
    ("hi", "नाव नौ बजे घाट से निकली। कोहरा छँटा तो द्वीप वहीं खड़ा था, जैसे कभी गया ही न हो। किसी को जल्दी नहीं थी।"),
    (
        "ar",
        "غادرت العبّارة في التاسعة صباحًا. انقشع الضباب، فظهرت الجزيرة كأنها لم تغب قط؛ لم يكن أحد في عجلة من أمره. هل ما زالت المنارة مضيئة؟",
    ),
];

/// Compares `got` with the golden file at `path`, or writes it there when `UPDATE_GOLDEN` is set.
///
/// # Panics
/// When they differ, or the file cannot be read.
#[track_caller]
pub fn check_golden(path: &Path, got: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        if let Err(error) = fs::write(path, got) {
            panic!("cannot write {}: {error}", path.display());
        }
        return;
    }
    let want = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert!(got == want, "{} differs; UPDATE_GOLDEN=1 rewrites it. Now:\n{got}", path.display());
}
