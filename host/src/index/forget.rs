//! Sources that belong to a collection no more, whether they are there or not.

use super::source::Root;
use super::write::UNFINISHED;
use super::{IndexError, Indexer};
use crate::store::{Selection, SourceRecord, StoreError};

/// Records that are looked through at once.
const PAGE: usize = 1024;

impl Indexer {
    /// Removes the documents that came from `roots` and from nowhere else that the collection was
    /// given, and forgets these roots.
    ///
    /// Returns how many documents were removed from the generation that serves. Stopping it anywhere
    /// and doing it again is the same.
    ///
    /// # Errors
    /// There is no such collection, it was never given one of `roots`, or an indexer is at work on it.
    pub async fn forget(&self, collection: &str, roots: Vec<Root>) -> Result<u64, IndexError> {
        let _lock = self.state.lock(collection)?;
        let build = self.store.known(collection).await?;
        let remembered = self.remembered(collection).await?;
        let roots: Vec<_> = roots.into_iter().map(Root::absolute).collect();
        let is_given = |root: &Root| remembered.iter().any(|(_, known)| known.is_of_the_place_of(root));
        if let Some(unknown) = roots.iter().find(|root| !is_given(root)) {
            let known = remembered.iter().map(|(_, root)| root.shown()).collect();
            return Err(IndexError::NotGiven { root: unknown.shown(), known });
        }
        let (gone, left): (Vec<_>, Vec<_>) = remembered
            .into_iter()
            .partition(|(_, known)| roots.iter().any(|root| known.is_of_the_place_of(root)));
        let is_at = |roots: &[(String, Root)], source: &str| roots.iter().any(|(_, root)| root.has(source));
        let (mut after, mut n_removed) = (0, 0);
        loop {
            let page = self.state.page(&build.name, after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let records = page.into_iter().map(|(_, record)| record);
            let is_gone =
                |record: &SourceRecord| is_at(&gone, &record.source) && !is_at(&left, &record.source);
            let documents: Vec<_> = records.filter(is_gone).collect();
            n_removed += documents.len() as u64;
            self.remove(&build.name, documents).await?;
        }
        for (json, _) in &gone {
            self.state.remove_root(collection, json).await?;
        }
        Ok(n_removed)
    }

    /// Points between two records that say that something is under way: as a run removes what vanished.
    async fn remove(&self, generation: &str, documents: Vec<SourceRecord>) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let sources = documents.iter().map(|record| record.source.clone()).collect();
        let points: Vec<_> = documents.iter().flat_map(|record| record.points.iter().copied()).collect();
        let unfinished = |record| SourceRecord { pipeline: UNFINISHED.to_owned(), ..record };
        self.state.record(generation, documents.into_iter().map(unfinished).collect()).await?;
        for ids in points.chunks(PAGE) {
            self.store.delete(generation, Selection::Ids(ids.to_vec())).await?;
        }
        self.state.forget(generation, sources).await
    }
}
