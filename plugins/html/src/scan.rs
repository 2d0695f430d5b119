//! Finds markup in a page: where each tag, comment and run of text stands, to the byte.
//!
//! The states are those of the HTML standard's tokenizer (section 13.2.5), read from the borders
//! of tokens inwards: text is never copied, and character references are left for
//! [`references`](crate::references). A property test holds it against html5gum.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memmem};

/// A piece of the page. Pieces are ascending and leave nothing out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'p> {
    pub at: Range<usize>,
    pub kind: PieceKind<'p>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceKind<'p> {
    Text,
    /// Text in which `&` means nothing else, such as a script.
    RawText,
    Start(StartTag<'p>),
    /// Its name, in lower case.
    End(Cow<'p, str>),
    /// A comment, a doctype, or what else shows nothing.
    Hidden,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartTag<'p> {
    /// In lower case.
    pub name: Cow<'p, str>,
    /// Everything between the name and the tag's end.
    attributes: &'p str,
    pub self_closing: bool,
}

/// How the text after a start tag is to be read, up to its end tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Character references count: `title`, `textarea`.
    References,
    /// Nothing counts but the end tag: `style` and the like.
    Text,
    Script,
    /// Nothing counts at all.
    PlainText,
}

impl Raw {
    /// Returns how the content of an HTML element is to be read, where it is not markup.
    /// `noscript` is markup here: this reader runs no scripts.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "title" | "textarea" => Some(Self::References),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(Self::Text),
            "script" => Some(Self::Script),
            "plaintext" => Some(Self::PlainText),
            _ => None,
        }
    }
}

/// Walks through a page piece by piece.
pub struct Scanner<'p> {
    page: &'p str,
    at: usize,
    raw: Option<(Raw, Cow<'p, str>)>,
    /// Whether the parser is inside SVG or MathML, where CDATA sections exist.
    pub in_foreign: bool,
}

impl<'p> Scanner<'p> {
    pub fn new(page: &'p str) -> Self {
        Self { page, at: 0, raw: None, in_foreign: false }
    }

    /// Reads what follows as the content of the element `name`.
    pub fn enter(&mut self, raw: Raw, name: Cow<'p, str>) {
        self.raw = Some((raw, name));
    }

