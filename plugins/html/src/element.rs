//! What each element of HTML means for the text of a page.

/// What an element does to the text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: the text flows on.
    Inline,
    /// Stands alone, with a blank line around it.
    Block,
    /// A block that may hold a page's main content.
    Container,
    /// `main`, or what has the role: holds the main content, its author says.
    Main,
    Article,
    Head,
    Body,
    Title,
    Heading(u8),
    Paragraph,
    List,
    Item,
    Term,
    Details,
    Table,
    RowGroup,
    Row,
    Cell,
    Preformatted,
    Link,
    Image,
    LineBreak,
    /// An SVG or MathML element that begins foreign content.
    Foreign,
    /// Shows nothing that belongs to the content.
    Dropped,
}

impl Kind {
    pub fn of(name: &str) -> Self {
        match name {
            "p" => Self::Paragraph,
            "a" => Self::Link,
            "div" | "section" | "center" | "form" => Self::Container,
            "main" => Self::Main,
            "article" => Self::Article,
            "h1" => Self::Heading(1),
            "h2" => Self::Heading(2),
            "h3" => Self::Heading(3),
            "h4" => Self::Heading(4),
            "h5" => Self::Heading(5),
            "h6" => Self::Heading(6),
            "ul" | "ol" | "menu" | "dir" => Self::List,
            "li" => Self::Item,
            "dt" => Self::Term,
            "dd" => Self::Details,
            "table" => Self::Table,
            "thead" | "tbody" | "tfoot" => Self::RowGroup,
            "tr" => Self::Row,
            "td" | "th" => Self::Cell,
            "pre" | "listing" | "xmp" | "plaintext" => Self::Preformatted,
            "br" => Self::LineBreak,
            "img" => Self::Image,
            "head" => Self::Head,
            "body" => Self::Body,
            "title" => Self::Title,
            "svg" | "math" => Self::Foreign,
            "address" | "blockquote" | "caption" | "details" | "dl" | "fieldset" | "figcaption"
            | "figure" | "header" | "hgroup" | "hr" | "html" | "legend" | "search" | "summary" => Self::Block,
            "script" | "style" | "nav" | "footer" | "aside" | "template" | "noscript" | "noframes"
            | "noembed" | "iframe" | "object" | "audio" | "video" | "canvas" | "select" | "datalist"
            | "textarea" | "button" | "frameset" => Self::Dropped,
            _ => Self::Inline,
        }
    }

    /// Returns whether a blank line stands around the element.
    pub fn is_block(self) -> bool {
        !matches!(
            self,
            Self::Inline
                | Self::Link
                | Self::Image
                | Self::LineBreak
                | Self::Cell
                | Self::Row
                | Self::RowGroup
                | Self::Item
                | Self::Details
                | Self::Foreign
                | Self::Title
        )
    }

    /// Returns whether a row of a table that holds this arranges a page, and no data.
    pub fn is_large(self) -> bool {
        matches!(self, Self::Heading(_) | Self::List | Self::Table | Self::Preformatted)
    }

    /// Returns whether an end tag of an inline element is to be looked for no further than here.
    pub fn is_special(self) -> bool {
        !matches!(self, Self::Inline | Self::Link)
    }

    /// Returns whether no end tag outside of a table reaches into this element.
    pub fn is_barrier(self) -> bool {
        matches!(self, Self::Cell | Self::Table)
    }
}

/// Returns whether an element never has content.
pub fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "basefont"
            | "bgsound"
            | "br"
            | "col"
            | "embed"
            | "frame"
            | "hr"
            | "img"
            | "input"
            | "keygen"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
    )
}

/// Returns whether an element may stand in a page's head.
pub fn belongs_in_head(name: &str) -> bool {
    matches!(
        name,
        "base"
            | "basefont"
            | "bgsound"
            | "link"
            | "meta"
            | "noframes"
            | "noscript"
            | "script"
            | "style"
            | "template"
            | "title"
    )
}

/// Returns whether an element with this role is no part of the content.
pub fn is_chrome(role: &str) -> bool {
    matches!(
        role.trim().to_ascii_lowercase().as_str(),
        "navigation" | "banner" | "contentinfo" | "complementary" | "search" | "menu" | "menubar" | "toolbar"
    )
}

/// Returns whether an element of this name ends an SVG or MathML drawing that was left open.
pub fn leaves_foreign(name: &str) -> bool {
    matches!(
        name,
        "b" | "big"
            | "blockquote"
            | "body"
            | "br"
            | "center"
            | "code"
            | "dd"
            | "div"
            | "dl"
            | "dt"
            | "em"
            | "embed"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "head"
            | "hr"
            | "i"
            | "img"
            | "li"
            | "listing"
            | "menu"
            | "meta"
            | "nobr"
            | "ol"
            | "p"
            | "pre"
            | "ruby"
            | "s"
            | "small"
            | "span"
            | "strike"
            | "strong"
            | "sub"
            | "sup"
            | "table"
            | "tt"
            | "u"
            | "ul"
            | "var"
    )
}
