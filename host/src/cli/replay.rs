//! `embergate replay`

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::output::shown_path;
use super::through::Through;
use super::{Context, Ending};
use crate::index::{Replay, Replayed};

/// Derive a stored chunk again from its document, embed it again, and compare.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is written. Ends with 0 where everything is as it is stored, else with 3.

Examples:
  embergate search kelp --collection docs --json | jq -r '.results[0].id'
  embergate replay 8e0c7f3e-6a5e-5c43-b0a8-3b3b5f0f4c1e --collection docs")]
pub(super) struct Command {
    /// Its id, as `search --json` tells it
    #[arg(value_name = "CHUNK")]
    id: Uuid,
    #[arg(long, short, value_name = "NAME")]
    collection: String,
    #[command(flatten)]
    through: Through,
}

impl Command {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let context = &self.through.context(context)?;
        let app = context.start().await?;
        let (store, state) = app.open_store().await?;
        let collection = super::collection::stored(context, store.as_ref(), &self.collection).await?;
        let replay = app.indexer(store, state).replay(&collection, self.id).await?;
        tell(context, &replay)?;
        app.stop().await;
        Ok(if replay.replayed.is_same() { Ending::Done } else { Ending::SomeDocumentsFailed })
    }
}

fn tell(context: &Context, replay: &Replay) -> std::io::Result<()> {
    let Replay { generation, stored, reconfigured, replayed, text } = replay;
    let (word, words) = in_words(replayed);
    let payload = &stored.payload;
    if context.output.json {
        return context.output.json(&json!({
            "generation": generation, "id": stored.id.to_string(), "source": payload.source,
            "line": payload.line, "span": payload.span.map(|span| [span.start, span.end]),
            "verdict": word, "detail": words, "reconfigured": reconfigured,
            "stored_text": payload.text, "text": text,
        }));
    }
    let place = format!("{}:{}", shown_path(&payload.source), payload.line);
    context.output.line(&format!("{} in {generation}, from {place}", stored.id))?;
    context.output.line(&format!("  {words}"))?;
    if let Some(what) = reconfigured {
        context.output.line(&format!("  {what} changed since: `embergate index` builds it anew"))?;
    }
    Ok(())
}

/// A word for programs, and a sentence for people.
pub(super) fn in_words(replayed: &Replayed) -> (&'static str, String) {
    match replayed {
        Replayed::Same { cosine } => {
            ("same", format!("the same: text, place, words and vector (cosine {cosine:.6})"))
        }
        Replayed::Differs { fields, cosine } => {
            ("differs", format!("differs in {} (cosine of the vectors {cosine:.6})", fields.join(", ")))
        }
        Replayed::Gone { n_chunks } => (
            "gone",
            format!("its document, unchanged, gives {n_chunks} chunks now, and none of them is this one"),
        ),
        Replayed::Changed => {
            ("changed", "its document has changed since it was indexed: index it again".to_owned())
        }
        Replayed::Unreadable(reason) => ("unreadable", format!("its document cannot be read now: {reason}")),
        Replayed::Unrecorded => {
            ("unrecorded", "nothing is recorded of its document: index it again".to_owned())
        }
    }
}