    fn bytes(&self) -> &'p [u8] {
        self.page.as_bytes()
    }

    fn piece(&mut self, end: usize, kind: PieceKind<'p>) -> Piece<'p> {
        let at = self.at..end;
        self.at = end;
        Piece { at, kind }
    }

    /// Reads text up to the next `<` that begins markup.
    fn text(&mut self) -> Piece<'p> {
        let bytes = self.bytes();
        let mut from = self.at;
        while let Some(found) = memchr(b'<', &bytes[from..]) {
            if begins_markup(&bytes[from + found..]) {
                return self.piece(from + found, PieceKind::Text);
            }
            from += found + 1;
        }
        self.piece(bytes.len(), PieceKind::Text)
    }

    fn markup(&mut self) -> Piece<'p> {
        let rest = &self.bytes()[self.at..];
        match rest[1] {
            b'/' if rest.get(2).is_some_and(u8::is_ascii_alphabetic) => {
                let (name, tag) = self.tag(self.at + 2);
                if tag.complete { self.piece(tag.end, PieceKind::End(name)) } else { self.unfinished() }
            }
            b'/' if rest.get(2) == Some(&b'>') => self.piece(self.at + 3, PieceKind::Hidden),
            b'!' if rest.starts_with(b"<!--") => {
                let end = self.at + comment_length(rest);
                self.piece(end, PieceKind::Hidden)
            }
            b'!' if self.in_foreign && rest.starts_with(b"<![CDATA[") => self.cdata(),
            b'/' | b'!' | b'?' => {
                let end = memchr(b'>', rest).map_or(self.page.len(), |found| self.at + found + 1);
                self.piece(end, PieceKind::Hidden)
            }
            _ => self.start_tag(),
        }
    }

    fn start_tag(&mut self) -> Piece<'p> {
        let (name, tag) = self.tag(self.at + 1);
        if !tag.complete {
            return self.unfinished();
        }
        let attributes = &self.page[tag.attributes];
        let start = StartTag { name, attributes, self_closing: tag.self_closing };
        self.piece(tag.end, PieceKind::Start(start))
    }

    /// A tag that the page's end cuts off shows nothing.
    fn unfinished(&mut self) -> Piece<'p> {
        self.piece(self.page.len(), PieceKind::Hidden)
    }

    /// Reads a tag whose name begins at `from`.
    fn tag(&self, from: usize) -> (Cow<'p, str>, TagShape) {
        let bytes = self.bytes();
        let ends_name = |byte: &u8| is_space(*byte) || matches!(byte, b'/' | b'>');
        let length = bytes[from..].iter().position(ends_name).unwrap_or(bytes.len() - from);
        let name_end = from + length;
        let mut reader = AttributeReader { page: self.page, at: name_end, self_closing: false };
        while reader.next_attribute().is_some() {}
        let complete = bytes.get(reader.at) == Some(&b'>');
        let shape = TagShape {
            attributes: name_end..reader.at,
            end: reader.at + usize::from(complete),
            self_closing: reader.self_closing,
            complete,
        };
        (lower(&self.page[from..name_end]), shape)
    }

    /// Reads a CDATA section as hidden borders around raw text.
    fn cdata(&mut self) -> Piece<'p> {
        let open = self.at + b"<![CDATA[".len();
        self.raw = Some((Raw::Text, Cow::Borrowed("]]>")));
        self.piece(open, PieceKind::Hidden)
    }

    /// Reads the content of the element that was entered.
    fn raw_text(&mut self, raw: Raw, name: &str) -> Piece<'p> {
        let rest = &self.bytes()[self.at..];
        let length = match raw {
            Raw::PlainText => None,
            Raw::Script => script_length(rest),
            Raw::Text if name == "]]>" => memmem::find(rest, b"]]>"),
            Raw::Text | Raw::References => end_tag(rest, name),
        };
        let end = length.map_or(self.page.len(), |length| self.at + length);
        let kind = if raw == Raw::References { PieceKind::Text } else { PieceKind::RawText };
        self.piece(end, kind)
    }
}

impl<'p> Iterator for Scanner<'p> {
    type Item = Piece<'p>;

    fn next(&mut self) -> Option<Piece<'p>> {
        if let Some((raw, name)) = self.raw.take() {
            let piece = self.raw_text(raw, &name);
            if !piece.at.is_empty() {
                return Some(piece);
            }
        }
        let rest = &self.bytes()[self.at..];
        if rest.is_empty() {
            None
        } else if self.in_foreign && rest.starts_with(b"]]>") {
            Some(self.piece(self.at + 3, PieceKind::Hidden))
        } else if begins_markup(rest) {
            Some(self.markup())
        } else {
            Some(self.text())
        }
    }
}

struct TagShape {
    attributes: Range<usize>,
    end: usize,
    self_closing: bool,
    complete: bool,
}

impl<'p> StartTag<'p> {
    /// Returns the attributes in order: the name in lower case, the value with its character
    /// references resolved.
    pub fn attributes(&self) -> impl Iterator<Item = (Cow<'p, str>, Cow<'p, str>)> + use<'p> {
        let mut reader = AttributeReader { page: self.attributes, at: 0, self_closing: false };
        std::iter::from_fn(move || {
            let (name, value) = reader.next_attribute()?;
            Some((lower(name), htmlize::unescape_attribute(value)))
        })
    }

    /// Returns the value of an attribute; of several with one name, the first counts.
    pub fn attribute(&self, name: &str) -> Option<Cow<'p, str>> {
        self.attributes().find(|(found, _)| found == name).map(|(_, value)| value)
    }
}

