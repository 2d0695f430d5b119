//! How well words find paragraphs: an evaluation, run by hand.
//!
//! `EMBERGATE_EVAL_DATA=DIR cargo test --release --lib retrieval -- --ignored --nocapture`
//! where DIR holds XQuAD as `xquad/xquad.tr.json` and `xquad/xquad.en.json`.

use super::*;
use crate::analyzer::Analyzer;

/// The mean reciprocal rank of each question's own paragraph among the first ten.
async fn mean_reciprocal_rank(language: &str) -> f64 {
    let folder = std::env::var("EMBERGATE_EVAL_DATA").expect("EMBERGATE_EVAL_DATA names no folder");
    let file = Path::new(&folder).join(format!("xquad/xquad.{language}.json"));
    let data: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let paragraphs: Vec<&serde_json::Value> = data["data"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|article| article["paragraphs"].as_array().unwrap())
        .collect();

    let analyzer = Analyzer::new(Some(language));
    let folder = tempfile::tempdir().unwrap();
    let (store, _state) = open(&embedded_config(folder.path()), folder.path()).await.unwrap();
    store.create(&collection("xquad")).await.unwrap();
    let points = paragraphs.iter().enumerate().map(|(n, paragraph)| Point {
        sparse: analyzer.document(paragraph["context"].as_str().unwrap()),
        ..point(n as u128, [1.0, 0.0, 0.0], &[], "/xquad", 0)
    });
    store.upsert("xquad", points.collect()).await.unwrap();

    let (mut sum, mut n_questions) = (0.0, 0.0);
    for (n, paragraph) in paragraphs.iter().enumerate() {
        for question in paragraph["qas"].as_array().unwrap() {
            let probe = Probe::Sparse(analyzer.query(question["question"].as_str().unwrap()));
            let hits = store.query("xquad", Query { probe, filter: None, limit: 10 }).await.unwrap();
            let place = hits.iter().position(|hit| hit.id == id(n as u128));
            sum += place.map_or(0.0, |place| 1.0 / (place as f64 + 1.0));
            n_questions += 1.0;
        }
    }
    sum / n_questions
}

#[tokio::test]
#[ignore = "an evaluation: needs data that is not part of the project"]
#[expect(clippy::print_stdout, reason = "an evaluation is run for its figures")]
async fn words_find_most_paragraphs() {
    for (language, least) in [("en", 0.95), ("tr", 0.91)] {
        let got = mean_reciprocal_rank(language).await;
        println!("{language}: mean reciprocal rank {got:.4}");
        assert!(least < got, "{language}: {got:.4}");
    }
}
