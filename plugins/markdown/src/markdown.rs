//! The chunker without its WebAssembly side: configuration, and one document's chunks.

use std::cell::OnceCell;

use embergate_cut::settings::{self, NO_LIMIT, Value};
use embergate_cut::{Job, Source, Span, Structure, Text};

use crate::blocks::{Blocks, Kind, parse};
use crate::sections::{Heading, Section, joined, sections};

/// The share of a chunk's tokens that its path may take, in percent.
const PATH_PERCENT: u32 = 15;
/// The share that the repeated head of a table may take, in percent.
const HEAD_PERCENT: u32 = 25;

const FRONT_MATTER: &str = "front matter";
const DEFINITIONS: &str = "link reference definitions";
const TOO_LONG: &str = "this character alone takes more tokens than a chunk may have";

/// What `start` was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Tokens in a chunk with its prefix, at most; less where the collection or the model wants less.
    pub max_tokens: u32,
    /// Whether the heading path, and the head of a table that is cut, are embedded before a chunk.
    pub prefix: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_tokens: NO_LIMIT, prefix: true }
    }
}

impl Config {
    /// Reads the values of the plugin's table.
    ///
    /// # Errors
    /// Names the key, its value and what is allowed.
    pub fn from_values(values: impl IntoIterator<Item = (String, Value)>) -> Result<Self, String> {
        let mut config = Self::default();
        for (key, value) in values {
            match key.as_str() {
                "max_tokens" => config.max_tokens = settings::tokens(&key, &value)?,
                "prefix" => config.prefix = settings::flag(&key, &value)?,
                _ => return Err(settings::unknown(&key, "`max_tokens`, `prefix`")),
            }
        }
        Ok(config)
    }
}

/// One document's chunks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The front matter's.
    pub title: Option<String>,
    pub chunks: Vec<Chunk>,
    /// Ascending, each with its reason.
    pub omitted: Vec<(Span, &'static str)>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    pub span: Span,
    /// Embedded before the text; may be empty.
    pub prefix: String,
    /// The headings above all of the chunk's text, outermost first; its own included.
    pub headings: Vec<String>,
}

/// Cuts `text` into chunks that, with their prefix, have at most
/// `config.max_tokens` and `max_tokens` tokens.
///
/// Code, table rows and list items are cut only where one does not fit in what
/// the prefix leaves.
///
/// # Errors
/// `max_tokens` is 0: nothing fits.
pub fn split(
    text: &str,
    host: &dyn Text,
    config: Config,
    max_tokens: u32,
    language: Option<&str>,
) -> Result<Answer, String> {
    let limit = config.max_tokens.min(max_tokens);
    if limit == 0 {
        return Err("the model leaves `0` tokens for a chunk: shorten its prompt".into());
    }
    let blocks = parse(text);
    let source = Source::new(text, host, language);
    let (sections, definitions) = sections(&blocks);
    let fits = limit - percent(limit, PATH_PERCENT);
    let is_free = |gap: Span| gap.of(text).trim().is_empty();
    let sections = joined(sections, fits, &is_free, &|span| source.tokens_in(span));

    let mut answer = Answer { title: blocks.title.clone(), ..Answer::default() };
    answer.omitted.extend(blocks.front_matter.map(|span| (span, FRONT_MATTER)));
    answer.omitted.extend(definitions.into_iter().map(|span| (span, DEFINITIONS)));
    for section in &sections {
        Cutter { source: &source, blocks: &blocks, config, limit, section, paths: Paths::default() }
            .cut(&mut answer);
    }
    answer.omitted.sort_by_key(|(span, _)| span.start);
    Ok(answer)
}

fn percent(limit: u32, percent: u32) -> u32 {
    (u64::from(limit) * u64::from(percent) / 100) as u32
}

/// Cuts one section.
struct Cutter<'a> {
    source: &'a Source<'a>,
    blocks: &'a Blocks,
    config: Config,
    limit: u32,
    section: &'a Section,
    paths: Paths,
}

