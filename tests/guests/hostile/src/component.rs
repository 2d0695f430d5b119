//! The behaviours, by name.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use embergate::plugin::{log, text};
use exports::embergate::plugin::chunker::{Chunks, Guest as Chunker, OffsetUnit, Span};
use exports::embergate::plugin::lifecycle::{Error, Guest as Lifecycle, Info, Value};
use exports::embergate::plugin::preprocessor::{
    Answer, Context, Document, Edit, Guest as Preprocessor, Patch, Patches,
};

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package embergate:hostile;

        package wasi:io@0.2.0 {
            interface poll {
                resource pollable { block: func(); }
            }
        }

        package wasi:clocks@0.2.0 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.0.{pollable};
                subscribe-duration: func(nanoseconds: u64) -> own<pollable>;
            }
        }

        world hostile {
            include embergate:plugin/both-roles-plugin@0.1.0;
            import wasi:clocks/monotonic-clock@0.2.0;
        }
    ",
    world: "embergate:hostile/hostile",
    generate_all,
});

struct Hostile;
export!(Hostile);

/// Calls that this instance has served.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// Set by the key `meek`: it hears orders, and does no harm.
static MEEK: AtomicBool = AtomicBool::new(false);

impl Lifecycle for Hostile {
    fn start(config: Vec<(String, Value)>) -> Result<Info, Error> {
        for (key, value) in config {
            match (key.as_str(), value) {
                ("start", Value::Text(order)) if order == "refuse" => {
                    return Err(Error::InvalidConfig("no such thing".into()));
                }
                ("start", Value::Text(order)) if order == "text" => {
                    text::count_texts(&[order]);
                }
                ("start", Value::Text(order)) => obey(&order),
                ("meek", Value::Flag(meek)) => MEEK.store(meek, Ordering::Relaxed),
                _ => (),
            }
        }
        Ok(Info { name: "hostile".into(), version: "6.6.6".into(), about: "does as it is told".into() })
    }
}

impl Preprocessor for Hostile {
    fn process(_: Context, docs: Vec<Document>) -> Result<Answer, Error> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        let mut edits = Vec::new();
        for document in &docs {
            edits.push(match document.text.as_str() {
                "refuse" => return Err(Error::Unsupported("no".into())),
                "miscount" => continue,
                "calls" => Edit::Replace(calls.to_string()),
                "trap first" if 1 < calls => Edit::Replace(calls.to_string()),
                text if text.starts_with("sum ") => Edit::Replace(sum(text.as_bytes()).to_string()),
                "huge" => Edit::Replace("x".repeat(4 << 20)),
                "overlap" => patches(&[(0, 4), (2, 5)]),
                "backwards" => patches(&[(4, 2)]),
                "insidé" => patches(&[(0, 6)]),
                "outside" => patches(&[(0, 99)]),
                order => {
                    obey(order);
                    Edit::Keep
                }
            });
        }
        Ok(Answer { edits, notes: Vec::new() })
    }
}

impl Chunker for Hostile {
    fn split(_: Context, docs: Vec<Document>) -> Result<Vec<Chunks>, Error> {
        let answer = |document: &Document| {
            let len = document.text.len() as u32;
            chunks(match document.text.as_str() {
                "overlap and jump" => &[(4, 16), (0, 7)],
                "backwards" => &[(9, 0)],
                "insidé" => &[(0, 6), (6, 7)],
                "outside" => &[(0, 99)],
                "a gap" => &[(0, 1)],
                order => {
                    obey(order);
                    return chunks(&[(0, len)]);
                }
            })
        };
        Ok(docs.iter().map(answer).collect())
    }
}

fn obey(order: &str) {
    if MEEK.load(Ordering::Relaxed) {
        return;
    }
    match order {
        "trap" | "trap first" => trap(),
        "cry" => {
            // What a panic hook would do.
            log::write(log::Level::Error, "panicked at src/legal.rs:7:\n\u{1b}[31mas told", &[]);
            trap();
        }
        "spin" => spin(),
        "grow" => grow(),
        "recurse" => drop(black_box(recurse(1))),
        "sleep" => monotonic_sleep(),
        "flood" => (0..100_000).for_each(|_| log::write(log::Level::Info, "again", &[])),
        "no such document" => drop(text::segment(99, text::Boundary::Word, OffsetUnit::Utf8Byte)),
        "no such span" => {
            drop(text::count_tokens(0, OffsetUnit::Utf8Byte, &[text::Span { start: 0, end: 99 }]));
        }
        "count" => drop(text::token_ends(0, OffsetUnit::Utf16Unit)),
        _ => (),
    }
}

/// Looks at each byte, one after another: what metering costs shows here.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum: u64, byte| sum.rotate_left(5) ^ u64::from(*byte))
}

/// A frame of its own, whatever the compiler thinks of it.
#[inline(never)]
fn trap() {
    panic!("as told {}", black_box(""))
}

#[inline(never)]
fn spin() {
    let mut n = 0_u32;
    while black_box(n) != 1 {
        n = n.wrapping_add(2);
    }
}

fn grow() {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn recurse(n: u64) -> u64 {
    if black_box(n) == 0 { 0 } else { black_box(recurse(n + 1)) + 1 }
}

fn monotonic_sleep() {
    wasi::clocks::monotonic_clock::subscribe_duration(3_600_000_000_000).block();
}

fn patches(spans: &[(u32, u32)]) -> Edit {
    let items = spans.iter().map(|&(start, end)| Patch { span: Span { start, end }, text: "-".into() });
    Edit::Patch(Patches { unit: OffsetUnit::Utf8Byte, items: items.collect() })
}

fn chunks(spans: &[(u32, u32)]) -> Chunks {
    let spans = spans.iter().map(|&(start, end)| Span { start, end }).collect();
    Chunks { unit: OffsetUnit::Utf8Byte, spans, omitted: Vec::new(), notes: Vec::new() }
}
