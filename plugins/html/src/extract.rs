//! From a page to its text.
//!
//! - Scripts, styles, navigation, footers, asides, form controls, drawings and what is hidden go.
//! - Of the rest stays the main content, see [`content`](crate::content).
//! - Blocks stand apart by a blank line, headings begin with `#` to `######`, list items with `- `,
//!   cells of a row are parted by ` | `; a table that arranges a page gives blocks instead.
//! - White space is as a browser shows it; `pre` stays as it is, by default between fences,
//!   so that a Markdown chunker neither cuts code nor takes its comments for headings.
//! - Character references become their characters; soft hyphens go.
//!
//! Any text is a page, and time is linear in its length.

use crate::content::main_content;
use crate::element::Kind;
use crate::options::Options;
use crate::patch::Patch;
use crate::text::{Break, Writer};
use crate::tree::{Element, ElementId, Event, Page, ROOT, read, squeezed};

/// What is found in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// Ascending, not overlapping, on character boundaries, and none without effect.
    pub patches: Vec<Patch>,
    pub title: Option<String>,
    /// BCP 47, as the page says.
    pub language: Option<String>,
    /// The media type of the patched text.
    pub media_type: &'static str,
}

/// Finds the patches that leave of `page` its text.
pub fn extract(page: &str, options: Options) -> Extracted {
    let read = read(page);
    let roots = if options.main_content { main_content(&read) } else { vec![ROOT] };
    let patches = Layout::new(page, &read, options, &roots).patches();
    let media_type = if options.fences { "text/markdown" } else { "text/plain" };
    Extracted { patches, title: read.title, language: read.language, media_type }
}

/// Walks through a page and writes what shows.
struct Layout<'p> {
    page: &'p Page,
    options: Options,
    /// Ascending.
    roots: &'p [ElementId],
    writer: Writer<'p>,
    /// Elements open within the first that is dropped, and that one.
    n_dropped: usize,
    /// Elements open within a root of the content, and the root.
    n_wanted: usize,
    /// Whether an item has begun, for each list that is open.
    lists: Vec<bool>,
    /// Whether a row has begun, for each table that is open.
    tables: Vec<bool>,
    preformatted: usize,
    /// Cells so far, for each row that is open.
    rows: Vec<usize>,
}

impl<'p> Layout<'p> {
    fn new(source: &'p str, page: &'p Page, options: Options, roots: &'p [ElementId]) -> Self {
        Self {
            page,
            options,
            roots,
            writer: Writer::new(source),
            n_dropped: 0,
            n_wanted: usize::from(roots == [ROOT]),
            lists: Vec::new(),
            tables: Vec::new(),
            preformatted: 0,
            rows: Vec::new(),
        }
    }

    fn patches(mut self) -> Vec<Patch> {
        for event in &self.page.events {
            match event {
                Event::Open(id) => self.enter(*id),
                Event::Close(id) => self.leave(*id),
                Event::Text { at, has_references } if self.shows() => {
                    self.writer.text(at.clone(), *has_references);
                }
                Event::Text { .. } => {}
            }
        }
        self.writer.finish()
    }

    fn shows(&self) -> bool {
        self.n_dropped == 0 && self.n_wanted != 0
    }

    fn enter(&mut self, id: ElementId) {
        let element = &self.page.elements[id as usize];
        if self.n_dropped != 0 || element.dropped {
            self.n_dropped += 1;
            return;
        }
        if self.n_wanted != 0 || self.roots.binary_search(&id).is_ok() {
            self.n_wanted += 1;
            self.open(element);
        }
    }

    fn leave(&mut self, id: ElementId) {
        if self.n_dropped != 0 {
            self.n_dropped -= 1;
        } else if self.n_wanted != 0 {
            self.n_wanted -= 1;
            self.close(&self.page.elements[id as usize]);
        }
    }

    fn open(&mut self, element: &Element) {
        match element.kind {
            Kind::LineBreak => self.writer.break_line(),
            Kind::Image => self.image(element),
            Kind::Preformatted => self.open_preformatted(element),
            _ if self.preformatted != 0 => self.ask_around(element.kind),
            Kind::Heading(level) => self.writer.open_heading(level),
            Kind::List => {
                self.writer.ask(if self.lists.is_empty() { Break::Blank } else { Break::Line });
                self.lists.push(false);
            }
            Kind::Item => self.open_item(),
            Kind::Table => {
                self.writer.ask(Break::Blank);
                self.tables.push(false);
            }
            Kind::Details => self.writer.mark(Break::Line, ""),
            Kind::Row => self.open_row(element),
            Kind::Cell => self.open_cell(element),
            kind => self.ask_around(kind),
        }
    }

    fn close(&mut self, element: &Element) {
        match element.kind {
            Kind::LineBreak | Kind::Image => {}
            Kind::Preformatted => {
                self.preformatted -= 1;
                if self.preformatted == 0 {
                    self.writer.close_preformatted();
                }
            }
            _ if self.preformatted != 0 => self.ask_around(element.kind),
            Kind::Heading(_) => self.writer.close_heading(),
            Kind::List => {
                self.lists.pop();
                self.writer.ask(if self.lists.is_empty() { Break::Blank } else { Break::Line });
            }
            Kind::Table => {
                self.tables.pop();
                self.writer.ask(Break::Blank);
            }
            Kind::Item | Kind::Details => {
                self.writer.unmark();
                self.writer.ask(Break::Line);
            }
            Kind::Row => {
                self.rows.pop();
                self.writer.unmark();
                self.writer.ask(Break::Line);
            }
            Kind::Cell => {}
            kind => self.ask_around(kind),
        }
    }

