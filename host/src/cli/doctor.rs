//! `embergate doctor`

use clap::Args;
use serde_json::{Value, json};

use super::output::shown_path;
use super::summary::grouped;
use super::through::Through;
use super::{Context, Ending, collection, replay};
use crate::index::{Examined, Finding};

/// Compare what is recorded of a collection with what its store has, and some chunks with their documents.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 0 where all is well, else with 3.

Examples:
  embergate doctor --collection docs
  embergate doctor --collection docs --sample 200
  embergate doctor --collection docs --repair")]
pub(super) struct Doctor {
    #[arg(long, short, value_name = "NAME")]
    collection: String,
    /// Chunks that are derived and embedded again
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16))]
    sample: u16,
    /// Index again what is not as it should be; what is there already is not embedded again
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    through: Through,
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let context = &self.through.context(context)?;
        let app = context.start_to_index().await?;
        let (store, state) = app.open_store().await?;
        let table = collection::stored(context, store.as_ref(), &self.collection).await?;
        let indexer = app.indexer(store, state);
        let examined = indexer.examine(&table, self.sample.into(), self.repair).await?;
        tell(context, &self.collection, &examined)?;
        let ending = match (examined.is_well(), self.repair) {
            (true, _) => Ending::Done,
            (false, false) => Ending::SomeDocumentsFailed,
            (false, true) => super::index::again(context, &indexer, table).await?,
        };
        app.stop().await;
        Ok(ending)
    }
}

fn tell(context: &Context, name: &str, examined: &Examined) -> std::io::Result<()> {
    let output = &context.output;
    if output.json {
        let findings: Vec<_> = examined.findings.iter().map(described).collect();
        return output.json(&json!({
            "collection": name, "generation": examined.generation, "well": examined.is_well(),
            "documents": examined.n_documents, "points": examined.n_points,
            "sampled": examined.n_sampled, "sampled_changed": examined.n_changed,
            "counts": examined.counts, "findings": findings, "marked": examined.n_marked,
        }));
    }
    let (n_documents, n_points) = (grouped(examined.n_documents), grouped(examined.n_points));
    output.line(&format!(
        "`{name}` ({}): {n_documents} documents, {n_points} points, {} derived and embedded again",
        examined.generation, examined.n_sampled
    ))?;
    if 0 < examined.n_changed {
        let n_changed = examined.n_changed;
        output.line(&format!(
            "  {n_changed} of them have a document that changed since: nothing can be said of these"
        ))?;
    }
    for finding in &examined.findings {
        output.line(&format!("  {}: {}", finding.kind(), in_words(finding)))?;
    }
    for (kind, count) in &examined.counts {
        let n_told = examined.findings.iter().filter(|finding| finding.kind() == *kind).count();
        if n_told < *count {
            output.line(&format!("  {kind}: {} more", grouped((count - n_told) as u64)))?;
        }
    }
    if examined.is_well() { output.line("  all is well") } else { Ok(()) }
}

fn in_words(finding: &Finding) -> String {
    match finding {
        Finding::Reconfigured(what) => {
            format!("{what} changed since: `embergate index` builds a new generation")
        }
        Finding::Unfinished { source } => format!("{}: a run was stopped at it", shown_path(source)),
        Finding::Missing { source, n_points } => {
            format!("{}: the store lacks {n_points} of its points", shown_path(source))
        }
        Finding::Orphans { source, n_points } => {
            format!("{}: {n_points} points that nothing is recorded of", shown_path(source))
        }
        Finding::Unlike { id, source, replayed } => {
            format!("{id} of {}: {}", shown_path(source), replay::in_words(replayed).1)
        }
        Finding::LeftOver { generation } => format!("{generation}: `embergate collections prune` deletes it"),
    }
}

fn described(finding: &Finding) -> Value {
    let mut value = json!({ "kind": finding.kind(), "detail": in_words(finding) });
    match finding {
        Finding::Reconfigured(_) => {}
        Finding::LeftOver { generation } => value["generation"] = generation.as_str().into(),
        Finding::Unfinished { source } => value["source"] = source.as_str().into(),
        Finding::Missing { source, n_points } | Finding::Orphans { source, n_points } => {
            value["source"] = source.as_str().into();
            value["points"] = (*n_points).into();
        }
        Finding::Unlike { id, source, replayed } => {
            value["source"] = source.as_str().into();
            value["id"] = id.to_string().into();
            value["verdict"] = replay::in_words(replayed).0.into();
        }
    }
    value
}
