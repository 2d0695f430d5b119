//! `embergate collections`: what there is, which generation serves, and which may go.

use std::collections::BTreeSet;

use clap::Subcommand;
use serde_json::{Value, json};

use super::failure::Usage;
use super::summary::grouped;
use super::{Context, Ending, covered};
use crate::document::Coverage;
use crate::index::Generations;
use crate::store::{self, Collection, IndexState, Store, collection_of};

#[derive(Debug, Subcommand)]
pub(super) enum Collections {
    /// List the collections that the store has
    List,
    /// Show a collection with all of its generations
    Show { name: String },
    /// Delete a collection with all that was indexed into it; the files stay
    Delete {
        /// Its whole name; nothing is asked
        name: String,
    },
    /// Let the generation serve that served before; a second time undoes it
    Rollback { name: String },
    /// Delete the generations of a collection that do not serve
    Prune { name: String },
}

impl Collections {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let opened = store::open(&context.config.store, &context.folders.data).await?;
        let shelf = Shelf { context, store: opened.0.as_ref(), state: &opened.1 };
        match self {
            Self::List => shelf.list().await?,
            Self::Show { name } => shelf.show(&name).await?,
            Self::Delete { name } => shelf.delete(&name).await?,
            Self::Rollback { name } => shelf.roll_back(&name).await?,
            Self::Prune { name } => shelf.prune(&name).await?,
        }
        Ok(Ending::Done)
    }
}

/// A store with what is known about it.
struct Shelf<'c> {
    context: &'c Context,
    store: &'c dyn Store,
    state: &'c IndexState,
}

/// A generation, and what is known of it.
struct Build {
    collection: Collection,
    /// `serving`, `previous`, or nothing.
    role: Option<&'static str>,
    n_chunks: u64,
    coverage: Coverage,
}

