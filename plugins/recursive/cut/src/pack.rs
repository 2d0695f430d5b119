//! Packs a range of a document under a limit of tokens, and proves each chunk by its own count.

use crate::source::{Source, n_up_to};
use crate::{Span, Structure};

/// A share of a chunk that stays free, because a text counted alone differs a
/// little from its part of the document.
const SLACK: u32 = 64;

/// Documents of at most this many bytes for each token of the limit are first
/// counted whole: most fit, and then nothing is tokenized twice.
const SMALL: usize = 4;

/// What to cut, and how long the chunks may be.
pub struct Job<'s> {
    pub range: Span,
    /// What the measure of a chunk may be.
    pub limit: u32,
    /// Tokens of each chunk that something else will use: a prefix, an overlap.
    pub reserved: u32,
    pub structure: &'s Structure,
}

/// The chunks of a range, and the characters that are in none because one alone is over the limit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Ascending, not overlapping.
    pub spans: Vec<Span>,
    /// Ascending.
    pub omitted: Vec<Span>,
}

impl Source<'_> {
    /// Cuts `job.range`. `measure` counts each candidate once, with whatever is
    /// embedded before it; a candidate that is over the limit is cut again.
    ///
    /// Every chunk is trimmed, and cut inside a grapheme cluster only where that
    /// cluster alone is over the limit. Work is linear in the range's length.
    pub fn cut(&self, job: &Job<'_>, measure: &dyn Fn(&[Span]) -> Vec<u32>) -> Cuts {
        let mut cuts = Cuts::default();
        let Some(whole) = self.trimmed(job.range) else { return cuts };
        let is_small = whole.end - whole.start <= SMALL * job.limit as usize;
        if is_small && !self.is_tokenized() && measure(&[whole]).iter().all(|&n| n <= job.limit) {
            cuts.spans.push(whole);
            return cuts;
        }
        let mut open = self.packed(whole, job);
        while !open.is_empty() {
            let counts = measure(&open);
            let mut smaller = Vec::new();
            for (&span, n) in open.iter().zip(counts) {
                if n <= job.limit {
                    cuts.spans.push(span);
                } else if !self.cut_in_two(span, job, &mut smaller) {
                    cuts.omitted.push(span);
                }
            }
            open = smaller;
        }
        cuts.spans.sort_unstable_by_key(|span| span.start);
        cuts.omitted.sort_unstable_by_key(|span| span.start);
        cuts
    }

    /// Chunks that fit by the document's own tokens.
    fn packed(&self, range: Span, job: &Job<'_>) -> Vec<Span> {
        let most = job.limit.saturating_sub(job.reserved).max(1);
        let room = (most - most / SLACK).max(1);
        let mut chunks = Vec::new();
        let mut rest = Some(range);
        while let Some(left) = rest {
            let end = if self.tokens_in(left) <= most { left.end } else { self.next_end(left, room, job) };
            chunks.extend(self.trimmed(Span::new(left.start, end)));
            rest = self.trimmed(Span::new(end, range.end));
        }
        chunks
    }

    /// Where a chunk that begins with `left`, and cannot take all of it, ends.
    fn next_end(&self, left: Span, room: u32, job: &Job<'_>) -> usize {
        let n_left = self.tokens_in(left);
        // No tail of less than a quarter: this chunk rather stays a little shorter.
        let most = if n_left < room + room / 4 { n_left - room / 4 } else { room };
        let mut end = self.reach(left.start, most.min(room)).min(left.end);
        end += self.text[end..left.end].len() - self.text[end..left.end].trim_start().len();
        while let Some(atom) = job.structure.broken_by(end).filter(|atom| atom.start > left.start) {
            end = atom.start;
        }
        let half = if room < 2 { left.start } else { self.floor(self.reach(left.start, room / 2)) };
        let start = if half < end { half } else { left.start };
        let window = Span::new(start, end);
        // Inside an atom that no chunk can hold there is nothing left to keep together.
        let is_atom_too_big = job.structure.broken_by(end).is_some();
        let found = self
            .best_cut(window, job.structure)
            .or_else(|| is_atom_too_big.then(|| self.best_cut(window, &Structure::default())).flatten());
        found.unwrap_or_else(|| {
            let last = self.cluster_start(end);
            if last > left.start { last } else { self.next_cluster(left.start).min(left.end) }
        })
    }

    /// Cuts a span that turned out too long. Returns false for a single character.
    fn cut_in_two(&self, span: Span, job: &Job<'_>, into: &mut Vec<Span>) -> bool {
        if self.next_cluster(span.start) >= span.end {
            return self.cut_cluster(span, job, into);
        }
        let third = (span.end - span.start) / 3;
        let middle = Span::new(self.floor(span.start + third), self.floor(span.end - third));
        let inner = Span::new(span.start, self.text[..span.end].floor_char_boundary(span.end - 1));
        let free = Structure::default();
        let at = self
            .best_cut(middle, job.structure)
            .or_else(|| self.best_cut(inner, job.structure))
            .or_else(|| self.best_cut(middle, &free))
            .filter(|&at| span.start < at && at < span.end)
            .unwrap_or_else(|| {
                let before = self.cluster_start(self.floor((span.start + span.end) / 2));
                if before > span.start { before } else { self.next_cluster(span.start) }
            });
        into.extend(self.trimmed(Span::new(span.start, at)));
        into.extend(self.trimmed(Span::new(at, span.end)));
        true
    }

    /// Cuts a grapheme cluster that is over the limit between its characters.
    fn cut_cluster(&self, span: Span, job: &Job<'_>, into: &mut Vec<Span>) -> bool {
        let after_first = span.start + span.of(self.text).chars().next().map_or(0, char::len_utf8);
        if after_first >= span.end {
            return false;
        }
        let room = job.limit.saturating_sub(job.reserved).max(1);
        let fits_by_tokens = self.tokens_in(span) <= room;
        let mut start = span.start;
        while start < span.end {
            let end = if fits_by_tokens && start == span.start {
                self.floor(span.start + (span.end - span.start) / 2)
            } else {
                self.reach(start, room)
            };
            let first = start + self.text[start..].chars().next().map_or(1, char::len_utf8);
            let end = end.max(first).min(span.end);
            let part = Span::new(start, end);
            if !part.of(self.text).trim().is_empty() {
                into.push(part);
            }
            start = end;
        }
        true
    }
}

