//! The elements of a page: which holds which, where the markup is as it should be and where not.
//!
//! Not the standard's tree, which would move and repeat elements: here each begins and ends once,
//! in the order of the page, so that text keeps its place. End tags that are left out are
//! understood as the standard says.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use crate::element::{Kind, belongs_in_head, is_chrome, is_void, leaves_foreign};
use crate::references::{references, resolved};
use crate::scan::{PieceKind, Raw, Scanner, StartTag, is_space};

/// Elements inside each other, at most; deeper ones are taken as if they stood side by side.
/// Browsers have the same limit.
const MAX_DEPTH: usize = 512;

/// An element, by its place in [`Page::elements`].
pub type ElementId = u32;

/// The element that holds all others.
pub const ROOT: ElementId = 0;

#[derive(Clone, Debug)]
pub struct Element {
    pub kind: Kind,
    pub parent: ElementId,
    /// Whether it shows nothing, or nothing that belongs to the content.
    pub dropped: bool,
    /// Whether it is a link to a place in this page.
    pub is_local_link: bool,
    /// What an image shows, in words.
    pub alt: Option<String>,
    /// Characters that show in it, and in the elements inside; white space not counted.
    pub n_chars: u32,
    /// Of these, letters and digits (where it is a link).
    pub n_words: u32,
    /// Of `n_chars`, those that are in links.
    pub n_link_chars: u32,
    /// Headings of the first level in it.
    pub n_titles: u32,
    /// Whether a heading, list, table or preformatted text is in it.
    pub holds_blocks: bool,
    /// The longest row of backticks in it.
    pub longest_backticks: u32,
}

#[derive(Clone, Debug)]
pub enum Event {
    Open(ElementId),
    Close(ElementId),
    /// Text, at these bytes of the page.
    Text {
        at: Range<usize>,
        has_references: bool,
    },
}

#[derive(Debug, Default)]
pub struct Page {
    /// By id; each stands after its parent.
    pub elements: Vec<Element>,
    pub events: Vec<Event>,
    pub title: Option<String>,
    pub language: Option<String>,
}

/// Reads a page. Any text is one.
pub fn read(page: &str) -> Page {
    let mut builder = Builder::new(page);
    let mut scanner = Scanner::new(page);
    while let Some(piece) = scanner.next() {
        match piece.kind {
            PieceKind::Text => builder.text(piece.at, true),
            PieceKind::RawText => builder.text(piece.at, false),
            PieceKind::Start(tag) => builder.start(&tag, &mut scanner),
            PieceKind::End(name) => builder.end(&name),
            PieceKind::Hidden => {}
        }
        scanner.in_foreign = builder.n_foreign != 0;
    }
    builder.finish()
}

struct Open<'p> {
    name: Cow<'p, str>,
    id: ElementId,
    kind: Kind,
}

struct Builder<'p> {
    source: &'p str,
    page: Page,
    open: Vec<Open<'p>>,
    /// Open elements of each name, so that a stray end tag costs nothing.
    n_open: HashMap<Cow<'p, str>, u32>,
    n_foreign: usize,
}

impl<'p> Builder<'p> {
    fn new(source: &'p str) -> Self {
        let root = Element::new(Kind::Block, ROOT);
        let page = Page { elements: vec![root], ..Page::default() };
        Self { source, page, open: Vec::new(), n_open: HashMap::new(), n_foreign: 0 }
    }

    fn current(&self) -> ElementId {
        self.open.last().map_or(ROOT, |open| open.id)
    }

    fn text(&mut self, at: Range<usize>, has_references: bool) {
        let text = &self.source[at.clone()];
        let kind = self.open.last().map(|open| open.kind);
        if kind == Some(Kind::Title) && self.n_foreign == 0 {
            self.page.title.get_or_insert_with(|| squeezed(&resolved(text)));
            return;
        }
        if kind == Some(Kind::Head) && !text.bytes().all(is_space) {
            self.pop();
        }
        let id = self.current() as usize;
        let element = &mut self.page.elements[id];
        let (n_chars, n_words) = count(text, has_references);
        element.n_chars += n_chars;
        element.n_words += n_words;
        element.longest_backticks = element.longest_backticks.max(longest_backticks(text));
        self.page.events.push(Event::Text { at, has_references });
    }

