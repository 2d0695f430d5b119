//! The generation that a run writes: the one that serves, or one beside it.

use super::adopt;
use super::generation::{Generations, delete, differs};
use super::source::Sources;
use super::{Indexer, Served, Summary};
use crate::store::{Collection, IndexState, Store, StoreError};

/// Records that are looked through at once.
const PAGE: usize = 1024;

/// Where a run writes, and what it takes the place of.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) generation: String,
    generations: Generations,
    /// Whether there is no such generation yet.
    is_new: bool,
    /// The generation that serves, where that is another one, and what it differs in.
    beside: Option<(Collection, &'static str)>,
}

impl Target {
    /// Finds the generation that is made as `wanted` says, or a name for it.
    pub(super) async fn find(store: &dyn Store, wanted: &Collection) -> Result<Self, StoreError> {
        let generations = Generations::of(store, &wanted.name).await?;
        let made_alike = generations.made_as(wanted).map(|build| build.name.clone());
        let is_new = made_alike.is_none();
        let generation = made_alike.unwrap_or_else(|| generations.next_name());
        let serving = generations.serving().filter(|serving| serving.name != generation);
        let beside = serving.and_then(|serving| Some((serving.clone(), differs(serving, wanted)?)));
        Ok(Self { generation, generations, is_new, beside })
    }

    /// Makes the generation where it is not there.
    ///
    /// The first one of a collection serves at once: there is nothing that it
    /// could be less complete than.
    pub(super) async fn make(&self, indexer: &Indexer, wanted: &Collection) -> Result<(), StoreError> {
        if self.is_new {
            // What is recorded of a generation that is gone would keep its documents out of this one.
            indexer.state.forget_all(&self.generation).await?;
        }
        let wanted = Collection { name: self.generation.clone(), ..wanted.clone() };
        indexer.store.create(&wanted).await?;
        if self.generations.serving().is_none() {
            self.generations.serve(indexer.store.as_ref(), &self.generation).await?;
        }
        Ok(())
    }

    /// Generations that have vectors of the space that is wanted: what `make` makes as well, where
    /// that was done.
    pub(super) fn known_in(&self, wanted: &Collection, is_made: bool) -> Vec<String> {
        let own = (is_made || !self.is_new).then_some(&self.generation);
        let is_alike = |(serving, _): &&(Collection, &str)| {
            (&serving.space, serving.dimensions) == (&wanted.space, wanted.dimensions)
        };
        let beside = self.beside.as_ref().filter(is_alike);
        own.into_iter().chain(beside.map(|(serving, _)| &serving.name)).cloned().collect()
    }

    /// The one that serves, where that is another one, and what it differs in.
    pub(super) fn beside(&self) -> Option<(String, &'static str)> {
        self.beside.as_ref().map(|(serving, why)| (serving.name.clone(), *why))
    }

    /// Whether much is to be written that nobody reads yet.
    pub(super) fn is_bulk(&self) -> bool {
        self.is_new || self.beside.is_some()
    }

    /// Lets the collection's name lead to the generation, where that is complete, and deletes
    /// those that nothing leads to any more.
    ///
    /// One that lacks documents which failed or were not looked at would take from readers
    /// what the one that serves still has.
    pub(super) async fn finish(
        &self,
        indexer: &Indexer,
        sources: &Sources,
        summary: &Summary,
        is_whole: bool,
    ) -> Result<Served, StoreError> {
        let Some((serving, _)) = &self.beside else { return Ok(Served::Already) };
        if 0 < summary.n_failed {
            let reason = format!("{} documents failed: mend them, and run it again", summary.n_failed);
            return Ok(Served::NotYet(reason));
        }
        if !is_whole {
            return Ok(Served::NotYet("not all documents were looked at: run it again".to_owned()));
        }
        // Where its records were lost, they are found again in its points.
        adopt::orphans(indexer.store.as_ref(), &indexer.state, &serving.name).await?;
        if let Some(reason) = left_behind(&indexer.state, &serving.name, sources).await? {
            return Ok(Served::NotYet(reason));
        }
        self.generations.serve(indexer.store.as_ref(), &self.generation).await?;
        let now = Generations::of(indexer.store.as_ref(), &self.generations.name).await?;
        let left_over: Vec<_> = now.left_over().map(str::to_owned).collect();
        delete(indexer.store.as_ref(), &indexer.state, &left_over).await?;
        Ok(Served::Instead(serving.name.clone()))
    }
}

/// Whether a generation has documents that are not under `sources`: one that takes its place
/// would lose them.
async fn left_behind(
    state: &IndexState,
    serving: &str,
    sources: &Sources,
) -> Result<Option<String>, StoreError> {
    let (mut after, mut n_left, mut first) = (0, 0_u64, None);
    loop {
        let page = state.page(serving, after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        let left = page.into_iter().map(|(_, record)| record.source);
        for source in left.filter(|source| !sources.contains(source)) {
            n_left += 1;
            first.get_or_insert(source);
        }
    }
    Ok(first.map(|first| {
        format!(
            "{n_left} documents of {serving} are not under what was given, `{first}` the first of them: \
             index them too, or index into another collection"
        )
    }))
}
