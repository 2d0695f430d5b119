//! The part of a chunk that answers best, in a few rows.

use std::collections::BTreeSet;
use std::ops::Range;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::output::printable;
use crate::analyzer::Analyzer;

/// Rows shown of a chunk, at most.
const MAX_ROWS: usize = 3;
/// A line of fewer columns was ended by its writer, a longer one by an editor
/// that keeps lines short: the next goes on in the same row.
const FULL_LINE: usize = 50;
const SENTENCE_ENDS: [char; 7] = ['.', '!', '?', '…', '。', '！', '？'];
/// Those after which no space has to follow.
const WIDE_SENTENCE_ENDS: [char; 3] = ['。', '！', '？'];

pub(super) struct Snippet {
    analyzer: Analyzer,
    terms: BTreeSet<u32>,
    width: usize,
}

/// What is shown of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it begins in the chunk's text.
    pub(super) start: usize,
    pub(super) rows: Vec<String>,
}

impl Snippet {
    /// Looks for the words of `question` as the ranking by words does, and shows rows of `width` columns.
    ///
    /// Where the language is not known, English stop words are not looked for:
    /// each row would shine of them.
    pub(super) fn new(question: &str, language: Option<&str>, width: usize) -> Self {
        let analyzer = Analyzer::new(language.or(Some("en")));
        let terms = analyzer.query(question).terms.into_iter().collect();
        Self { analyzer, terms, width: width.max(20) }
    }

    /// The rows with the most different words of the question, of several such
    /// those whose first sentence has most.
    ///
    /// Lines that say the same as `headings`, which are shown above, are left out.
    pub(super) fn part(&self, text: &str, headings: &[String], mark: impl Fn(&str) -> String) -> Part {
        let words = words(text, headings, self.width);
        let mut hits = self.analyzer.places(text);
        hits.retain(|(_, term)| self.terms.contains(term));
        let n_terms = |words: &[Word]| {
            let (Some(first), Some(last)) = (words.first(), words.last()) else { return 0 };
            let span = first.span.start..last.span.end;
            let within = hits.iter().filter(|(hit, _)| span.start <= hit.start && hit.end <= span.end);
            within.map(|(_, term)| term).collect::<BTreeSet<_>>().len()
        };
        let best = self.starts(&words).into_iter().rev().max_by_key(|start| {
            let words = &words[*start..];
            let shown = &words[..self.rows(words).last().map_or(0, |row| row.end)];
            (n_terms(shown), n_terms(&shown[..first_sentence(shown)]))
        });
        let words = &words[best.unwrap_or(0)..];
        let shown = |row: Range<usize>| row_of(text, &words[row], &hits, &mark);
        Part {
            start: words.first().map_or(0, |word| word.span.start),
            rows: self.rows(words).into_iter().map(shown).collect(),
        }
    }

    /// Where a part may begin: with a sentence, and within one that fills all rows and goes on.
    fn starts(&self, words: &[Word]) -> Vec<usize> {
        let mut starts = Vec::new();
        let mut from = 0;
        while from < words.len() {
            starts.push(from);
            let shown = self.rows(&words[from..]).last().map_or(1, |row| row.end.max(1));
            from += first_sentence(&words[from..from + shown]);
        }
        starts
    }

    /// The first rows that `words` fill, each a range of them.
    fn rows(&self, words: &[Word]) -> Vec<Range<usize>> {
        let mut rows = Vec::new();
        let (mut start, mut width) = (0, 0);
        for (at, word) in words.iter().enumerate() {
            let wider = width + word.width + usize::from(word.before != Break::None);
            if start < at && (word.before == Break::Row || self.width < wider) {
                rows.push(start..at);
                if rows.len() == MAX_ROWS {
                    return rows;
                }
                (start, width) = (at, word.width);
            } else {
                width = if start == at { word.width } else { wider };
            }
        }
        if start < words.len() {
            rows.push(start..words.len());
        }
        rows
    }
}

/// How many of `words`, which are not none, are of the sentence that they begin with.
fn first_sentence(words: &[Word]) -> usize {
    let next = words.iter().skip(1).position(|word| Break::Sentence <= word.before);
    next.map_or(words.len(), |n_between| n_between + 1)
}

/// What goes into a row whole.
#[derive(Debug)]
struct Word {
    span: Range<usize>,
    /// In columns.
    width: usize,
    before: Break,
}

