//! The part of a chunk that answers best, in a few lines.

use std::collections::BTreeSet;

use comfy_table::{ContentArrangement, Table, presets};

/// Lines shown of a chunk, at most.
const MAX_LINES: usize = 3;
/// Letters that a word shares with one of the question's to be marked as kin.
const STEM: usize = 5;

pub(super) struct Snippet {
    words: BTreeSet<String>,
    width: usize,
}

impl Snippet {
    /// Marks words of `question` in lines of `width` columns, indented by four.
    pub(super) fn new(question: &str, width: usize) -> Self {
        let words = question.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        Self { words: words.map(stem).collect(), width: width.saturating_sub(4).max(20) }
    }

    /// The three lines with the most words of the question; the first ones of several such.
    pub(super) fn lines(&self, text: &str, mark: impl Fn(&str) -> String) -> Vec<String> {
        let lines = wrapped(text, self.width);
        let hits: Vec<usize> = lines.iter().map(|line| self.hits(line)).collect();
        let n_starts = lines.len().saturating_sub(MAX_LINES) + 1;
        let sum = |start: usize| hits.iter().skip(start).take(MAX_LINES).sum::<usize>();
        let start = (0..n_starts).rev().max_by_key(|start| sum(*start)).unwrap_or(0);
        lines.iter().skip(start).take(MAX_LINES).map(|line| self.marked(line, &mark)).collect()
    }

    fn hits(&self, line: &str) -> usize {
        line.split(|c: char| !c.is_alphanumeric()).filter(|word| self.words.contains(&stem(word))).count()
    }

    fn marked(&self, line: &str, mark: impl Fn(&str) -> String) -> String {
        let mut shown = String::new();
        for piece in line.split_inclusive(|c: char| !c.is_alphanumeric()) {
            let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric());
            match self.words.contains(&stem(word)) {
                true => shown.push_str(&mark(word)),
                false => shown.push_str(word),
            }
            shown.push_str(&piece[word.len()..]);
        }
        shown
    }
}

fn stem(word: &str) -> String {
    word.to_lowercase().chars().take(STEM).collect()
}

/// Lines of at most `width` columns, wide characters counted as such; no control characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let flat: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table.add_row([flat.join(" ")]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 0));
    }
    table.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(question: &str, text: &str, want: &[&str]) {
        let lines = Snippet::new(question, 24).lines(text, |word| format!("<{word}>"));
        assert_eq!(lines, want);
    }

    #[test]
    fn words_of_the_question_are_marked_in_any_case_and_ending() {
        check("installing", "How to Install it, now.", &["How to <Install> it,", "now."]);
    }

    #[test]
    fn a_long_chunk_shows_the_lines_that_answer() {
        check(
            "kelp",
            "one two three four five six seven eight nine ten eleven twelve kelp end",
            &["five six seven eight", "nine ten eleven", "twelve <kelp> end"],
        );
    }

    #[test]
    fn what_would_steer_the_terminal_is_left_out() {
        check("x", "a\u{1b}[31mred\u{7}", &["a [31mred"]);
    }
}
