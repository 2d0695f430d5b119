//! Makes plugins of components: read, checked, compiled, linked, started and tried out.

mod telling; // what people hear of compiling

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::breaker::Breaker;
use super::compiled::Compiled;
use super::engine::Runtime;
use super::error::with_causes;
use super::inside::Inside;
use super::instance::Instances;
use super::settings::Settings;
use super::sources::{self, Found, Source};
use super::tally::Tally;
use super::{
    BreakerConfig, Config, Limits, Plugin, PluginConfig, PluginError, PluginInfo, contract, grants, on_error,
    words,
};

/// Plugins for which there is room beside those that were there at the start.
const ROOM: usize = 8;

/// What it takes to load plugins, at the start and later.
pub(super) struct Loader {
    pub(super) config: Config,
    pub(super) tables: Vec<PluginConfig>,
    runtime: Arc<Runtime>,
    compiled: Arc<Compiled>,
}

impl Loader {
    /// Makes room for plugins as `found` has them, and for some that come later.
    ///
    /// # Errors
    /// WebAssembly cannot run on this system.
    pub(super) fn new(
        config: &Config,
        tables: &[PluginConfig],
        found: &[Found],
    ) -> Result<Self, PluginError> {
        let mut limits: Vec<_> = found.iter().map(|found| found.limits(config)).collect();
        let instances: usize = limits.iter().map(|limits| limits.instances.max(1)).sum();
        // What comes later has the limits of its table, or those of all.
        limits.extend(tables.iter().map(|table| sources::limits(Some(table), config)));
        limits.push(config.limits.clone());
        let later = ROOM * config.limits.instances.max(1);
        let unable = |error: wasmtime::Error| PluginError::Load {
            plugin: "all".into(),
            source_name: "this system".into(),
            reason: format!("WebAssembly cannot run here: {error:#}"),
            inside: None,
        };
        let runtime = Runtime::new(instances + later, &limits, config.metering).map_err(unable)?;
        let compiled = Compiled::open(config.cache_dir.as_deref(), config.max_compiled);
        let compiled = Arc::new(compiled.telling(Box::new(telling::of_compiling)));
        Ok(Self { config: config.clone(), tables: tables.to_owned(), runtime, compiled })
    }

    /// Has `compiling` know of what is compiled, in the place of the log.
    #[cfg(test)]
    pub(super) fn telling(mut self, compiling: super::compiled::Compiling) -> Self {
        let compiled = Compiled::open(self.config.cache_dir.as_deref(), self.config.max_compiled);
        self.compiled = Arc::new(compiled.telling(compiling));
        self
    }

    /// Leaves half of the processors to others when something is compiled from now on, and one
    /// when calls take long.
    pub(super) fn step_aside(&self) {
        self.compiled.step_aside();
        self.runtime.turns.step_aside();
    }

    /// Loads all of `found`.
    ///
    /// # Errors
    /// The first that cannot be loaded or has a fallback that cannot be, with what its author or
    /// the operator can do.
    pub(super) async fn load_all(
        &self,
        found: Vec<Found>,
    ) -> Result<BTreeMap<String, Arc<Plugin>>, PluginError> {
        let mut plugins = BTreeMap::new();
        for found in found {
            let (name, source_name) = (found.name.clone(), found.source.to_string());
            let plugin = self.load(found).await.map_err(|Fault { reason, inside }| PluginError::Load {
                plugin: name.clone(),
                source_name,
                reason,
                inside,
            })?;
            plugins.insert(name, Arc::new(plugin));
        }
        on_error::link(&plugins)?;
        plugins.values().for_each(|plugin| plugin.breaker.show(true));
        Ok(plugins)
    }

    /// Loads one, and has it answer a call where that is asked for.
    ///
    /// # Errors
    /// What is wrong with it, and the way out, in words that follow the file's name.
    pub(super) async fn load(&self, found: Found) -> Result<Plugin, Fault> {
        let is_ours = matches!(found.source, Source::Bundled(_));
        let pins = self.config.require_pins && !is_ours;
        let limits = (found.limits(&self.config), &self.config.breaker);
        let plugin = load_one(&self.runtime, &self.compiled, found, pins, limits).await?;
        if self.config.smoke_test && !is_ours {
            plugin.try_out().await?;
        }
        Ok(plugin)
    }
}

/// Why a plugin cannot be loaded, in words that follow the file's name.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) inside: Option<Box<Inside>>,
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self { reason, inside: None }
    }
}

impl Fault {
    /// With all that is known of the guest's inside, in one line.
    pub(super) fn in_full(self) -> String {
        with_causes(self.reason, self.inside.as_deref().map(|inside| inside as _))
    }
}

