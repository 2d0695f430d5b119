//! The configuration: one file, defaults for all that it leaves out.
//!
//! A file is looked for (`locate`), read with every mistake in it found at once
//! (`parse`), checked against itself (`check`), and shown again (`show`).

mod check;
mod keys;
mod locate;
mod parse;
mod show;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use locate::Folders;

/// The model that is in the binary.
pub const EMBEDDED_MODEL: &str = crate::upstream::embedded::MODEL_NAME;

/// The whole file. The `Default` impls of the parts are the table of defaults.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: crate::server::Config,
    pub admin: crate::server::AdminConfig,
    #[serde(rename = "key")]
    pub keys: Vec<crate::server::KeyConfig>,
    pub log: crate::telemetry::Config,
    pub embed: crate::embed::Config,
    pub cache: crate::cache::Config,
    pub batcher: crate::batcher::Config,
    pub health: crate::embed::HealthConfig,
    pub plugins: crate::plugin::Config,
    pub store: crate::store::Config,
    pub index: crate::index::Config,
    #[serde(rename = "upstream")]
    pub upstreams: Vec<crate::upstream::Config>,
    #[serde(rename = "model")]
    pub models: Vec<crate::embed::ModelConfig>,
    #[serde(rename = "plugin")]
    pub plugin: Vec<crate::plugin::PluginConfig>,
    #[serde(rename = "collection")]
    pub collections: Vec<crate::index::CollectionConfig>,
}

/// A configuration that was found sound, and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Nothing where there is no file.
    pub file: Option<PathBuf>,
}

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: Option<usize>,
    pub message: String,
    pub remedy: Option<String>,
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}", Listing { path, problems })]
    Invalid { path: PathBuf, problems: Vec<Problem> },
}

