//! A Markdown document as a row of blocks, and what in it should stay whole.

use embergate_cut::Span;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Characters of a heading that go into paths; the rest is cut off with `…`.
pub const LONGEST_HEADING: usize = 200;

/// A document's form. Everything but white space is in a block or in `front_matter`.
#[derive(Debug, Default)]
pub struct Blocks {
    pub front_matter: Option<Span>,
    /// The front matter's.
    pub title: Option<String>,
    /// Blocks that stand in no other, in order.
    pub blocks: Vec<Block>,
    /// Code, tables, their rows, and list items, at any depth; ascending by
    /// start, the outer before the inner.
    pub wholes: Vec<Span>,
}

#[derive(Debug)]
pub struct Block {
    pub span: Span,
    pub kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Heading {
        /// From 1 to 6.
        level: u8,
        text: String,
    },
    /// A table whose rows, if it has any, begin at `body`.
    Table {
        body: usize,
    },
    /// Link reference definitions.
    Definitions,
    Other,
}

const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_GFM);

/// Reads `text` as CommonMark with GitHub's extensions. Knows no error: any text is Markdown.
pub fn parse(text: &str) -> Blocks {
    let mut reader = Reader { text, depth: 0, covered: 0, found: Blocks::default() };
    if let Some((end, title)) = front_matter(text) {
        reader.found.front_matter = Some(Span::new(0, end));
        reader.found.title = title;
        reader.covered = end;
    }
    let offset = reader.covered;
    for (event, range) in Parser::new_ext(&text[offset..], OPTIONS).into_offset_iter() {
        reader.read(event, Span::new(range.start + offset, range.end + offset));
    }
    reader.gap(text.len());
    reader.found.blocks.iter_mut().for_each(|block| {
        if let Kind::Heading { text, .. } = &mut block.kind {
            *text = shortened(text.trim());
        }
    });
    reader.found
}

struct Reader<'t> {
    text: &'t str,
    depth: usize,
    /// Where the last block ended.
    covered: usize,
    found: Blocks,
}

impl Reader<'_> {
    fn read(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::Start(tag) => {
                if self.depth == 0 {
                    self.push(span, kind(&tag));
                }
                if is_whole(&tag) {
                    self.found.wholes.push(span);
                }
                self.depth += 1;
            }
            Event::End(tag) => {
                self.depth -= 1;
                if let (1, TagEnd::TableHead, Some(Block { kind: Kind::Table { body }, .. })) =
                    (self.depth, tag, self.found.blocks.last_mut())
                {
                    *body = after_delimiter(self.text, span.end);
                }
            }
            Event::Text(text) | Event::Code(text) => self.heading_text(&text),
            Event::SoftBreak | Event::HardBreak => self.heading_text(" "),
            _ if self.depth == 0 => self.push(span, Kind::Other),
            _ => {}
        }
    }

    fn push(&mut self, span: Span, kind: Kind) {
        self.gap(span.start);
        // Never back into what is covered, whatever the parser says.
        let start = span.start.max(self.covered);
        if start < span.end {
            self.found.blocks.push(Block { span: Span::new(start, span.end), kind });
            self.covered = span.end;
        }
    }

    /// What the parser passes over in silence is link reference definitions.
    fn gap(&mut self, until: usize) {
        let Some(gap) = self.text.get(self.covered..until) else { return };
        let start = until - gap.trim_start().len();
        if start < until {
            let kind = if gap.trim_start().starts_with('[') { Kind::Definitions } else { Kind::Other };
            let end = self.covered + gap.trim_end().len();
            self.found.blocks.push(Block { span: Span::new(start, end), kind });
        }
        self.covered = until;
    }

    fn heading_text(&mut self, more: &str) {
        if self.depth == 0 {
            return;
        }
        if let Some(Block { kind: Kind::Heading { text, .. }, .. }) = self.found.blocks.last_mut() {
            text.push_str(more);
        }
    }
}

fn kind(tag: &Tag<'_>) -> Kind {
    match tag {
        Tag::Heading { level, .. } => Kind::Heading { level: number(*level), text: String::new() },
        Tag::Table(_) => Kind::Table { body: usize::MAX },
        _ => Kind::Other,
    }
}

fn number(level: HeadingLevel) -> u8 {
    level as u8
}

fn is_whole(tag: &Tag<'_>) -> bool {
    matches!(tag, Tag::CodeBlock(_) | Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::Item)
}

/// The start of the line after the delimiter row that follows a table's head.
fn after_delimiter(text: &str, head_end: usize) -> usize {
    let mut lines = text[head_end..].split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    // The head's own range may or may not take its line end along.
    let rest =
        if first.trim().is_empty() { first.len() + lines.next().map_or(0, str::len) } else { first.len() };
    head_end + rest
}

fn shortened(heading: &str) -> String {
    match heading.char_indices().nth(LONGEST_HEADING) {
        Some((end, _)) => format!("{}…", &heading[..end]),
        None => heading.to_owned(),
    }
}

/// The end of the front matter (YAML between `---`, or TOML between `+++`) that
/// `text` begins with, and the title in it.
fn front_matter(text: &str) -> Option<(usize, Option<String>)> {
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut lines = text[bom..].split_inclusive('\n');
    let opening = lines.next()?;
    let (mark, sign) = match opening.trim_end() {
        "---" => ("---", ':'),
        "+++" => ("+++", '='),
        _ => return None,
    };
    let mut end = bom + opening.len();
    let mut title = None;
    let mut is_empty = true;
    for line in lines {
        end += line.len();
        let line = line.trim_end();
        if line == mark || (mark == "---" && line == "...") {
            return (!is_empty).then_some((end, title));
        }
        let is_comment = line.starts_with('#');
        // What does not begin with a key stands between two thematic breaks.
        if is_empty && !is_comment && !line.contains(sign) {
            return None;
        }
        is_empty &= is_comment;
        if let Some((key, value)) = line.split_once(sign)
            && key.trim_end() == "title"
        {
            let value = value.trim().trim_matches(['"', '\'']).trim();
            title = (!value.is_empty()).then(|| shortened(value));
        }
    }
    None
}