    fn start(&mut self, tag: &StartTag<'p>, scanner: &mut Scanner<'p>) {
        if self.n_foreign != 0 && leaves_foreign(&tag.name) && !self.is_open("foreignobject") {
            self.leave_foreign();
        }
        let kind = if self.n_foreign == 0 { Kind::of(&tag.name) } else { foreign_kind(&tag.name) };
        if matches!(&*tag.name, "html" | "body") {
            self.note_language(tag);
        }
        if self.n_foreign == 0 {
            self.close_before(&tag.name, kind);
        }
        let id = self.add(kind, tag);
        let is_void =
            if self.n_foreign == 0 && kind != Kind::Foreign { is_void(&tag.name) } else { tag.self_closing };
        let raw = Raw::of(&tag.name).filter(|_| self.n_foreign == 0);
        if is_void || self.open.len() >= MAX_DEPTH && raw.is_none() {
            self.page.events.extend([Event::Open(id), Event::Close(id)]);
        } else {
            self.push(tag.name.clone(), id, kind);
        }
        if let Some(raw) = raw {
            scanner.enter(raw, tag.name.clone());
        }
    }

    fn add(&mut self, kind: Kind, tag: &StartTag) -> ElementId {
        let id = self.page.elements.len() as ElementId;
        let mut element = Element::new(kind, self.current());
        element.read_attributes(tag);
        element.n_titles = u32::from(kind == Kind::Heading(1));
        self.page.elements.push(element);
        id
    }

    fn note_language(&mut self, tag: &StartTag) {
        if self.page.language.is_none() {
            let language = tag.attribute("lang").or_else(|| tag.attribute("xml:lang"));
            let language = language.map(|language| language.trim().to_owned());
            self.page.language = language.filter(|language| !language.is_empty());
        }
    }

    /// Ends the elements whose end tag may be left out before `name`.
    fn close_before(&mut self, name: &str, kind: Kind) {
        let in_head = self.open.last().is_some_and(|open| open.kind == Kind::Head);
        if in_head && !belongs_in_head(name) && !matches!(name, "head" | "html") {
            self.pop();
        }
        let in_table = |kind: Kind| matches!(kind, Kind::Table);
        match kind {
            Kind::Item => self.close("li", |kind| matches!(kind, Kind::List | Kind::Cell | Kind::Table)),
            Kind::Term | Kind::Details => {
                let ends = |kind| matches!(kind, Kind::Block | Kind::List | Kind::Cell | Kind::Table);
                self.close("dt", ends);
                self.close("dd", ends);
            }
            Kind::RowGroup => {
                for group in ["thead", "tbody", "tfoot"] {
                    self.close(group, in_table);
                }
            }
            Kind::Row => self.close("tr", in_table),
            Kind::Cell => {
                let ends = |kind| matches!(kind, Kind::Table | Kind::Row);
                self.close("td", ends);
                self.close("th", ends);
            }
            Kind::Link => self.close("a", |kind| kind.is_special()),
            Kind::Heading(_)
                if self.open.last().is_some_and(|open| matches!(open.kind, Kind::Heading(_))) =>
            {
                self.pop();
            }
            _ => {}
        }
        if kind.is_block() || kind == Kind::Item || kind == Kind::Details {
            self.close("p", Kind::is_barrier);
        }
    }

    fn end(&mut self, name: &str) {
        if !self.is_open(name) {
            // A lone `</br>` breaks the line, and a lone `</p>` the paragraph.
            if matches!(name, "br" | "p") && self.n_foreign == 0 {
                let id = self.page.elements.len() as ElementId;
                self.page.elements.push(Element::new(Kind::of(name), self.current()));
                self.page.events.extend([Event::Open(id), Event::Close(id)]);
            }
            return;
        }
        match Kind::of(name) {
            _ if self.n_foreign != 0 => self.close(name, |_| false),
            Kind::Inline | Kind::Link => self.close(name, Kind::is_special),
            Kind::Table => self.close(name, |_| false),
            Kind::Cell | Kind::Row | Kind::RowGroup => self.close(name, |kind| kind == Kind::Table),
            Kind::Body => {}
            _ if name == "html" => {}
            _ => self.close(name, Kind::is_barrier),
        }
    }

    fn is_open(&self, name: &str) -> bool {
        self.n_open.get(name).is_some_and(|count| *count != 0)
    }

    /// Ends the innermost open `name`, and what is open in it, unless an element stands between
    /// that `stops` the search.
    fn close(&mut self, name: &str, stops: impl Fn(Kind) -> bool) {
        if !self.is_open(name) {
            return;
        }
        let found = self.open.iter().rev().take_while(|open| open.name == name || !stops(open.kind));
        if let Some(depth) = found.enumerate().find(|(_, open)| open.name == name).map(|(depth, _)| depth) {
            for _ in 0..=depth {
                self.pop();
            }
        }
    }

    fn push(&mut self, name: Cow<'p, str>, id: ElementId, kind: Kind) {
        self.page.events.push(Event::Open(id));
        self.n_foreign += usize::from(kind == Kind::Foreign);
        *self.n_open.entry(name.clone()).or_default() += 1;
        self.open.push(Open { name, id, kind });
    }

