//! What both stores refuse before anything is written or asked.

use std::collections::BTreeSet;

use super::{Collection, Point, Probe, StoreError, names};
use crate::analyzer::SparseVector;

/// The error for a name that no collection has, with those that there are.
pub(super) fn no_collection(name: &str, known: &[Collection]) -> StoreError {
    let known: BTreeSet<&str> =
        known.iter().map(|collection| names::collection_of(&collection.name)).collect();
    let known: Vec<&str> = known.into_iter().collect();
    let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
    StoreError::NoCollection { name: name.to_owned(), known }
}

/// Refuses points that do not fit their collection, before anything is written.
pub(super) fn check_points(collection: &Collection, points: &[Point]) -> Result<(), StoreError> {
    let want = collection.dimensions;
    if let Some(got) = points.iter().map(|point| point.dense.dimensions()).find(|got| *got != want) {
        return Err(StoreError::Dimensions { collection: collection.name.clone(), want, got });
    }
    match points.iter().find(|point| !are_words(&point.sparse)) {
        Some(point) => Err(StoreError::Words { collection: collection.name.clone(), id: point.id }),
        None => Ok(()),
    }
}

/// Whether each term is more than the one before, and has a weight.
fn are_words(SparseVector { terms, weights }: &SparseVector) -> bool {
    terms.len() == weights.len()
        && terms.is_sorted_by(|one, next| one < next)
        && weights.iter().all(|weight| weight.is_finite())
}

/// Refuses a question that does not fit its collection.
pub(super) fn check_probe(collection: &Collection, probe: &Probe) -> Result<(), StoreError> {
    let want = collection.dimensions;
    match probe {
        Probe::Dense(embedding) if embedding.dimensions() != want => Err(StoreError::Dimensions {
            collection: collection.name.clone(),
            want,
            got: embedding.dimensions(),
        }),
        Probe::Dense(_) | Probe::Sparse(_) => Ok(()),
    }
}

/// Refuses properties that differ from those the collection was created with.
pub(super) fn check_same(have: &Collection, want: &Collection) -> Result<(), StoreError> {
    let shown = |language: &Option<String>| language.clone().unwrap_or_else(|| "none".to_owned());
    check_comparable(have, want)?;
    check_equal(want, "language", shown(&have.language), shown(&want.language))?;
    check_equal(want, "pipeline", have.pipeline.clone(), want.pipeline.clone())
}

/// Refuses what makes vectors that those of the collection cannot be compared with.
pub(super) fn check_comparable(have: &Collection, want: &Collection) -> Result<(), StoreError> {
    check_equal(want, "model", have.model.clone(), want.model.clone())?;
    check_equal(want, "dimensions", have.dimensions.to_string(), want.dimensions.to_string())?;
    check_equal(want, "space", have.space.clone(), want.space.clone())
}

fn check_equal(
    collection: &Collection,
    property: &'static str,
    have: String,
    want: String,
) -> Result<(), StoreError> {
    if have == want {
        return Ok(());
    }
    Err(StoreError::Mismatch { name: collection.name.clone(), property, have, want })
}
