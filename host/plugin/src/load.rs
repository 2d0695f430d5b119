//! Finds plugins: in the binary, in the folder, and under the names of `[[plugin]]` tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compiled::Compiled;
use super::engine::Runtime;
use super::instance::Instances;
use super::settings::Settings;
use super::{Config, Limits, Plugin, PluginConfig, PluginError, PluginInfo, contract, grants};

/// The first-party plugins: names and components.
const BUNDLED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Where a plugin's component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Bundled(&'static [u8]),
    File(PathBuf),
}

/// A plugin that is to be loaded.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) table: Option<PluginConfig>,
}

/// Loads all that `config` and `tables` name.
pub(super) async fn load(
    config: &Config,
    tables: &[PluginConfig],
) -> Result<BTreeMap<String, Arc<Plugin>>, PluginError> {
    load_all(config, find(config, tables)?).await
}

/// Loads one file under its own name.
pub(super) async fn load_file(
    config: &Config,
    file: &Path,
    grants: &[String],
) -> Result<PluginInfo, PluginError> {
    let name = file.file_stem().map_or_else(|| "plugin".into(), |stem| stem.to_string_lossy().into_owned());
    let table = PluginConfig {
        name: name.clone(),
        file: None,
        config: toml::Table::new(),
        grants: grants.to_owned(),
        sha256: None,
        limits: None,
    };
    let found = Found { name, source: Source::File(file.to_owned()), table: Some(table) };
    let mut plugins = load_all(config, vec![found]).await?.into_values();
    let plugin = plugins
        .next()
        .ok_or_else(|| PluginError::Unknown { name: file.display().to_string(), known: String::new() })?;
    Ok(plugin.info.clone())
}

async fn load_all(config: &Config, found: Vec<Found>) -> Result<BTreeMap<String, Arc<Plugin>>, PluginError> {
    let limits: Vec<_> = found.iter().map(|found| found.limits(config)).collect();
    let instances = limits.iter().map(|limits| limits.instances.max(1)).sum();
    let runtime = Runtime::new(instances, &limits).map_err(|error| PluginError::Load {
        plugin: "all".into(),
        source_name: "this system".into(),
        reason: format!("WebAssembly cannot run here: {error:#}"),
    })?;
    let compiled = Arc::new(Compiled::open(config.cache_dir.as_deref()));
    let mut plugins = BTreeMap::new();
    for found in found {
        let limits = found.limits(config);
        let name = found.name.clone();
        let source_name = found.source.to_string();
        let plugin = load_one(&runtime, &compiled, found, limits)
            .await
            .map_err(|reason| PluginError::Load { plugin: name.clone(), source_name, reason })?;
        plugins.insert(name, Arc::new(plugin));
    }
    Ok(plugins)
}

async fn load_one(
    runtime: &Arc<Runtime>,
    compiled: &Arc<Compiled>,
    found: Found,
    limits: Limits,
) -> Result<Plugin, String> {
    let Found { name, source, table } = found;
    let (config, grants, pin) = match table {
        Some(table) => (table.config, table.grants, table.sha256),
        None => Default::default(),
    };
    grants::check(&grants)?;
    let settings = Settings::new(&config)?;
    let may_embed = grants.iter().any(|grant| grant == "embed");

    // Reading, turning into a component and compiling take milliseconds to seconds.
    let (runtime_then, compiled_then, source_then, name_then) =
        (Arc::clone(runtime), Arc::clone(compiled), source.clone(), name.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let file = source_then.read()?;
        let sha256 = pinned(&file, pin.as_deref())?;
        let bytes = contract::component(&file)?;
        let engine = &runtime_then.engine;
        let component = compiled_then
            .component(engine, &bytes)
            .map_err(|error| format!("it is no valid component: {error:#}"))?;
        let shape = contract::shape(engine, &name_then, &component, may_embed)?;
        Ok((component, shape, sha256, blake3::hash(&bytes)))
    });
    let (component, shape, sha256, hash) = prepared
        .await
        .map_err(|error| format!("loading it failed: {error}"))
        .and_then(|prepared| prepared)?;

    let linked = runtime
        .linker(may_embed)
        .instantiate_pre(&component)
        .map_err(|error| format!("it differs from the contract: {error:#}"))?;
    let fingerprint = fingerprint(&hash, &settings, &grants);
    let shared_name: Arc<str> = name.as_str().into();
    let (instances, about) =
        Instances::new(Arc::clone(runtime), shared_name, linked, shape, (limits.clone(), settings)).await?;
    let info = PluginInfo {
        name,
        version: about.version,
        about: about.about,
        is_preprocessor: shape.is_preprocessor,
        is_chunker: shape.is_chunker,
        source: source.to_string(),
        sha256,
        grants,
        needs_embedder: shape.needs_embedder,
    };
    Ok(Plugin {
        runtime: Arc::clone(runtime),
        instances,
        info,
        fingerprint,
        limits,
        uses_text: shape.uses_text || shape.needs_embedder,
    })
}