/// What stands between a word and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Break {
    /// Nothing: they are parts of one that no row can hold.
    None,
    Space,
    Sentence,
    /// The writer ended a line here.
    Row,
}

/// The words of all lines but those that say nothing; of all lines where that leaves none.
fn words(text: &str, headings: &[String], width: usize) -> Vec<Word> {
    let says_nothing = |line: &str| is_fence(line) || is_rule(line) || is_heading(line, headings);
    let leaves_some = text.lines().any(|line| !line.trim().is_empty() && !says_nothing(line));
    let mut words = Vec::new();
    let (mut previous, mut is_fenced) = ("", false);
    for line in text.lines() {
        is_fenced ^= is_fence(line);
        if !leaves_some || !says_nothing(line) {
            let start = line.as_ptr().addr() - text.as_ptr().addr();
            let is_code = is_fenced || line.starts_with("    ") || line.starts_with('\t');
            let goes_on = !is_code && FULL_LINE <= previous.trim_end().width() && !begins_something(line);
            push_words(line, start, width, goes_on, &mut words);
            if is_code {
                indent(&mut words, start);
            }
        }
        previous = line;
    }
    words
}

fn push_words(line: &str, line_start: usize, width: usize, goes_on: bool, words: &mut Vec<Word>) {
    let mut before = if goes_on { Break::Space } else { Break::Row };
    for word in line.split_whitespace() {
        let mut start = line_start + (word.as_ptr().addr() - line.as_ptr().addr());
        for part in parts(word, width) {
            words.push(Word { span: start..start + part.len(), width: part.width(), before });
            start += part.len();
            before = if part.ends_with(WIDE_SENTENCE_ENDS) { Break::Sentence } else { Break::None };
        }
        let ends_sentence = word.ends_with(SENTENCE_ENDS) && word.contains(char::is_alphanumeric);
        before = if ends_sentence { Break::Sentence } else { Break::Space };
    }
}

/// Code keeps what stands before the first word of a line.
fn indent(words: &mut [Word], line_start: usize) {
    let first = words.iter_mut().rev().find(|word| word.before == Break::Row);
    if let Some(word) = first.filter(|word| line_start <= word.span.start) {
        word.width += word.span.start - line_start;
        word.span.start = line_start;
    }
}

/// A word in parts that fit into `width` columns; a script without spaces after each sentence, too.
fn parts(word: &str, width: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut columns) = (0, 0);
    for (at, letter) in word.char_indices() {
        let letter_width = letter.width().unwrap_or(0);
        if start < at && (width < columns + letter_width || word[..at].ends_with(WIDE_SENTENCE_ENDS)) {
            parts.push(&word[start..at]);
            (start, columns) = (at, 0);
        }
        columns += letter_width;
    }
    parts.push(&word[start..]);
    parts
}

/// Markdown's heading, or a line that is one in another way.
fn is_heading(line: &str, headings: &[String]) -> bool {
    let line = line.trim().trim_start_matches('#').trim_start();
    headings.iter().any(|heading| heading == line)
}

/// The beginning or end of code.
fn is_fence(line: &str) -> bool {
    line.starts_with("```")
}

/// `---`, `===`, `|---|---|`.
fn is_rule(line: &str) -> bool {
    line.trim().chars().nth(2).is_some() && !line.contains(char::is_alphanumeric)
}

/// An item of a list, a row of a table, a heading, a quote, a comment.
fn begins_something(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with(['#', '-', '*', '+', '|', '>'])
        || line.starts_with("//")
        || numbered.len() < line.len() && numbered.starts_with(['.', ')'])
}

