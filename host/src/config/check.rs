//! What a file that can be read still gets wrong: names that lead nowhere,
//! names given twice, keys that belong together, limits that let nothing through.

mod models;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Config;
use crate::units::ByteSize;
use crate::{plugin, server, store, upstream};

mod failing;

/// What the parser of JSON takes, at most.
const MAX_JSON_DEPTH: usize = 127;

/// Something that does not fit, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where: `model.0.upstreams`.
    pub(super) path: String,
    pub(super) message: String,
    pub(super) remedy: String,
}

/// All that does not fit.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = Faults { found: Vec::new() };
    faults.limits(config);
    faults.keys(&config.keys);
    faults.store(&config.store);
    faults.upstreams(&config.upstreams);
    faults.models(config);
    faults.plugins(config);
    faults.collections(config);
    faults.found
}

struct Faults {
    found: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, path: impl Into<String>, message: String, remedy: impl Into<String>) {
        self.found.push(Fault { path: path.into(), message, remedy: remedy.into() });
    }

    fn limits(&mut self, config: &Config) {
        let Config { server, embed, batcher, health, plugins, store, index, .. } = config;
        let bounds = [
            ("server.max_body", server.max_body.as_u64()),
            ("server.max_bodies", server.max_bodies.as_u64()),
            ("server.body_timeout", server.body_timeout.as_nanos() as u64),
            ("server.max_answers", server.max_answers.as_u64()),
            ("server.max_json_depth", server.max_json_depth as u64),
            ("server.max_parsers", server.max_parsers.unwrap_or(1) as u64),
            ("server.max_head", server.max_head.as_u64()),
            ("server.max_headers", server.max_headers as u64),
            ("server.max_uri", server.max_uri.as_u64()),
            ("server.head_timeout", server.head_timeout.as_nanos() as u64),
            ("server.idle_timeout", server.idle_timeout.as_nanos() as u64),
            ("server.write_timeout", server.write_timeout.as_nanos() as u64),
            ("server.max_connections", server.max_connections as u64),
            ("server.max_streams", server.max_streams.into()),
            ("server.max_timeout", server.max_timeout.as_nanos() as u64),
            ("server.ready_timeout", server.ready_timeout.as_nanos() as u64),
            ("admin.max_connections", config.admin.max_connections as u64),
            ("embed.max_texts", embed.max_texts as u64),
            ("embed.timeout", embed.timeout.as_nanos() as u64),
            ("embed.discover_every", embed.discover_every.as_nanos() as u64),
            ("embed.max_discovered", embed.max_discovered as u64),
            ("batcher.max_texts", batcher.max_texts as u64),
            ("batcher.max_tokens", batcher.max_tokens.into()),
            ("batcher.max_queued", batcher.max_queued as u64),
            ("batcher.max_queued_bytes", batcher.max_queued_bytes.as_u64()),
            ("batcher.bulk_slice", batcher.bulk_slice.as_nanos() as u64),
            ("health.every", health.every.as_nanos() as u64),
            ("health.max_failures", health.max_failures.into()),
            ("health.probe_pause", health.probe_pause.as_nanos() as u64),
            ("health.max_probe_pause", health.max_probe_pause.as_nanos() as u64),
            ("plugins.look_every", plugins.look_every.as_nanos() as u64),
            ("store.max_readers", store.max_readers as u64),
            ("store.timeout", store.timeout.as_nanos() as u64),
            ("index.max_documents", index.max_documents as u64),
            ("index.batch_texts", index.batch_texts as u64),
            ("index.batch_documents", index.batch_documents as u64),
            ("index.max_batches", index.max_batches as u64),
            ("index.timeout", index.timeout.as_nanos() as u64),
            ("index.max_failed_batches", index.max_failed_batches.into()),
            ("index.max_file", index.max_file.as_u64()),
            ("index.max_records", index.max_records as u64),
            ("index.max_fetches", index.max_fetches as u64),
            ("index.fetch_timeout", index.fetch_timeout.as_nanos() as u64),
        ];
        for (path, value) in bounds {
            self.bound(path, path, value);
        }
        for (path, tls) in [("server.tls", &server.tls), ("admin.tls", &config.admin.tls)] {
            if let Some(tls) = tls {
                let path = format!("{path}.reload_every");
                self.bound(&path, &path, tls.reload_every.as_nanos() as u64);
            }
        }
        if health.max_probe_pause < health.probe_pause {
            let message = format!(
                "`max_probe_pause` in [health] is {:?}, less than the {:?} of `probe_pause`",
                health.max_probe_pause, health.probe_pause
            );
            self.add("health.max_probe_pause", message, "raise it, or lower `probe_pause`");
        }
        if MAX_JSON_DEPTH < server.max_json_depth {
            let message = format!("`max_json_depth = {}` in [server] is too much", server.max_json_depth);
            self.add("server.max_json_depth", message, format!("set it to {MAX_JSON_DEPTH} or less"));
        }
        self.plugin_limits("plugins.limits", "plugins.limits", &plugins.limits.clone().into());
        self.breaker(&plugins.breaker);
        if server.listen == config.admin.listen && server.listen.port() != 0 {
            let message = format!("[server] and [admin] both listen on `{}`", server.listen);
            self.add("admin.listen", message, "give one of them another port");
        }
    }

    fn plugin_limits(&mut self, path: &str, shown: &str, limits: &plugin::OwnLimits) {
        let nanos = |time: Duration| time.as_nanos() as u64;
        for (key, value) in [
            ("time", limits.time.map(nanos)),
            ("query_time", limits.query_time.map(nanos)),
            ("fuel", limits.fuel),
            ("memory", limits.memory.map(ByteSize::as_u64)),
            ("output", limits.output.map(ByteSize::as_u64)),
            ("table_elements", limits.table_elements.map(u64::from)),
            ("handles", limits.handles.map(u64::from)),
            ("instances", limits.instances.map(|instances| instances as u64)),
            ("uses", limits.uses.map(u64::from)),
            ("wait", limits.wait.map(nanos)),
            ("embed_texts", limits.embed_texts.map(u64::from)),
            ("embed_passes", limits.embed_passes.map(u64::from)),
        ] {
            if let Some(value) = value {
                self.bound(&format!("{path}.{key}"), &format!("{shown}.{key}"), value);
            }
        }
    }

    /// `shown` is the path without places in arrays.
    fn bound(&mut self, path: &str, shown: &str, value: u64) {
        if value == 0 {
            let (table, key) = shown.rsplit_once('.').unwrap_or(("", shown));
            let message = format!("`{key}` in [{table}] is 0, so nothing would ever be let through");
            self.add(path, message, "set it to 1 or more");
        }
    }

    fn keys(&mut self, keys: &[server::KeyConfig]) {
        self.unique("key", keys.iter().map(|key| key.name.as_str()));
        let mut seen = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            let (path, name) = (format!("key.{at}"), &key.name);
            if !name.is_empty() && !server::KeyConfig::is_name(name) {
                self.add(
                    format!("{path}.name"),
                    format!("`{}` cannot name a key", name.escape_debug()),
                    format!("use letters, digits and any of `-_.@`, at most {}", server::KeyConfig::MAX_NAME),
                );
            }
            // What stands there is not repeated: it may be the key itself.
            match key.sha256.parse() {
                Err(error) => self.add(
                    format!("{path}.sha256"),
                    format!("`sha256` of key `{name}` {error}"),
                    "write 64 hexadecimal digits; `embergate key hash` prints them",
                ),
                Ok(hash) => {
                    if let Some(other) = seen.insert(hash.to_hex(), name) {
                        let message = format!("the keys `{other}` and `{name}` are the same");
                        self.add(format!("{path}.sha256"), message, "make one for each: `embergate key new`");
                    }
                }
            }
            if key.rights.is_empty() {
                let message = format!("the key `{name}` has no rights, so nothing would ever be let through");
                self.add(format!("{path}.rights"), message, "name one or more, or take the table out");
            }
            for (limit, value) in
                [("requests_per_minute", key.requests_per_minute), ("texts_per_minute", key.texts_per_minute)]
            {
                if let Some(value) = value {
                    self.bound(&format!("{path}.{limit}"), &format!("key.{limit}"), value.into());
                }
            }
        }
    }

    fn store(&mut self, store: &store::Config) {
        match (store.kind, &store.url) {
            (store::Kind::Qdrant, None) => self.add(
                "store.kind",
                "the store is of kind \"qdrant\" and has no `url`".into(),
                "add its address, such as `url = \"http://127.0.0.1:6334\"`",
            ),
            (store::Kind::Qdrant, Some(url)) => self.url("store.url", "the store", url),
            (store::Kind::Embedded, Some(_)) => self.add(
                "store.url",
                "the store is of kind \"embedded\" and has a `url`, which it cannot use".into(),
                "set `kind = \"qdrant\"`, or take `url` out",
            ),
            (store::Kind::Embedded, None) => {}
        }
    }

    fn url(&mut self, path: &str, owner: &str, url: &str) {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        match rest {
            None => self.add(
                path,
                format!("`url = \"{url}\"` of {owner} is no address"),
                "begin it with `http://` or `https://`",
            ),
            Some(rest) if rest.is_empty() || rest.starts_with(['/', ':', '?']) => self.add(
                path,
                format!("`url = \"{url}\"` of {owner} names no host"),
                "write it like `http://127.0.0.1:11434`",
            ),
            // The key is not repeated: what prints errors is often a log.
            Some(rest) if rest.split('/').next().unwrap_or(rest).contains('@') => self.add(
                path,
                format!("the `url` of {owner} has a password in it"),
                "put the secret into a file, and name that with `api_key_file`",
            ),
            Some(_) => {}
        }
    }

    fn upstreams(&mut self, upstreams: &[upstream::Config]) {
        self.unique("upstream", upstreams.iter().map(|upstream| upstream.name.as_str()));
        for (at, upstream) in upstreams.iter().enumerate() {
            let path = format!("upstream.{at}");
            self.upstream(&path, upstream);
            self.bound(
                &format!("{path}.max_in_flight"),
                "upstream.max_in_flight",
                upstream.max_in_flight as u64,
            );
            self.bound(&format!("{path}.timeout"), "upstream.timeout", upstream.timeout.as_nanos() as u64);
            let max_texts = upstream.max_texts.map(|max_texts| max_texts as u64);
            let max_tokens = upstream.max_tokens.map(u64::from);
            for (key, value) in [("max_texts", max_texts), ("max_tokens", max_tokens)] {
                if let Some(value) = value {
                    self.bound(&format!("{path}.{key}"), &format!("upstream.{key}"), value);
                }
            }
        }
    }

    fn upstream(&mut self, path: &str, upstream: &upstream::Config) {
        let name = &upstream.name;
        let (kind, example) = match upstream.kind {
            upstream::Kind::Ollama => ("ollama", "http://127.0.0.1:11434"),
            upstream::Kind::Openai => ("openai", "http://127.0.0.1:8000"),
            upstream::Kind::Embergate => {
                if upstream.discover == Some(false) {
                    let message =
                        format!("upstream `{name}` is a gateway, whose models are served as they are found");
                    self.add(format!("{path}.discover"), message, "take `discover` out");
                }
                ("embergate", "http://127.0.0.1:8642")
            }
            upstream::Kind::Embedded => {
                if upstream.url.is_some() || upstream.api_key_file.is_some() {
                    let message =
                        format!("upstream `{name}` is in the binary, and has no use for an address or a key");
                    self.add(
                        format!("{path}.url"),
                        message,
                        "take `url` and `api_key_file` out, or set another `kind`",
                    );
                }
                if upstream.discover == Some(true) {
                    let message = format!("upstream `{name}` is in the binary: there is nothing to discover");
                    self.add(
                        format!("{path}.discover"),
                        message,
                        "take `discover` out, or set another `kind`",
                    );
                }
                return;
            }
        };
        match &upstream.url {
            Some(url) => self.url(&format!("{path}.url"), &format!("upstream `{name}`"), url),
            None => self.add(
                path,
                format!("upstream `{name}` is of kind \"{kind}\" and has no `url`"),
                format!("add its address, such as `url = \"{example}\"`"),
            ),
        }
    }

    fn plugins(&mut self, config: &Config) {
        self.unique("plugin", config.plugin.iter().map(|plugin| plugin.name.as_str()));
        for (at, plugin) in config.plugin.iter().enumerate() {
            if let Some(limits) = &plugin.limits {
                self.plugin_limits(&format!("plugin.{at}.limits"), "plugin.limits", limits);
            }
            self.on_error(config, at, plugin);
            let Some(sha256) = &plugin.sha256 else { continue };
            if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let message = format!("`sha256` of plugin `{}` is no SHA-256", plugin.name);
                self.add(
                    format!("plugin.{at}.sha256"),
                    message,
                    "write 64 hexadecimal digits; `embergate plugin check FILE` prints them",
                );
            }
        }
    }

    fn collections(&mut self, config: &Config) {
        self.unique("collection", config.collections.iter().map(|collection| collection.name.as_str()));
        let mut models: BTreeSet<&str> = config.models.iter().map(|model| model.name.as_str()).collect();
        // It is served beside those of the configuration.
        models.insert(super::EMBEDDED_MODEL);
        let may_be_found = config.may_find_models();
        for (at, collection) in config.collections.iter().enumerate() {
            let name = &collection.name;
            if !models.contains(collection.model.as_str()) && !may_be_found {
                let message = format!(
                    "collection `{name}` names the model `{}`, and there is no [[model]] of that name",
                    collection.model
                );
                self.add(format!("collection.{at}.model"), message, there_are(&models));
            }
            if let Some(max_tokens) = collection.max_tokens {
                self.bound(
                    &format!("collection.{at}.max_tokens"),
                    "collection.max_tokens",
                    max_tokens.into(),
                );
            }
            for (rule_at, rule) in collection.rules.iter().enumerate() {
                if !rule.media_type.contains('/') {
                    let message = format!(
                        "a rule of collection `{name}` is for `{}`, which is no media type",
                        rule.media_type
                    );
                    self.add(
                        format!("collection.{at}.rule.{rule_at}.media_type"),
                        message,
                        "write one like \"text/markdown\"",
                    );
                }
            }
        }
    }

    fn unique<'n>(&mut self, table: &str, names: impl Iterator<Item = &'n str>) {
        let mut seen = BTreeSet::new();
        for (at, name) in names.enumerate() {
            if name.is_empty() {
                self.add(
                    format!("{table}.{at}.name"),
                    format!("a [[{table}]] table has an empty `name`"),
                    "name it",
                );
            } else if !seen.insert(name) {
                let message = format!("there are two [[{table}]] tables named `{name}`");
                self.add(format!("{table}.{at}.name"), message, "give each a name of its own");
            }
        }
    }
}

fn there_are(names: &BTreeSet<&str>) -> String {
    match names.is_empty() {
        true => "there are none yet".into(),
        false => format!("there are: {}", names.iter().copied().collect::<Vec<_>>().join(", ")),
    }
}
