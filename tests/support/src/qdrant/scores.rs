//! Scores as Qdrant gives them: cosine, and words with its inverse document frequency.

use std::collections::BTreeMap;

use qdrant_client::qdrant::{DenseVector, SparseVector};

use super::Point;

/// As the real one stores vectors that are compared by cosine: one that is
/// normalised already stays as it is.
pub(super) fn normalised(vector: DenseVector) -> DenseVector {
    let square: f32 = vector.data.iter().map(|value| value * value).sum();
    if square < f32::EPSILON || (square - 1.0).abs() <= 1e-6 {
        return vector;
    }
    let length = square.sqrt();
    DenseVector { data: vector.data.into_iter().map(|value| value / length).collect() }
}

pub(super) fn cosine(one: &DenseVector, other: &DenseVector) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (a, b) = (&one.data, &other.data);
    (dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())) as f32
}

/// How rare each of the question's terms is among all points.
pub(super) fn rarities(points: &BTreeMap<String, Point>, using: &str, question: &SparseVector) -> Vec<f32> {
    let n_points = points.len() as f32;
    let rarity = |term: &u32| {
        let has =
            |point: &&Point| point.sparse.get(using).is_some_and(|vector| vector.indices.contains(term));
        let n_with = points.values().filter(has).count() as f32;
        (1.0 + (n_points - n_with + 0.5) / (n_with + 0.5)).ln()
    };
    question.indices.iter().map(rarity).collect()
}

/// Nothing for a point that shares no term with the question.
pub(super) fn words(question: &SparseVector, rarities: &[f32], point: &SparseVector) -> Option<f32> {
    let of =
        |term: u32| point.indices.iter().position(|there| *there == term).map(|place| point.values[place]);
    let products = question.indices.iter().zip(&question.values).zip(rarities);
    let products: Vec<f32> =
        products.filter_map(|((term, weight), rarity)| Some(weight * rarity * of(*term)?)).collect();
    (!products.is_empty()).then(|| products.iter().sum())
}