/// The words of one row, with those of the question marked.
fn row_of(text: &str, words: &[Word], hits: &[(Range<usize>, u32)], mark: impl Fn(&str) -> String) -> String {
    let mut row = String::new();
    for (place, Word { span, before, .. }) in words.iter().enumerate() {
        if 0 < place && *before != Break::None {
            row.push(' ');
        }
        let mut at = span.start;
        for (hit, _) in hits.iter().filter(|(hit, _)| hit.start < span.end && span.start < hit.end) {
            let (start, end) = (hit.start.max(at), hit.end.min(span.end));
            // Pairs of letters overlap.
            if start < end {
                row.push_str(&printable(&text[at..start]));
                row.push_str(&mark(&printable(&text[start..end])));
                at = end;
            }
        }
        row.push_str(&printable(&text[at..span.end]));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_in(language: Option<&str>, question: &str, text: &str, want: &[&str]) {
        let headings = ["Harbour".to_owned(), "Fees".to_owned()];
        let part = Snippet::new(question, language, 24).part(text, &headings, |word| format!("<{word}>"));
        assert_eq!(part.rows, want);
    }

    #[track_caller]
    fn check(question: &str, text: &str, want: &[&str]) {
        check_in(Some("en"), question, text, want);
    }

    #[test]
    fn words_of_the_question_are_marked_in_any_case_and_ending() {
        check("installing", "How to Install it, now.", &["How to <Install> it, now."]);
        check("what is it", "What it is.", &["What it is."]);
    }

    #[test]
    fn turkish_words_are_marked_as_the_ranking_finds_them() {
        check_in(Some("tr"), "istanbul vapurlar", "İSTANBUL'da vapur çok.", &["<İSTANBUL'da> <vapur> çok."]);
    }

    #[test]
    fn a_part_begins_with_the_sentence_that_answers() {
        check(
            "kelp",
            "One two three. Four five six seven eight. Kelp grows here. End of it.",
            &["<Kelp> grows here. End of", "it."],
        );
    }

    #[test]
    fn different_words_count_more_than_one_that_is_repeated() {
        check(
            "kelp depth",
            "Kelp, kelp, kelp, kelp, kelp, kelp and more kelp, kelp, kelp, kelp. The depth of kelp is ten.",
            &["The <depth> of <kelp> is", "ten."],
        );
    }

    #[test]
    fn a_sentence_without_end_is_shown_where_it_answers() {
        let text = format!("{}kelp {}", "so on ".repeat(40), "and more ".repeat(40));
        let part = Snippet::new("kelp", None, 24).part(&text, &[], |word| format!("<{word}>"));
        assert!(part.rows.concat().contains("<kelp>"), "{part:?}");
        assert_eq!(part.rows.len(), MAX_ROWS);
    }

    #[test]
    fn lines_stay_lines_and_headings_that_are_shown_above_are_left_out() {
        check("crowns", "## Fees\n\n- nine crowns\n- or ten\n", &["- nine <crowns>", "- or ten"]);
        check("fees", "## Fees\n", &["## <Fees>"]);
        check("x", "a\n---\nb", &["a", "b"]);
        check("held", "//! Held until\n//! it is freed.", &["//! <Held> until", "//! it is freed."]);
        check("x", "```sh\nls  |\n  wc\n```\n", &["ls |", "  wc"]);
    }

    #[test]
    fn lines_that_an_editor_broke_are_one_again() {
        let line = "so many words that an editor broke the line in two,";
        let part = Snippet::new("", None, 100).part(&format!("{line}\nand went on."), &[], str::to_owned);
        assert_eq!(part.rows, [format!("{line} and went on.")]);
    }

    #[test]
    fn scripts_without_spaces_are_cut_by_columns() {
        check_in(
            None,
            "東京",
            "私は東京に住んでいます。今日はとても暑いです。",
            &["私は<東京>に住んでいます。", "今日はとても暑いです。"],
        );
    }

    #[test]
    fn what_would_steer_the_terminal_is_left_out() {
        check("x", "a\u{1b}[31mred\u{7}", &["a[31mred"]);
    }

    #[test]
    fn the_part_knows_where_it_begins() {
        let text = "One.\n\nTwo kelp.";
        let part = Snippet::new("kelp", None, 24).part(text, &[], str::to_owned);
        assert_eq!(&text[part.start..], "Two kelp.");
        let part = Snippet::new("kelp", None, 24).part("", &[], str::to_owned);
        assert_eq!(part, Part { start: 0, rows: Vec::new() });
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_a_part_of_it(question in "\\PC{0,20}", text in "([a-z .#|`東。\r\n\t]|\\PC){0,300}", width in 0..90_usize) {
            let part = Snippet::new(&question, None, width).part(&text, &["a".to_owned()], str::to_owned);
            assert!(part.rows.len() <= MAX_ROWS && text.is_char_boundary(part.start), "{part:?}");
            let letters = |text: &str| text.split_whitespace().collect::<String>().replace(char::is_control, "");
            let shown = letters(&part.rows.concat());
            assert!(shown.chars().all(|letter| text.contains(letter)), "{part:?}");
            assert_eq!(part.rows.is_empty(), letters(&text).is_empty(), "{part:?}");
        }
    }
}
