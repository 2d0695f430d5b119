//! `embergate collections list` and `embergate collections delete`

use clap::Subcommand;
use serde_json::{Value, json};

use super::failure::Usage;
use super::{Context, Ending, covered};
use crate::document::Coverage;
use crate::store::{self, Collection};

#[derive(Debug, Subcommand)]
pub(super) enum Collections {
    /// List the collections that the store has
    List,
    /// Delete a collection with all that was indexed into it; the files stay
    Delete {
        /// Its whole name; nothing is asked
        name: String,
    },
}

impl Collections {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        match self {
            Self::List => list(context).await?,
            Self::Delete { name } => delete(context, &name).await?,
        }
        Ok(Ending::Done)
    }
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let (store, state) = store::open(&context.config.store, &context.folders.data).await?;
    let mut counted = Vec::new();
    for collection in store.collections().await? {
        let n_chunks = store.count(&collection.name, None).await?;
        let coverage = state.coverage(&collection.name).await?;
        counted.push((collection, n_chunks, coverage));
    }
    if context.output.json {
        let collections: Vec<Value> = counted.iter().map(described).collect();
        context.output.json(&json!({ "collections": collections }))?;
    } else if counted.is_empty() {
        context.output.remark("there are no collections yet: embergate index PATH --collection NAME");
    } else {
        let rows = counted.iter().map(|(collection, n_chunks, coverage)| {
            let Collection { name, model, dimensions, language, .. } = collection;
            let language = language.as_deref().unwrap_or("none");
            let (n_chunks, dimensions) = (n_chunks.to_string(), dimensions.to_string());
            let coverage = covered::share(coverage).unwrap_or_else(|| "unknown".to_owned());
            [name.clone(), n_chunks, coverage, model.clone(), dimensions, language.to_owned()]
        });
        context.output.table(["name", "chunks", "covered", "model", "dimensions", "language"], rows)?;
    }
    Ok(())
}

/// Records go last: what a stopped deletion leaves of them is dropped by the
/// next index of that name.
async fn delete(context: &Context, name: &str) -> anyhow::Result<()> {
    let (store, state) = store::open(&context.config.store, &context.folders.data).await?;
    if store.collection(name).await?.is_none() {
        let message = format!("there is no collection `{name}`, and nothing is deleted");
        return Err(Usage { message, remedy: "embergate collections list".into() }.into());
    }
    let _lock = state.lock(name)?;
    store.drop_collection(name).await?;
    state.forget_all(name).await?;
    if context.output.json {
        context.output.json(&json!({ "deleted": name }))?;
    } else {
        context.output.line(&format!("`{name}`: deleted"))?;
    }
    Ok(())
}

fn described((collection, n_chunks, coverage): &(Collection, u64, Coverage)) -> Value {
    json!({
        "name": collection.name,
        "chunks": n_chunks,
        "coverage": covered::as_json(coverage),
        "model": collection.model,
        "dimensions": collection.dimensions,
        "language": collection.language,
    })
}
