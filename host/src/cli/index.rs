//! `embergate index`

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::failure::Usage;
use super::progress::Progress;
use super::sources::Sources;
use super::through::{self, Through};
use super::{Context, Ending, collection, planned, summary};
use crate::config::EMBEDDED_MODEL;
use crate::embed::Embedder;
use crate::index::{CollectionConfig, IndexError, IndexRequest, Indexer, Summary};
use crate::shutdown::Signals;
use crate::store::{Collection, Run, Store};

/// Bring a collection to the state of files and folders: what changed is embedded, what vanished is removed.
#[derive(Debug, Args)]
#[command(after_help = "\
A run that was stopped loses nothing: the same command goes on where it ended.
Another model, language or plugin builds a new generation of the collection beside
the one that serves; readers see it when it is complete.
With --json, stdout has one event a line: `building`, `found`, `finished` for each
document, `summary`; with --plan, `planned` for each and `plan`.

Examples:
  embergate index docs README.md --collection docs
  embergate index belgeler --collection belgeler --language tr
  embergate index tickets.jsonl --collection tickets --text-field body --id-field key
  sort notes.txt | embergate index - --id notes --collection docs
  embergate index docs --collection docs --plan
  embergate index docs --collection docs --watch
  embergate index docs --collection docs --gateway http://127.0.0.1:8642")]
pub(super) struct Index {
    /// The collection, made where there is none of that name
    #[arg(long, short, value_name = "NAME")]
    collection: String,
    /// The collection's model; else what it has, the first `[[model]]` table's, or the built-in one
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The collection's language, such as `tr`: how words are split and stemmed
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// Say what would be done, and what it would cost, and do nothing
    #[arg(long, conflicts_with = "watch")]
    plan: bool,
    /// Stay, and index again whenever something changes
    #[arg(long)]
    watch: bool,
    /// Remove what came from the named sources, which may be gone, and do not look there again
    #[arg(long, conflicts_with_all = ["plan", "watch", "limit"], requires = "sources")]
    forget: bool,
    /// New and changed documents, at most; the rest waits for the next run
    #[arg(long, value_name = "N", conflicts_with = "watch")]
    limit: Option<u64>,
    /// Documents that are prepared, and batches that are embedded, at once; else as configured
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    through: Through,
}

impl Index {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let context = &self.through.context(context)?;
        let signals = Signals::spawn()?;
        let app = context.start_to_index().await?;
        let (store, state) = app.open_store().await?;
        if self.forget {
            let indexer = app.indexer(store, state);
            let n_removed = indexer.forget(&self.collection, self.sources.roots(context).await?).await?;
            return forgotten(context, &self.collection, n_removed);
        }
        let collection = self.chosen(context, store.as_ref(), &app.embedder).await?;
        let mut indexer = app.indexer(store, state);
        if let Some(concurrency) = self.concurrency {
            indexer.config.max_documents = concurrency.into();
            indexer.config.max_batches = concurrency.into();
        }
        let stop = signals.token();
        let roots = tokio::select! {
            roots = self.sources.roots(context) => roots?,
            () = stop.cancelled() => return Ok(Ending::Interrupted),
        };
        let request = IndexRequest { roots, collection, limit: self.limit };
        let work = async {
            match (self.plan, self.watch) {
                (true, _) => plan(context, &indexer, request).await,
                (false, false) => once(context, &indexer, &request).await,
                (false, true) => always(context, &indexer, &request).await,
            }
        };
        let ending = tokio::select! {
            ending = work => ending?,
            () = stop.cancelled() => {
                context.output.remark("interrupted: what was done is kept, and the same command goes on from there");
                return Ok(Ending::Interrupted);
            }
        };
        app.stop().await;
        Ok(ending)
    }

    /// The collection as its table has it, else as it is stored, else as the command line wants it.
    async fn chosen(
        &self,
        context: &Context,
        store: &dyn Store,
        embedder: &Embedder,
    ) -> anyhow::Result<CollectionConfig> {
        let model = match &self.model {
            Some(asked) => Some(through::known(embedder, asked).await?),
            None => None,
        };
        let name = &self.collection;
        if let Some(table) = collection::table(context, name) {
            self.must_agree(model.as_deref(), &table.model, table.language.as_deref())?;
            return Ok(table);
        }
        let (model, language) = match store.collection(name).await? {
            Some(Collection { model: stored, language, .. }) => {
                (model.unwrap_or(stored), self.language.clone().or(language))
            }
            None => {
                let usual = if model.is_none() { self.through.first_model(embedder).await? } else { None };
                (model.or(usual).unwrap_or_else(|| self.first_model(context)), self.language.clone())
            }
        };
        Ok(CollectionConfig { name: name.clone(), model, language, max_tokens: None, rules: Vec::new() })
    }

    /// The model of a new collection where `--model` is not said.
    fn first_model(&self, context: &Context) -> String {
        if let Some(first) = context.config.models.first() {
            return first.name.clone();
        }
        if context.config.may_find_models() {
            context.output.remark(&format!(
                "no --model: `{EMBEDDED_MODEL}`, which is built in, embeds `{}`; a model of an upstream has to be named",
                self.collection
            ));
        }
        EMBEDDED_MODEL.to_owned()
    }

    fn must_agree(&self, want: Option<&str>, model: &str, language: Option<&str>) -> Result<(), Usage> {
        // What is written as the table writes it agrees, whatever name it leads to.
        let want = want.filter(|_| self.model.as_deref() != Some(model));
        self.differs("model", want, Some(model))?;
        self.differs("language", self.language.as_deref(), language)
    }

    fn differs(&self, what: &str, want: Option<&str>, have: Option<&str>) -> Result<(), Usage> {
        let Some(want) = want.filter(|want| Some(*want) != have) else { return Ok(()) };
        let name = &self.collection;
        let message = match have {
            Some(have) => {
                format!(
                    "collection `{name}` has the {what} `{have}` in its [[collection]] table, not `{want}`"
                )
            }
            None => format!(
                "collection `{name}` has no {what} in its [[collection]] table, so `--{what} {want}` does not fit"
            ),
        };
        Err(Usage { message, remedy: format!("leave out --{what}, or change the table") })
    }
}

