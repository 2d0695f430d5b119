//! `embergate import`

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, stdin};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::failure::Usage;
use super::{Context, Ending};
use crate::embed::Embedder;
use crate::model::{ModelName, Purpose};
use crate::shutdown::Signals;
use crate::store::{self, Collection, Transferred, check_name};

/// Make a collection of what `export` wrote, in whichever store; what the collection had stays as NAME@previous.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing of it is seen before all of it is there. An import that was stopped leaves nothing that is \
seen, and begins anew. The model must be the one that embedded the chunks: what embeds otherwise here \
is refused.

Examples:
  embergate import docs.jsonl --collection docs
  zstdcat docs.jsonl.zst | embergate import --collection docs")]
pub(super) struct Import {
    /// What `export` wrote; standard input when absent
    file: Option<PathBuf>,
    /// The collection, made where there is none of that name
    #[arg(long, short, value_name = "NAME")]
    collection: String,
}

impl Import {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        check_name(&self.collection)?;
        let signals = Signals::spawn()?;
        let lines = self.lines()?;
        let app = context.start().await?;
        let (store, state) = app.open_store().await?;
        let import = store::Import::open(lines).await?;
        self.must_fit(context, &app.embedder, import.collection()).await?;
        let stop = signals.token();
        let done = tokio::select! {
            done = import.run(store.as_ref(), &state, &self.collection) => done?,
            () = stop.cancelled() => {
                context.output.remark("interrupted: nothing is changed, and the same command begins anew");
                return Ok(Ending::Interrupted);
            }
        };
        self.tell(context, done)?;
        app.stop().await;
        Ok(Ending::Done)
    }

    fn lines(&self) -> anyhow::Result<Box<dyn BufRead + Send>> {
        let Some(path) = &self.file else {
            if stdin().is_terminal() {
                let message = "there is nothing to import on standard input".to_owned();
                let remedy = format!("embergate import FILE --collection {}", self.collection);
                return Err(Usage { message, remedy }.into());
            }
            return Ok(Box::new(BufReader::new(stdin())));
        };
        let open = || File::open(path).with_context(|| format!("cannot read `{}`", path.display()));
        Ok(Box::new(BufReader::new(open()?)))
    }

    /// Refuses vectors that questions asked here cannot be compared with.
    async fn must_fit(
        &self,
        context: &Context,
        embedder: &Embedder,
        collection: &Collection,
    ) -> anyhow::Result<()> {
        let asked = &collection.model;
        self.must_agree_with_table(context, embedder, asked).await?;
        let found = match ModelName::new(asked) {
            Ok(name) => embedder.find(&name).await,
            Err(_) => None,
        };
        let Some(model) = found else {
            let message = format!("the import was embedded by the model `{asked}`, which is not known here");
            return Err(Usage { message, remedy: format!("add a [[model]] table named `{asked}`") }.into());
        };
        let here = async {
            let dimensions = embedder.dimensions(&model.name).await?;
            Ok::<_, crate::embed::EmbedError>((
                dimensions,
                embedder.space(&model.name, Purpose::Document, true).await?,
            ))
        };
        let (dimensions, space) = match here.await {
            Ok(here) => here,
            Err(error) => {
                context.output.remark(&format!("note: cannot check that `{asked}` is the same: {error}"));
                return Ok(());
            }
        };
        let (have, want) = ((dimensions, &space), (collection.dimensions, &collection.space));
        if have == want {
            return Ok(());
        }
        let message = format!(
            "`{asked}` embeds otherwise here: the import has {} dimensions in the space `{}`, and here it is {dimensions} in `{space}`",
            collection.dimensions, collection.space
        );
        let remedy =
            "use the same model with the same prompts and preprocessors, or index the documents again";
        Err(Usage { message, remedy: remedy.to_owned() }.into())
    }

    async fn must_agree_with_table(
        &self,
        context: &Context,
        embedder: &Embedder,
        model: &str,
    ) -> Result<(), Usage> {
        let table = context.config.collections.iter().find(|table| table.name == self.collection);
        let Some(table) = table else { return Ok(()) };
        // A model may be written in several ways.
        let found = match ModelName::new(&table.model) {
            Ok(name) => embedder.find(&name).await,
            Err(_) => None,
        };
        if found.map_or_else(|| table.model.clone(), |model| model.name.to_string()) == model {
            return Ok(());
        }
        Err(Usage {
            message: format!(
                "the [[collection]] table of `{}` names the model `{}`, and the import was embedded by `{model}`",
                self.collection, table.model
            ),
            remedy: "import into another collection, or change the table".to_owned(),
        })
    }

    fn tell(&self, context: &Context, done: Transferred) -> std::io::Result<()> {
        let Transferred { n_points, n_sources } = done;
        let name = &self.collection;
        if context.output.json {
            return context
                .output
                .json(&json!({ "imported": name, "points": n_points, "documents": n_sources }));
        }
        context.output.line(&format!("`{name}`: {n_points} chunks of {n_sources} documents imported"))
    }
}
