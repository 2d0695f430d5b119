//! Where a chunk's span leads in the original file, for every format and encoding, through the
//! real plugins: to the same text, or to what is written there for it.

use std::collections::BTreeMap;
use std::path::Path;

use embergate::store::Payload;

use crate::index_parts::{Parts, Place, collection, run_with};

const MODEL: &str = "static-embed-en-256";
const ENGLISH: &str = "The harbour gate opens at high tide, twice a day, and the keeper writes it down.";
const TURKISH: &str = "Iğdır'da kış güneşi şehrin üstüne doğdu; çocuklar “ağaç” altında İzmir'i konuştu.";
const CHINESE: &str = "你好，世界。今天天气很好，我们去海边看日出，然后回家写信。";
const JAPANESE: &str = "こんにちは世界。今日は天気がいいので、海へ行って日の出を見ましょう。";

/// Paragraphs enough for several chunks.
fn long(sentence: &str) -> String {
    (1..=12)
        .map(|number| format!("{number}. {sentence} {sentence} {sentence}"))
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn in_encoding(label: &str, text: &str) -> Vec<u8> {
    let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
    let (bytes, _, has_others) = encoding.encode(text);
    assert!(!has_others);
    bytes.into_owned()
}

fn wide(text: &str) -> Vec<u8> {
    format!("\u{FEFF}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// What stands at a span, as text.
type Decode = fn(&[u8]) -> String;

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn utf16(bytes: &[u8]) -> String {
    assert!(bytes.len().is_multiple_of(2), "half a unit");
    let units: Vec<_> = bytes.chunks(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
    String::from_utf16(&units).unwrap()
}

fn legacy(label: &str, bytes: &[u8]) -> String {
    let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
    encoding.decode_without_bom_handling_and_without_replacement(bytes).unwrap().into_owned()
}

/// A JSON string's inside.
fn json(bytes: &[u8]) -> String {
    serde_json::from_str(&format!("\"{}\"", utf8(bytes))).unwrap()
}

fn undoubled(bytes: &[u8]) -> String {
    utf8(bytes).replace("\"\"", "\"")
}

/// What a page shows: no tags, and characters for entities.
fn shown(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for part in legacy("windows-1254", bytes).split('<') {
        let (tag, text) = part.split_once('>').unwrap_or(("", part));
        shown.push_str(if tag.ends_with('b') { "" } else { " " });
        shown.push_str(text);
    }
    shown.replace("&amp;", "&").replace("&ldquo;", "“").replace("&rdquo;", "”")
}

/// Spaces and headings' marks are set by plugins.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().filter(|word| !word.chars().all(|mark| mark == '#')).collect()
}

/// Indexes one file; what is at each chunk's span is what the chunk shows.
async fn check(parts: &Parts, name: &str, bytes: &[u8], encoding: &str, min_chunks: usize, decode: Decode) {
    let (place, folder) = (Place::new().await, tempfile::tempdir().unwrap());
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let (summary, _) = run_with(&parts.indexer(&place), folder.path(), collection(MODEL)).await.unwrap();
    assert_eq!((summary.n_failed, summary.n_skipped), (0, 0), "{name}");
    let other = BTreeMap::from([(encoding.to_owned(), summary.n_indexed)]);
    let want = if encoding == "UTF-8" { BTreeMap::new() } else { other };
    assert_eq!(summary.encodings, want, "{name}");
    let payloads = place.payloads().await;
    assert!(min_chunks <= payloads.len(), "{name}: {}", payloads.len());
    for payload in payloads {
        check_span(&path, &payload, decode);
    }
}

fn check_span(path: &Path, payload: &Payload, decode: Decode) {
    let file = path.canonicalize().unwrap();
    let source = payload.source.split('#').next().unwrap();
    assert_eq!(Path::new(source), file);
    assert!(!payload.extracted);
    let (bytes, span) = (std::fs::read(&file).unwrap(), payload.span.unwrap());
    let there = decode(&bytes[span.start..span.end]);
    assert_eq!(words(&there), words(&payload.text), "{}", payload.source);
    assert!(!payload.text.contains('\u{FFFD}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_and_markup_lead_to_themselves() {
    let parts = Parts::new().await;
    for sentence in [ENGLISH, TURKISH, CHINESE] {
        let text = long(sentence);
        let titled = format!("# Title\n\n{text}\n\n## Part\n\n{text}");
        check(&parts, "a.txt", text.as_bytes(), "UTF-8", 3, utf8).await;
        check(&parts, "a.md", titled.as_bytes(), "UTF-8", 3, utf8).await;
        check(&parts, "a.rst", format!("Title\n=====\n\n{text}").as_bytes(), "UTF-8", 3, utf8).await;
        check(&parts, "a.adoc", format!("= Title\n\n{text}").as_bytes(), "UTF-8", 3, utf8).await;
        check(&parts, "a.txt", format!("\u{FEFF}{text}").replace('\n', "\r\n").as_bytes(), "UTF-8", 3, utf8)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_and_data_lead_to_themselves() {
    let parts = Parts::new().await;
    let function =
        |number: usize| format!("/// {TURKISH}\nfn part_{number}() {{\n    call({number});\n}}\n\n");
    let code: String = (0..40).map(function).collect();
    for name in ["lib.rs", "Makefile", "a.py", "a.js", "a.yaml", "a.toml", "a.xml", "a.sql", "a.unheard"] {
        check(&parts, name, code.as_bytes(), "UTF-8", 2, utf8).await;
    }
    let values: Vec<_> = (0..60).map(|number| format!("  \"key {number}\": \"{ENGLISH}\"")).collect();
    check(&parts, "a.json", format!("{{\n{}\n}}", values.join(",\n")).as_bytes(), "UTF-8", 2, utf8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_encodings_lead_to_their_own_bytes() {
    let parts = Parts::new().await;
    check(&parts, "a.txt", &in_encoding("windows-1254", &long(TURKISH)), "windows-1254", 3, |bytes| {
        legacy("windows-1254", bytes)
    })
    .await;
    check(&parts, "a.md", &in_encoding("gbk", &long(CHINESE)), "GBK", 3, |bytes| legacy("gbk", bytes)).await;
    check(&parts, "a.txt", &in_encoding("shift_jis", &long(JAPANESE)), "Shift_JIS", 3, |bytes| {
        legacy("shift_jis", bytes)
    })
    .await;
    check(&parts, "a.txt", &wide(&long(&format!("{TURKISH} 🌊"))), "UTF-16BE", 3, utf16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_leads_to_what_is_written_for_what_it_shows() {
    let parts = Parts::new().await;
    let paragraphs: String = (1..=9)
        .map(|number| format!("<h2>Bölüm {number}</h2><p>Çay &amp; simit, &ldquo;güzel&rdquo; <b>bir</b> gün. {ENGLISH} {ENGLISH}</p>\n"))
        .collect();
    let page = format!(
        "<html><head><meta charset=\"iso-8859-9\"><title>Şehir</title></head><body>{paragraphs}</body></html>"
    );
    check(&parts, "a.html", &in_encoding("iso-8859-9", &page), "windows-1254", 2, shown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_lead_through_escapes_and_quotes() {
    let parts = Parts::new().await;
    let text = long(&format!("{TURKISH} \"quoted\" \\ 🌊\t"));
    let escaped: String = serde_json::to_string(&text)
        .unwrap()
        .chars()
        .map(|c| {
            let mut units = [0; 2];
            if c == 'ğ' || c == '🌊' {
                c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
            } else {
                c.to_string()
            }
        })
        .collect();
    let lines = format!(
        "{{\"id\": 1, \"text\": {escaped}}}\n{{\"id\": 2, \"n\": [1, {{}}], \"text\": \"short \\u0131\"}}\r\n"
    );
    check(&parts, "a.jsonl", lines.as_bytes(), "UTF-8", 4, json).await;
    let quoted = text.replace('"', "\"\"").replace('\t', "");
    let table = format!("\u{FEFF}id,text,note\r\n1,\"{quoted}\",x\r\n2,plain,\"y\r\nz\"\r\n");
    check(&parts, "a.csv", table.as_bytes(), "UTF-8", 4, undoubled).await;
    let table = in_encoding("windows-1254", &format!("id;text\n1;\"{quoted}\"\n2;şehir\n").replace("🌊", ""));
    check(&parts, "a.csv", &table, "windows-1254", 4, |bytes| {
        legacy("windows-1254", bytes).replace("\"\"", "\"")
    })
    .await;
}