/// Reads attributes, and stops at the tag's `>` or at the end of its input.
struct AttributeReader<'p> {
    page: &'p str,
    at: usize,
    self_closing: bool,
}

impl<'p> AttributeReader<'p> {
    fn next_attribute(&mut self) -> Option<(&'p str, &'p str)> {
        let before = self.at;
        self.skip(|byte| is_space(byte) || byte == b'/');
        if matches!(self.peek(), None | Some(b'>')) {
            self.self_closing = self.page[before..self.at].ends_with('/');
            return None;
        }
        let start = self.at;
        // A name may begin with `=`.
        self.at += 1;
        self.skip(|byte| !is_space(byte) && !matches!(byte, b'/' | b'>' | b'='));
        let name = &self.page[start..self.at];
        self.skip(is_space);
        if self.peek() != Some(b'=') {
            return Some((name, ""));
        }
        self.at += 1;
        self.skip(is_space);
        Some((name, self.value()))
    }

    fn value(&mut self) -> &'p str {
        let start = self.at;
        if let Some(quote @ (b'"' | b'\'')) = self.peek() {
            let rest = &self.page.as_bytes()[start + 1..];
            let length = memchr(quote, rest).unwrap_or(rest.len());
            self.at = (start + 1 + length + 1).min(self.page.len());
            return &self.page[start + 1..start + 1 + length];
        }
        self.skip(|byte| !is_space(byte) && byte != b'>');
        &self.page[start..self.at]
    }

    fn peek(&self) -> Option<u8> {
        self.page.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, mut passes: impl FnMut(u8) -> bool) {
        let rest = &self.page.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| !passes(*byte)).unwrap_or(rest.len());
    }
}

/// Returns whether a byte is white space in HTML.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0C' | b'\r')
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

fn begins_markup(bytes: &[u8]) -> bool {
    match bytes {
        [b'<', b'!' | b'?', ..] => true,
        [b'<', b'/', _, ..] => true,
        [b'<', next, ..] => next.is_ascii_alphabetic(),
        _ => false,
    }
}

/// Returns the length of the comment that `bytes` begins with.
fn comment_length(bytes: &[u8]) -> usize {
    let body = &bytes[4..];
    if body.starts_with(b">") {
        return 5;
    }
    if body.starts_with(b"->") {
        return 6;
    }
    memchr_iter(b'>', body)
        .find(|end| body[..*end].ends_with(b"--") || body[..*end].ends_with(b"--!"))
        .map_or(bytes.len(), |end| 4 + end + 1)
}

/// Returns where the end tag of `name` begins.
fn end_tag(bytes: &[u8], name: &str) -> Option<usize> {
    memmem::find_iter(bytes, b"</").find(|at| is_tag(&bytes[at + 2..], name))
}

fn is_tag(bytes: &[u8], name: &str) -> bool {
    bytes.len() > name.len()
        && bytes[..name.len()].eq_ignore_ascii_case(name.as_bytes())
        && (is_space(bytes[name.len()]) || matches!(bytes[name.len()], b'/' | b'>'))
}

/// Returns where a script's end tag begins. `<!-- <script>` hides an end tag, up to
/// the `-->` or to one more end tag.
fn script_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut escaped = false;
    let mut hidden = false;
    // The dashes of `<!-->` both open and close.
    let mut dashes = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if escaped && dashes >= 2 && rest[0] == b'>' {
            (escaped, hidden) = (false, false);
        }
        dashes = if rest[0] == b'-' { dashes + 1 } else { 0 };
        if rest[0] == b'<' {
            if !escaped && rest.starts_with(b"<!--") {
                escaped = true;
                dashes = 2;
                at += 4;
                continue;
            } else if escaped && !hidden && is_tag(&rest[1..], "script") {
                hidden = true;
            } else if rest.get(1) == Some(&b'/') && is_tag(&rest[2..], "script") {
                if !hidden {
                    return Some(at);
                }
                hidden = false;
            }
        }
        at += 1;
    }
    None
}
