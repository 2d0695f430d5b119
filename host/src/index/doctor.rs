//! What is recorded of a collection against what its store has, and both
//! against what would be made now.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::generation::{Generations, differs};
use super::job::Job;
use super::replay::{Replayed, replay};
use super::write::UNFINISHED;
use super::{CollectionConfig, IndexError, Indexer};
use crate::store::{Collection, Point, SourceRecord, StoreError};

/// Records and points that are looked through at once.
const PAGE: usize = 1024;
/// Findings that are told one by one, of each kind.
const MAX_TOLD: usize = 20;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// What the configuration says is not what the generation was made with.
    Reconfigured(&'static str),
    /// A document that a stopped run was at work on.
    Unfinished { source: String },
    /// Points that are recorded, and not in the store.
    Missing { source: String, n_points: usize },
    /// Points in the store that nothing is recorded of.
    Orphans { source: String, n_points: usize },
    /// A chunk of the sample that does not come out as it is stored.
    Unlike { id: Uuid, source: String, replayed: Replayed },
    /// A generation that nothing leads to.
    LeftOver { generation: String },
}

impl Finding {
    /// A word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Reconfigured(_) => "reconfigured",
            Self::Unfinished { .. } => "unfinished",
            Self::Missing { .. } => "missing",
            Self::Orphans { .. } => "orphans",
            Self::Unlike { .. } => "unlike",
            Self::LeftOver { .. } => "left over",
        }
    }
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    pub generation: String,
    pub n_documents: u64,
    pub n_points: u64,
    /// Chunks that were derived and embedded again.
    pub n_sampled: usize,
    /// Those of them whose document has changed since: nothing can be said of these.
    pub n_changed: usize,
    /// The first of each kind.
    pub findings: Vec<Finding>,
    /// How many there are of each kind.
    pub counts: BTreeMap<&'static str, usize>,
    /// Documents that the next run was told to do again.
    pub n_marked: usize,
}

impl Examined {
    /// Returns whether nothing was found.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.kind()).or_default();
        *count += 1;
        if *count <= MAX_TOLD {
            self.findings.push(finding);
        }
    }
}

impl Indexer {
    /// Compares state and store point by point, and `n_sample` chunks with what
    /// their documents give now. With `repair`, documents that are not as they
    /// should be are marked, so that the next run does them again; it embeds
    /// nothing that is there.
    ///
    /// # Errors
    /// There is no such collection, or what it needs cannot be asked. With
    /// `repair`, also that an indexer is at work on it.
    pub async fn examine(
        &self,
        collection: &CollectionConfig,
        n_sample: usize,
        repair: bool,
    ) -> Result<Examined, IndexError> {
        let _lock = repair.then(|| self.state.lock(&collection.name)).transpose()?;
        let job = Job::new(self, collection).await?;
        let build = self.store.known(&collection.name).await?;
        let mut examined = Examined { generation: build.name.clone(), ..Examined::default() };
        let reconfigured = differs(&build, &job.collection);
        if let Some(what) = reconfigured {
            examined.find(Finding::Reconfigured(what));
        }
        let generations = Generations::of(self.store.as_ref(), &collection.name).await?;
        for generation in generations.left_over() {
            examined.find(Finding::LeftOver { generation: generation.to_owned() });
        }
        let mut marks = Marks::default();
        self.records(&build, &mut examined, &mut marks, repair).await?;
        self.stored(&build, &mut examined, &mut marks, repair).await?;
        if reconfigured.is_none() {
            // Else every chunk would come out in another way.
            self.sample(&job, &build, n_sample, &mut examined).await?;
        }
        examined.n_marked = marks.n_marked;
        Ok(examined)
    }

    /// Looks for the points of every record.
    async fn records(
        &self,
        build: &Collection,
        examined: &mut Examined,
        marks: &mut Marks,
        repair: bool,
    ) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let page = self.state.page(&build.name, after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            let ids: Vec<_> = page.iter().flat_map(|(_, record)| record.points.iter().copied()).collect();
            let mut there = HashSet::new();
            for ids in ids.chunks(PAGE) {
                there.extend(self.store.existing(&build.name, ids).await?);
            }
            for (_, record) in page {
                examined.n_documents += 1;
                let n_missing = record.points.iter().filter(|id| !there.contains(*id)).count();
                let source = record.source.clone();
                if record.pipeline == UNFINISHED {
                    examined.find(Finding::Unfinished { source });
                } else if 0 < n_missing {
                    examined.find(Finding::Missing { source, n_points: n_missing });
                    marks.mark(record);
                }
            }
            if repair {
                marks.write(self, &build.name).await?;
            }
        }
    }

    /// Looks for a record of every point.
    async fn stored(
        &self,
        build: &Collection,
        examined: &mut Examined,
        marks: &mut Marks,
        repair: bool,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.store.page(&build.name, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            examined.n_points += page.len() as u64;
            let mut by_source: HashMap<String, Vec<Uuid>> = HashMap::new();
            for Point { id, payload, .. } in page {
                by_source.entry(payload.source).or_default().push(id);
            }
            let sources: Vec<_> = by_source.keys().cloned().collect();
            let records = self.state.look_up(&build.name, &sources).await?;
            for ((source, ids), record) in by_source.into_iter().zip(records) {
                let mut record = record.map(|(_, record)| record).unwrap_or_default();
                let known: HashSet<_> = record.points.iter().copied().collect();
                let orphans: Vec<_> = ids.into_iter().filter(|id| !known.contains(id)).collect();
                if !orphans.is_empty() {
                    let n_points = orphans.len();
                    record.points.extend(orphans);
                    examined.find(Finding::Orphans { source: source.clone(), n_points });
                    marks.mark(SourceRecord { source, ..record });
                }
            }
            if repair {
                marks.write(self, &build.name).await?;
            }
        }
    }

    /// Derives some chunks again. Ids are hashes: the first of them are as good a sample as any.
    async fn sample(
        &self,
        job: &Job,
        build: &Collection,
        n_sample: usize,
        examined: &mut Examined,
    ) -> Result<(), IndexError> {
        if n_sample == 0 {
            return Ok(());
        }
        for stored in self.store.page(&build.name, None, n_sample).await? {
            let record = self.state.source(&build.name, &stored.payload.source).await?;
            let (replayed, _) = replay(job, &stored, record).await?;
            examined.n_sampled += 1;
            match replayed {
                Replayed::Same { .. } => {}
                Replayed::Changed => examined.n_changed += 1,
                replayed => {
                    let (id, source) = (stored.id, stored.payload.source);
                    examined.find(Finding::Unlike { id, source, replayed });
                }
            }
        }
        Ok(())
    }
}

/// Documents that are to be done again.
#[derive(Default)]
struct Marks {
    records: Vec<SourceRecord>,
    n_marked: usize,
}

impl Marks {
    fn mark(&mut self, record: SourceRecord) {
        // A record of no pipeline is that of a document which is not finished.
        self.records.push(SourceRecord { pipeline: UNFINISHED.to_owned(), ..record });
    }

    async fn write(&mut self, indexer: &Indexer, generation: &str) -> Result<(), StoreError> {
        let records = std::mem::take(&mut self.records);
        if !records.is_empty() {
            self.n_marked += records.len();
            indexer.state.record(generation, records).await?;
        }
        Ok(())
    }
}
