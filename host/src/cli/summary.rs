//! What a run of `index` came to, as a table for people and as an event for programs.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::covered;
use super::output::Output;
use crate::index::{Served, Summary};

pub(super) fn tell(output: &Output, collection: &str, summary: &Summary, took: Duration) -> io::Result<()> {
    if output.json {
        let mut event = as_json(summary);
        event["event"] = "summary".into();
        event["collection"] = collection.into();
        event["seconds"] = took.as_secs_f64().into();
        return output.json(&event);
    }
    output.line(&format!("`{collection}`: {} in {}", headline(summary), shown(took)))?;
    for (name, value) in rows(summary, took) {
        output.line(&format!("  {name:<10} {value}"))?;
    }
    Ok(())
}

pub(super) fn as_json(summary: &Summary) -> Value {
    let (served, detail) = match &summary.served {
        Served::Already => ("already", None),
        Served::Instead(before) => ("instead", Some(before)),
        Served::NotYet(reason) => ("not_yet", Some(reason)),
    };
    json!({
        "generation": summary.generation, "serves": served, "serves_detail": detail,
        "documents": summary.n_documents, "bytes": summary.n_bytes, "unchanged": summary.n_unchanged,
        "indexed": summary.n_indexed, "removed": summary.n_removed, "skipped": summary.n_skipped,
        "failed": summary.n_failed, "chunks": summary.n_chunks, "embedded": summary.n_embedded,
        "copied": summary.n_copied, "tokens": summary.n_tokens, "encodings": summary.encodings,
        "coverage": covered::as_json(&summary.coverage),
    })
}

fn headline(summary: &Summary) -> String {
    let counts = [
        (summary.n_indexed, "indexed"),
        (summary.n_unchanged, "unchanged"),
        (summary.n_removed, "removed"),
        (summary.n_skipped, "skipped"),
        (summary.n_failed, "failed"),
    ];
    let parts =
        counts.iter().filter(|(n, _)| 0 < *n).map(|(n, what)| format!("{} {what}", grouped(*n as u64)));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") }
}

/// What there is to say beyond the headline.
fn rows(summary: &Summary, took: Duration) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if 0 < summary.n_indexed {
        let n_kept = summary.n_chunks.saturating_sub(summary.n_embedded + summary.n_copied);
        let counts = [(summary.n_embedded, "embedded"), (summary.n_copied, "copied"), (n_kept, "kept")];
        let parts = counts.iter().filter(|(n, _)| 0 < *n);
        let parts: Vec<_> = parts.map(|(n, what)| format!("{} {what}", grouped(*n as u64))).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
        rows.push(("chunks", format!("{}{parts}", grouped(summary.n_chunks as u64))));
    }
    let per_second = |n: u64| grouped((n as f64 / took.as_secs_f64().max(1e-3)) as u64);
    if 0 < summary.n_tokens {
        let n_tokens = summary.n_tokens;
        rows.push(("tokens", format!("{} embedded, {} a second", grouped(n_tokens), per_second(n_tokens))));
    }
    let (files, bytes) = (summary.n_documents, bytes(summary.n_bytes));
    let pace = bytes_per_second(summary.n_bytes, took);
    rows.push((
        "read",
        format!("{} documents, {bytes}; {} and {pace} a second", grouped(files), per_second(files)),
    ));
    if !summary.encodings.is_empty() {
        let parts: Vec<_> = summary.encodings.iter().map(|(name, n)| format!("{n} in {name}")).collect();
        rows.push(("encodings", format!("{}, the rest in UTF-8", parts.join(", "))));
    }
    rows.extend(covered::in_words(&summary.coverage).map(|words| ("coverage", words)));
    match &summary.served {
        Served::Already => {}
        Served::Instead(before) => rows.push((
            "serves",
            format!("{} instead of {before}; `embergate collections rollback` undoes it", summary.generation),
        )),
        Served::NotYet(reason) => rows.push(("serves", format!("{} not yet: {reason}", summary.generation))),
    }
    rows
}

/// With a comma between each three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

pub(super) fn bytes(n_bytes: u64) -> String {
    indicatif::DecimalBytes(n_bytes).to_string()
}

fn bytes_per_second(n_bytes: u64, took: Duration) -> String {
    bytes((n_bytes as f64 / took.as_secs_f64().max(1e-3)) as u64)
}

/// As people say how long something takes.
pub(super) fn shown(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1} s", took.as_secs_f64()),
        seconds => indicatif::HumanDuration(Duration::from_secs(seconds)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(32_101), "32,101");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }

    #[test]
    fn a_run_is_summed_up_in_a_table() {
        let summary = Summary {
            n_documents: 32_101,
            n_bytes: 250_000_000,
            n_indexed: 120,
            n_unchanged: 31_981,
            n_chunks: 1_204,
            n_embedded: 300,
            n_copied: 12,
            n_tokens: 51_203,
            generation: "docs@2".to_owned(),
            served: Served::Instead("docs@1".to_owned()),
            encodings: [("windows-1254".to_owned(), 3)].into(),
            ..Summary::default()
        };
        let rows: Vec<_> = rows(&summary, Duration::from_secs(10))
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        assert_eq!(
            rows,
            [
                "chunks: 1,204: 300 embedded, 12 copied, 892 kept",
                "tokens: 51,203 embedded, 5,120 a second",
                "read: 32,101 documents, 250.00 MB; 3,210 and 25.00 MB a second",
                "encodings: 3 in windows-1254, the rest in UTF-8",
                "serves: docs@2 instead of docs@1; `embergate collections rollback` undoes it",
            ]
        );
        assert_eq!(headline(&summary), "120 indexed, 31,981 unchanged");
    }
}
