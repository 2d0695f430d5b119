//! A generation as lines of JSON, and back: between stores, and between machines.
//!
//! The first line says what holds for all points. Then come the roots, the
//! records of documents, the points, and a last line that counts them, so that a
//! file that was cut is known as one. Vectors are written as they are stored:
//! what is read back has the same bits.
//!
//! An import builds a generation that nothing leads to until it is whole. One
//! that was stopped is noted in the indexer's state; the next one deletes what it
//! left and begins anew.

mod lines;
mod read;

use std::io::{BufRead, Write};

use tokio::sync::mpsc::Receiver;

use super::checks::{check_comparable, no_collection};
use super::names::{collection_of, generation, generation_of, previous};
use super::{Collection, IndexState, SourceRecord, Store, StoreError, Tuning, check_name};
use lines::{End, Line};
use read::Part;

/// Points, or records, that are read from a store at once.
const PAGE: usize = 256;
/// The pipeline of records whose points may be missing still: no pipeline's fingerprint.
const UNFINISHED: &str = "";

/// What was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    pub n_points: u64,
    pub n_sources: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("cannot write the export")]
    Write(#[source] std::io::Error),
    #[error("cannot read the import")]
    Read(#[source] std::io::Error),
    #[error("the import begins with no header: its first line should be that of `embergate export`")]
    NoHeader,
    #[error("the import is of version {have}, and this Embergate knows {known}: use the one that wrote it")]
    Version { have: u32, known: u32 },
    #[error("line {line} of the import cannot be used: {reason}")]
    Line { line: u64, reason: String },
    #[error("the import was cut: {reason}; export it again")]
    Cut { reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes a collection: the generation that serves, or the one that is named.
///
/// # Errors
/// `Locked` where an indexer works on it, which would change it meanwhile.
pub async fn export(
    store: &dyn Store,
    state: &IndexState,
    name: &str,
    mut out: impl Write + Send,
) -> Result<Transferred, TransferError> {
    let Some(collection) = store.collection(name).await? else {
        return Err(no_collection(name, &store.collections().await?).into());
    };
    let _lock = state.lock(collection_of(&collection.name))?;
    let mut write = |line: Line| lines::write(&mut out, &line).map_err(TransferError::Write);
    write(Line::header(&collection))?;
    for root in state.roots(collection_of(&collection.name)).await? {
        write(Line::Root(root))?;
    }
    let mut done = Transferred::default();
    let mut after = 0;
    loop {
        let records = state.page(&collection.name, after, PAGE).await?;
        let Some((last, _)) = records.last() else { break };
        (after, done.n_sources) = (*last, done.n_sources + records.len() as u64);
        records.into_iter().try_for_each(|(_, record)| write(Line::source(record)))?;
    }
    let mut after = None;
    loop {
        let points = store.page(&collection.name, after, PAGE).await?;
        let Some(last) = points.last() else { break };
        (after, done.n_points) = (Some(last.id), done.n_points + points.len() as u64);
        points.into_iter().try_for_each(|point| write(Line::point(point)))?;
    }
    write(Line::End(End { points: done.n_points, sources: done.n_sources }))?;
    out.flush().map_err(TransferError::Write)?;
    Ok(done)
}

/// An import whose header is read.
pub struct Import {
    collection: Collection,
    parts: Receiver<Result<Part, TransferError>>,
    /// Of what the collection is made.
    roots: Vec<String>,
}

impl Import {
    /// Reads the header, and what follows as it is asked for, on a thread of its own.
    ///
    /// # Errors
    /// It has no header, or one of another version.
    pub async fn open(lines: impl BufRead + Send + 'static) -> Result<Self, TransferError> {
        let mut parts = read::spawn(lines);
        match parts.recv().await {
            Some(Ok(Part::Header(collection))) => Ok(Self { collection, parts, roots: Vec::new() }),
            Some(Err(error)) => Err(error),
            _ => Err(TransferError::NoHeader),
        }
    }

    /// What holds for all points, by the name that the collection had.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Makes it the generation of collection `name` that serves.
    ///
    /// # Errors
    /// The collection is there with another model, space or dimensions; a line
    /// cannot be used, or the last one is missing. Then nothing is left of it.
    pub async fn run(
        mut self,
        store: &dyn Store,
        state: &IndexState,
        name: &str,
    ) -> Result<Transferred, TransferError> {
        check_name(name)?;
        let _lock = state.lock(name)?;
        let before = store.collection(name).await?;
        if let Some(before) = &before {
            check_comparable(before, &Collection { name: name.to_owned(), ..self.collection.clone() })?;
        }
        for left in state.imports(name).await? {
            discard(store, state, &left).await?;
        }
        let new = next_generation(store, name).await?;
        let outcome = self.build(store, state, &new).await;
        if outcome.is_err() {
            discard(store, state, &new).await?;
            return outcome;
        }
        for root in std::mem::take(&mut self.roots) {
            state.add_root(name, root).await?;
        }
        let mut changes = vec![(name.to_owned(), Some(new.clone()))];
        changes.extend(before.map(|before| (previous(name), Some(before.name))));
        store.set_aliases(changes).await?;
        state.end_import(&new).await?;
        outcome
    }

    /// Fills a new generation, and checks that it has all of its points.
    async fn build(
        &mut self,
        store: &dyn Store,
        state: &IndexState,
        new: &str,
    ) -> Result<Transferred, TransferError> {
        state.begin_import(new).await?;
        store.create(&Collection { name: new.to_owned(), ..self.collection.clone() }).await?;
        store.tune(new, Tuning::Bulk).await?;
        let end = self.fill(store, state, new).await?;
        let stored = store.count(new, None).await?;
        if stored != end.n_points {
            let reason = format!("{} points have {stored} ids among them", end.n_points);
            return Err(TransferError::Cut { reason });
        }
        store.tune(new, Tuning::Serving).await?;
        state.finish_import(new).await?;
        Ok(end)
    }

    async fn fill(
        &mut self,
        store: &dyn Store,
        state: &IndexState,
        new: &str,
    ) -> Result<Transferred, TransferError> {
        while let Some(part) = self.parts.recv().await {
            match part? {
                Part::Header(_) => {}
                Part::Root(root) => self.roots.push(root),
                Part::Sources(records) => {
                    // An indexer that finds this generation half done finds each point in a record.
                    let unfinished = |record: &SourceRecord| SourceRecord {
                        pipeline: UNFINISHED.to_owned(),
                        coverage: None,
                        ..record.clone()
                    };
                    state.record(new, records.iter().map(unfinished).collect()).await?;
                    state.stage(new, records).await?;
                }
                Part::Points(points) => store.upsert(new, points).await?,
                Part::End(end) => return Ok(end),
            }
        }
        Err(TransferError::Cut { reason: "its last line is missing".to_owned() })
    }
}

/// Deletes what is left of an import that was stopped; one that serves was done.
async fn discard(store: &dyn Store, state: &IndexState, name: &str) -> Result<(), StoreError> {
    let serves = store.aliases().await?.values().any(|there| there == name);
    if !serves {
        if store.collection(name).await?.is_some() {
            store.drop_collection(name).await?;
        }
        state.forget_all(name).await?;
    }
    state.end_import(name).await
}

/// The name of a generation after all that the collection has.
async fn next_generation(store: &dyn Store, name: &str) -> Result<String, StoreError> {
    let collections = store.collections().await?;
    let numbers = collections.iter().filter_map(|there| generation_of(&there.name));
    let last = numbers.filter(|(collection, _)| *collection == name).map(|(_, number)| number).max();
    Ok(generation(name, last.unwrap_or_default() + 1))
}
