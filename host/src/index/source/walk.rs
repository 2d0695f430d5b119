//! Folders → files, in the order of their names. What git leaves out is left out, in a repository
//! or not, and so is what is hidden; links are not followed; where options do not say otherwise.

use std::collections::{HashSet, VecDeque};
use std::fs::Metadata;
use std::ops::ControlFlow::{self, Continue};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::{DirEntry, WalkBuilder};

use super::records::RecordOptions;
use super::root::{Options, Root, Rules};
use super::{Found, Sources};

/// What stands somewhere.
pub(super) enum Place<'s> {
    File {
        found: Found,
        /// Where it holds records.
        records: Option<&'s RecordOptions>,
    },
    /// What is no file: one document.
    Other(Found),
    Skipped {
        source: String,
        reason: String,
    },
    Failed {
        source: String,
        reason: String,
    },
    /// A link from a root to a place that is in none.
    Linked {
        root: &'s str,
        place: String,
    },
}

type Visit<'v, 's> = &'v mut dyn FnMut(Place<'s>) -> ControlFlow<()>;

impl Sources {
    /// Visits all that the roots lead to. What is in several of them is the innermost one's.
    pub(super) fn places<'s>(&'s self, visit: Visit<'_, 's>) -> ControlFlow<()> {
        let paths = self.roots.iter().filter_map(|root| match root {
            Root::Path { path, .. } => Some(PathBuf::from(path)),
            Root::Url { .. } | Root::Standard { .. } => None,
        });
        let mut taken: HashSet<PathBuf> = paths.collect();
        for root in &self.roots {
            match root {
                Root::Path { path, options, .. } => {
                    let mut walk =
                        Walk { root: path, options, taken, waiting: VecDeque::new(), visit: &mut *visit };
                    walk.all()?;
                    taken = walk.taken;
                }
                Root::Url { .. } | Root::Standard { .. } => {
                    if let Some(found) = root.found() {
                        visit(Place::Other(found))?;
                    }
                }
            }
        }
        Continue(())
    }
}

/// The walk of one root.
struct Walk<'v, 's> {
    root: &'s str,
    options: &'s Options,
    /// All roots, and where links led: each is walked once, for itself.
    taken: HashSet<PathBuf>,
    /// Folders that links led to.
    waiting: VecDeque<PathBuf>,
    visit: Visit<'v, 's>,
}

impl<'s> Walk<'_, 's> {
    fn all(&mut self) -> ControlFlow<()> {
        let path = Path::new(self.root);
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => self.folder(path)?,
            metadata => self.file(path, metadata, true)?,
        }
        while let Some(folder) = self.waiting.pop_front() {
            self.folder(&folder)?;
        }
        Continue(())
    }

    fn folder(&mut self, folder: &Path) -> ControlFlow<()> {
        let rules = match Rules::new(folder, self.options) {
            Ok(rules) => Arc::new(rules),
            Err(error) => return self.fail(folder, error.to_string()),
        };
        let others: HashSet<PathBuf> =
            self.taken.iter().filter(|taken| taken.starts_with(folder)).cloned().collect();
        for entry in self.walker(folder, Arc::clone(&rules), others) {
            match entry {
                Ok(entry) => self.entry(&entry, &rules)?,
                // Where the walk cannot say which one, nothing in the folder is known to have vanished.
                Err(cause) => self.fail(path_of(&cause).unwrap_or(folder), cause.to_string())?,
            }
        }
        Continue(())
    }

    fn walker(&self, folder: &Path, rules: Arc<Rules>, others: HashSet<PathBuf>) -> ignore::Walk {
        let Options { hidden, no_ignore, .. } = *self.options;
        let mut builder = WalkBuilder::new(folder);
        builder.standard_filters(!no_ignore).hidden(!hidden).require_git(false).follow_links(false);
        builder.sort_by_file_name(|one, other| one.cmp(other));
        builder.filter_entry(move |entry| {
            let path = entry.path();
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            // What is in a folder without a name that can be said has none either.
            let has_parent = path.parent().is_none_or(|parent| parent.to_str().is_some());
            entry.depth() == 0 || (has_parent && !rules.exclude(path, is_folder) && !others.contains(path))
        });
        builder.build()
    }

    fn entry(&mut self, entry: &DirEntry, rules: &Rules) -> ControlFlow<()> {
        let path = entry.path();
        let Some(kind) = entry.file_type() else { return Continue(()) };
        if kind.is_dir() {
            return if path.to_str().is_some() { Continue(()) } else { self.fail_name(path) };
        }
        if !rules.include(path) {
            return Continue(());
        }
        if kind.is_symlink() {
            return if self.options.follow_links { self.link(path) } else { Continue(()) };
        }
        self.file(path, entry.path().symlink_metadata(), false)
    }

    fn file(&mut self, path: &Path, metadata: std::io::Result<Metadata>, is_named: bool) -> ControlFlow<()> {
        let Some(source) = path.to_str().map(str::to_owned) else { return self.fail_name(path) };
        match metadata {
            Ok(metadata) if metadata.is_file() => {
                let mut found = Found::file(source, &metadata);
                let media_type = self.options.records.media_type(found.media_type, is_named);
                found.media_type = media_type.unwrap_or(found.media_type);
                let records = media_type.map(|_| &self.options.records);
                (self.visit)(Place::File { found, records })
            }
            Ok(metadata) => {
                let reason = format!("it is {}, not a file", kind(&metadata));
                (self.visit)(Place::Skipped { source, reason })
            }
            Err(cause) => (self.visit)(Place::Failed { source, reason: cause.to_string() }),
        }
    }

    /// Goes where a link leads, once: what is in a root or where another link led is found there.
    fn link(&mut self, link: &Path) -> ControlFlow<()> {
        let skip = |reason: String| Place::Skipped { source: link.display().to_string(), reason };
        let target = match link.canonicalize() {
            Ok(target) => target,
            Err(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => {
                return self.fail(link, cause.to_string());
            }
            Err(cause) => return (self.visit)(skip(format!("it is a link that leads nowhere: {cause}"))),
        };
        if link.starts_with(&target) {
            return (self.visit)(skip("it is a link to a folder that it is in".to_owned()));
        }
        if target.ancestors().any(|place| self.taken.contains(place)) {
            return Continue(());
        }
        let Some(place) = target.to_str().map(str::to_owned) else { return self.fail_name(&target) };
        self.taken.insert(target.clone());
        (self.visit)(Place::Linked { root: self.root, place })?;
        match target.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                self.waiting.push_back(target);
                Continue(())
            }
            metadata => self.file(&target, metadata, false),
        }
    }

    fn fail(&mut self, path: &Path, reason: String) -> ControlFlow<()> {
        (self.visit)(Place::Failed { source: path.display().to_string(), reason })
    }

    fn fail_name(&mut self, path: &Path) -> ControlFlow<()> {
        self.fail(path, "its path is not UTF-8: rename it".to_owned())
    }
}

/// A folder that cannot be listed, mostly.
fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}

#[cfg(unix)]
fn kind(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "something else"
    }
}

#[cfg(not(unix))]
fn kind(_metadata: &Metadata) -> &'static str {
    "something else"
}
