//! Finds plugins: in the binary, in the folder, and under the names of `[[plugin]]` tables.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::{Config, Isolation, Limits, PluginConfig, PluginError, contract};

/// The first-party plugins: names and components.
const BUNDLED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Where a bundled plugin comes from, in words.
const BUNDLED_SOURCE: &str = "bundled";

/// The file that `source` names, in words; nothing where it is bundled.
pub(super) fn file_of(source: &str) -> Option<&str> {
    Some(source).filter(|source| *source != BUNDLED_SOURCE)
}

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

/// What there is at one moment.
pub(super) struct Sources {
    /// Files over bundled plugins, tables over both.
    pub(super) by_name: BTreeMap<String, Source>,
    /// Files that look like plugins and can be none, and why.
    pub(super) unfit: Vec<(PathBuf, String)>,
}

fn bundled() -> impl Iterator<Item = (String, Source)> {
    BUNDLED.iter().map(|&(name, bytes)| (name.to_owned(), Source::Bundled(bytes)))
}

impl Sources {
    /// Looks into the folder. A table's `file` is its source whether it is there or not.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    pub(super) fn look(dir: &Path, tables: &[PluginConfig]) -> io::Result<Self> {
        let (files, unfit) = scan(dir)?;
        let mut by_name: BTreeMap<String, Source> = bundled().collect();
        by_name.extend(files);
        for table in tables {
            if let Some(file) = &table.file {
                by_name.insert(table.name.clone(), Source::File(dir.join(file)));
            }
        }
        Ok(Self { by_name, unfit })
    }
}

/// Lists everything that is to be loaded when the gateway starts.
///
/// # Errors
/// The first file that can be no plugin, and tables that lead nowhere or stand twice.
pub(super) fn find(config: &Config, tables: &[PluginConfig]) -> Result<Vec<Found>, PluginError> {
    let sources = Sources::look(&config.dir, tables)
        .map_err(|error| failed(&config.dir, format!("the folder of plugins cannot be read: {error}")))?;
    if let Some((path, reason)) = sources.unfit.into_iter().next() {
        return Err(failed(&path, reason));
    }
    let mut names = BTreeSet::new();
    for table in tables {
        if !sources.by_name.contains_key(&table.name) {
            let known = sources.by_name.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(PluginError::Load {
                plugin: table.name.clone(),
                source_name: config.dir.display().to_string(),
                reason: format!(
                    "there is no `{0}.wasm` in that folder and no bundled plugin `{0}`; there are: {known}; set `file` in its [[plugin]] table, or drop the table",
                    table.name
                ),
                inside: None,
            });
        }
        if !names.insert(&table.name) {
            return Err(PluginError::Load {
                plugin: table.name.clone(),
                source_name: "the configuration".into(),
                reason:
                    "two [[plugin]] tables have this name: give one of them another, with the same `file`"
                        .into(),
                inside: None,
            });
        }
    }
    Ok(sources.by_name.into_iter().map(|(name, source)| Found::new(name, source, tables)).collect())
}

fn failed(path: &Path, reason: String) -> PluginError {
    PluginError::Load { plugin: stem(path), source_name: path.display().to_string(), reason, inside: None }
}

/// The name that a file gives its plugin, as far as it can be written.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Every `NAME.wasm` in `dir`, and what can be no plugin; nothing where there is no such folder.
#[expect(clippy::type_complexity, reason = "read by one function")]
fn scan(dir: &Path) -> io::Result<(Vec<(String, Source)>, Vec<(PathBuf, String)>)> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        entries => entries?,
    };
    // Sorted, so that of several bad files it is always the same one that is named.
    let paths: BTreeSet<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let (mut found, mut unfit) = (Vec::new(), Vec::new());
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("cwasm") => {
                let why = "compiled code is not loaded from outside: put the `.wasm` that it was compiled from there";
                unfit.push((path, why.to_owned()));
            }
            Some("wasm") => match path.file_stem().and_then(|stem| stem.to_str()) {
                Some(name) => found.push((name.to_owned(), Source::File(path))),
                None => unfit.push((path, "its name is not Unicode: give it another".into())),
            },
            _ => (),
        }
    }
    Ok((found, unfit))
}

impl Found {
    /// `source` under `name`, with the table of that name.
    pub(super) fn new(name: String, source: Source, tables: &[PluginConfig]) -> Self {
        let table = tables.iter().find(|table| table.name == name).cloned();
        Self { name, source, table }
    }

    pub(super) fn limits(&self, config: &Config) -> Limits {
        limits(self.table.as_ref(), config)
    }
}

/// The limits of the plugin of `table`.
pub(super) fn limits(table: Option<&PluginConfig>, config: &Config) -> Limits {
    let own = table.and_then(|table| table.limits.as_ref());
    let mut limits = own.map_or_else(|| config.limits.clone(), |own| own.over(&config.limits));
    let isolation = table.and_then(|table| table.isolation).unwrap_or(config.isolation);
    if isolation == Isolation::PerCall {
        limits.uses = 1;
    }
    limits
}

impl Source {
    /// The bundled plugin of this name.
    pub(super) fn bundled(name: &str) -> Option<Self> {
        bundled().find(|(bundled, _)| bundled == name).map(|(_, source)| source)
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
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
            Self::Bundled(_) => f.write_str(BUNDLED_SOURCE),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, file: Option<&str>) -> PluginConfig {
        PluginConfig { name: name.into(), file: file.map(Into::into), ..PluginConfig::default() }
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
    fn a_look_goes_on_past_a_file_that_can_be_no_plugin() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a.cwasm", "b.wasm"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let sources = Sources::look(dir.path(), &[table("c", Some("gone.wasm"))]).unwrap();
        assert_eq!(sources.unfit.len(), 1);
        let file = |name: &str| Some(Source::File(dir.path().join(name)));
        assert_eq!(sources.by_name.get("b").cloned(), file("b.wasm"));
        assert_eq!(sources.by_name.get("c").cloned(), file("gone.wasm"));
    }
}
