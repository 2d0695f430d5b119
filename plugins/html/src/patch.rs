//! Turns what is kept of a page, and what is put between, into patches.

use std::ops::Range;

/// Puts `text` in the place of the bytes from `start` to `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// Collects patches, ascending. What is not kept goes.
pub struct Patcher<'p> {
    source: &'p str,
    /// Up to here it is settled what becomes of the page.
    settled: usize,
    /// What stands in the place of the page from `settled` on.
    put: String,
    patches: Vec<Patch>,
}

impl<'p> Patcher<'p> {
    pub fn new(source: &'p str) -> Self {
        Self { source, settled: 0, put: String::new(), patches: Vec::new() }
    }

    /// Keeps a part of the page as it is.
    pub fn keep(&mut self, at: Range<usize>) {
        self.settle(at.start);
        self.settled = at.end;
    }

    /// Puts a text that stands nowhere in the page.
    pub fn put(&mut self, text: &str) {
        self.put.push_str(text);
    }

    /// Puts a text in the place of a part of the page.
    pub fn replace(&mut self, at: Range<usize>, text: &str) {
        self.put(text);
        self.settle(at.end);
    }

    pub fn finish(mut self) -> Vec<Patch> {
        self.settle(self.source.len());
        self.patches
    }

    fn settle(&mut self, end: usize) {
        let gone = &self.source[self.settled..end];
        let prefix = common_prefix(gone, &self.put);
        let suffix = common_suffix(&gone[prefix..], &self.put[prefix..]);
        let text = &self.put[prefix..self.put.len() - suffix];
        let (start, end_of_patch) = (self.settled + prefix, end - suffix);
        let stands_for = start + self.last_tag(start..end_of_patch, text);
        if start < stands_for {
            self.patches.push(Patch { start, end: stands_for, text: String::new() });
        }
        if stands_for < end_of_patch || !text.is_empty() {
            self.patches.push(Patch { start: stands_for, end: end_of_patch, text: text.to_owned() });
        }
        self.put.clear();
        self.settled = end;
    }

    /// Where in `gone` the tag begins that `text` is put for: a heading's marker
    /// points at its heading, not at all that was dropped since the text before it.
    /// The end, where nothing is put.
    fn last_tag(&self, gone: Range<usize>, text: &str) -> usize {
        let gone = &self.source[gone];
        if text.is_empty() { gone.len() } else { gone.rfind('<').unwrap_or(0) }
    }
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(char, _)| char.len_utf8()).sum()
}

fn common_suffix(a: &str, b: &str) -> usize {
    a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).map(|(char, _)| char.len_utf8()).sum()
}
