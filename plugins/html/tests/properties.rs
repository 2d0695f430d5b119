//! What holds for any text that is taken for a page.

use std::time::Instant;

use embergate_html::extract::{Extracted, extract};
use embergate_html::options::Options;
use embergate_html::references::resolved;
use embergate_html::scan::{PieceKind, Raw, Scanner};
use html5gum::{DefaultEmitter, Token, Tokenizer};
use proptest::prelude::*;

fn apply(page: &str, found: &Extracted) -> String {
    let mut text = String::new();
    let mut from = 0;
    for patch in &found.patches {
        assert!(from <= patch.start && patch.start <= patch.end, "not ascending: {patch:?}");
        text.push_str(&page[from..patch.start]);
        text.push_str(&patch.text);
        assert_ne!(page[patch.start..patch.end], patch.text, "without effect");
        from = patch.end;
    }
    text + &page[from..]
}

fn text_of(page: &str, options: Options) -> String {
    apply(page, &extract(page, options))
}

/// Pieces of markup, sound and broken, in any order.
fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<p>",
        "</p>",
        "<div>",
        "</div>",
        "<DIV CLASS=x>",
        "<ul>",
        "<li>",
        "</ul>",
        "<table>",
        "<tr>",
        "<td>",
        "</td>",
        "</table>",
        "<h1>",
        "</h1>",
        "<h2 id='a>b'>",
        "</h2>",
        "<pre>",
        "</pre>",
        "<br>",
        "<br/>",
        "</br>",
        "<b>",
        "</b>",
        "<a href=#x>",
        "<a href=\"y\">",
        "</a>",
        "<span hidden>",
        "</span>",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "<!-->",
        "--!>",
        "<style>",
        "</style>",
        "<title>",
        "</title>",
        "<svg>",
        "<![CDATA[",
        "]]>",
        "</svg>",
        "<math>",
        "</math>",
        "<main>",
        "</main>",
        "<nav>",
        "</nav>",
        "<article>",
        "</article>",
        "<textarea>",
        "</textarea>",
        "<!doctype html>",
        "<?php x ?>",
        "</>",
        "</ x>",
        "< ",
        "<",
        ">",
        "&amp;",
        "&lt;",
        "&#305;",
        "&eacute",
        "&shy;",
        "&",
        "&bogus;",
        "\u{AD}",
        " ",
        "\n",
        "\r\n",
        "  ",
        "\t",
        "word",
        "İstanbul ",
        "ığdır",
        "東京",
        "¶",
        "\"",
        "'",
        "=",
        "/",
        "<img alt='a  b'>",
        "<x-y z",
        "<p ",
        "<body>",
        "</body>",
        "<head>",
        "</head>",
        "<html lang=tr>",
        "<noscript>",
        "</noscript>",
        "<plaintext>",
        "<dl>",
        "<dt>",
        "<dd>",
        "```",
        "-",
        "--",
        "!",
        "<select>",
        "</select>",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

/// The tags of a page, with their attributes, and the text between them.
#[derive(Debug, PartialEq)]
enum Seen {
    Start(String, Vec<(String, String)>),
    End(String),
    Text(String),
}

fn push_text(seen: &mut Vec<Seen>, text: &str) {
    if let Some(Seen::Text(last)) = seen.last_mut() {
        last.push_str(text);
    } else if !text.is_empty() {
        seen.push(Seen::Text(text.to_owned()));
    }
}

