//! The same cases against both stores, and what only one of them promises.

mod cases;
mod embedded;
mod generations;
mod postings;
mod records;
mod remote;
mod retrieval;
mod transfer;
mod whole;

use std::path::Path;

use super::*;

/// A collection with vectors of three numbers.
fn collection(name: &str) -> Collection {
    Collection {
        name: name.to_owned(),
        model: "test-model".to_owned(),
        dimensions: 3,
        space: "0123".to_owned(),
        language: Some("tr".to_owned()),
        pipeline: "4567".to_owned(),
    }
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn embedding(values: [f32; 3]) -> Embedding {
    Embedding::new(values.to_vec()).unwrap()
}

fn payload(source: &str, ordinal: u32) -> Payload {
    Payload {
        source: source.to_owned(),
        media_type: "text/markdown".to_owned(),
        title: (ordinal == 0).then(|| "Kelp".to_owned()),
        headings: vec!["Forests".to_owned(), "Giant kelp".to_owned()],
        text: format!("chunk {ordinal} of {source}: ığüşöç"),
        prefix: Some("Kelp › ".to_owned()),
        span: Some(Span::new(10, 20)),
        extracted: false,
        line: 7 + ordinal,
        ordinal,
        text_hash: TextHash::of(&format!("chunk {ordinal} of {source}")),
        metadata: vec![("author".into(), "Ayşe".into()), ("year".into(), (2000 + ordinal).to_string())],
    }
}

fn point(n: u128, values: [f32; 3], terms: &[u32], source: &str, ordinal: u32) -> Point {
    Point {
        id: id(n),
        dense: embedding(values),
        sparse: SparseVector { terms: terms.to_vec(), weights: vec![1.0; terms.len()] },
        payload: payload(source, ordinal),
    }
}

fn embedded_config(path: &Path) -> Config {
    Config { path: Some(path.to_owned()), ..Config::default() }
}

fn remote_config(path: &Path, url: String) -> Config {
    Config { kind: Kind::Qdrant, url: Some(url), ..embedded_config(path) }
}