/// Lists everything that is to be loaded: files over bundled plugins, tables over both.
fn find(config: &Config, tables: &[PluginConfig]) -> Result<Vec<Found>, PluginError> {
    let mut sources: BTreeMap<String, Source> =
        BUNDLED.iter().map(|&(name, bytes)| (name.to_owned(), Source::Bundled(bytes))).collect();
    sources.extend(scan(&config.dir)?);
    let mut by_name = BTreeMap::new();
    for table in tables {
        if let Some(file) = &table.file {
            sources.insert(table.name.clone(), Source::File(config.dir.join(file)));
        } else if !sources.contains_key(&table.name) {
            let known = sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(PluginError::Load {
                plugin: table.name.clone(),
                source_name: config.dir.display().to_string(),
                reason: format!(
                    "there is no `{0}.wasm` in that folder and no bundled plugin `{0}`; there are: {known}; set `file` in its [[plugin]] table, or drop the table",
                    table.name
                ),
            });
        }
        if by_name.insert(table.name.clone(), table.clone()).is_some() {
            return Err(PluginError::Load {
                plugin: table.name.clone(),
                source_name: "the configuration".into(),
                reason:
                    "two [[plugin]] tables have this name: give one of them another, with the same `file`"
                        .into(),
            });
        }
    }
    let found = sources.into_iter().map(|(name, source)| {
        let table = by_name.remove(&name);
        Found { name, source, table }
    });
    Ok(found.collect())
}

/// Every `NAME.wasm` in `dir`; nothing where there is no such folder.
fn scan(dir: &Path) -> Result<Vec<(String, Source)>, PluginError> {
    let failed = |path: &Path, reason: String| PluginError::Load {
        plugin: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        source_name: path.display().to_string(),
        reason,
    };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(dir, format!("the folder of plugins cannot be read: {error}"))),
        Ok(entries) => entries,
    };
    // Sorted, so that of several bad files it is always the same one that is named.
    let paths: BTreeSet<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let mut found = Vec::new();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("cwasm") => {
                let why = "compiled code is not loaded from outside: put the `.wasm` that it was compiled from there";
                return Err(failed(&path, why.into()));
            }
            Some("wasm") => match path.file_stem().and_then(|stem| stem.to_str()) {
                Some(name) => found.push((name.to_owned(), Source::File(path))),
                None => return Err(failed(&path, "its name is not Unicode: give it another".into())),
            },
            _ => (),
        }
    }
    Ok(found)
}

impl Found {
    fn limits(&self, config: &Config) -> Limits {
        let own = self.table.as_ref().and_then(|table| table.limits.as_ref());
        own.map_or_else(|| config.limits.clone(), |own| own.over(&config.limits))
    }
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, String> {
        let path = match self {
            Self::Bundled(bytes) => return Ok(bytes.to_vec()),
            Self::File(path) => path,
        };
        let found = std::fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
        if !found.is_file() {
            return Err("it is not a file".into());
        }
        if contract::MAX_BYTES < found.len() {
            return Err(contract::too_large(found.len()));
        }
        std::fs::read(path).map_err(|error| format!("it cannot be read: {error}"))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bundled(_) => f.write_str("bundled"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Returns the file's SHA-256, which is `pin` where there is one.
fn pinned(file: &[u8], pin: Option<&str>) -> Result<String, String> {
    let sha256: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    match pin {
        Some(pin) if !pin.eq_ignore_ascii_case(&sha256) => Err(format!(
            "its SHA-256 is {sha256}, and its [[plugin]] table wants {pin}: get the right file, or set `sha256` once you have seen that the new one is good"
        )),
        _ => Ok(sha256),
    }
}

fn fingerprint(component: &blake3::Hash, settings: &Settings, grants: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(component.as_bytes());
    settings.hash(&mut hasher);
    let grants: BTreeSet<_> = grants.iter().collect();
    hasher.update(format!("{grants:?}").as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, file: Option<&str>) -> PluginConfig {
        PluginConfig {
            name: name.into(),
            file: file.map(Into::into),
            config: toml::Table::new(),
            grants: Vec::new(),
            sha256: None,
            limits: None,
        }
    }

    #[track_caller]
    fn check(files: &[&str], tables: &[PluginConfig], want: Result<&[&str], &str>) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let config = Config { dir: dir.path().into(), ..Config::default() };
        let from_files = |found: &Found| matches!(found.source, Source::File(_));
        match (find(&config, tables), want) {
            (Ok(found), Ok(want)) => {
                let names: Vec<_> =
                    found.iter().filter(|found| from_files(found)).map(|found| &found.name).collect();
                assert_eq!(names, want);
            }
            (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
            (found, want) => panic!("{:?} is not {want:?}", found.map(|found| found.len())),
        }
    }

    #[test]
    fn every_wasm_file_is_a_plugin() {
        check(&["b.wasm", "a.wasm", "notes.md"], &[], Ok(&["a", "b"]));
    }

    #[test]
    fn one_file_serves_under_several_names() {
        check(&["a.wasm"], &[table("legal", Some("a.wasm"))], Ok(&["a", "legal"]));
    }

    #[test]
    fn a_table_without_a_plugin_says_what_there_is() {
        check(&["a.wasm"], &[table("b", None)], Err("no bundled plugin `b`; there are: a"));
    }

    #[test]
    fn a_name_stands_once() {
        check(
            &["a.wasm"],
            &[table("a", None), table("a", None)],
            Err("two [[plugin]] tables have this name"),
        );
    }

    #[test]
    fn compiled_code_in_the_folder_is_refused() {
        check(&["a.cwasm"], &[], Err("compiled code is not loaded from outside"));
    }

    #[test]
    fn a_missing_folder_has_no_plugins() {
        let config = Config { dir: "there is no such folder".into(), ..Config::default() };
        assert_eq!(find(&config, &[]).map(|found| found.len()).unwrap(), BUNDLED.len());
    }

    #[test]
    fn another_file_than_the_pinned_one_is_refused() {
        let error = pinned(b"component", Some("00")).unwrap_err();
        assert!(error.starts_with("its SHA-256 is ") && error.contains("wants 00"), "{error}");
    }

    #[test]
    fn a_pin_may_be_in_capitals() {
        let sha256 = pinned(b"component", None).unwrap();
        assert_eq!(pinned(b"component", Some(&sha256.to_uppercase())), Ok(sha256));
    }
}
