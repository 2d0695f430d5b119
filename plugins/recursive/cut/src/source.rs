//! A document whose tokens and boundaries are asked of the host once, and only if needed.

use std::cell::OnceCell;

use crate::sentences;
use crate::{Boundary, Span, Text};

/// A document to be cut.
pub struct Source<'t> {
    pub text: &'t str,
    pub host: &'t dyn Text,
    /// Whether the language writes ordinals as `19.`.
    ordinals: bool,
    tokens: OnceCell<Vec<u32>>,
    sentences: OnceCell<Vec<u32>>,
    words: OnceCell<Vec<u32>>,
    clusters: OnceCell<Vec<u32>>,
}

impl<'t> Source<'t> {
    /// Asks the host nothing yet. `language` is BCP 47.
    pub fn new(text: &'t str, host: &'t dyn Text, language: Option<&str>) -> Self {
        Self {
            text,
            host,
            ordinals: language.is_some_and(sentences::writes_ordinals_with_a_stop),
            tokens: OnceCell::new(),
            sentences: OnceCell::new(),
            words: OnceCell::new(),
            clusters: OnceCell::new(),
        }
    }

    /// Returns whether the document's tokens have been asked for.
    pub(crate) fn is_tokenized(&self) -> bool {
        self.tokens.get().is_some()
    }

    fn tokens(&self) -> &[u32] {
        self.tokens.get_or_init(|| self.host.token_ends())
    }

    /// Ends of sentences, false ends such as `Dr.` left out.
    pub(crate) fn sentences(&self) -> &[u32] {
        self.sentences.get_or_init(|| {
            let ends = self.host.segment(Boundary::Sentence);
            sentences::true_ends(self.text, &ends, self.ordinals)
        })
    }

    pub(crate) fn words(&self) -> &[u32] {
        self.words.get_or_init(|| self.host.segment(Boundary::Word))
    }

    fn clusters(&self) -> &[u32] {
        self.clusters.get_or_init(|| self.host.segment(Boundary::Grapheme))
    }

    /// Tokens that lie in `span`, wholly or in part, as the whole document is tokenized.
    pub fn tokens_in(&self, span: Span) -> u32 {
        let ends = self.tokens();
        let first = n_up_to(ends, span.start);
        let whole = n_up_to(ends, span.end);
        let reaches_end = whole > first && ends[whole - 1] as usize == span.end;
        let part = !reaches_end && whole < ends.len() && span.start < span.end;
        (whole - first) as u32 + u32::from(part)
    }

    /// The furthest end of a span from `start` with at most `n` tokens, where
    /// there is one; else the end of the first token.
    pub(crate) fn reach(&self, start: usize, n: u32) -> usize {
        let ends = self.tokens();
        let first = n_up_to(ends, start);
        let Some(&end) = ends.get(first + (n.max(1) - 1) as usize) else { return self.text.len() };
        let shared = ends.get(first + n.max(1) as usize) == Some(&end);
        if shared {
            // More tokens end in the same character: stop before it.
            let before = ends.partition_point(|&other| other < end);
            if before > first {
                return ends[before - 1] as usize;
            }
        }
        end as usize
    }

    /// `span` without the white space around it, if anything is left. Never
    /// parts a space from the mark that sits on it.
    pub fn trimmed(&self, span: Span) -> Option<Span> {
        let inner = span.of(self.text);
        let start = span.end - inner.trim_start().len();
        if start == span.end {
            return None;
        }
        let end = span.start + inner.trim_end().len();
        let start = if start == span.start { start } else { self.cluster_start(start).max(span.start) };
        let end = if end == span.end { end } else { self.cluster_end(end).min(span.end) };
        Some(Span::new(start, end))
    }

    /// Returns whether a cut at `at` parts no grapheme cluster.
    pub(crate) fn parts_no_cluster(&self, at: usize) -> bool {
        let before = self.text[..at].chars().next_back();
        let after = self.text[at..].chars().next();
        let (Some(before), Some(after)) = (before, after) else { return true };
        are_surely_apart(before, after) || self.clusters().binary_search(&(at as u32)).is_ok()
    }

    /// The last boundary between clusters that is not after `at`.
    pub(crate) fn cluster_start(&self, at: usize) -> usize {
        if self.parts_no_cluster(at) {
            return at;
        }
        let n = n_up_to(self.clusters(), at);
        if n == 0 { 0 } else { self.clusters()[n - 1] as usize }
    }

    /// The first boundary between clusters that is not before `at`.
    pub(crate) fn cluster_end(&self, at: usize) -> usize {
        if self.parts_no_cluster(at) {
            return at;
        }
        let n = self.clusters().partition_point(|&end| (end as usize) < at);
        self.clusters().get(n).map_or(self.text.len(), |&end| end as usize)
    }

    /// The first boundary between clusters after `at`.
    pub(crate) fn next_cluster(&self, at: usize) -> usize {
        match self.text[at..].chars().next() {
            Some(c) => self.cluster_end(at + c.len_utf8()),
            None => at,
        }
    }

    /// The nearest character boundary that is not after `at`.
    pub(crate) fn floor(&self, at: usize) -> usize {
        self.text.floor_char_boundary(at)
    }
}

/// How many of `ends` are not after `at`.
pub(crate) fn n_up_to(ends: &[u32], at: usize) -> usize {
    ends.partition_point(|&end| end as usize <= at)
}

/// Returns true only where UAX #29 puts a cluster boundary between the two. A
/// false answer means "ask": this spares most documents the host's list.
fn are_surely_apart(before: char, after: char) -> bool {
    let joins_what_follows = matches!(before,
        '\r' | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{d4e}')
        || before >= '\u{10000}';
    is_plain(after) && !joins_what_follows || (before == '\r' && after != '\n')
}

/// Letters, ideographs, punctuation and spaces that never join what stands before them.
fn is_plain(c: char) -> bool {
    matches!(c,
        '\0'..='\u{2ff}'
        | '\u{370}'..='\u{482}' | '\u{48a}'..='\u{58f}'   // Greek, Cyrillic, Armenian
        | '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}' | '\u{660}'..='\u{66f}' // Hebrew, Arabic
        | '\u{1e00}'..='\u{200a}' | '\u{2010}'..='\u{2027}' | '\u{202f}'..='\u{205f}'
        | '\u{3000}'..='\u{3029}' | '\u{3041}'..='\u{3096}' | '\u{309b}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ff01}'..='\u{ff60}')
        // These join a joiner before them.
        && !matches!(c, '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}')
}
