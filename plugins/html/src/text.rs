//! Lays the text of a page out: breaks, markers, and white space as a browser would show it.

use std::ops::Range;

use memchr::memmem;

use crate::patch::{Patch, Patcher};
use crate::references::references;
use crate::scan::is_space;

/// What stands between two pieces of text. The greater one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    None,
    Space,
    Line,
    Blank,
}

/// Writes the text of a page in its order.
pub struct Writer<'p> {
    source: &'p str,
    patcher: Patcher<'p>,
    wrote: bool,
    between: Break,
    /// Goes before the next text: `# `, `- `, ` | `.
    marker: String,
    /// Whether an item or cell has begun whose text has not: no break may part the two.
    marked: bool,
    /// While in a heading, which is a single line.
    single_line: bool,
    preformatted: Option<Preformatted>,
}

/// The state of preformatted text.
struct Preformatted {
    fence: Option<String>,
    wrote: bool,
    /// White space at the end of what was read: it counts only if more text follows.
    held: Vec<Space>,
}

enum Space {
    InPage(Range<usize>),
    Put(&'static str),
}

impl<'p> Writer<'p> {
    pub fn new(source: &'p str) -> Self {
        Self {
            source,
            patcher: Patcher::new(source),
            wrote: false,
            between: Break::None,
            marker: String::new(),
            marked: false,
            single_line: false,
            preformatted: None,
        }
    }

    /// Asks for a break before the next text; a new item or cell takes none.
    pub fn ask(&mut self, between: Break) {
        if !self.marked {
            self.between = self.between.max(if self.single_line { Break::Space } else { between });
        }
    }

    /// Breaks the line, as often as it is called but for no more than one blank line.
    pub fn break_line(&mut self) {
        if let Some(preformatted) = &mut self.preformatted {
            preformatted.held.push(Space::Put("\n"));
        } else {
            self.ask(if self.between == Break::Line { Break::Blank } else { Break::Line });
        }
    }

    /// Puts `marker` before the next text, after exactly this break.
    pub fn mark(&mut self, between: Break, marker: &str) {
        self.between = between;
        marker.clone_into(&mut self.marker);
        self.marked = true;
    }

    /// Adds to what stands before the next text on the same line.
    pub fn mark_cell(&mut self) {
        if !self.marked {
            self.marker.clear();
            self.between = Break::None;
        }
        self.marker.push_str(" | ");
        self.marked = true;
    }

    /// Forgets a marker whose text never came.
    pub fn unmark(&mut self) {
        self.marker.clear();
        self.marked = false;
    }

    pub fn open_heading(&mut self, level: u8) {
        self.mark(Break::Blank, &format!("{} ", "#".repeat(level.into())));
        self.single_line = true;
    }

    pub fn close_heading(&mut self) {
        self.single_line = false;
        self.unmark();
        self.ask(Break::Blank);
    }

    /// Begins preformatted text; with a fence, as Markdown wants it.
    pub fn open_preformatted(&mut self, fence: Option<String>) {
        self.unmark();
        self.ask(Break::Blank);
        self.preformatted = Some(Preformatted { fence, wrote: false, held: Vec::new() });
    }

    pub fn close_preformatted(&mut self) {
        if let Some(Preformatted { fence: Some(fence), wrote: true, .. }) = self.preformatted.take() {
            self.patcher.put("\n");
            self.patcher.put(&fence);
        }
        self.between = Break::None;
        self.ask(Break::Blank);
    }

    /// Writes a text that stands nowhere in the page, such as an image's.
    pub fn put(&mut self, text: &str) {
        self.begin();
        self.patcher.put(text);
    }

    /// Writes a part of the page.
    pub fn text(&mut self, at: Range<usize>, has_references: bool) {
        let text = &self.source[at.clone()];
        let mut from = at.start;
        if has_references {
            for reference in references(text) {
                let found = at.start + reference.at.start..at.start + reference.at.end;
                self.plain(from..found.start);
                from = found.end;
                self.reference(found, &reference.text);
            }
        }
        self.plain(from..at.end);
    }

    pub fn finish(self) -> Vec<Patch> {
        self.patcher.finish()
    }

    fn reference(&mut self, at: Range<usize>, text: &str) {
        if text == "\u{AD}" {
            // Says where a word may be hyphenated, and nothing about the word.
        } else if text.bytes().all(is_space) {
            self.white_space(at);
        } else {
            self.begin();
            self.patcher.replace(at, text);
        }
    }

    fn white_space(&mut self, at: Range<usize>) {
        match &mut self.preformatted {
            // A reference to white space keeps its kind only as far as lines go.
            Some(preformatted) => {
                let space = if self.source[at].contains("10;") { "\n" } else { " " };
                preformatted.held.push(Space::Put(space));
            }
            None => self.ask_space(),
        }
    }

    fn ask_space(&mut self) {
        self.between = self.between.max(Break::Space);
    }