impl Shelf<'_> {
    async fn list(&self) -> anyhow::Result<()> {
        let stored = self.store.collections().await?;
        let names: BTreeSet<_> = stored.iter().map(|build| collection_of(&build.name).to_owned()).collect();
        let mut collections = Vec::new();
        for name in names {
            let generations = Generations::of(self.store, &name).await?;
            // One that an earlier Embergate made has no generations, and is its own.
            let serving = generations.serving().or_else(|| generations.all.values().next_back());
            let serving = serving.or_else(|| stored.iter().find(|build| build.name == name)).cloned();
            if let Some(serving) = serving {
                collections.push((name, self.build(&generations, serving).await?));
            }
        }
        let output = &self.context.output;
        if output.json {
            let collections: Vec<_> =
                collections.iter().map(|(name, build)| described(name, build)).collect();
            output.json(&json!({ "collections": collections }))?;
        } else if collections.is_empty() {
            output.remark("there are no collections yet: embergate index PATH --collection NAME");
        } else {
            let rows = collections.iter().map(|(name, build)| {
                let Collection { model, dimensions, language, .. } = &build.collection;
                let language = language.as_deref().unwrap_or("none");
                let coverage = covered::share(&build.coverage).unwrap_or_else(|| "unknown".to_owned());
                let (n_chunks, dimensions) = (build.n_chunks.to_string(), dimensions.to_string());
                [name.clone(), n_chunks, coverage, model.clone(), dimensions, language.to_owned()]
            });
            output.table(["name", "chunks", "covered", "model", "dimensions", "language"], rows)?;
        }
        Ok(())
    }

    async fn show(&self, name: &str) -> anyhow::Result<()> {
        let generations = self.known(name).await?;
        let mut builds = Vec::new();
        for collection in generations.all.values().cloned() {
            builds.push(self.build(&generations, collection).await?);
        }
        let roots = self.state.roots(name).await?;
        let output = &self.context.output;
        if output.json {
            let builds: Vec<_> =
                builds.iter().map(|build| described(&build.collection.name, build)).collect();
            let roots: Vec<Value> = roots.iter().filter_map(|root| serde_json::from_str(root).ok()).collect();
            output.json(&json!({
                "name": name, "serving": generations.serving, "previous": generations.previous,
                "generations": builds, "sources": roots,
            }))?;
            return Ok(());
        }
        let rows = builds.iter().map(|build| {
            let Collection { name, model, language, pipeline, space, .. } = &build.collection;
            let role = build.role.unwrap_or("left over").to_owned();
            let language = language.clone().unwrap_or_else(|| "none".to_owned());
            let short = |fingerprint: &str| fingerprint.chars().take(12).collect::<String>();
            let n_chunks = grouped(build.n_chunks);
            [name.clone(), role, n_chunks, model.clone(), language, short(space), short(pipeline)]
        });
        output.table(["generation", "role", "chunks", "model", "language", "space", "pipeline"], rows)?;
        Ok(())
    }

    async fn delete(&self, name: &str) -> anyhow::Result<()> {
        let generations = Generations::of(self.store, name).await?;
        let plain = self.store.collection(name).await?;
        if generations.all.is_empty() && plain.is_none() {
            return Err(not_there(name, "nothing is deleted").into());
        }
        let _lock = self.state.lock(name)?;
        generations.delete(self.store, self.state).await?;
        if generations.all.is_empty() {
            // Made by an earlier Embergate, without generations.
            self.store.drop_collection(name).await?;
            self.state.forget_all(name).await?;
        }
        self.state.forget_history(name).await?;
        self.told(&json!({ "deleted": name }), &format!("`{name}`: deleted"))
    }

    async fn roll_back(&self, name: &str) -> anyhow::Result<()> {
        let generations = self.known(name).await?;
        let _lock = self.state.lock(name)?;
        let before = generations.serving.clone().unwrap_or_default();
        match generations.roll_back(self.store).await? {
            Some(serving) => {
                let serving = &serving.name;
                let told = json!({ "collection": name, "serving": serving, "before": before });
                self.told(&told, &format!("`{name}`: {serving} serves instead of {before}"))
            }
            None => Err(Usage {
                message: format!("collection `{name}` has no earlier generation, and nothing is changed"),
                remedy: format!("embergate collections show {name}"),
            }
            .into()),
        }
    }

    async fn prune(&self, name: &str) -> anyhow::Result<()> {
        let generations = self.known(name).await?;
        let _lock = self.state.lock(name)?;
        let deleted = generations.prune(self.store, self.state).await?;
        let what =
            if deleted.is_empty() { "nothing to delete".to_owned() } else { deleted.join(", ") + " deleted" };
        self.told(&json!({ "collection": name, "deleted": deleted }), &format!("`{name}`: {what}"))
    }

    fn told(&self, value: &Value, line: &str) -> anyhow::Result<()> {
        let output = &self.context.output;
        Ok(if output.json { output.json(value) } else { output.line(line) }?)
    }

    async fn known(&self, name: &str) -> anyhow::Result<Generations> {
        let generations = Generations::of(self.store, name).await?;
        if generations.all.is_empty() {
            return Err(not_there(name, "nothing is changed").into());
        }
        Ok(generations)
    }

    async fn build(&self, generations: &Generations, collection: Collection) -> anyhow::Result<Build> {
        let is = |led: &Option<String>| led.as_ref() == Some(&collection.name);
        let role = match () {
            () if is(&generations.serving) => Some("serving"),
            () if is(&generations.previous) => Some("previous"),
            () => None,
        };
        let n_chunks = self.store.count(&collection.name, None).await?;
        let coverage = self.state.coverage(&collection.name).await?;
        Ok(Build { role, n_chunks, coverage, collection })
    }
}

fn not_there(name: &str, so: &str) -> Usage {
    let message = format!("there is no collection `{name}`, and {so}");
    Usage { message, remedy: "embergate collections list".into() }
}

fn described(name: &str, build: &Build) -> Value {
    let Build { collection, role, n_chunks, coverage } = build;
    json!({
        "name": name,
        "generation": collection.name,
        "role": role,
        "chunks": n_chunks,
        "coverage": covered::as_json(coverage),
        "model": collection.model,
        "dimensions": collection.dimensions,
        "language": collection.language,
        "space": collection.space,
        "pipeline": collection.pipeline,
    })
}
