//! Sections of a document, and which of them share a chunk.

use embergate_cut::Span;

use crate::blocks::{Blocks, Kind};

/// A heading above some text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    pub start: usize,
    pub text: String,
}

/// A heading and what follows it up to the next, or several that belong together.
#[derive(Clone, Debug)]
pub struct Section {
    /// From the heading to the last block.
    pub span: Span,
    /// Indices of its blocks, from and to.
    pub blocks: (usize, usize),
    /// The headings that stand above all of its text, outermost first.
    pub path: Vec<Heading>,
    has_body: bool,
}

/// The sections of `blocks` in order, and the definitions that end one: those are in no section.
///
/// A heading with nothing under it but deeper headings goes down into the first of them.
pub fn sections(blocks: &Blocks) -> (Vec<Section>, Vec<Span>) {
    let mut sections: Vec<Section> = Vec::new();
    let mut definitions = Vec::new();
    let mut above: Vec<(u8, Heading)> = Vec::new();
    let mut from = 0;
    while from < blocks.blocks.len() {
        let is_heading = |index: usize| matches!(blocks.blocks[index].kind, Kind::Heading { .. });
        let mut next = from + 1;
        while next < blocks.blocks.len() && !is_heading(next) {
            next += 1;
        }
        if let Kind::Heading { level, text } = &blocks.blocks[from].kind {
            while above.last().is_some_and(|(other, _)| other >= level) {
                above.pop();
            }
            above.push((*level, Heading { start: blocks.blocks[from].span.start, text: text.clone() }));
        }
        let mut to = next;
        while to > from && blocks.blocks[to - 1].kind == Kind::Definitions {
            to -= 1;
            definitions.push(blocks.blocks[to].span);
        }
        if to > from {
            let path =
                above.iter().map(|(_, heading)| heading.clone()).filter(|heading| !heading.text.is_empty());
            let section = Section {
                span: Span::new(blocks.blocks[from].span.start, blocks.blocks[to - 1].span.end),
                blocks: (from, to),
                path: path.collect(),
                has_body: to > from + usize::from(is_heading(from)),
            };
            match sections.last_mut() {
                Some(last)
                    if !last.has_body && section.path.starts_with(&last.path) && last.blocks.1 == from =>
                {
                    last.append(section);
                }
                _ => sections.push(section),
            }
        }
        from = next;
    }
    definitions.sort_by_key(|span| span.start);
    (sections, definitions)
}

/// Puts small sections together while that keeps their path true.
///
/// A section under a quarter of `limit` joins its neighbour if both fit in
/// `limit`, nothing stands between them, and they share the heading above the
/// first: siblings, or a section and what is under it. The path of both is what
/// they share; their own headings are in the text.
pub fn joined(
    sections: Vec<Section>,
    limit: u32,
    is_free: &dyn Fn(Span) -> bool,
    tokens_in: &dyn Fn(Span) -> u32,
) -> Vec<Section> {
    let mut joined: Vec<Section> = Vec::new();
    // How many headings the path must keep: that above the first section.
    let mut n_kept = 0;
    for section in sections {
        if let Some(last) = joined.last_mut() {
            let n_shared = last.path.iter().zip(&section.path).take_while(|(a, b)| a == b).count();
            let gap = Span::new(last.span.end, section.span.start);
            let is_near = n_shared >= n_kept.max(1) && is_free(gap);
            if is_near {
                let is_small = tokens_in(last.span).min(tokens_in(section.span)) < limit.div_ceil(4);
                if is_small && tokens_in(Span::new(last.span.start, section.span.end)) <= limit {
                    let mut path = std::mem::take(&mut last.path);
                    path.truncate(n_shared);
                    last.append(section);
                    last.path = path;
                    continue;
                }
            }
        }
        n_kept = section.path.len().saturating_sub(1);
        joined.push(section);
    }
    joined
}

impl Section {
    /// Takes in `next`, whose path then counts.
    fn append(&mut self, next: Self) {
        self.span.end = next.span.end;
        self.blocks.1 = next.blocks.1;
        self.has_body |= next.has_body;
        self.path = next.path;
    }
}
