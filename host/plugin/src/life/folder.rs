//! The folder of plugins: what stands in it, and when to look again.
//!
//! The system is asked to tell of changes. It cannot everywhere (network file systems, a
//! folder that is not there yet, limits that are used up), so the folder is looked at from
//! time to time all the same, and what it told is no more than a reason to look now.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::LOG;

/// What tells that a file is another one, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    identity: Identity,
}

/// Which file it is, and when anything of it was changed last; nothing where the system does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Identity {
    #[cfg(unix)]
    numbers: (u64, u64, i64, i64),
}

impl Identity {
    #[cfg(unix)]
    fn of(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        Self { numbers: (found.dev(), found.ino(), found.ctime(), found.ctime_nsec()) }
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Self {
        Self::default()
    }
}

impl Stamp {
    /// Of the file at `path`, links followed; nothing where there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self { size: found.len(), modified: found.modified().ok(), identity: Identity::of(&found) })
    }
}

/// Wakes whoever waits when the system tells of a change in the folder.
pub(super) struct Bell {
    dir: PathBuf,
    rung: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    /// The folder that is watched: another one may have taken its name.
    watched: Option<Stamp>,
    complaint: Option<String>,
}

impl Bell {
    pub(super) fn new(dir: &Path) -> Self {
        let rung = Arc::<Notify>::default();
        let ringing = rung.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may stand for changes that were lost.
            if event.is_ok_and(|event| is_a_look(event.kind)) {
                return;
            }
            ringing.notify_one();
        });
        let (watcher, complaint) = match watcher {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let bell = Self { dir: dir.to_owned(), rung, watcher, watched: None, complaint };
        if let Some(error) = &bell.complaint {
            bell.complain(error);
        }
        bell
    }

    /// Has the folder watched that is there now, if the system can.
    pub(super) fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let there = Stamp::of(&self.dir).map(Stamp::of_a_folder);
        if there == self.watched {
            return;
        }
        if self.watched.take().is_some() {
            // The system may have given it up already.
            drop(watcher.unwatch(&self.dir));
        }
        if there.is_none() {
            return;
        }
        match watcher.watch(&self.dir, RecursiveMode::NonRecursive) {
            Ok(()) => self.watched = there,
            Err(error) => {
                let error = error.to_string();
                if self.complaint.as_ref() != Some(&error) {
                    self.complain(&error);
                    self.complaint = Some(error);
                }
            }
        }
    }

    /// Notified when the system tells of a change.
    pub(super) fn rung(&self) -> Arc<Notify> {
        self.rung.clone()
    }

    fn complain(&self, error: &str) {
        let dir = self.dir.display();
        tracing::info!(target: LOG, %dir, error, "the system does not tell of changes in the folder of plugins; it is looked at every `plugins.look_every`");
    }
}

impl Stamp {
    /// What stays the same while files come and go in a folder.
    fn of_a_folder(mut self) -> Self {
        self.size = 0;
        self.modified = None;
        #[cfg(unix)]
        {
            (self.identity.numbers.2, self.identity.numbers.3) = (0, 0);
        }
        self
    }
}

/// Whether somebody has only looked: we do so ourselves.
fn is_a_look(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}

/// The errors of a look are told once, until one succeeds.
#[derive(Default)]
pub(super) struct Complaint(Option<String>);

impl Complaint {
    pub(super) fn about(&mut self, dir: &Path, outcome: Result<(), &io::Error>) {
        match outcome {
            Ok(()) => self.0 = None,
            Err(error) => {
                let said = error.to_string();
                if self.0.as_ref() != Some(&said) {
                    tracing::warn!(target: LOG, dir = %dir.display(), error = said, "the folder of plugins cannot be read; all plugins stay as they are");
                    self.0 = Some(said);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, RemoveKind};

    use super::*;

    #[track_caller]
    fn check_look(kind: EventKind, want: bool) {
        assert_eq!(is_a_look(kind), want, "{kind:?}");
    }

    #[test]
    fn reading_is_no_reason_to_look_again() {
        check_look(EventKind::Access(AccessKind::Open(AccessMode::Any)), true);
        check_look(EventKind::Access(AccessKind::Close(AccessMode::Read)), true);
        check_look(EventKind::Access(AccessKind::Close(AccessMode::Write)), false);
        check_look(EventKind::Create(CreateKind::File), false);
        check_look(EventKind::Remove(RemoveKind::File), false);
        check_look(EventKind::Any, false);
    }

    #[test]
    fn another_file_has_another_stamp_even_of_the_same_size_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        assert_eq!(Stamp::of(&one), None);
        for path in [&one, &other] {
            std::fs::write(path, "same").unwrap();
            std::fs::File::open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        let before = Stamp::of(&one);
        assert_eq!(Stamp::of(&one), before);
        std::fs::rename(&other, &one).unwrap();
        assert_eq!(cfg!(unix), Stamp::of(&one) != before);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_bell_rings_for_a_folder_that_came_later() {
        let dir = tempfile::tempdir().unwrap();
        let plugins = dir.path().join("plugins");
        let mut bell = Bell::new(&plugins);
        bell.follow();
        assert_eq!(bell.watched, None);
        std::fs::create_dir(&plugins).unwrap();
        bell.follow();
        assert!(bell.watched.is_some(), "{:?}", bell.complaint);
        std::fs::write(plugins.join("mine.wasm"), "").unwrap();
        let rung = bell.rung();
        tokio::time::timeout(std::time::Duration::from_secs(60), rung.notified()).await.expect("it rings");
    }
}
