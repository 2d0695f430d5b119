//! The plugin as the gateway sees it.

use std::sync::OnceLock;

use embergate_cut::settings::Value;
use embergate_cut::{Boundary, Span, Text};

use crate::recursive::{Config, TOO_LONG, split};
use embergate::plugin::text as host;
use exports::embergate::plugin::chunker::{
    Chunks, Context, Document, Guest as Chunker, OffsetUnit, Omission, Span as WitSpan,
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
            name: "recursive".into(),
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
                let cuts = split(&document.text, &HostText { doc }, config, context.max_tokens, language)
                    .map_err(Error::InvalidInput)?;
                let omission = |&span: &Span| Omission { span: span.into(), reason: TOO_LONG.into() };
                Ok(Chunks {
                    unit: OffsetUnit::Utf8Byte,
                    spans: cuts.spans.iter().map(|&span| span.into()).collect(),
                    omitted: cuts.omitted.iter().map(omission).collect(),
                    notes: Vec::new(),
                })
            })
            .collect()
    }
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