    fn ask_around(&mut self, kind: Kind) {
        if kind.is_block() {
            self.writer.ask(Break::Blank);
        }
    }

    fn open_item(&mut self) {
        let depth = self.lists.len().saturating_sub(1);
        let is_first = self.lists.last_mut().is_some_and(|begun| !std::mem::replace(begun, true));
        let between = if is_first && depth == 0 { Break::Blank } else { Break::Line };
        // Deeper than any eye follows, the indentation would be all that is seen.
        self.writer.mark(between, &format!("{}- ", "  ".repeat(depth.min(8))));
    }

    fn open_row(&mut self, element: &Element) {
        self.rows.push(0);
        let is_first = self.tables.last_mut().is_some_and(|begun| !std::mem::replace(begun, true));
        self.writer.mark(if is_first || element.holds_blocks { Break::Blank } else { Break::Line }, "");
    }

    fn open_cell(&mut self, element: &Element) {
        let arranges = self.page.elements[element.parent as usize].holds_blocks;
        let n_before = self.rows.last_mut().map_or(0, |n_cells| std::mem::replace(n_cells, *n_cells + 1));
        if arranges {
            self.writer.unmark();
            self.writer.ask(Break::Blank);
        } else if n_before != 0 {
            self.writer.mark_cell();
        }
    }

    fn open_preformatted(&mut self, element: &Element) {
        self.preformatted += 1;
        if self.preformatted == 1 {
            let fence = (self.options.fences && element.n_chars != 0)
                .then(|| "`".repeat(element.longest_backticks.max(2) as usize + 1));
            self.writer.open_preformatted(fence);
        }
    }

    fn image(&mut self, element: &Element) {
        let alt = element.alt.as_deref().filter(|_| self.options.alt).map(squeezed);
        if let Some(alt) = alt.filter(|alt| !alt.is_empty()) {
            self.writer.put(&alt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(page: &str, options: Options) -> String {
        let mut text = String::new();
        let mut from = 0;
        for patch in extract(page, options).patches {
            text.push_str(&page[from..patch.start]);
            text.push_str(&patch.text);
            from = patch.end;
        }
        text + &page[from..]
    }

    #[track_caller]
    fn check(page: &str, want: &str) {
        assert_eq!(text_of(page, Options::default()), want);
    }

    #[test]
    fn main_counts_before_everything_around_it() {
        check(
            "<p>Cookies!</p><main><p>The words of the page.</p></main><p>Bye.</p>",
            "The words of the page.",
        );
        check("<p>Cookies!</p><div role=main>The words of the page.</div>", "The words of the page.");
    }

    #[test]
    fn a_main_element_with_next_to_nothing_in_it_does_not_hide_the_page() {
        check(
            "<main>Wait</main><p>But all of the words stand here.</p>",
            "Wait\n\nBut all of the words stand here.",
        );
    }

    #[test]
    fn a_page_of_links_is_kept() {
        check("<ul><li><a href=a>one</a><li><a href=b>two</a></ul>", "- one\n- two");
    }

    #[test]
    fn menus_of_links_around_unmarked_content_go() {
        check(
            "<div><a href=a>Home</a> <a href=b>Shop</a></div><div><p>Words enough to be the content.</p></div>",
            "Words enough to be the content.",
        );
    }

    #[test]
    fn the_first_heading_is_never_left_behind() {
        check(
            "<h1>Carp</h1><div>They live in ponds and eat nearly all.</div>",
            "# Carp\n\nThey live in ponds and eat nearly all.",
        );
    }

    #[test]
    fn a_page_can_be_kept_whole() {
        let whole = Options { main_content: false, ..Options::default() };
        assert_eq!(text_of("<p>a</p><main>b c d e f</main>", whole), "a\n\nb c d e f");
    }

    #[test]
    fn without_fences_the_text_is_plain() {
        let plain = Options { fences: false, ..Options::default() };
        assert_eq!(text_of("<p>a<pre>b\n c</pre>", plain), "a\n\nb\n c");
        assert_eq!(extract("", plain).media_type, "text/plain");
    }

    #[test]
    fn images_are_silent_unless_asked() {
        check("a <img alt=carp> b", "a b");
    }

    #[test]
    fn the_page_says_its_title_and_language() {
        let found = extract("<HTML LANG='tr'><TITLE>\n G&ouml;l </TITLE>", Options::default());
        assert_eq!((found.title.as_deref(), found.language.as_deref()), (Some("Göl"), Some("tr")));
    }

    #[test]
    fn text_that_needs_no_change_gets_no_patch() {
        assert_eq!(extract("no markup at all", Options::default()).patches, []);
    }

    #[test]
    fn patches_are_no_larger_than_what_changes() {
        let patches = extract("<p>a &amp; b</p>", Options::default()).patches;
        let patch = |start, end, text: &str| Patch { start, end, text: text.into() };
        assert_eq!(patches, [patch(0, 3, ""), patch(6, 10, ""), patch(12, 16, "")]);
    }

    #[test]
    fn a_marker_stands_for_its_own_tag() {
        let patches = extract("<html><script>x</script><h1>a</h1>", Options::default()).patches;
        let patch = |start, end, text: &str| Patch { start, end, text: text.into() };
        assert_eq!(patches, [patch(0, 24, ""), patch(24, 28, "# "), patch(29, 34, "")]);
    }
}
