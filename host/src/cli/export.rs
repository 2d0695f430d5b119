//! `embergate export`

use std::fs::File;
use std::io::{BufWriter, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Context, Ending};
use crate::store::{self, IndexState, Store, TransferError, Transferred};

/// Write a collection as lines of JSON: its points with their vectors, and what was recorded of its documents.
#[derive(Debug, Args)]
#[command(after_help = "\
The first line says what holds for all points, the last one counts them. Vectors are little-endian \
32-bit floats in base64: what `import` reads has the same bits, in either store. No indexer may work \
on the collection meanwhile.

Examples:
  embergate export docs --output docs.jsonl
  embergate export docs | zstd > docs.jsonl.zst
  embergate export docs | embergate import --collection docs --config qdrant.toml")]
pub(super) struct Export {
    /// The collection; `NAME@previous` is what served before
    collection: String,
    /// A file, there once it is whole; standard output when absent
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let (store, state) = store::open(&context.config.store, &context.folders.data).await?;
        let Some(file) = &self.output else {
            let done =
                store::export(store.as_ref(), &state, &self.collection, BufWriter::new(stdout())).await?;
            context.output.remark(&self.told(done));
            return Ok(Ending::Done);
        };
        let done = write_whole(store.as_ref(), &state, &self.collection, file).await?;
        if context.output.json {
            let Transferred { n_points, n_sources } = done;
            context
                .output
                .json(&json!({ "exported": self.collection, "points": n_points, "documents": n_sources }))?;
        } else {
            context.output.line(&self.told(done))?;
        }
        Ok(Ending::Done)
    }

    fn told(&self, done: Transferred) -> String {
        let Transferred { n_points, n_sources } = done;
        format!("`{}`: {n_points} chunks of {n_sources} documents exported", self.collection)
    }
}

/// Gives the file its name when it is on the disk as a whole.
async fn write_whole(
    store: &dyn Store,
    state: &IndexState,
    collection: &str,
    file: &Path,
) -> Result<Transferred, TransferError> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut out = BufWriter::new(File::create(&part).map_err(TransferError::Write)?);
    let done = store::export(store, state, collection, &mut out).await;
    let kept = match &done {
        Ok(_) => out.get_ref().sync_all().and_then(|()| std::fs::rename(&part, file)),
        Err(_) => std::fs::remove_file(&part),
    };
    let done = done?;
    kept.map_err(TransferError::Write)?;
    Ok(done)
}
