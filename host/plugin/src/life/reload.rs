//! From a file that has come to rest to a plugin in service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::folder::Stamp;
use super::{Act, Change, Refused, Reload, Role, Sight, Use};
use crate::load::{Fault, Loader};
use crate::sources::{self, Found, Source};
use crate::{LOG, Plugin, PluginInfo, on_error};

type Serving = ArcSwap<BTreeMap<String, Arc<Plugin>>>;

/// Loads plugins and puts them into service.
pub(super) struct Reloading<'l> {
    pub(super) loader: &'l Loader,
    pub(super) serving: &'l Serving,
    pub(super) uses: Vec<Use>,
    pub(super) refused: &'l Mutex<BTreeMap<String, Refused>>,
    pub(super) changed: &'l (dyn Fn(&Change<'_>) + Send + Sync),
}

impl Act for Reloading<'_> {
    async fn act(&self, name: String, sight: Option<Sight>) {
        let (source, stamp) = match sight {
            None => return self.gone(&name),
            Some(Sight::File(_, None)) => return self.gone(&name),
            Some(Sight::File(path, Some(stamp))) => (Source::File(path), Some(stamp)),
            Some(Sight::Bundled) => match Source::bundled(&name) {
                Some(source) => (source, None),
                None => return self.gone(&name),
            },
        };
        match self.load(&name, &source, stamp).await {
            Ok(Some(reload)) => {
                self.lock().remove(&name);
                self.tell(&name, reload);
            }
            Ok(None) => {
                tracing::debug!(target: LOG, plugin = name, "a plugin's file changed while it was read")
            }
            Err(reason) => self.refuse(&name, &name, &source.to_string(), reason),
        }
    }

    fn unfit(&self, unfit: BTreeMap<PathBuf, String>) {
        let keys: BTreeMap<String, (&PathBuf, &String)> =
            unfit.iter().map(|(path, reason)| (path.display().to_string(), (path, reason))).collect();
        let known: Vec<String> = {
            let mut refused = self.lock();
            // Plugins are refused by their names, which are no paths of such files.
            refused.retain(|key, refused| *key != refused.source || keys.contains_key(key));
            refused.keys().cloned().collect()
        };
        for (key, (path, reason)) in keys.iter().filter(|(key, _)| !known.contains(key)) {
            self.refuse(key, &sources::stem(path), key, (*reason).clone());
        }
    }
}