/// The path before a chunk, by how many headings of the section's path stand before it.
type Paths = [OnceCell<(String, u32)>; 8];

/// The head of a table that is cut.
struct Head {
    text: String,
    n_tokens: u32,
    body: usize,
}

impl Cutter<'_> {
    fn cut(&self, answer: &mut Answer) {
        let (from, to) = self.section.blocks;
        let mut start = self.section.span.start;
        let mut is_bare = true;
        for block in &self.blocks.blocks[from..to] {
            match block.kind {
                Kind::Heading { .. } => {}
                Kind::Table { body } if self.is_too_big(block.span) => {
                    // Headings stay with the table that they stand right above.
                    if !is_bare {
                        self.cut_part(Span::new(start, block.span.start), None, answer);
                        start = block.span.start;
                    }
                    let head = self.head(Span::new(block.span.start, body.min(block.span.end)));
                    self.cut_part(Span::new(start, block.span.end), head, answer);
                    start = block.span.end;
                    is_bare = true;
                    continue;
                }
                _ => is_bare = false,
            }
        }
        self.cut_part(Span::new(start, self.section.span.end), None, answer);
    }

    /// A table that fits is kept whole, so its length matters only where it may not.
    fn is_too_big(&self, table: Span) -> bool {
        self.source.tokens_in(table) > self.limit - percent(self.limit, PATH_PERCENT)
    }

    fn head(&self, span: Span) -> Option<Head> {
        let text = format!("{}\n", span.of(self.source.text).trim_end());
        let most = percent(self.limit, HEAD_PERCENT);
        let n_tokens = if self.config.prefix && most > 0 { self.count(&text) } else { u32::MAX };
        (n_tokens <= most).then_some(Head { text, n_tokens, body: span.end })
    }

    fn count(&self, text: &str) -> u32 {
        self.source.host.count_texts(&[text.to_owned()]).first().copied().unwrap_or(u32::MAX)
    }

    fn cut_part(&self, span: Span, head: Option<Head>, answer: &mut Answer) {
        let Some(span) = self.source.trimmed(span) else { return };
        let n_head = head.as_ref().map_or(0, |head| head.n_tokens);
        let reserved = self.path(usize::MAX).1 + n_head;
        let first = self.path(span.start).1;
        // Its own headings are in the text: one chunk needs less of a prefix than several.
        let is_one = head.is_none() && self.source.tokens_in(span).saturating_add(first) <= self.limit;
        let reserved = if is_one { first } else { reserved };
        let room = self.limit.saturating_sub(reserved).max(1);
        let structure = self.structure(span, room);
        let job = Job { range: span, limit: self.limit, reserved, structure: &structure };
        let cuts = self.source.cut(&job, &|spans| self.measure(spans, head.as_ref()));
        answer.omitted.extend(cuts.omitted.into_iter().map(|span| (span, TOO_LONG)));
        answer.chunks.extend(cuts.spans.into_iter().map(|span| Chunk {
            span,
            prefix: self.prefix(span, head.as_ref()),
            headings: self.headings_before(span.end).iter().map(|heading| heading.text.clone()).collect(),
        }));
    }

    fn headings_before(&self, at: usize) -> &[Heading] {
        let path = &self.section.path;
        &path[..path.partition_point(|heading| heading.start < at)]
    }

    fn prefix(&self, chunk: Span, head: Option<&Head>) -> String {
        let path = &self.path(chunk.start).0;
        let head = head.filter(|head| chunk.start >= head.body).map_or("", |head| head.text.as_str());
        format!("{path}{head}")
    }

    /// Tokens of each chunk with its prefix.
    fn measure(&self, spans: &[Span], head: Option<&Head>) -> Vec<u32> {
        let text = self.source.text;
        let prefixes: Vec<String> = spans.iter().map(|&span| self.prefix(span, head)).collect();
        let bare: Vec<Span> = spans
            .iter()
            .zip(&prefixes)
            .filter(|(_, prefix)| prefix.is_empty())
            .map(|(&span, _)| span)
            .collect();
        let texts: Vec<String> = spans
            .iter()
            .zip(&prefixes)
            .filter(|(_, prefix)| !prefix.is_empty())
            .map(|(span, prefix)| format!("{prefix}{}", span.of(text)))
            .collect();
        let host = self.source.host;
        let bare = if bare.is_empty() { Vec::new() } else { host.count_tokens(&bare) };
        let texts = if texts.is_empty() { Vec::new() } else { host.count_texts(&texts) };
        let (mut bare, mut texts) = (bare.into_iter(), texts.into_iter());
        prefixes
            .iter()
            .map(|prefix| if prefix.is_empty() { bare.next() } else { texts.next() }.unwrap_or(u32::MAX))
            .collect()
    }

    /// The title and the headings before `at` as one line, with its tokens. Of a
    /// path that is too long the outermost headings are left out.
    fn path(&self, at: usize) -> &(String, u32) {
        let headings = self.headings_before(at);
        self.paths[headings.len().min(self.paths.len() - 1)].get_or_init(|| {
            let most = percent(self.limit, PATH_PERCENT);
            let mut names: Vec<&str> = headings.iter().map(|heading| heading.text.as_str()).collect();
            if let Some(title) = self.blocks.title.as_deref()
                && names.first() != Some(&title)
            {
                names.insert(0, title);
            }
            if !self.config.prefix || most == 0 || names.is_empty() {
                return (String::new(), 0);
            }
            let cut = |n: usize| if n == 0 { "" } else { "… › " };
            let lines: Vec<String> =
                (0..names.len()).map(|n| format!("{}{}\n\n", cut(n), names[n..].join(" › "))).collect();
            let counts = self.source.host.count_texts(&lines);
            let fitting = lines.into_iter().zip(counts).find(|(_, n)| *n <= most);
            fitting.unwrap_or_default()
        })
    }

    /// What a cut of `span` should keep together where chunks have `room`.
    fn structure(&self, span: Span, room: u32) -> Structure {
        let mut structure = Structure::default();
        let (from, to) = self.section.blocks;
        let headings = self.blocks.blocks[from..to].iter().filter(|block| {
            matches!(block.kind, Kind::Heading { .. })
                && span.start <= block.span.start
                && block.span.start < span.end
        });
        structure.parts = headings.map(|block| block.span.start).collect();

        let wholes = &self.blocks.wholes;
        let wholes = &wholes[wholes.partition_point(|whole| whole.start < span.start)..];
        let wholes = &wholes[..wholes.partition_point(|whole| whole.start < span.end)];
        let mut parts = structure.parts.iter().map(|&start| (self.with_what_follows(start), true)).peekable();
        let mut wholes = wholes.iter().map(|&whole| (whole, false)).peekable();
        let mut taken_until = span.start;
        loop {
            let next_part = parts.peek().map_or(usize::MAX, |(part, _)| part.start);
            let next_whole = wholes.peek().map_or(usize::MAX, |(whole, _)| whole.start);
            let next = if next_part <= next_whole { parts.next() } else { wholes.next() };
            let Some((atom, is_heading)) = next else { break };
            if atom.start < taken_until || self.source.tokens_in(atom) > room {
                continue;
            }
            if !is_heading {
                taken_until = atom.end;
            }
            match structure.atoms.last_mut() {
                // A heading and what it stands above, if they fit together.
                Some(last)
                    if atom.start < last.end
                        && self.source.tokens_in(Span::new(last.start, atom.end)) <= room =>
                {
                    last.end = atom.end;
                }
                _ => structure.atoms.push(atom),
            }
        }
        structure
    }

    /// From a heading to the first character of what it stands above.
    fn with_what_follows(&self, start: usize) -> Span {
        let blocks = &self.blocks.blocks;
        let next = blocks.partition_point(|block| block.span.start <= start);
        let end = blocks.get(next).map_or(self.source.text.len(), |block| {
            let first = self.source.text[block.span.start..].chars().next();
            block.span.start + first.map_or(0, char::len_utf8)
        });
        Span::new(start, end)
    }
}
