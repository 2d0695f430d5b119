//! The plugin as the gateway sees it.

use std::sync::OnceLock;

use embergate_cut::settings::Value;
use embergate_cut::{Boundary, Span, Text};

use crate::markdown::{Chunk, Config, split};
use embergate::plugin::text as host;
use exports::embergate::plugin::chunker::{
    Chunks, Context, Document, Guest as Chunker, Note, OffsetUnit, Omission, Span as WitSpan,
};
use exports::embergate::plugin::lifecycle::{Error, Guest as Lifecycle, Info, Value as WitValue};

wit_bindgen::generate!({ world: "chunker-plugin", path: "../../wit" });

struct Plugin;
export!(Plugin);

static CONFIG: OnceLock<Config> = OnceLock::new();

impl Lifecycle for Plugin {
    fn start(config: Vec<(String, WitValue)>) -> Result<Info, Error> {
        let values = config.into_iter().map(|(key, value)| (key, value.into()));
        let config = Config::from_values(values).map_err(Error::InvalidConfig)?;
        CONFIG.get_or_init(|| config);
        Ok(Info {
            name: "markdown".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: env!("CARGO_PKG_DESCRIPTION").into(),
        })
    }
}

impl Chunker for Plugin {
    fn split(context: Context, docs: Vec<Document>) -> Result<Vec<Chunks>, Error> {
        let config = CONFIG.get().copied().unwrap_or_default();
        let language = context.language.as_deref();
        (0..)
            .zip(&docs)
            .map(|(doc, document)| {
                let answer = split(&document.text, &HostText { doc }, config, context.max_tokens, language)
                    .map_err(Error::InvalidInput)?;
                let title = answer.title.as_deref();
                let omission =
                    |&(span, reason): &(Span, &str)| Omission { span: span.into(), reason: reason.into() };
                Ok(Chunks {
                    unit: OffsetUnit::Utf8Byte,
                    spans: answer.chunks.iter().map(|chunk| chunk.span.into()).collect(),
                    omitted: answer.omitted.iter().map(omission).collect(),
                    notes: (0..)
                        .zip(&answer.chunks)
                        .filter_map(|(index, chunk)| note(index, chunk, title))
                        .collect(),
                })
            })
            .collect()
    }
}

/// The document's `title`, and a `heading` for each level of the path.
fn note(index: u32, chunk: &Chunk, title: Option<&str>) -> Option<Note> {
    let title = title.map(|title| ("title".to_owned(), title.to_owned()));
    let headings = chunk.headings.iter().map(|heading| ("heading".to_owned(), heading.clone()));
    let metadata: Vec<_> = title.into_iter().chain(headings).collect();
    let prefix = (!chunk.prefix.is_empty()).then(|| chunk.prefix.clone());
    (prefix.is_some() || !metadata.is_empty()).then_some(Note {
        chunk: index,
        prefix,
        window: None,
        metadata,
    })
}

/// One document of the call, worked on by the host.
struct HostText {
    doc: u32,
}

impl Text for HostText {
    fn segment(&self, at: Boundary) -> Vec<u32> {
        let at = match at {
            Boundary::Sentence => host::Boundary::Sentence,
            Boundary::Word => host::Boundary::Word,
            Boundary::Grapheme => host::Boundary::Grapheme,
        };
        host::segment(self.doc, at, OffsetUnit::Utf8Byte)
    }

    fn token_ends(&self) -> Vec<u32> {
        host::token_ends(self.doc, OffsetUnit::Utf8Byte)
    }

    fn count_tokens(&self, spans: &[Span]) -> Vec<u32> {
        let spans: Vec<WitSpan> = spans.iter().map(|&span| span.into()).collect();
        host::count_tokens(self.doc, OffsetUnit::Utf8Byte, &spans)
    }

    fn count_texts(&self, texts: &[String]) -> Vec<u32> {
        host::count_texts(texts)
    }
}

impl From<Span> for WitSpan {
    fn from(span: Span) -> Self {
        // A document in 32-bit memory has no longer offsets.
        Self { start: span.start as u32, end: span.end as u32 }
    }
}

impl From<WitValue> for Value {
    fn from(value: WitValue) -> Self {
        match value {
            WitValue::Text(text) => Self::Text(text),
            WitValue::Integer(integer) => Self::Integer(integer),
            WitValue::Decimal(decimal) => Self::Decimal(decimal),
            WitValue::Flag(flag) => Self::Flag(flag),
            WitValue::Texts(texts) => Self::Texts(texts),
        }
    }
}