/// Brings a collection to the state of all that it was ever given.
pub(super) async fn again(
    context: &Context,
    indexer: &Indexer,
    collection: CollectionConfig,
) -> anyhow::Result<Ending> {
    once(context, indexer, &IndexRequest { roots: Vec::new(), collection, limit: None }).await
}

fn forgotten(context: &Context, collection: &str, n_removed: u64) -> anyhow::Result<Ending> {
    let output = &context.output;
    if output.json {
        output.json(
            &serde_json::json!({ "event": "forgotten", "collection": collection, "removed": n_removed }),
        )?;
    } else {
        output
            .line(&format!("`{collection}`: {n_removed} documents removed, and their sources forgotten"))?;
    }
    Ok(Ending::Done)
}

/// One run, told and remembered.
async fn once(context: &Context, indexer: &Indexer, request: &IndexRequest) -> anyhow::Result<Ending> {
    let began = (Instant::now(), now());
    let mut progress = Progress::new(&context.output);
    let ended = indexer.run(request.clone(), &mut |event| progress.tell(&event)).await;
    progress.end()?;
    let remembered = remember(indexer, &request.collection.name, began.1, &ended).await;
    // What ended the run says more than that it cannot be remembered.
    let summary = ended?;
    remembered?;
    summary::tell(&context.output, &request.collection.name, &summary, began.0.elapsed())?;
    Ok(if summary.n_failed == 0 { Ending::Done } else { Ending::SomeDocumentsFailed })
}

/// Runs again whenever something changes. What keeps one run from ending well may have passed at
/// the next change; what keeps the first one from it ends the command.
async fn always(context: &Context, indexer: &Indexer, request: &IndexRequest) -> anyhow::Result<Ending> {
    let mut watch = indexer.watch(request).await?;
    if let Some(reason) = watch.is_looking() {
        context.output.remark(&format!("looking for changes every {:?}: {reason}", watch.every()));
    }
    once(context, indexer, request).await?;
    loop {
        context.output.remark("watching: stop with Ctrl-C");
        watch.changed().await;
        if let Err(error) = once(context, indexer, request).await {
            super::failure::report(&error, &context.output);
        }
    }
}

async fn plan(context: &Context, indexer: &Indexer, request: IndexRequest) -> anyhow::Result<Ending> {
    let name = request.collection.name.clone();
    let mut progress = Progress::new(&context.output);
    let ended = indexer.plan(request, &mut |event| progress.tell(&event)).await;
    progress.end()?;
    let (plan, summary) = ended?;
    planned::tell(&context.output, &name, &plan, &summary)?;
    Ok(Ending::Done)
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Leaves for `status` how the run ended.
async fn remember(
    indexer: &Indexer,
    collection: &str,
    began: i64,
    ended: &Result<Summary, IndexError>,
) -> anyhow::Result<()> {
    let (outcome, summary) = match ended {
        Ok(summary) if summary.n_failed == 0 => ("done", summary::as_json(summary)),
        Ok(summary) => ("some documents failed", summary::as_json(summary)),
        Err(error) => ("failed", serde_json::json!({ "error": error.to_string() })),
    };
    let run = Run { began, ended: now(), outcome: outcome.to_owned(), summary: summary.to_string() };
    indexer.state.record_run(collection, run).await?;
    Ok(())
}