/// Loads one file under its own name. It needs no pin: this is how people get to know one.
pub(super) async fn load_file(
    config: &Config,
    file: &Path,
    grants: &[String],
) -> Result<PluginInfo, PluginError> {
    let name = file.file_stem().map_or_else(|| "plugin".into(), |stem| stem.to_string_lossy().into_owned());
    let table = PluginConfig { name: name.clone(), grants: grants.to_owned(), ..PluginConfig::default() };
    let config = Config { require_pins: false, smoke_test: true, ..config.clone() };
    let found = vec![Found { name, source: Source::File(file.to_owned()), table: Some(table) }];
    let mut plugins = Loader::new(&config, &[], &found)?.load_all(found).await?.into_values();
    let plugin = plugins.next().ok_or_else(|| PluginError::Unknown {
        name: file.display().to_string(),
        role: "plugin",
        known: "none".into(),
    })?;
    Ok(plugin.info.clone())
}

async fn load_one(
    runtime: &Arc<Runtime>,
    compiled: &Arc<Compiled>,
    found: Found,
    needs_pin: bool,
    (limits, breaker): (Limits, &BreakerConfig),
) -> Result<Plugin, Fault> {
    let Found { name, source, table } = found;
    let PluginConfig { config, grants, sha256: pin, on_error, .. } = table.unwrap_or_default();
    grants::check(&grants)?;
    let settings = Settings::new(&config)?;
    let may_embed = grants.iter().any(|grant| grant == "embed");

    // Reading, turning into a component and compiling take milliseconds to seconds.
    let (runtime_then, compiled_then, source_then, name_then) =
        (Arc::clone(runtime), Arc::clone(compiled), source.clone(), name.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let file = source_then.read()?;
        let sha256 = pinned(&file, &name_then, pin.as_deref(), needs_pin)?;
        let bytes = contract::component(&file)?;
        let engine = &runtime_then.engine;
        let (component, code) = compiled_then
            .component(engine, &name_then, &bytes)
            .map_err(|error| contract::invalid(&format!("{error:#}")))?;
        telling::of_code(&name_then, code);
        let shape = contract::shape(engine, &name_then, &component, may_embed)?;
        Ok((component, shape, sha256, blake3::hash(&bytes), code))
    });
    let (component, shape, sha256, hash, code) = prepared
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
        version: words::cut(&words::sentence(&about.version), words::VERSION),
        about: words::sentence(&about.about),
        is_preprocessor: shape.is_preprocessor,
        is_chunker: shape.is_chunker,
        source: source.to_string(),
        sha256,
        code,
        grants,
        needs_embedder: shape.needs_embedder,
    };
    on_error::check(&on_error, &info)?;
    let tally = Arc::new(Tally::new(&info.name));
    Ok(Plugin {
        breaker: Breaker::new(&info.name, breaker),
        on_error,
        fallback: Mutex::default(),
        runtime: Arc::clone(runtime),
        instances,
        info,
        fingerprint,
        limits,
        loaded_at: SystemTime::now(),
        tally,
        uses_text: shape.uses_text || shape.needs_embedder,
    })
}

/// Returns the file's SHA-256, which is `pin` where there is one, as there has to be where it `needs_pin`.
fn pinned(file: &[u8], name: &str, pin: Option<&str>, needs_pin: bool) -> Result<String, String> {
    let sha256: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    match pin {
        Some(pin) if !pin.eq_ignore_ascii_case(&sha256) => Err(format!(
            "its SHA-256 is {sha256}, and its [[plugin]] table wants {pin}: get the right file, or set `sha256` once you have seen that the new one is good"
        )),
        None if needs_pin => Err(format!(
            "it is not pinned, as `require_pins` in [plugins] wants it: once you have seen that it is good, write sha256 = \"{sha256}\" in the [[plugin]] table of `{name}`"
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

    #[test]
    fn another_file_than_the_pinned_one_is_refused() {
        let error = pinned(b"component", "legal", Some("00"), false).unwrap_err();
        assert!(error.starts_with("its SHA-256 is ") && error.contains("wants 00"), "{error}");
    }

    #[test]
    fn where_pins_are_required_the_line_that_is_missing_is_named() {
        let sha256 = pinned(b"component", "legal", None, false).unwrap();
        let error = pinned(b"component", "legal", None, true).unwrap_err();
        let line = format!("sha256 = \"{sha256}\" in the [[plugin]] table of `legal`");
        assert!(error.contains(&line), "{error}");
    }

    #[test]
    fn a_pin_may_be_in_capitals() {
        let sha256 = pinned(b"component", "legal", None, false).unwrap();
        assert_eq!(pinned(b"component", "legal", Some(&sha256.to_uppercase()), true), Ok(sha256));
    }
}
