//! Waits until something changes under the sources of a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::Root;

/// Tells that it is time to look again.
pub struct Watch {
    told: Arc<Notify>,
    settle: Duration,
    every: Duration,
    /// Dropping it ends the watching.
    watcher: Result<RecommendedWatcher, String>,
}

impl Watch {
    /// Watches files and folders, these with all that is in them. What changes
    /// from now on is told, before `changed` is waited for too; what changes in
    /// the folder `own` is not.
    pub(super) fn new(roots: &[Root], own: Option<&Path>, settle: Duration, every: Duration) -> Self {
        let told = Arc::new(Notify::new());
        let watcher = watcher(roots, own, Arc::clone(&told));
        Self { told, settle, every, watcher }
    }

    /// Why changes are looked for every now and then, where the system does not tell of them.
    pub fn is_looking(&self) -> Option<&str> {
        self.watcher.as_ref().err().map(String::as_str)
    }

    /// The time between two looks, where the system does not tell of changes.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// Waits for a change, and then until there is none for a moment: whoever
    /// writes many files has them indexed together.
    pub async fn changed(&mut self) {
        if self.watcher.is_err() {
            tokio::time::sleep(self.every).await;
            return;
        }
        self.told.notified().await;
        while tokio::time::timeout(self.settle, self.told.notified()).await.is_ok() {}
    }
}

fn watcher(roots: &[Root], own: Option<&Path>, told: Arc<Notify>) -> Result<RecommendedWatcher, String> {
    let own = own.and_then(|folder| folder.canonicalize().ok());
    let is_own = move |path: &PathBuf| own.as_ref().is_some_and(|folder| path.starts_with(folder));
    // Reading is no change, and neither is what a run writes itself; an error may hide one.
    let is_none = move |event: &notify::Event| {
        event.kind.is_access() || !event.paths.is_empty() && event.paths.iter().all(&is_own)
    };
    let tell = move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| is_none(&event)) {
            told.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(tell).map_err(|error| error.to_string())?;
    for root in roots {
        match root {
            Root::Path { path, .. } => watcher
                .watch(Path::new(path), RecursiveMode::Recursive)
                .map_err(|error| format!("cannot watch `{path}`: {error}"))?,
            Root::Url { url } => return Err(format!("`{url}` does not tell when it changes")),
            // It is there once.
            Root::Standard { .. } => {}
        }
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_that_came_before_the_waiting_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (settle, every) = (Duration::from_millis(1), Duration::from_secs(1));
        let mut watch = Watch::new(&[Root::path(folder.path())], None, settle, every);
        assert_eq!(watch.is_looking(), None);
        std::fs::write(folder.path().join("a.txt"), "x").unwrap();
        watch.changed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_watched_is_looked_at_now_and_then() {
        let gone = Root::path("/nowhere/at/all");
        let mut watch = Watch::new(&[gone], None, Duration::ZERO, Duration::from_secs(30));
        assert!(watch.is_looking().is_some());
        let before = tokio::time::Instant::now();
        watch.changed().await;
        assert_eq!(before.elapsed(), Duration::from_secs(30));
    }
}
