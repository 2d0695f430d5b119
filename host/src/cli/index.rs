//! `embergate index`

use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::covered;
use super::failure::Usage;
use super::progress::Progress;
use super::sources::Sources;
use super::{Context, Ending};
use crate::config::EMBEDDED_MODEL;
use crate::embed::Embedder;
use crate::index::{CollectionConfig, IndexRequest, Summary};
use crate::shutdown::Signals;
use crate::store::{Collection, Store};

/// Bring a collection to the state of files and folders: what changed is embedded, what vanished is removed.
#[derive(Debug, Args)]
#[command(after_help = "\
A run that was stopped loses nothing: the same command goes on where it ended.
With --json, stdout has one event a line: `found`, `finished` for each document, `summary`.

Examples:
  embergate index docs README.md --collection docs
  embergate index belgeler --collection belgeler --language tr
  embergate index tickets.jsonl --collection tickets --text-field body --id-field key
  sort notes.txt | embergate index - --id notes --collection docs")]
pub(super) struct Index {
    /// The collection, made where there is none of that name
    #[arg(long, short, value_name = "NAME")]
    collection: String,
    /// The model of a new collection; else the first `[[model]]` table's, else the built-in one
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The language of a new collection, such as `tr`: how words are split and stemmed
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    #[command(flatten)]
    sources: Sources,
}

impl Index {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let context = &self.through.context(context)?;
        let signals = Signals::spawn()?;
        let app = context.start().await?;
        let (store, state) = app.open_store().await?;
        let model = self.named(&app.embedder).await?;
        let collection = self.chosen(context, store.as_ref(), model).await?;
        let stop = signals.token();
        let sources = tokio::select! {
            sources = self.sources.roots(context) => sources?,
            () = stop.cancelled() => return Ok(Ending::Interrupted),
        };
        let indexer = app.indexer(store, state);
        let began = Instant::now();
        let mut progress = Progress::new(&context.output);
        let request = IndexRequest { sources, collection };
        let name = request.collection.name.clone();
        let mut watcher = |event| progress.tell(&event);
        let run = indexer.run(request, &mut watcher);
        let summary = tokio::select! {
            summary = run => Some(summary),
            () = stop.cancelled() => None,
        };
        progress.end()?;
        let Some(summary) = summary.transpose()? else {
            context
                .output
                .remark("interrupted: what was done is kept, and the same command goes on from there");
            return Ok(Ending::Interrupted);
        };
        tell(context, &name, &summary, began)?;
        app.stop().await;
        Ok(if summary.n_failed == 0 { Ending::Done } else { Ending::SomeDocumentsFailed })
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
        if let Some(table) = context.config.collections.iter().find(|table| table.name == *name) {
            let language = table.language.as_deref();
            self.must_agree("its [[collection]] table", model.as_deref(), &table.model, language)?;
            return Ok(table.clone());
        }
        let (model, language) = match store.collection(name).await? {
            Some(Collection { model: stored, language, .. }) => {
                self.must_agree("the store", model.as_deref(), &stored, language.as_deref())?;
                (stored, language)
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

    fn must_agree(
        &self,
        keeper: &str,
        want: Option<&str>,
        model: &str,
        language: Option<&str>,
    ) -> Result<(), Usage> {
        // What is written as the keeper writes it agrees, whatever name it leads to.
        let want = want.filter(|_| self.model.as_deref() != Some(model));
        self.differs(keeper, "model", want, Some(model))?;
        self.differs(keeper, "language", self.language.as_deref(), language)
    }

    fn differs(&self, keeper: &str, what: &str, want: Option<&str>, have: Option<&str>) -> Result<(), Usage> {
        let Some(want) = want.filter(|want| Some(*want) != have) else { return Ok(()) };
        let name = &self.collection;
        let message = match have {
            Some(have) => format!("collection `{name}` has the {what} `{have}` in {keeper}, not `{want}`"),
            None => {
                format!("collection `{name}` has no {what} in {keeper}, so `--{what} {want}` does not fit")
            }
        };
        Err(Usage { message, remedy: format!("leave out --{what}, or index into another collection") })
    }
}

fn tell(context: &Context, collection: &str, summary: &Summary, began: Instant) -> std::io::Result<()> {
    let Summary {
        n_files,
        n_bytes,
        n_unchanged,
        n_indexed,
        n_removed,
        n_skipped,
        n_failed,
        n_chunks,
        n_embedded,
        ref coverage,
        ref encodings,
    } = *summary;
    let seconds = began.elapsed().as_secs_f64();
    if context.output.json {
        return context.output.json(&json!({
            "event": "summary", "collection": collection, "files": n_files, "bytes": n_bytes,
            "unchanged": n_unchanged, "indexed": n_indexed, "removed": n_removed, "skipped": n_skipped,
            "failed": n_failed, "chunks": n_chunks, "embedded": n_embedded, "seconds": seconds,
            "coverage": covered::as_json(coverage), "encodings": encodings,
        }));
    }
    let counts = [
        (n_indexed, "indexed"),
        (n_unchanged, "unchanged"),
        (n_removed, "removed"),
        (n_skipped, "skipped"),
        (n_failed, "failed"),
    ];
    let parts = counts.iter().filter(|(n, _)| 0 < *n).map(|(n, what)| format!("{n} {what}"));
    let parts: Vec<String> = parts.collect();
    let parts = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
    context.output.line(&format!(
        "`{collection}`: {parts}; {n_chunks} chunks, {n_embedded} of them embedded, in {seconds:.1} s"
    ))?;
    if let Some(words) = covered::in_words(coverage) {
        context.output.line(&format!("  {words}"))?;
    }
    if !encodings.is_empty() {
        let named = encodings.iter().map(|(encoding, n)| format!("{n} in {encoding}"));
        let named: Vec<String> = named.collect();
        context.output.line(&format!("  read as they look or say, not as UTF-8: {}", named.join(", ")))?;
    }
    Ok(())
}