impl Reloading<'_> {
    /// Nothing where the file was changed meanwhile: it is read again once it rests.
    async fn load(
        &self,
        name: &str,
        source: &Source,
        stamp: Option<Stamp>,
    ) -> Result<Option<Reload>, String> {
        let found = Found::new(name.to_owned(), source.clone(), &self.loader.tables);
        let loaded = self.loader.load(found).await;
        if let Source::File(path) = source {
            let path = path.clone();
            let now = tokio::task::spawn_blocking(move || Stamp::of(&path)).await.unwrap_or_default();
            if now != stamp {
                return Ok(None);
            }
        }
        let mut plugin = loaded.map_err(Fault::in_full)?;
        if let Some(broken) = self.uses_of(name).find(|used| !used.is_met_by(&plugin.info)) {
            let role = broken.role.as_str();
            return Err(format!("it is no {role}, and {} uses it as one", broken.user));
        }
        let before = self.serving.load().get(name).cloned();
        if let Some(before) = &before {
            if before.is_same_as(&plugin) {
                return Ok(Some(Reload::Unchanged));
            }
            plugin.instances.succeed(&before.instances);
            plugin.tally = Arc::clone(&before.tally);
        }
        let plugin = Arc::new(plugin);
        self.serve(|serving| drop(serving.insert(name.to_owned(), Arc::clone(&plugin))))?;
        if let Some(before) = &before {
            before.leave();
        }
        plugin.breaker.show(true);
        Ok(Some(if before.is_some() { Reload::Replaced } else { Reload::Loaded }))
    }

    /// Takes a plugin out of service whose file is gone, unless somebody needs it.
    fn gone(&self, name: &str) {
        self.lock().remove(name);
        let Some(before) = self.serving.load().get(name).cloned() else { return };
        if let Some(user) = self.user_of(name) {
            tracing::warn!(
                target: LOG,
                plugin = name,
                source = before.info.source,
                "the file of a plugin is gone, and {user} uses it: it serves on until the gateway ends, and without the file the gateway does not start again"
            );
            return self.tell(name, Reload::Kept);
        }
        // Nothing can be wrong with the others: none has it for a fallback.
        if self.serve(|serving| drop(serving.remove(name))).is_ok() {
            before.leave();
            self.tell(name, Reload::Removed);
        }
    }

    /// Serves what `change` makes of the plugins, and links each to the one that stands in for it.
    ///
    /// # Errors
    /// A plugin would lose the one that stands in for it. Then nothing is changed.
    fn serve(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<Plugin>>)) -> Result<(), String> {
        // Nobody else changes what serves.
        let mut serving = BTreeMap::clone(&self.serving.load());
        change(&mut serving);
        on_error::link(&serving).map_err(|error| error.to_string())?;
        self.serving.store(Arc::new(serving));
        Ok(())
    }

    /// Whoever needs the plugin, in words.
    fn user_of(&self, name: &str) -> Option<String> {
        let used = self.uses_of(name).next().map(|used| used.user.clone());
        used.or_else(|| {
            let serving = self.serving.load();
            let stood_in_for = serving.values().find(|plugin| plugin.on_error.is_fallback(name))?;
            Some(format!("plugin `{}`, for which it stands in,", stood_in_for.name()))
        })
    }

    fn refuse(&self, key: &str, plugin: &str, source: &str, reason: String) {
        let stays = self.serving.load().contains_key(plugin);
        let rest = if stays { "; the one before it serves on" } else { "" };
        tracing::warn!(target: LOG, plugin, source, reason, "a plugin cannot be used{rest}");
        let (plugin, source, at) = (plugin.to_owned(), source.to_owned(), SystemTime::now());
        let refused = Refused { plugin: plugin.clone(), source, reason, at };
        self.lock().insert(key.to_owned(), refused);
        self.tell(&plugin, Reload::Failed);
    }

    fn tell(&self, plugin: &str, reload: Reload) {
        (self.changed)(&Change { plugin, reload });
        let result = reload.as_str();
        let serving = self.serving.load();
        let info = serving.get(plugin).map(|plugin| &plugin.info);
        let (version, source, sha256) =
            info.map_or(("", "", ""), |info| (&*info.version, &*info.source, &*info.sha256));
        match reload {
            Reload::Loaded | Reload::Replaced => {
                tracing::info!(target: LOG, plugin, version, source, sha256, "plugin {result}");
            }
            Reload::Removed => tracing::info!(target: LOG, plugin, "plugin {result}"),
            Reload::Unchanged => tracing::debug!(target: LOG, plugin, source, "plugin {result}"),
            // What went wrong was told.
            Reload::Failed | Reload::Kept => {}
        }
        metrics::counter!("embergate_plugin_reloads_total", "plugin" => plugin.to_owned(), "result" => result)
            .increment(1);
    }

    fn uses_of(&self, name: &str) -> impl Iterator<Item = &Use> {
        self.uses.iter().filter(move |used| used.plugin == name)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Use {
    fn is_met_by(&self, info: &PluginInfo) -> bool {
        match self.role {
            Role::Preprocessor => info.is_preprocessor,
            Role::Chunker => info.is_chunker,
        }
    }
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Preprocessor => "preprocessor",
            Self::Chunker => "chunker",
        }
    }
}

impl Plugin {
    /// Serves no more, but for the calls under way.
    fn leave(&self) {
        self.breaker.show(false);
        self.instances.replaced();
    }

    /// Whether it does the same, and comes from the same place.
    fn is_same_as(&self, other: &Self) -> bool {
        (&self.fingerprint, &self.info.source, &self.info.sha256)
            == (&other.fingerprint, &other.info.source, &other.info.sha256)
    }
}

#[cfg(test)]
mod tests;