/// Finds, reads and checks the configuration: `explicit`, else the first file of `folders`, else the defaults.
///
/// # Errors
/// All mistakes that can be told apart, with line, key, value and remedy.
pub fn load(explicit: Option<&Path>, folders: &Folders) -> Result<Loaded, ConfigError> {
    let Some(path) = explicit.map(Path::to_owned).or_else(|| folders.find()) else {
        let mut config = Config::default();
        config.complete();
        return Ok(Loaded { config, file: None });
    };
    let text = std::fs::read(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    match read(&text) {
        Ok(mut config) => {
            config.start_paths_at(path.parent().unwrap_or(Path::new("")));
            Ok(Loaded { config, file: Some(path) })
        }
        Err(problems) => Err(ConfigError::Invalid { path, problems }),
    }
}

/// Reads and checks the text of a file; paths in it stay as they are.
fn read(text: &[u8]) -> Result<Config, Vec<Problem>> {
    let source = parse::Source::new(text)?;
    let mut config = source.config()?;
    let faults = check::faults(&config);
    if faults.is_empty() {
        config.complete();
        return Ok(config);
    }
    Err(faults.into_iter().map(|fault| source.locate(fault)).collect())
}

impl Config {
    /// The effective configuration as TOML: every key with a comment that says what it is.
    ///
    /// Reading it gives the same configuration, unless it has `[[key]]` tables:
    /// their hashes are shown shortened.
    pub fn to_toml(&self) -> String {
        show::toml(self)
    }

    /// Adds the embedded model where nothing is configured that embeds, and to the limits
    /// of each plugin those of all.
    fn complete(&mut self) {
        for limits in self.plugin.iter_mut().flat_map(|plugin| &mut plugin.limits) {
            *limits = limits.over(&self.plugins.limits).into();
        }
        if self.models.is_empty() && self.upstreams.is_empty() {
            crate::embed::add_embedded(&mut self.models, &mut self.upstreams);
        }
    }

    /// Whether models that no table names may be found at an upstream.
    pub fn may_find_models(&self) -> bool {
        self.upstreams.iter().any(|upstream| crate::embed::discovers(upstream, &self.models))
    }

    fn start_paths_at(&mut self, folder: &Path) {
        let start = |path: &mut PathBuf| *path = folder.join(&*path);
        start(&mut self.plugins.dir);
        self.plugins.cache_dir.iter_mut().for_each(start);
        for tls in self.server.tls.iter_mut().chain(&mut self.admin.tls) {
            start(&mut tls.certificate);
            start(&mut tls.key);
        }
        self.store.path.iter_mut().for_each(start);
        self.store.api_key_file.iter_mut().for_each(start);
        self.upstreams.iter_mut().flat_map(|upstream| &mut upstream.api_key_file).for_each(start);
        self.models.iter_mut().flat_map(|model| &mut model.tokenizer).for_each(start);
    }
}

/// Problems of a file, one a line, each beginning with its place.
struct Listing<'a> {
    path: &'a Path,
    problems: &'a [Problem],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if 0 < index {
                writeln!(f)?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Right;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let problems = read(text.as_bytes()).err().unwrap_or_default();
        let shown: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {problem}", problem.line.map_or("-".into(), |line| line.to_string())))
            .collect();
        assert_eq!(shown, want);
    }

    const OLLAMA: &str = "[[upstream]]\nname = \"a\"\nkind = \"ollama\"\nurl = \"http://h:1\"\n";

    #[test]
    fn nothing_is_a_whole_configuration() {
        check("", &[]);
        assert_eq!(read(b"").unwrap().models[0].name, EMBEDDED_MODEL);
    }

    #[test]
    fn a_misspelt_key_names_the_nearest_one() {
        check(
            "[server]\nlissten = \"127.0.0.1:1\"",
            &["2: unknown key `lissten` in [server]: did you mean `listen`?"],
        );
        check("[sever]\n", &["1: unknown table [sever]: did you mean [server]?"]);
    }

    #[test]
    fn a_key_in_the_wrong_place_says_where_it_belongs() {
        check(
            "time_to_live = \"1h\"",
            &["1: unknown key `time_to_live` at the top of the file: it belongs in [cache]"],
        );
    }

    #[test]
    fn a_key_like_no_other_lists_what_there_is() {
        check(
            "[admin]\nxyz = 1",
            &["2: unknown key `xyz` in [admin]: the keys there are `listen`, `max_connections`, `tls`"],
        );
    }

    #[test]
    fn a_wrong_type_shows_the_value_and_what_belongs_there() {
        check(
            "[embed]\nmax_texts = \"many\"",
            &[
                "2: `max_texts = \"many\"` in [embed] is not a whole number: write it without quotes, such as `max_texts = 2048`",
            ],
        );
        check(
            "[cache]\nmax_bytes = \"much\"",
            &[
                "2: `max_bytes = \"much\"` in [cache] is not a size: write a number and a unit, such as \"64MiB\"",
            ],
        );
        check(
            "[cache]\ntime_to_live = \"a while\"",
            &[
                "2: `time_to_live = \"a while\"` in [cache] is not a time: write a number and a unit, such as \"50ms\", \"10s\" or \"24h\"",
            ],
        );
        check(
            "[server]\nlisten = \"8642\"",
            &[
                "2: `listen = \"8642\"` in [server] is not an address: write an address and a port, such as \"127.0.0.1:8642\"",
            ],
        );
    }

    #[test]
    fn an_unknown_kind_names_the_nearest_one() {
        check(
            "[[upstream]]\nname = \"a\"\nkind = \"olama\"\nurl = \"http://h:1\"",
            &["3: `kind = \"olama\"` in [[upstream]] `a` is unknown: did you mean \"ollama\"?"],
        );
    }

    #[test]
    fn a_missing_key_names_its_table() {
        check("[[model]]\nname = \"m\"\n", &["1: [[model]] `m` lacks the key `upstreams`"]);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        check(
            "[server]\nlissten = 1\n[embed]\nmax_texts = -1\n[store]\nkind = \"sqlite\"\n",
            &[
                "2: unknown key `lissten` in [server]: did you mean `listen`?",
                "4: `max_texts = -1` in [embed] is not a whole number: write one of at least 0, such as `max_texts = 2048`",
                "6: `kind = \"sqlite\"` in [store] is unknown: write \"embedded\" or \"qdrant\"",
            ],
        );
    }

    #[test]
    fn what_is_no_toml_names_the_line() {
        let problems = read(b"[server]\nlisten = \n").unwrap_err();
        assert_eq!(problems[0].line, Some(2));
        let problems = read(b"a = \xff").unwrap_err();
        assert_eq!(problems[0].message, "the file is not UTF-8 from byte 4 on");
    }

    #[test]
    fn the_longest_pause_between_probes_is_no_shorter_than_the_first() {
        check("[health]\nprobe_pause = \"1m\"", &[]);
        check(
            "[health]\nmax_probe_pause = \"1ms\"",
            &[
                "2: `max_probe_pause` in [health] is 1ms, less than the 1s of `probe_pause`: raise it, or lower `probe_pause`",
            ],
        );
    }

    #[test]
    fn names_must_lead_somewhere() {
        check(
            &format!("{OLLAMA}[[model]]\nname = \"m\"\nupstreams = [\"b\"]"),
            &["7: model `m` names the upstream `b`, and there is no [[upstream]] of that name: there are: a"],
        );
        check(
            &format!(
                "{OLLAMA}[[model]]\nname = \"m\"\nupstreams = [\"a\"]\n[[collection]]\nname = \"c\"\nmodel = \"n\""
            ),
            &[
                "10: collection `c` names the model `n`, and there is no [[model]] of that name: there are: m, static-embed-en-256",
            ],
        );
    }

    #[test]
    fn an_alias_leads_to_one_model() {
        let models = |first: &str, second: &str| {
            format!(
                "{OLLAMA}[[model]]\nname = \"m\"\nupstreams = [\"a\"]\naliases = {first}\n\
                 [[model]]\nname = \"n\"\nupstreams = [\"a\"]\naliases = {second}\n"
            )
        };
        check(&models(r#"["x", "m:latest"]"#, r#"["y"]"#), &[]);
        let already = |line: u32, alias: &str, model: &str, owner: &str| {
            format!(
                "{line}: the alias `{alias}` of model `{model}` leads to model `{owner}` already: take it out, or write another one"
            )
        };
        check(&models(r#"["N"]"#, "[]"), &[&already(8, "N", "m", "n")]);
        check(&models(r#"["x"]"#, r#"["X"]"#), &[&already(12, "X", "n", "m")]);
        check(&models(r#"["m"]"#, "[]"), &[&already(8, "m", "m", "m")]);
        check(
            &models("[]", r#"["static-embed-en-256"]"#),
            &[&already(12, "static-embed-en-256", "n", "static-embed-en-256")],
        );
        check(
            &models(r#"["a b"]"#, "[]"),
            &[
                "8: an alias of model `m` is no name: the model name `a b` has ` ` in it: use letters, digits and any of `-_.:/@`: write another alias",
            ],
        );
    }

    #[test]
    fn a_model_may_be_one_that_is_found_at_an_upstream() {
        let collection = "[[collection]]\nname = \"c\"\nmodel = \"n\"\n";
        check(&format!("{OLLAMA}{collection}"), &[]);
        check(&format!("{OLLAMA}[embed]\ndefault_model = \"n\""), &[]);
        let refused = "8: collection `c` names the model `n`, and there is no [[model]] of that name: there are: static-embed-en-256";
        check(&format!("{OLLAMA}discover = false\n{collection}"), &[refused]);
    }

    #[test]
    fn there_is_nothing_to_discover_in_the_binary() {
        check(
            "[[upstream]]\nname = \"a\"\nkind = \"embedded\"\ndiscover = true",
            &[
                "4: upstream `a` is in the binary: there is nothing to discover: take `discover` out, or set another `kind`",
            ],
        );
    }

    #[test]
    fn a_gateway_serves_its_own_models() {
        let gateway = "[[upstream]]\nname = \"far\"\nkind = \"embergate\"\nurl = \"http://h:1\"\n";
        check(gateway, &[]);
        check(&format!("{gateway}[[collection]]\nname = \"c\"\nmodel = \"n\""), &[]);
        check(
            &format!("{gateway}discover = false"),
            &[
                "5: upstream `far` is a gateway, whose models are served as they are found: take `discover` out",
            ],
        );
        check(
            &format!("{gateway}[[model]]\nname = \"m\"\nupstreams = [\"far\"]"),
            &[
                "7: model `m` names the upstream `far`, which is a gateway: its models are found there, with their names, prompts and plugins: take the [[model]] table out, or set `kind = \"openai\"` at the upstream",
            ],
        );
        check(
            &format!("{gateway}max_texts = 0"),
            &["5: `max_texts` in [upstream] is 0, so nothing would ever be let through: set it to 1 or more"],
        );
    }

    #[test]
    fn how_a_model_is_loaded_is_for_ollama_and_fits_its_texts() {
        let model = |upstream: &str, lines: &str| {
            format!(
                "{OLLAMA}[[upstream]]\nname = \"b\"\nkind = \"openai\"\nurl = \"http://h:2\"\n\
                 [[model]]\nname = \"m\"\nupstreams = [\"{upstream}\"]\n{lines}"
            )
        };
        check(&model("a", "keep_alive = \"forever\"\n[model.options]\nnum_ctx = 512\nnum_gpu = -1"), &[]);
        check(
            &model("b", "keep_alive = \"1h\""),
            &[
                "12: model `m` has `keep_alive`, and no upstream of kind \"ollama\": take it out: only Ollama heeds it",
            ],
        );
        check(
            &model("a", "keep_alive = \"0s\""),
            &[
                "12: `keep_alive` of model `m` is 0, so it would be loaded for every call: write a longer time, or take it out",
            ],
        );
        check(
            &model("a", "keep_alive = \"always\""),
            &[
                "12: `keep_alive = \"always\"` in [[model]] `m` is refused: write a time, such as \"1h\", or \"forever\"",
            ],
        );
        check(
            &model("a", "max_tokens = 512\n[model.options]\nnum_ctx = 256"),
            &[
                "14: `num_ctx` of model `m` is 256, less than the 512 of `max_tokens`: Ollama would cut what lies between: raise it, or lower `max_tokens`",
            ],
        );
        check(
            &model("a", "[model.options]\nnum_batch = 0"),
            &[
                "13: `num_batch` in [model.options] is 0, so nothing would ever be let through: set it to 1 or more",
            ],
        );
    }

    #[test]
    fn the_default_model_must_be_one() {
        check("[embed]\ndefault_model = \"static-embed-en-256:query\"", &[]);
        check(
            &format!(
                "{OLLAMA}[[model]]\nname = \"m\"\nupstreams = [\"a\"]\naliases = [\"x\"]\n[embed]\ndefault_model = \"X\""
            ),
            &[],
        );
        check(
            "[embed]\ndefault_model = \"m\"",
            &["2: `default_model = \"m\"` in [embed] leads to no model: there are: static-embed-en-256"],
        );
        check(
            "[embed]\ndefault_model = \"\"",
            &["2: `default_model = \"\"` in [embed] leads to no model: there are: static-embed-en-256"],
        );
    }

    #[test]
    fn the_depth_of_a_body_has_a_bound_of_its_own() {
        check(
            "[server]\nmax_json_depth = 128",
            &["2: `max_json_depth = 128` in [server] is too much: set it to 127 or less"],
        );
    }

    #[test]
    fn names_are_given_once() {
        check(
            &format!("{OLLAMA}{OLLAMA}"),
            &["6: there are two [[upstream]] tables named `a`: give each a name of its own"],
        );
    }

    #[test]
    fn a_server_needs_an_address() {
        check(
            "[[upstream]]\nname = \"a\"\nkind = \"ollama\"",
            &[
                "1: upstream `a` is of kind \"ollama\" and has no `url`: add its address, such as `url = \"http://127.0.0.1:11434\"`",
            ],
        );
        check(
            "[[upstream]]\nname = \"a\"\nkind = \"ollama\"\nurl = \"127.0.0.1:11434\"",
            &[
                "4: `url = \"127.0.0.1:11434\"` of upstream `a` is no address: begin it with `http://` or `https://`",
            ],
        );
        check(
            "[store]\nkind = \"qdrant\"",
            &[
                "2: the store is of kind \"qdrant\" and has no `url`: add its address, such as `url = \"http://127.0.0.1:6334\"`",
            ],
        );
    }

    /// The SHA-256 of the empty text.
    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn key(name: &str, lines: &str) -> String {
        format!("[[key]]\nname = \"{name}\"\nsha256 = \"{HASH}\"\n{lines}\n")
    }

    #[test]
    fn a_key_may_embed_unless_told_otherwise() {
        let read = |text: &str| read(text.as_bytes()).unwrap().keys.remove(0);
        assert_eq!(read(&key("a", "")).rights, [Right::Embed]);
        assert_eq!(read(&key("a", "rights = [\"admin\", \"search\"]")).rights, [Right::Admin, Right::Search]);
    }

    #[test]
    fn an_unknown_right_names_the_nearest_one() {
        check(
            &key("a", "rights = [\"embed\", \"serch\"]"),
            &["4: `rights = \"serch\"` in [[key]] `a` is unknown: did you mean \"search\"?"],
        );
        check(
            &key("a", "rights = []"),
            &[
                "4: the key `a` has no rights, so nothing would ever be let through: name one or more, or take the table out",
            ],
        );
    }

    #[test]
    fn a_key_in_the_place_of_its_hash_is_not_repeated() {
        for secret in ["\"emb_secret\"", "[\"emb_secret\"]", "{ emb_secret = 1 }"] {
            let text = format!("[[key]]\nname = \"a\"\nsha256 = {secret}");
            let problems = read(text.as_bytes()).unwrap_err();
            assert!(!format!("{problems:?}").contains("emb_"), "{problems:?}");
            assert_eq!((problems.len(), problems[0].line), (1, Some(3)));
        }
        check(
            "[[key]]\nname = \"a\"\nsha256 = \"emb_secret\"",
            &[
                "3: `sha256` of key `a` is no SHA-256: write 64 hexadecimal digits; `embergate key hash` prints them",
            ],
        );
        check(
            "[[key]]\nname = \"a\"\nsha256 = \"e3b0c442…\"",
            &[
                "3: `sha256` of key `a` is shortened, as `config show` shows it: write 64 hexadecimal digits; `embergate key hash` prints them",
            ],
        );
    }

    #[test]
    fn keys_are_told_apart() {
        check(
            &format!("{}{}", key("a", ""), key("b", "")),
            &["7: the keys `a` and `b` are the same: make one for each: `embergate key new`"],
        );
        check(
            &key("two words", ""),
            &["2: `two words` cannot name a key: use letters, digits and any of `-_.@`, at most 64"],
        );
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        check(
            &key("a", "texts_per_minute = 0"),
            &[
                "4: `texts_per_minute` in [key] is 0, so nothing would ever be let through: set it to 1 or more",
            ],
        );
        check(
            "[batcher]\nmax_texts = 0",
            &["2: `max_texts` in [batcher] is 0, so nothing would ever be let through: set it to 1 or more"],
        );
        check(
            "[[plugin]]\nname = \"p\"\n[plugin.limits]\ntime = \"1s\"\ninstances = 0",
            &[
                "5: `instances` in [plugin.limits] is 0, so nothing would ever be let through: set it to 1 or more",
            ],
        );
    }

    #[test]
    fn what_stands_in_for_a_plugin_has_to_make_sense() {
        let table = |on_error: &str| format!("[[plugin]]\nname = \"p\"\non_error = \"{on_error}\"\n");
        check(
            &table("fallback:p"),
            &["3: plugin `p` cannot be its own fallback: name another plugin, or write \"fail\" or \"skip\""],
        );
        let rule = "[[collection]]\nname = \"c\"\nmodel = \"static-embed-en-256\"\n[[collection.rule]]\nmedia_type = \"text/plain\"\nchunker = \"p\"";
        check(
            &format!("{}{rule}", table("skip")),
            &[
                "3: plugin `p` cuts the documents of collection `c`, and a chunker cannot be skipped: write \"fail\", or \"fallback:NAME\" with another chunker",
            ],
        );
        check(&format!("{}{rule}", table("fallback:recursive")), &[]);
        check(
            &table("fallback:"),
            &[
                "3: `on_error = \"fallback:\"` in [[plugin]] `p` is refused: `fallback:` is none of \"fail\", \"skip\" and \"fallback:NAME\", where NAME is another plugin",
            ],
        );
    }

    #[test]
    fn a_breaker_has_pauses_that_fit_and_a_bound() {
        check(
            "[plugins.breaker]\nmax_failures = 0\nwindow = \"0s\"\npause = \"2m\"\nmax_pause = \"1m\"",
            &[
                "3: `window` in [plugins.breaker] is 0, so nothing would ever be let through: set it to 1 or more",
                "5: `max_pause` in [plugins.breaker] is 60s, less than the 120s of `pause`: raise it, or lower `pause`",
            ],
        );
        check(
            "[plugins.breaker]\nmax_failures = 10001",
            &[
                "2: `max_failures = 10001` in [plugins.breaker] is too much: set it to 10000 or less, or to 0 to keep plugins in service whatever they do",
            ],
        );
    }

    #[test]
    fn paths_start_at_the_folder_of_the_file() {
        let mut config = read(b"[store]\npath = \"data\"\n[plugins]\ndir = \"/abs\"").unwrap();
        config.start_paths_at(Path::new("/etc/embergate"));
        assert_eq!(config.store.path, Some("/etc/embergate/data".into()));
        assert_eq!(config.plugins.dir, Path::new("/abs"));
    }
}
