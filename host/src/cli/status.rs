//! `embergate status`: what is indexed, from where, how the last run ended, and what is under way.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Value, json};

use super::summary::{bytes, grouped, shown};
use super::{Context, Ending};
use crate::index::Generations;
use crate::store::{self, IndexState, Run, Store, StoreError, Totals, collection_of};

/// Show what is indexed, from where, how the last run ended, and what is under way.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// One collection; else all
    #[arg(long, short, value_name = "NAME")]
    collection: Option<String>,
}

/// What there is to say of one collection.
struct Report {
    generations: Generations,
    n_chunks: u64,
    totals: Totals,
    roots: Vec<String>,
    last: Option<Run>,
    /// Who is indexing into it.
    busy: Option<String>,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let (store, state) = store::open(&context.config.store, &context.folders.data).await?;
        let names: BTreeSet<_> = match &self.collection {
            Some(name) => {
                store.known(name).await?;
                [name.clone()].into()
            }
            None => {
                let stored = store.collections().await?;
                stored.iter().map(|build| collection_of(&build.name).to_owned()).collect()
            }
        };
        let mut reports = Vec::new();
        for name in names {
            reports.push(Report::of(store.as_ref(), &state, &name).await?);
        }
        let output = &context.output;
        if output.json {
            let collections: Vec<_> = reports.iter().map(Report::as_json).collect();
            output.json(&json!({ "store": context.config.store.shown(&context.folders.data), "collections": collections }))?;
            return Ok(Ending::Done);
        }
        output.line(&format!("store: {}", context.config.store.shown(&context.folders.data)))?;
        for report in &reports {
            output.line("")?;
            for line in report.lines() {
                output.line(&line)?;
            }
        }
        if reports.is_empty() {
            output.remark("there are no collections yet: embergate index PATH --collection NAME");
        }
        Ok(Ending::Done)
    }
}

impl Report {
    async fn of(store: &dyn Store, state: &IndexState, name: &str) -> Result<Self, StoreError> {
        let generations = Generations::of(store, name).await?;
        let serving = generations.serving.clone().unwrap_or_else(|| name.to_owned());
        let busy = match state.lock(name) {
            Err(StoreError::Locked { holder, .. }) => Some(holder.trim().to_owned()),
            _ => None,
        };
        Ok(Self {
            n_chunks: store.count(&serving, None).await?,
            totals: state.totals(&serving).await?,
            roots: state.roots(name).await?,
            last: state.runs(name).await?.into_iter().next(),
            busy,
            generations,
        })
    }

    fn lines(&self) -> Vec<String> {
        let Self { generations, n_chunks, totals, .. } = self;
        let serving = generations.serving.as_deref().unwrap_or("none serves");
        let mut lines = vec![format!("{} ({serving})", generations.name)];
        let mut row = |name: &str, value: String| lines.push(format!("  {name:<10} {value}"));
        if let Some(build) = generations.serving() {
            row("model", format!("{}, {} dimensions", build.model, build.dimensions));
        }
        let n_documents = grouped(totals.n_documents);
        row("documents", format!("{n_documents}, {}; {} chunks", bytes(totals.n_bytes), grouped(*n_chunks)));
        for root in &self.roots {
            row("source", place(root));
        }
        let others =
            generations.all.values().filter(|build| Some(&build.name) != generations.serving.as_ref());
        for build in others {
            let is_previous = Some(&build.name) == generations.previous.as_ref();
            let what =
                if is_previous { "served before: `embergate collections rollback`" } else { "not complete" };
            row("beside", format!("{}, {what}", build.name));
        }
        if let Some(last) = &self.last {
            row("last run", format!("{}, {}", last.outcome, ago(last)));
        }
        if let Some(holder) = &self.busy {
            row("now", format!("being indexed {holder}").trim_end().to_owned());
        }
        lines
    }

    fn as_json(&self) -> Value {
        let roots: Vec<Value> =
            self.roots.iter().filter_map(|root| serde_json::from_str(root).ok()).collect();
        let last = self.last.as_ref().map(|last| {
            json!({
                "began": last.began / 1_000_000_000, "ended": last.ended / 1_000_000_000, "outcome": last.outcome,
                "summary": serde_json::from_str::<Value>(&last.summary).unwrap_or_default(),
            })
        });
        json!({
            "name": self.generations.name, "serving": self.generations.serving,
            "generations": self.generations.all.values().map(|build| &build.name).collect::<Vec<_>>(),
            "model": self.generations.serving().map(|build| &build.model),
            "documents": self.totals.n_documents, "bytes": self.totals.n_bytes,
            "tokens": self.totals.n_tokens, "chunks": self.n_chunks,
            "sources": roots, "last_run": last, "busy": self.busy,
        })
    }
}

/// When a run ended, and how long it took; the clock may have been set meanwhile.
fn ago(run: &Run) -> String {
    let nanos = |value: i64| Duration::from_nanos(u64::try_from(value).unwrap_or_default());
    let took = nanos(run.ended.saturating_sub(run.began));
    let ended = SystemTime::UNIX_EPOCH + nanos(run.ended);
    match SystemTime::now().duration_since(ended) {
        Ok(since) => format!("{} ago, in {}", shown(since), shown(took)),
        Err(_) => format!("at a time that has not come yet, in {}", shown(took)),
    }
}

/// Where a source is, of what is kept about it.
fn place(root: &str) -> String {
    let value: Value = serde_json::from_str(root).unwrap_or_default();
    let text = |key: &str| value.pointer(key).and_then(Value::as_str).map(str::to_owned);
    ["/path", "/url", "/name"].into_iter().find_map(text).unwrap_or_else(|| root.to_owned())
}
