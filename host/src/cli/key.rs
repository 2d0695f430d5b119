//! `embergate key new` and `embergate key hash`

use std::io::{IsTerminal, Read};

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::failure::Usage;
use super::{Context, Ending};
use crate::embed::Lane;
use crate::server::{KeyConfig, KeyHash, Right, Secret};

/// Bytes of a key that `key hash` reads, at most.
const MAX_KEY: u64 = 1024;

/// Characters below which somebody may have thought a key up.
const LONG_ENOUGH: usize = 32;

const NEW_HELP: &str = "\
The table goes to stdout, to be added to the configuration; the key goes to stderr, this once, \
to be handed to whoever uses it. The configuration keeps the key's SHA-256 alone, from which \
nobody gets the key back. Restart `serve` after a change.

Rights:
  embed   embed texts for any purpose, list models (the default)
  search  embed queries, list models
  index   embed documents, also prepared and in the bulk lane; list models
  admin   the admin listener: metrics, models, configuration, keys

Lanes: a request takes that of its header `x-embergate-lane`, where the key's rights permit; else \
that of its key; else it is bulk if it has many texts (`batcher.bulk_above`). A key of the bulk lane \
cannot leave it by a header; one of the interactive lane can, with the right `index`.

Examples:
  embergate key new notes >> embergate.toml
  embergate key new nightly --rights index --lane bulk
  embergate key new indexer --rights index,search --texts-per-minute 6000
  embergate key new prometheus --rights admin --json";

const HASH_HELP: &str = "\
For keys that were made elsewhere. The key is no argument, because those are seen by others and \
kept by the shell. It must be random, and as long as one of `key new`: a plain SHA-256 does not \
protect what can be guessed.

Example:
  embergate key hash < key.txt";

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make an API key, show it once, and print the `[[key]]` table that lets it in
    #[command(after_help = NEW_HELP)]
    New(New),
    /// Read an API key from standard input, and print its SHA-256
    #[command(after_help = HASH_HELP)]
    Hash,
}

#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// What logs, metrics and errors call it: letters, digits and any of -_.@
    name: String,
    /// What it may do, with commas between
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',', default_value = "embed", value_parser = rights())]
    rights: Vec<Right>,
    /// The lane of its requests: `bulk` for all, `interactive` for those whose header names none
    #[arg(long, value_name = "LANE", value_parser = lanes())]
    lane: Option<Lane>,
    /// Requests a minute, at most; a minute's worth may come at once
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_minute: Option<u32>,
    /// Texts a minute, at most; a minute's worth may come at once
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    texts_per_minute: Option<u32>,
}

fn rights() -> impl TypedValueParser<Value = Right> {
    PossibleValuesParser::new(Right::ALL.map(Right::as_str)).try_map(|word| {
        Right::ALL.into_iter().find(|right| right.as_str() == word).ok_or("there is no such right")
    })
}

fn lanes() -> impl TypedValueParser<Value = Lane> {
    PossibleValuesParser::new(Lane::ALL.map(Lane::as_str)).try_map(|word| {
        Lane::ALL.into_iter().find(|lane| lane.as_str() == word).ok_or("there is no such lane")
    })
}

impl Key {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Ending> {
        match self {
            Self::New(new) => new.run(context)?,
            Self::Hash => hash(context)?,
        }
        Ok(Ending::Done)
    }
}

impl New {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        if !KeyConfig::is_name(&self.name) {
            return Err(Usage {
                message: format!("`{}` cannot name a key", self.name),
                remedy: format!("use letters, digits and any of `-_.@`, at most {}", KeyConfig::MAX_NAME),
            }
            .into());
        }
        let secret = Secret::new()?;
        let table = self.table(&secret.hash());
        let output = &context.output;
        if output.json {
            output.json(&json!({ "name": self.name, "key": secret.reveal(), "table": table }))?;
            return Ok(());
        }
        output.complain(&format!("{}\n", secret.reveal()));
        output.remark("Above is the key, shown this once. Below is the table for the configuration.");
        // Where it is appended to a file whose last line is not ended, it begins a line all the same.
        output.line(&format!("\n{}", table.trim_end()))?;
        Ok(())
    }

    /// The `[[key]]` table; no value in it needs an escape.
    fn table(&self, hash: &KeyHash) -> String {
        let rights: Vec<String> = self.rights.iter().map(|right| format!("\"{}\"", right.as_str())).collect();
        let lane = self.lane.map(|lane| format!("lane = \"{}\"\n", lane.as_str()));
        let line = |key: &str, limit: Option<u32>| limit.map(|limit| format!("{key} = {limit}\n"));
        format!(
            "[[key]]\nname = \"{}\"\nsha256 = \"{}\"\nrights = [{}]\n{}{}{}",
            self.name,
            hash.to_hex(),
            rights.join(", "),
            lane.unwrap_or_default(),
            line("requests_per_minute", self.requests_per_minute).unwrap_or_default(),
            line("texts_per_minute", self.texts_per_minute).unwrap_or_default(),
        )
    }
}

fn hash(context: &Context) -> anyhow::Result<()> {
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        context.output.remark("Type the key, then Enter and Ctrl-D.");
    }
    let mut bytes = Vec::new();
    stdin.by_ref().take(MAX_KEY + 1).read_to_end(&mut bytes)?;
    let key = bytes.trim_ascii();
    let usage = |message: &str, remedy: &str| Usage { message: message.into(), remedy: remedy.into() };
    if key.is_empty() {
        return Err(usage("there is no key on standard input", "embergate key hash < FILE").into());
    }
    if MAX_KEY < bytes.len() as u64 || key.iter().any(|byte| !byte.is_ascii_graphic()) {
        let message = format!(
            "what is on standard input cannot be a key: it has more than {MAX_KEY} bytes, or others than visible ASCII"
        );
        return Err(usage(&message, "send one key, on one line").into());
    }
    if key.len() < LONG_ENOUGH {
        context.output.complain(
            "warning: this key is short. A plain SHA-256 protects only what nobody can guess: better use `embergate key new`.",
        );
    }
    let hash = KeyHash::of(key).to_hex();
    match context.output.json {
        true => context.output.json(&json!({ "sha256": hash }))?,
        false => context.output.line(&hash)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_one_that_can_be_read() {
        let new = New {
            name: "notes".into(),
            rights: vec![Right::Index, Right::Search],
            lane: Some(Lane::Bulk),
            requests_per_minute: None,
            texts_per_minute: Some(600),
        };
        let hash = KeyHash::of(b"emb_x");
        let table: toml::Table = new.table(&hash).parse().unwrap();
        let key: KeyConfig = table["key"][0].clone().try_into().unwrap();
        assert_eq!((key.name.as_str(), key.rights.as_slice()), ("notes", &[Right::Index, Right::Search][..]));
        assert_eq!(
            (key.lane, key.requests_per_minute, key.texts_per_minute),
            (Some(Lane::Bulk), None, Some(600))
        );
        assert_eq!(key.sha256.parse().unwrap().to_hex(), hash.to_hex());
    }
}