/// Lets each chunk begin up to `most` tokens earlier, with whole sentences of
/// the chunk before it. Where that takes a chunk over `limit`, it stays as it is.
pub fn overlap(source: &Source<'_>, cuts: &mut Cuts, most: u32, limit: u32) {
    let sentences = source.sentences();
    let mut earlier = Vec::new();
    for index in 1..cuts.spans.len() {
        let (previous, span) = (cuts.spans[index - 1], cuts.spans[index]);
        if !source.text[previous.end..span.start].trim().is_empty() {
            continue; // something between them is in no chunk
        }
        let from = n_up_to(sentences, previous.start);
        let start = sentences[from..n_up_to(sentences, previous.end - 1)]
            .iter()
            .rev()
            .map(|&end| end as usize)
            .take_while(|&start| source.tokens_in(Span::new(start, span.start)) <= most)
            .filter(|&start| source.parts_no_cluster(start))
            .last();
        let start = start.and_then(|start| source.trimmed(Span::new(start, span.end)));
        earlier.extend(start.filter(|longer| longer.start < span.start).map(|longer| (index, longer)));
    }
    let longer: Vec<Span> = earlier.iter().map(|&(_, span)| span).collect();
    let counts = source.host.count_tokens(&longer);
    for ((index, span), n) in earlier.into_iter().zip(counts) {
        if n <= limit && cuts.spans[index - 1].start < span.start {
            cuts.spans[index] = span;
        }
    }
}
