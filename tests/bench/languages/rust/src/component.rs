//! The plugin as the gateway sees it.

use embergate::plugin::text::{Boundary, count_tokens, segment};
use exports::embergate::plugin::chunker::{Chunks, Guest as Chunker, OffsetUnit, Span};
use exports::embergate::plugin::lifecycle::{Error, Guest as Lifecycle, Info, Value};
use exports::embergate::plugin::preprocessor::{Answer, Context, Document, Edit, Guest as Preprocessor};

wit_bindgen::generate!({ world: "both-roles-plugin", path: "../../../../wit" });

struct Plugin;
export!(Plugin);

impl Lifecycle for Plugin {
    fn start(config: Vec<(String, Value)>) -> Result<Info, Error> {
        match config.first() {
            Some((key, _)) => {
                Err(Error::InvalidConfig(format!("`{key}` is unknown: there is nothing to configure")))
            }
            None => Ok(Info {
                name: "plain".into(),
                version: "1.0.0".into(),
                about: "lower case, and chunks of whole sentences".into(),
            }),
        }
    }
}

impl Preprocessor for Plugin {
    fn process(_context: Context, docs: Vec<Document>) -> Result<Answer, Error> {
        Ok(Answer { edits: docs.iter().map(|doc| edit(&doc.text)).collect(), notes: Vec::new() })
    }
}

impl Chunker for Plugin {
    fn split(context: Context, docs: Vec<Document>) -> Result<Vec<Chunks>, Error> {
        let split = |doc| {
            let spans = chunks(doc, context.max_tokens)?;
            Ok(Chunks { unit: OffsetUnit::Utf8Byte, spans, omitted: Vec::new(), notes: Vec::new() })
        };
        (0..docs.len() as u32).map(split).collect()
    }
}

fn edit(given: &str) -> Edit {
    let plain = given.trim().to_lowercase();
    if plain == given { Edit::Keep } else { Edit::Replace(plain) }
}

/// Packs as many sentences into each chunk as have `max_tokens` together.
fn chunks(doc: u32, max_tokens: u32) -> Result<Vec<Span>, Error> {
    let (mut packed, mut chunk, mut tokens) = (Vec::new(), Span { start: 0, end: 0 }, 0);
    for (span, n) in sentences(doc) {
        if max_tokens < n {
            let why = format!("a sentence of {n} tokens, where a chunk may have {max_tokens}");
            return Err(Error::Unsupported(why));
        }
        if max_tokens < tokens + n {
            packed.push(chunk);
            (chunk, tokens) = (Span { start: span.start, end: span.start }, 0);
        }
        (chunk.end, tokens) = (span.end, tokens + n);
    }
    if chunk.start < chunk.end {
        packed.push(chunk);
    }
    Ok(packed)
}

/// Spans with their tokens. The gateway finds and counts them: the text stays where it is.
fn sentences(doc: u32) -> Vec<(Span, u32)> {
    let ends = segment(doc, Boundary::Sentence, OffsetUnit::Utf8Byte);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let spans: Vec<_> = starts.zip(&ends).map(|(start, &end)| Span { start, end }).collect();
    let counts = count_tokens(doc, OffsetUnit::Utf8Byte, &spans);
    spans.into_iter().zip(counts).collect()
}
