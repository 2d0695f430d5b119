//! Points that nothing is recorded of: their documents get records, so that the
//! next run keeps what is right and deletes what is stale.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::write::UNFINISHED;
use crate::store::{IndexState, SourceRecord, Store, StoreError};

/// Points that are read at once.
const PAGE: usize = 1024;

/// Records the points of `generation`, where the store has more than are
/// recorded: the state was lost, or belongs to another machine.
///
/// A run that was stopped leaves no such point: it records points before it
/// writes them. Returns how many points were found.
pub(super) async fn orphans(
    store: &dyn Store,
    state: &IndexState,
    generation: &str,
) -> Result<u64, StoreError> {
    let n_stored = store.count(generation, None).await?;
    if n_stored <= state.totals(generation).await?.n_points {
        return Ok(0);
    }
    let mut after = None;
    let mut n_found = 0;
    loop {
        let page = store.page(generation, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(n_found) };
        after = Some(last.id);
        let mut by_source: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
        for point in page {
            by_source.entry(point.payload.source).or_default().push(point.id);
        }
        n_found += adopt(state, generation, by_source).await?;
    }
}

async fn adopt(
    state: &IndexState,
    generation: &str,
    by_source: BTreeMap<String, Vec<Uuid>>,
) -> Result<u64, StoreError> {
    let sources: Vec<_> = by_source.keys().cloned().collect();
    let known = state.look_up(generation, &sources).await?;
    let mut records = Vec::new();
    let mut n_found = 0;
    for ((source, ids), known) in by_source.into_iter().zip(known) {
        let mut record = known.map(|(_, record)| record).unwrap_or_default();
        let unknown: Vec<_> = ids.into_iter().filter(|id| !record.points.contains(id)).collect();
        if unknown.is_empty() {
            continue;
        }
        n_found += unknown.len() as u64;
        record.points.extend(unknown);
        let pipeline = UNFINISHED.to_owned();
        records.push(SourceRecord { source, pipeline, ..record });
    }
    if !records.is_empty() {
        state.record(generation, records).await?;
    }
    Ok(n_found)
}
