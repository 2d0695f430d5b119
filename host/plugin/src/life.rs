//! The life of plugins while the gateway runs: files come, change and go, and what they
//! hold takes effect, or not, and the log says why.
//!
//! `folder` says what is there, `settle` when it has come to rest, and `reload` makes
//! plugins of it and puts them into service. One plugin is loaded at a time, aside from
//! the threads that serve.

mod folder; // what is there, and when to look
mod reload; // from a file to a plugin in service
mod settle; // when a file is whole

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::folder::{Bell, Complaint, Stamp};
use self::reload::Reloading;
use self::settle::Settling;
use super::load::Loader;
use super::sources::{self, Source, Sources};
use super::{Config, Plugin, PluginConfig};

/// Between two looks at the folder, at least, however much happens in it.
const PAUSE: Duration = Duration::from_millis(20);

/// What is to be done by a plugin for whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Preprocessor,
    Chunker,
}

/// Somebody who names a plugin: it stays in service, and keeps its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub plugin: String,
    pub role: Role,
    /// Such as "model `docs`".
    pub user: String,
}

/// What has happened to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'c> {
    pub plugin: &'c str,
    pub reload: Reload,
}

/// What came of a file that came, changed or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// A new plugin serves.
    Loaded,
    /// It serves in the place of the one before.
    Replaced,
    /// It is the same as the one that serves.
    Unchanged,
    /// It is no good. What served before, if anything did, still does.
    Failed,
    /// It serves no more.
    Removed,
    /// Its file is gone; it serves on, because it is needed.
    Kept,
}

impl Reload {
    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Removed => "removed",
            Self::Kept => "kept",
        }
    }
}

/// A file that is there and does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The plugin that it would be.
    pub plugin: String,
    /// A path, or `bundled`.
    pub source: String,
    pub reason: String,
    pub at: SystemTime,
}

impl Refused {
    /// Nothing where it is bundled.
    pub fn file(&self) -> Option<&str> {
        sources::file_of(&self.source)
    }
}

/// What is seen of a plugin without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Bundled,
    /// With no stamp where a table names a file that is not there.
    File(PathBuf, Option<Stamp>),
}

/// What is seen in one look.
#[derive(Default)]
pub(super) struct Look {
    plugins: BTreeMap<String, Sight>,
    /// Files that can be no plugins, and why.
    unfit: BTreeMap<PathBuf, String>,
}

/// What is there at this moment; nothing where the folder cannot be read.
pub(super) fn look(config: &Config, tables: &[PluginConfig]) -> Look {
    try_look(config, tables).unwrap_or_default()
}

fn try_look(config: &Config, tables: &[PluginConfig]) -> io::Result<Look> {
    let Sources { by_name, unfit } = Sources::look(&config.dir, tables)?;
    let sight = |source| match source {
        Source::Bundled(_) => Sight::Bundled,
        Source::File(path) => {
            let stamp = Stamp::of(&path);
            Sight::File(path, stamp)
        }
    };
    let plugins = by_name.into_iter().map(|(name, source)| (name, sight(source))).collect();
    Ok(Look { plugins, unfit: unfit.into_iter().collect() })
}

/// What it takes to follow the folder.
pub(super) struct Life {
    loader: Arc<Loader>,
    /// What there was before the first plugin was loaded.
    seen: Look,
    /// By the name of the plugin, or the path of what can be none.
    refused: Mutex<BTreeMap<String, Refused>>,
}

impl Life {
    pub(super) fn new(loader: Loader, seen: Look) -> Self {
        Self { loader: Arc::new(loader), seen, refused: Mutex::default() }
    }

    pub(super) fn refused(&self) -> Vec<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Follows the folder and puts what it finds into `serving`; ends only where it is not to be watched.
    pub(super) async fn follow(
        &self,
        serving: &ArcSwap<BTreeMap<String, Arc<Plugin>>>,
        uses: Vec<Use>,
        changed: &(dyn Fn(&Change<'_>) + Send + Sync),
    ) {
        let Loader { config, .. } = &*self.loader;
        self.loader.step_aside();
        if !config.watch {
            return;
        }
        let bell = Bell::new(&config.dir);
        let (loader, rung) = (self.loader.clone(), bell.rung());
        let folder = RealFolder { loader, rung, bell: Arc::new(Mutex::new(bell)) };
        let settling = Settling::new(config.settle, self.seen.plugins.clone());
        let reloading = Reloading { loader: &self.loader, serving, uses, refused: &self.refused, changed };
        follow(folder, settling, config.look_every, reloading).await;
    }
}

/// Where plugins come from.
trait Folder: Send {
    fn look(&mut self) -> impl Future<Output = io::Result<Look>> + Send;
    /// Returns when there may be something new.
    fn rung(&self) -> impl Future<Output = ()> + Send;
    fn complain(&self, complaint: &mut Complaint, outcome: Result<(), &io::Error>);
}

/// What is done about a plugin that was put there, changed, or taken away.
trait Act: Send + Sync {
    fn act(&self, name: String, sight: Option<Sight>) -> impl Future<Output = ()> + Send;
    /// Takes all files that can be no plugins.
    fn unfit(&self, unfit: BTreeMap<PathBuf, String>);
}

async fn follow(mut folder: impl Folder, mut settling: Settling<Sight>, look_every: Duration, act: impl Act) {
    let mut complaint = Complaint::default();
    loop {
        let begun = Instant::now();
        let looked = folder.look().await;
        folder.complain(&mut complaint, looked.as_ref().map(drop));
        if let Ok(Look { plugins, unfit }) = looked {
            act.unfit(unfit);
            for (name, sight) in settling.look(begun, &plugins) {
                act.act(name, sight).await;
            }
        }
        tokio::time::sleep_until(begun + PAUSE).await;
        let next = settling.due().map_or(begun + look_every, |due| due.min(begun + look_every));
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = folder.rung() => {}
        }
    }
}

struct RealFolder {
    loader: Arc<Loader>,
    bell: Arc<Mutex<Bell>>,
    rung: Arc<Notify>,
}

impl Folder for RealFolder {
    async fn look(&mut self) -> io::Result<Look> {
        let (loader, bell) = (self.loader.clone(), self.bell.clone());
        let look = move || {
            // Before the look: what happens after it rings.
            bell.lock().unwrap_or_else(PoisonError::into_inner).follow();
            try_look(&loader.config, &loader.tables)
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    async fn rung(&self) {
        self.rung.notified().await;
    }

    fn complain(&self, complaint: &mut Complaint, outcome: Result<(), &io::Error>) {
        complaint.about(&self.loader.config.dir, outcome);
    }
}

#[cfg(test)]
mod tests;
