//! The first-party plugins keep their promises through the host: preprocessors
//! answer what their native code answers, and chunkers pass every check of the
//! host on any text, at any limit, alone and in company.

use std::sync::{Arc, LazyLock};

use embergate::document::source_map::Patch;
use embergate::document::{Chunks, Document, Span};
use embergate::model::{ModelName, Purpose};
use embergate::plugin::{Call, Config, Edit, Plugins};
use embergate::tokenizer::Tokenizer;
use proptest::prelude::*;
use tokio::runtime::Runtime;

/// What texts are made of: scripts, breaks, markup, and what trips a cutter.
const PIECES: &[&str] = &[
    "İstanbul'da ılık bir gün. Dr. Ayşe 19. yüzyıl der, vb. ",
    "The tide was low. Nobody saw it come back. ",
    "潮水退了。没有人看见它回来。",
    "แม่น้ำไหลลงสู่ทะเล ",
    "समुद्र शांत था। ",
    "البحر هادئ اليوم. ",
    "cafe\u{301} har\u{AD}bour \u{FEFF}\u{200B}e\u{301}",
    "👩‍👩‍👧‍👦👍🏽",
    "# One\n\n",
    "## Two\n",
    "Setext\n===\n\n",
    "```\n# not a heading\n\ncode\n```\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "- item\n  - below it\n",
    "<h1>Title</h1><p>a &amp; b<br>c</p>",
    "<script>if (a < b) { }</script><td>x<td>y",
    "<!-- -->< p>&shy;&#x130;&nosuch;",
    "\r\n\r\n",
    "\n\n",
    "\u{C}",
    " ",
    "\0",
    "a_very_long_word_without_any_place_to_cut_it_at_all",
];

fn texts() -> impl Strategy<Value = String> {
    let pieces =
        prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![3 => pieces, 1 => ".{0,200}"]
}

/// All plugins of the binary, and a runtime to call them from.
fn bundled() -> &'static (Runtime, Plugins) {
    static BUNDLED: LazyLock<(Runtime, Plugins)> = LazyLock::new(|| {
        let runtime = Runtime::new().unwrap();
        let plugins = runtime.block_on(Plugins::load(&Config::default(), &[])).unwrap();
        (runtime, plugins)
    });
    &BUNDLED
}

fn call(max_tokens: u32) -> Call {
    static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
        let bytes = include_bytes!("../../model/tokenizer.json");
        Arc::new(Tokenizer::from_bytes("the embedded model", bytes).unwrap())
    });
    Call {
        model: ModelName::new("static-embed-en-256").unwrap(),
        purpose: Purpose::Document,
        max_tokens,
        tokenizer: Arc::clone(&TOKENIZER),
        language: None,
        embedder: None,
    }
}

fn documents(texts: &[String]) -> Vec<Document> {
    let document = |text: &String| Document { id: "doc".into(), text: text.clone(), ..Document::default() };
    texts.iter().map(document).collect()
}

fn edits(plugin: &str, texts: &[String]) -> Vec<Edit> {
    let (runtime, plugins) = bundled();
    let plugin = plugins.preprocessor(plugin).unwrap();
    let answers = runtime.block_on(plugin.process(&call(400), &documents(texts))).unwrap();
    answers.into_iter().map(|answer| answer.edit).collect()
}

/// The chunks of each text; a text that fails a check of the host fails here.
fn chunks(plugin: &str, texts: &[String], max_tokens: u32) -> Vec<Chunks> {
    let (runtime, plugins) = bundled();
    let plugin = plugins.chunker(plugin).unwrap();
    let answers = runtime.block_on(plugin.split(&call(max_tokens), &documents(texts))).unwrap();
    answers.into_iter().map(Result::unwrap).collect()
}

fn edit(patches: impl IntoIterator<Item = (usize, usize, String)>) -> Edit {
    let patch = |(start, end, text)| Patch { span: Span::new(start, end), text };
    let patches: Vec<_> = patches.into_iter().map(patch).collect();
    if patches.is_empty() { Edit::Keep } else { Edit::Patch(patches) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unicode_answers_as_its_native_code(texts in prop::collection::vec(texts(), 1..4)) {
        use embergate_unicode::{clean::clean, options::Options};
        let native = texts.iter().map(|text| {
            edit(clean(text, Options::default()).patches.into_iter().map(|p| (p.start, p.end, p.text)))
        });
        prop_assert_eq!(edits("unicode", &texts), native.collect::<Vec<_>>());
    }

    #[test]
    fn html_answers_as_its_native_code(texts in prop::collection::vec(texts(), 1..4)) {
        use embergate_html::{extract::extract, options::Options};
        let native = texts.iter().map(|text| {
            edit(extract(text, Options::default()).patches.into_iter().map(|p| (p.start, p.end, p.text)))
        });
        prop_assert_eq!(edits("html", &texts), native.collect::<Vec<_>>());
    }

    #[test]
    fn chunkers_pass_every_check_alone_and_in_company(
        texts in prop::collection::vec(texts(), 1..4),
        max_tokens in prop::sample::select(vec![1_u32, 2, 3, 8, 30, 400]),
    ) {
        for plugin in ["recursive", "markdown"] {
            let together = chunks(plugin, &texts, max_tokens);
            prop_assert_eq!(&together, &chunks(plugin, &texts, max_tokens), "{} is not deterministic", plugin);
            for (text, of_it) in texts.iter().zip(&together) {
                let alone = chunks(plugin, std::slice::from_ref(text), max_tokens);
                prop_assert_eq!(of_it, &alone[0], "{} depends on its company", plugin);
                let blank = of_it.chunks.iter().find(|chunk| chunk.span.of(text).is_none_or(|t| t.trim().is_empty()));
                prop_assert_eq!(blank, None);
                prop_assert!(of_it.chunks.iter().all(|chunk| chunk.n_tokens <= max_tokens));
            }
        }
    }
}

#[test]
fn headings_above_a_chunk_are_named() {
    let text = "# Tides\n\nSea.\n\n## Spring\n\nHigh.\n".to_owned();
    let found = chunks("markdown", &[text], 8);
    let headings = |chunk: &embergate::document::Chunk| {
        let of_it = chunk.metadata.iter().filter(|(key, _)| key == "heading");
        of_it.map(|(_, heading)| heading.clone()).collect::<Vec<_>>()
    };
    let last = found[0].chunks.last().map(headings);
    assert_eq!(last, Some(vec!["Tides".to_owned(), "Spring".to_owned()]));
}
