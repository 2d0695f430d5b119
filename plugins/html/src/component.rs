//! The plugin as the gateway sees it.

use std::sync::OnceLock;

use crate::extract::{Extracted, extract};
use crate::options::{Options, Value};

use exports::embergate::plugin::lifecycle::{Error, Guest as Lifecycle, Info, Value as WitValue};
use exports::embergate::plugin::preprocessor::{
    Answer, Context, Document, Edit, Guest as Preprocessor, Note, OffsetUnit, Patch, Patches, Span,
};

wit_bindgen::generate!({ world: "preprocessor-plugin", path: "../../wit" });

struct Plugin;
export!(Plugin);

static OPTIONS: OnceLock<Options> = OnceLock::new();

impl Lifecycle for Plugin {
    fn start(config: Vec<(String, WitValue)>) -> Result<Info, Error> {
        let config = config.into_iter().map(|(key, value)| (key, value.into()));
        let options = Options::from_config(config).map_err(Error::InvalidConfig)?;
        OPTIONS.get_or_init(|| options);
        Ok(Info {
            name: "html".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: env!("CARGO_PKG_DESCRIPTION").into(),
        })
    }
}

impl Preprocessor for Plugin {
    fn process(_context: Context, docs: Vec<Document>) -> Result<Answer, Error> {
        let options = OPTIONS.get().copied().unwrap_or_default();
        let mut answer = Answer { edits: Vec::with_capacity(docs.len()), notes: Vec::new() };
        for (doc, document) in (0..).zip(docs) {
            let extracted = extract(&document.text, options);
            answer.notes.push(note(doc, &extracted));
            answer.edits.push(edit(extracted));
        }
        Ok(answer)
    }
}

fn note(doc: u32, extracted: &Extracted) -> Note {
    let title = extracted.title.as_ref().map(|title| ("title".into(), title.clone()));
    let language = extracted.language.as_ref().map(|language| ("language".into(), language.clone()));
    Note {
        doc,
        media_type: Some(extracted.media_type.into()),
        metadata: title.into_iter().chain(language).collect(),
    }
}

fn edit(extracted: Extracted) -> Edit {
    if extracted.patches.is_empty() {
        return Edit::Keep;
    }
    let items = extracted.patches.into_iter().map(|patch| Patch {
        span: Span { start: patch.start as u32, end: patch.end as u32 },
        text: patch.text,
    });
    Edit::Patch(Patches { unit: OffsetUnit::Utf8Byte, items: items.collect() })
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