fn seen_by_us(page: &str) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut scanner = Scanner::new(page);
    let mut from = 0;
    while let Some(piece) = scanner.next() {
        assert_eq!(piece.at.start, from, "a piece is missing");
        from = piece.at.end;
        match piece.kind {
            PieceKind::Text => push_text(&mut seen, &resolved(&page[piece.at])),
            PieceKind::RawText => push_text(&mut seen, &page[piece.at]),
            PieceKind::Start(tag) => {
                // The oracle keeps the first of several attributes with one name, and sorts them.
                let mut attributes = Vec::<(String, String)>::new();
                for (name, value) in tag.attributes() {
                    if attributes.iter().all(|(known, _)| *known != name) {
                        attributes.push((name.into_owned(), value.into_owned()));
                    }
                }
                attributes.sort();
                if let Some(raw) = Raw::of(&tag.name) {
                    scanner.enter(raw, tag.name.clone());
                }
                seen.push(Seen::Start(tag.name.into_owned(), attributes));
            }
            PieceKind::End(name) => seen.push(Seen::End(name.into_owned())),
            PieceKind::Hidden => {}
        }
    }
    assert_eq!(from, page.len(), "the end is missing");
    seen
}

fn seen_by_html5gum(page: &str) -> Vec<Seen> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut seen = Vec::new();
    for token in Tokenizer::new_with_emitter(page, emitter) {
        match token.unwrap() {
            Token::StartTag(tag) => {
                let attributes = tag.attributes.iter().map(|(name, value)| (string(name), string(value)));
                seen.push(Seen::Start(string(&tag.name), attributes.collect()));
            }
            Token::EndTag(tag) => seen.push(Seen::End(string(&tag.name))),
            Token::String(text) => push_text(&mut seen, &string(&text)),
            _ => {}
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_sound_patches(page in prop_oneof![soup(), any::<String>()], alt: bool, fences: bool, main_content: bool) {
        let options = Options { alt, fences, main_content };
        let found = extract(&page, options);
        apply(&page, &found);
        prop_assert_eq!(&found, &extract(&page, options));
    }

    #[test]
    fn no_markup_is_left(page in soup()) {
        // What stands in the text on purpose, written as references, is taken out first.
        let page = page.replace("&lt;", "").replace("<![CDATA[", "").replace("<plaintext>", "");
        let whole = Options { main_content: false, ..Options::default() };
        let text = text_of(&page, whole);
        for tag in ["<p>", "</p>", "<div", "<td>", "<b>", "</b>", "<a ", "<br", "-->x", "<title>", "<nav>"] {
            prop_assert!(!text.contains(tag), "{tag} in {text:?}");
        }
    }

    #[test]
    fn white_space_is_never_piled_up(page in soup()) {
        let page = page.replace("<pre>", "").replace("<plaintext>", "");
        let text = text_of(&page, Options::default());
        prop_assert!(!text.contains("\n\n\n"), "{text:?}");
        prop_assert_eq!(text.trim_end_matches([' ', '\n']), &text);
    }

    #[test]
    fn tags_and_text_are_those_of_html5gum(page in soup()) {
        // The oracle takes noscript for raw text, as browsers with scripts do, and makes one line
        // end of CR LF as it reads.
        let page = page.replace("noscript", "nothing").replace("\r\n", "\n");
        prop_assert_eq!(seen_by_us(&page), seen_by_html5gum(&page));
    }
}

#[test]
fn time_is_linear_in_the_length() {
    let pages = [
        "<p>Some <b>words</b> &amp; more.\n",
        "<div>",
        "<b>",
        "<span>x</i>",
        "<table><tr><td>",
        "<a href=#>",
        "<ul><li>",
        "<p",
        "<!--",
        "<script>",
        "&",
        "&#1",
        "<",
        "</",
        "<pre>\n",
        "<svg>",
        "<nav><p>",
        "\u{AD}",
    ];
    let seconds = |unit: &str, length: usize| {
        let page = unit.repeat(length / unit.len());
        let start = Instant::now();
        extract(&page, Options::default());
        start.elapsed().as_secs_f64()
    };
    for unit in pages {
        let small = seconds(unit, 100_000).max(0.002);
        let large = seconds(unit, 1_600_000);
        // Sixteen times the work; a quadratic way would take 256 times as long.
        assert!(large < small * 100.0, "{unit:?}: {small} s, then {large} s");
    }
}
