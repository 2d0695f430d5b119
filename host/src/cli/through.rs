//! `--gateway`: commands that embed by a gateway that runs, and not in their own process.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::failure::Usage;
use crate::config::Config;
use crate::embed::Embedder;
use crate::model::ModelName;
use crate::upstream;

/// What the upstream is called that the flag makes: errors about it name the flag.
pub(super) const FLAG: &str = "--gateway";

/// Requests at once to a gateway that no table tells of: it says itself when that is too much.
const MAX_IN_FLIGHT: usize = 8;

/// Which gateway embeds.
#[derive(Debug, Args)]
pub(super) struct Through {
    /// Embed by a gateway that runs: its address, or the name of an `[[upstream]]` table of kind "embergate"
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// A file with the API key that the gateway wants
    #[arg(long, value_name = "FILE", requires = "gateway")]
    gateway_key_file: Option<PathBuf>,
}

impl Through {
    /// `context` as it is, or with the gateway as the only one that embeds.
    ///
    /// # Errors
    /// What was said is neither an address nor the name of a gateway.
    pub(super) fn context(&self, context: &Context) -> Result<Context, Usage> {
        let mut context = context.clone();
        if let Some(said) = &self.gateway {
            let upstream = self.upstream(said, &context.config)?;
            context.config.models.clear();
            context.config.upstreams = vec![upstream];
            // The gateway's own, where it has one.
            context.config.embed.default_model = None;
        }
        Ok(context)
    }

    /// The table that tells of the gateway, else what does for any.
    fn upstream(&self, said: &str, config: &Config) -> Result<upstream::Config, Usage> {
        let gateways = || config.upstreams.iter().filter(|table| table.kind == upstream::Kind::Embergate);
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        let is_meant = |table: &&upstream::Config| {
            table.name == said || table.url.as_deref().map(bare) == Some(bare(said))
        };
        let mut upstream = match gateways().find(is_meant) {
            Some(table) => table.clone(),
            None if said.starts_with("http://") || said.starts_with("https://") => upstream::Config {
                name: FLAG.to_owned(),
                kind: upstream::Kind::Embergate,
                url: Some(said.to_owned()),
                api_key_file: None,
                max_in_flight: MAX_IN_FLIGHT,
                max_texts: None,
                max_tokens: None,
                discover: None,
                // A list waits there behind those of others, as it would wait here for its upstreams.
                timeout: config.index.timeout,
            },
            None => return Err(no_gateway(said, gateways().map(|table| table.name.as_str()).collect())),
        };
        if self.gateway_key_file.is_some() {
            upstream.api_key_file.clone_from(&self.gateway_key_file);
        }
        Ok(upstream)
    }

    /// The model for a new collection of which nothing is said: the gateway's own choice.
    ///
    /// # Errors
    /// There are several, and the gateway has chosen none.
    pub(super) async fn first_model(&self, embedder: &Embedder) -> anyhow::Result<Option<String>> {
        if self.gateway.is_none() {
            return Ok(None);
        }
        if let Some(usual) = embedder.usual().await {
            return Ok(Some(usual.to_string()));
        }
        let names: Vec<String> = embedder.models().iter().map(|model| model.name.to_string()).collect();
        let Some(example) = names.first() else {
            return match embedder.unseen() {
                Some(error) => Err(crate::embed::EmbedError::Upstream(error).into()),
                None => Err(usage("the gateway has no model", "give it one, or name another gateway").into()),
            };
        };
        let message = format!("the gateway has several models, and no default: {}", names.join(", "));
        Err(usage(message, format!("--model {example}")).into())
    }
}

/// `model` by the name that it has, however it is written; it is looked for where it is unknown.
///
/// # Errors
/// Names those that there are; or why nobody could be asked.
pub(super) async fn known(embedder: &Embedder, asked: &str) -> anyhow::Result<String> {
    if let Ok(name) = ModelName::new(asked) {
        if let Some(model) = embedder.find(&name).await {
            return Ok(model.name.to_string());
        }
        if let Some(error) = embedder.unseen() {
            return Err(crate::embed::EmbedError::Upstream(error).into());
        }
    }
    let names: Vec<String> = embedder.models().iter().map(|model| model.name.to_string()).collect();
    let message = format!("there is no model `{asked}`; there are: {}", names.join(", "));
    Err(usage(message, "name one of these, or add a [[model]] table").into())
}

fn no_gateway(said: &str, known: Vec<&str>) -> Usage {
    let message =
        format!("`--gateway {said}` is no address, and no [[upstream]] of kind \"embergate\" has that name");
    match known.is_empty() {
        true => usage(message, "write one like http://127.0.0.1:8642"),
        false => {
            usage(message, format!("write one like http://127.0.0.1:8642, or one of: {}", known.join(", ")))
        }
    }
}

fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Usage {
    Usage { message: message.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "[[upstream]]\nname = \"far\"\nkind = \"embergate\"\nurl = \"https://embed.example\"\n\
                         api_key_file = \"/run/key\"\nmax_in_flight = 3\n\
                         [[upstream]]\nname = \"ollama\"\nkind = \"ollama\"\nurl = \"http://127.0.0.1:1\"\n";

    fn upstream(said: &str, key_file: Option<&str>) -> Result<upstream::Config, Usage> {
        let config: Config = toml::from_str(TABLE).unwrap();
        let through = Through { gateway: Some(said.into()), gateway_key_file: key_file.map(Into::into) };
        through.upstream(said, &config)
    }

    #[test]
    fn an_address_is_enough_and_a_table_tells_more() {
        let plain = upstream("http://127.0.0.1:8642", None).unwrap();
        assert_eq!((&*plain.name, plain.max_in_flight, plain.api_key_file), (FLAG, MAX_IN_FLIGHT, None));
        for said in ["far", "https://embed.example/"] {
            let table = upstream(said, None).unwrap();
            assert_eq!((&*table.name, table.max_in_flight), ("far", 3));
            assert_eq!(table.api_key_file.unwrap(), PathBuf::from("/run/key"));
        }
        assert_eq!(upstream("far", Some("k")).unwrap().api_key_file.unwrap(), PathBuf::from("k"));
    }

    #[test]
    fn what_is_neither_names_the_gateways_that_there_are() {
        for said in ["ollama", "127.0.0.1:8642", ""] {
            let usage = upstream(said, None).unwrap_err();
            assert!(usage.remedy.ends_with("or one of: far"), "{}", usage.remedy);
        }
    }
}