    fn pop(&mut self) {
        let Some(open) = self.open.pop() else { return };
        self.page.events.push(Event::Close(open.id));
        self.n_foreign -= usize::from(open.kind == Kind::Foreign);
        if let Some(count) = self.n_open.get_mut(&open.name) {
            *count -= 1;
        }
    }

    fn leave_foreign(&mut self) {
        while self.n_foreign != 0 {
            self.pop();
        }
    }

    fn finish(mut self) -> Page {
        while !self.open.is_empty() {
            self.pop();
        }
        self.page.title = self.page.title.filter(|title| !title.is_empty());
        sum_up(&mut self.page.elements);
        self.page
    }
}

impl Element {
    fn new(kind: Kind, parent: ElementId) -> Self {
        Self {
            kind,
            parent,
            dropped: matches!(kind, Kind::Dropped | Kind::Head),
            is_local_link: false,
            alt: None,
            n_chars: 0,
            n_words: 0,
            n_link_chars: 0,
            n_titles: 0,
            holds_blocks: false,
            longest_backticks: 0,
        }
    }

    fn read_attributes(&mut self, tag: &StartTag) {
        for (name, value) in tag.attributes() {
            match &*name {
                "hidden" => self.dropped |= !value.eq_ignore_ascii_case("until-found"),
                "aria-hidden" => self.dropped |= value.trim().eq_ignore_ascii_case("true"),
                "style" => self.dropped |= hides(&value),
                "role" if value.trim().eq_ignore_ascii_case("main") => self.kind = Kind::Main,
                "role" => self.dropped |= is_chrome(&value),
                "href" => self.is_local_link = value.trim_start().starts_with('#'),
                "alt" => self.alt = Some(value.into_owned()),
                _ => {}
            }
        }
        // Pages hide the whole body until a script has run.
        self.dropped &= self.kind != Kind::Body && &*tag.name != "html";
        self.dropped |= &*tag.name == "svg";
    }

    /// Returns the characters that show in it outside of links.
    pub fn prose(&self) -> u32 {
        self.n_chars.saturating_sub(self.n_link_chars)
    }

    /// Returns whether it is a mark to click on, such as the `¶` beside a heading.
    fn is_anchor_mark(&self) -> bool {
        self.kind == Kind::Link && self.is_local_link && self.n_chars != 0 && self.n_words == 0
    }
}

/// Adds what is in an element to those around it, from the inside out, and drops what shows nothing.
fn sum_up(elements: &mut [Element]) {
    for id in (1..elements.len()).rev() {
        let parent = elements[id].parent as usize;
        let element = &mut elements[id];
        element.dropped |= element.is_anchor_mark();
        if element.dropped {
            continue;
        }
        if element.kind == Kind::Link {
            element.n_link_chars = element.n_chars;
        }
        let (n_chars, n_words) = (element.n_chars, element.n_words);
        let (n_link_chars, n_titles) = (element.n_link_chars, element.n_titles);
        let holds_blocks = element.holds_blocks || element.kind.is_large();
        let longest_backticks = element.longest_backticks;
        let parent = &mut elements[parent];
        parent.n_chars += n_chars;
        parent.n_words += n_words;
        parent.n_link_chars += n_link_chars;
        parent.n_titles += n_titles;
        parent.holds_blocks |= holds_blocks;
        parent.longest_backticks = parent.longest_backticks.max(longest_backticks);
    }
}

/// Counts the characters of a text that show, and the letters and digits among them.
fn count(text: &str, has_references: bool) -> (u32, u32) {
    let (mut n_chars, mut n_words) = (0, 0);
    let mut add = |text: &str| {
        for char in text.chars() {
            n_chars += u32::from(!char.is_whitespace());
            n_words += u32::from(char.is_alphanumeric());
        }
    };
    let mut from = 0;
    if has_references {
        for reference in references(text) {
            add(&text[from..reference.at.start]);
            add(&reference.text);
            from = reference.at.end;
        }
    }
    add(&text[from..]);
    (n_chars, n_words)
}

fn longest_backticks(text: &str) -> u32 {
    if memchr::memchr(b'`', text.as_bytes()).is_none() {
        return 0;
    }
    let longest = text.split(|char| char != '`').map(str::len).max();
    longest.map_or(0, |length| length as u32)
}

/// In foreign content, names mean nothing to HTML.
fn foreign_kind(name: &str) -> Kind {
    if matches!(name, "svg" | "math") { Kind::Foreign } else { Kind::Inline }
}

fn hides(style: &str) -> bool {
    let style: String = style.chars().filter(|char| !char.is_whitespace()).collect();
    let style = style.to_ascii_lowercase();
    style.contains("display:none") || style.contains("visibility:hidden")
}

/// Returns a text with single spaces where it has white space.
pub fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
