//! Files as they might be indexed: tables, lines of JSON, pages and texts in any encoding. Whatever
//! is taken from one has to lead back to the bytes that it was written with.
//!
//! A seed is a line of words, and the file's bytes. The first word is the file's extension; `text=`,
//! `id=`, `title=` and `metadata=` name fields, `encoding=` what is assumed; `no-header` is said as such.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use embergate::document::Span;
use embergate::index::Config;
use embergate::index::source::{Decoded, Found, Item, Options, Origin, Reader, RecordOptions, Root, Sources};
use tokio::runtime::Runtime;

thread_local! {
    static DESK: LazyCell<Desk> = LazyCell::new(Desk::new);
}

/// Extensions that a seed may name.
const EXTENSIONS: [&str; 7] = ["txt", "md", "html", "xml", "jsonl", "csv", "tsv"];

struct Desk {
    folder: tempfile::TempDir,
    runtime: Runtime,
}

impl Desk {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
            runtime: runtime.expect("a runtime can be made"),
        }
    }

    fn write(&self, extension: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().canonicalize().expect("it is there").join(format!("seed.{extension}"));
        std::fs::write(&path, bytes).expect("a file can be written");
        path
    }
}

struct Seed<'s> {
    extension: &'static str,
    records: RecordOptions,
    config: Config,
    bytes: &'s [u8],
}

impl<'s> Seed<'s> {
    fn read(bytes: &'s [u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut words = head.split_ascii_whitespace();
        let named = words.next()?;
        let extension = EXTENSIONS.into_iter().find(|extension| *extension == named)?;
        let (mut records, mut config) = (RecordOptions::default(), Config::default());
        config.max_file = "4KiB".parse().ok()?;
        for word in words {
            match word.split_once('=') {
                None if word == "no-header" => records.no_header = true,
                Some(("text", name)) => records.text_fields.push(name.to_owned()),
                Some(("id", name)) => records.id_field = Some(name.to_owned()),
                Some(("title", name)) => records.title_field = Some(name.to_owned()),
                Some(("metadata", name)) => records.metadata_fields.push(name.to_owned()),
                Some(("encoding", name)) => {
                    let named = serde_json::from_value(name.into());
                    config.encoding = named.unwrap_or_default();
                }
                _ => {}
            }
        }
        Some(Self { extension, records, config, bytes: &bytes[end + 1..] })
    }
}

pub(crate) fn check_bytes(bytes: &[u8]) {
    if let Some(seed) = Seed::read(bytes) {
        DESK.with(|desk| check(&seed, desk));
    }
}

fn check(seed: &Seed<'_>, desk: &Desk) {
    let path = desk.write(seed.extension, seed.bytes);
    let options = Options { records: seed.records.clone(), ..Options::default() };
    let path = path.to_str().expect("it is UTF-8").to_owned();
    let root = Root::Path { path, options, linked: BTreeSet::new() };
    let Ok(sources) = Sources::new(vec![root], &seed.config) else { return };
    let mut items = Vec::new();
    sources.walk(&mut |item| {
        items.push(item);
        ControlFlow::Continue(())
    });
    let mut known = BTreeSet::new();
    let reader = Reader::new(&seed.config, None);
    for item in items {
        match item {
            Item::Document(found) => {
                assert!(known.insert(found.source.clone()), "twice: {}", found.source);
                check_document(seed, desk, &reader, &found);
            }
            Item::Skipped { reason, .. } | Item::Failed { reason, .. } => assert!(!reason.is_empty()),
        }
    }
}

fn check_document(seed: &Seed<'_>, desk: &Desk, reader: &Reader, found: &Found) {
    let Ok(contents) = desk.runtime.block_on(reader.read(found, None)) else {
        assert!(4_096 < seed.bytes.len(), "a file that nobody touches can be read");
        return;
    };
    let kept = Origin::from_json(&found.origin.to_json());
    assert_eq!(kept.as_ref(), Some(&found.origin), "it can be read again");
    let Ok(decoded) = reader.decode(contents) else { return };
    check_way_back(seed, found, &decoded);
}

/// Each character stands in the file where its span says, in its own bytes or in what was written for it.
fn check_way_back(seed: &Seed<'_>, found: &Found, decoded: &Decoded) {
    let text = decoded.text();
    let spans: Vec<_> =
        text.char_indices().map(|(at, character)| Span::new(at, at + character.len_utf8())).collect();
    let (places, lines) = (decoded.file_spans(&spans), decoded.lines(&spans));
    assert!(places.windows(2).all(|two| two[0].start <= two[1].start && two[0].end <= two[1].end));
    assert!(lines.windows(2).all(|two| two[0] <= two[1]));
    for (span, place) in spans.iter().zip(places) {
        let there = seed.bytes.get(place.start..place.end).expect("it is in the file");
        let character = span.of(text).expect("it is a character");
        if decoded.encoding() != "UTF-8" {
            continue;
        }
        let there = std::str::from_utf8(there).expect("it is whole characters");
        let is_there = match (&found.origin, seed.extension) {
            (Origin::Record(_), "jsonl") => {
                there == character
                    || serde_json::from_str::<String>(&format!("\"{there}\""))
                        .is_ok_and(|read| read == character)
            }
            (Origin::Record(_), _) => there == character || (character == "\"" && there == "\"\""),
            _ => there == character,
        };
        // Line ends stand between the fields of a record.
        let is_between = matches!(found.origin, Origin::Record(_)) && character == "\n";
        assert!(is_there || is_between, "{character:?} is {there:?} in the file");
    }
}
