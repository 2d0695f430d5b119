//! From one entry for each distinct text to one embedding for each text of a request.

use std::collections::BTreeMap;

use super::served::Served;
use super::{EmbedAnswer, EmbedError, Spent};
use crate::cache::{Entry, Extent};
use crate::model::EmbeddingError;
use crate::upstream::TextFault;

/// Puts every entry back in the places of its text.
pub(super) fn assemble(
    served: &Served,
    places: &[usize],
    entries: Vec<Entry>,
    n_hits: usize,
    dimensions: Option<usize>,
) -> Result<EmbedAnswer, EmbedError> {
    let embeddings = match dimensions {
        None => entries.iter().map(|entry| entry.embedding.clone()).collect(),
        Some(want) => entries
            .iter()
            .enumerate()
            .map(|(place, entry)| {
                served.check_dimensions(want, entry.embedding.dimensions())?;
                let index = places.iter().position(|at| *at == place).unwrap_or(place);
                let fault = |error: EmbeddingError| EmbedError::Text {
                    index,
                    fault: TextFault::Refused(format!("of its first {want} dimensions, {error}")),
                };
                entry.embedding.shortened(want).map_err(fault)
            })
            .collect::<Result<Vec<_>, _>>()?,
    };
    let of_extent = |extent| {
        let is_so = |index: &usize| entries[places[*index]].extent == extent;
        (0..places.len()).filter(is_so).collect()
    };
    let mut detours: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        if let Some(detour) = &entries[*place].detour {
            detours.entry(detour.clone()).or_default().push(index);
        }
    }
    Ok(EmbedAnswer {
        embeddings: places.iter().map(|place| embeddings[*place].clone()).collect(),
        n_tokens: places.iter().map(|place| u64::from(entries[*place].n_tokens)).sum(),
        n_hits,
        truncated: of_extent(Extent::Cut),
        cut_by_upstream: of_extent(Extent::CutByUpstream),
        spent: Spent::default(),
        detours,
    })
}