    fn plain(&mut self, at: Range<usize>) {
        if self.preformatted.is_some() {
            self.verbatim(at);
        } else {
            self.flowing(at);
        }
    }

    /// Writes text whose white space stands for single spaces.
    fn flowing(&mut self, at: Range<usize>) {
        let bytes = &self.source.as_bytes()[..at.end];
        let mut from = at.start;
        while from < at.end {
            if is_space(bytes[from]) {
                self.ask_space();
                from += 1;
                continue;
            }
            let length = flowing_length(&bytes[from..]);
            self.words(from..from + length);
            from += length;
        }
    }

    /// Writes words that stand as they should, but for soft hyphens.
    fn words(&mut self, at: Range<usize>) {
        const SOFT_HYPHEN: &str = "\u{AD}";
        let mut from = at.start;
        for hyphen in memmem::find_iter(self.source[at.clone()].as_bytes(), SOFT_HYPHEN) {
            self.keep(from..at.start + hyphen);
            from = at.start + hyphen + SOFT_HYPHEN.len();
        }
        self.keep(from..at.end);
    }

    /// Writes preformatted text.
    fn verbatim(&mut self, at: Range<usize>) {
        let text = &self.source[at.clone()];
        let visible = text.trim_matches(|char: char| char.is_ascii() && is_space(char as u8));
        let Some(preformatted) = &mut self.preformatted else { return };
        if visible.is_empty() {
            preformatted.held.push(Space::InPage(at));
            return;
        }
        let lead =
            text.len() - text.trim_start_matches(|char: char| char.is_ascii() && is_space(char as u8)).len();
        if lead != 0 {
            preformatted.held.push(Space::InPage(at.start..at.start + lead));
        }
        let end = at.start + lead + visible.len();
        self.keep(at.start + lead..end);
        if let Some(preformatted) = &mut self.preformatted
            && end != at.end
        {
            preformatted.held.push(Space::InPage(end..at.end));
        }
    }

    fn keep(&mut self, at: Range<usize>) {
        if !at.is_empty() {
            self.begin();
            self.patcher.keep(at);
        }
    }

    /// Writes what was asked for before the next text.
    fn begin(&mut self) {
        let between = match self.between {
            _ if !self.wrote => "",
            Break::None => "",
            Break::Space => " ",
            Break::Line => "\n",
            Break::Blank => "\n\n",
        };
        if let Some(preformatted) = self.preformatted.take() {
            self.preformatted = Some(self.begin_preformatted(preformatted, between));
        } else {
            let begins_line = !self.wrote || self.between >= Break::Line;
            let marker =
                if begins_line && self.marker.starts_with(" |") { &self.marker[1..] } else { &self.marker };
            if !marker.starts_with(' ') || between != " " || marker.trim().is_empty() {
                self.patcher.put(between);
            }
            self.patcher.put(marker);
        }
        self.unmark();
        self.wrote = true;
        self.between = Break::None;
    }

    fn begin_preformatted(&mut self, mut preformatted: Preformatted, between: &str) -> Preformatted {
        let mut held = std::mem::take(&mut preformatted.held);
        if preformatted.wrote {
            // A block inside begins a line of its own.
            if self.between >= Break::Line && !held.iter().any(|space| self.has_newline(space)) {
                self.patcher.put("\n");
            }
        } else {
            self.patcher.put(between);
            if let Some(fence) = &preformatted.fence {
                self.patcher.put(fence);
                self.patcher.put("\n");
            }
            self.drop_blank_lines(&mut held);
        }
        for space in held {
            match space {
                Space::InPage(at) => self.patcher.keep(at),
                Space::Put(text) => self.patcher.put(text),
            }
        }
        preformatted.wrote = true;
        preformatted
    }

    /// Leaves of white space what stands after its last line end.
    fn drop_blank_lines(&self, held: &mut Vec<Space>) {
        if let Some(last) = held.iter().rposition(|space| self.has_newline(space)) {
            held.drain(..last);
            match &mut held[0] {
                Space::InPage(at) => {
                    let text = &self.source[at.clone()];
                    at.start += text.rfind('\n').map_or(0, |newline| newline + 1);
                }
                Space::Put(text) => *text = "",
            }
        }
    }

    fn has_newline(&self, space: &Space) -> bool {
        match space {
            Space::InPage(at) => self.source[at.clone()].contains('\n'),
            Space::Put(text) => text.contains('\n'),
        }
    }
}

/// Returns the length of the words at the beginning of `bytes` that are parted by single spaces.
fn flowing_length(bytes: &[u8]) -> usize {
    let mut end = 0;
    loop {
        end += bytes[end..].iter().position(|byte| is_space(*byte)).unwrap_or(bytes.len() - end);
        let rest = &bytes[end..];
        // A soft hyphen after the space would vanish, and leave the space at the end.
        let single =
            rest.len() > 1 && rest[0] == b' ' && !is_space(rest[1]) && !rest[1..].starts_with(b"\xC2\xAD");
        if !single {
            return end;
        }
        end += 1;
    }
}
