//! The plugin as the gateway sees it.

use std::sync::OnceLock;

use crate::clean::{Cleaned, clean};
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
            name: "unicode".into(),
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
            let cleaned = clean(&document.text, options);
            answer.notes.extend(note(doc, &cleaned));
            answer.edits.push(edit(cleaned));
        }
        Ok(answer)
    }
}

/// Says how many characters that turn the direction of writing were removed: they can
/// make a text read differently from what it is.
fn note(doc: u32, cleaned: &Cleaned) -> Option<Note> {
    let count = cleaned.n_bidi_controls;
    (count != 0).then(|| Note {
        doc,
        media_type: None,
        metadata: vec![("bidi_controls_removed".into(), count.to_string())],
    })
}

fn edit(cleaned: Cleaned) -> Edit {
    if cleaned.patches.is_empty() {
        return Edit::Keep;
    }
    let items = cleaned.patches.into_iter().map(|patch| Patch {
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
