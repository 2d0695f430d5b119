//! What `[[model]]` tables get wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::{Config, EMBEDDED_MODEL};
use super::{Faults, there_are};
use crate::embed::names::{self, Named};
use crate::model::ModelName;
use crate::{embed, upstream};

impl Faults {
    pub(super) fn models(&mut self, config: &Config) {
        self.unique("model", config.models.iter().map(|model| model.name.as_str()));
        let upstreams: BTreeSet<&str> =
            config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        for (at, model) in config.models.iter().enumerate() {
            if let Err(error) = ModelName::new(&model.name) {
                self.add(
                    format!("model.{at}.name"),
                    error.to_string(),
                    "give it another `name`, and its own as `upstream_name`",
                );
            }
            if model.upstreams.is_empty() {
                let message = format!("model `{}` has no upstream", model.name);
                self.add(format!("model.{at}.upstreams"), message, "name one [[upstream]] table or more");
            }
            for upstream in model.upstreams.iter().filter(|name| !upstreams.contains(name.as_str())) {
                let message = format!(
                    "model `{}` names the upstream `{upstream}`, and there is no [[upstream]] of that name",
                    model.name
                );
                self.add(format!("model.{at}.upstreams"), message, there_are(&upstreams));
            }
            let is_gateway = |table: &&upstream::Config| {
                table.kind == upstream::Kind::Embergate && model.upstreams.contains(&table.name)
            };
            if let Some(gateway) = config.upstreams.iter().find(is_gateway) {
                let message = format!(
                    "model `{}` names the upstream `{}`, which is a gateway: its models are found there, with their names, prompts and plugins",
                    model.name, gateway.name
                );
                self.add(
                    format!("model.{at}.upstreams"),
                    message,
                    "take the [[model]] table out, or set `kind = \"openai\"` at the upstream",
                );
            }
            if let Some(max_tokens) = model.max_tokens {
                self.bound(&format!("model.{at}.max_tokens"), "model.max_tokens", max_tokens.into());
            }
            self.loading(&format!("model.{at}"), model, config);
        }
        self.aliases(&config.models);
        self.default_model(config);
    }

    /// What only Ollama heeds, and what it would not do well with.
    fn loading(&mut self, path: &str, model: &embed::ModelConfig, config: &Config) {
        let name = &model.name;
        let is_ollama = |table: &upstream::Config| {
            table.kind == upstream::Kind::Ollama && model.upstreams.contains(&table.name)
        };
        let has_ollama = config.upstreams.iter().any(is_ollama);
        let set = [("keep_alive", model.keep_alive.is_some()), ("options", model.options.is_some())];
        for (key, _) in set.iter().filter(|(_, is_set)| *is_set && !has_ollama) {
            let message = format!("model `{name}` has `{key}`, and no upstream of kind \"ollama\"");
            self.add(format!("{path}.{key}"), message, "take it out: only Ollama heeds it");
        }
        if model.keep_alive == Some(upstream::KeepAlive::For(Duration::ZERO)) {
            let message =
                format!("`keep_alive` of model `{name}` is 0, so it would be loaded for every call");
            self.add(format!("{path}.keep_alive"), message, "write a longer time, or take it out");
        }
        let Some(options) = &model.options else { return };
        for (key, value) in [("num_ctx", options.num_ctx), ("num_batch", options.num_batch)] {
            if let Some(value) = value {
                let path = format!("{path}.options.{key}");
                self.bound(&path, &format!("model.options.{key}"), value.into());
            }
        }
        if let (Some(num_ctx), Some(max_tokens)) = (options.num_ctx, model.max_tokens)
            && num_ctx < max_tokens
        {
            let message = format!(
                "`num_ctx` of model `{name}` is {num_ctx}, less than the {max_tokens} of `max_tokens`: Ollama would cut what lies between"
            );
            self.add(format!("{path}.options.num_ctx"), message, "raise it, or lower `max_tokens`");
        }
    }

    /// An alias that is a name already, in whatever case, would lead nowhere or not always there.
    fn aliases(&mut self, models: &[embed::ModelConfig]) {
        let mut owners: BTreeMap<String, &str> =
            models.iter().map(|model| (model.name.to_lowercase(), model.name.as_str())).collect();
        owners.entry(EMBEDDED_MODEL.to_owned()).or_insert(EMBEDDED_MODEL);
        for (at, model) in models.iter().enumerate() {
            for (alias_at, alias) in model.aliases.iter().enumerate() {
                let path = format!("model.{at}.aliases.{alias_at}");
                if let Err(error) = ModelName::new(alias) {
                    let message = format!("an alias of model `{}` is no name: {error}", model.name);
                    self.add(path, message, "write another alias");
                } else if let Some(owner) = owners.insert(alias.to_lowercase(), &model.name) {
                    let message = format!(
                        "the alias `{alias}` of model `{}` leads to model `{owner}` already",
                        model.name
                    );
                    self.add(path, message, "take it out, or write another one");
                }
            }
        }
    }

    fn default_model(&mut self, config: &Config) {
        let Some(default) = &config.embed.default_model else { return };
        let embedded = Named { name: EMBEDDED_MODEL, aliases: &[], has_query_prompt: false };
        let models = config.models.iter().map(|model| Named {
            name: &model.name,
            aliases: &model.aliases,
            has_query_prompt: false,
        });
        let may_be_found = !default.is_empty() && config.may_find_models();
        if names::resolve(default, models.chain([embedded])).is_none() && !may_be_found {
            let mut known: BTreeSet<&str> = config.models.iter().map(|model| model.name.as_str()).collect();
            known.insert(EMBEDDED_MODEL);
            let message = format!("`default_model = \"{default}\"` in [embed] leads to no model");
            self.add("embed.default_model", message, there_are(&known));
        }
    }
}
