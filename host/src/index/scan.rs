//! Paths → files: what is under the roots of a run, in a fixed order.
//!
//! Files that git ignores are left out, in a repository or not, and so are
//! hidden ones; links are not followed, except those that a path names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::IndexError;

/// One file as the scan saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Its id: an absolute path without links.
    pub(super) source: String,
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: i64,
    pub(super) media_type: &'static str,
}

impl File {
    /// Reads what the file's metadata says.
    pub(super) fn new(source: String, metadata: &Metadata) -> Self {
        let media_type = media_type(Path::new(&source));
        Self { source, size: metadata.len(), modified: modified(metadata), media_type }
    }
}

/// All that is under the roots.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) roots: Vec<Root>,
    /// By source, each once.
    pub(super) files: Vec<File>,
    /// What is no file to read, and why, by source.
    pub(super) skipped: Vec<(String, String)>,
    /// What could not be looked at, and why, by source.
    pub(super) failed: Vec<(String, String)>,
}

impl Scan {
    /// Returns whether `source` lies where the scan could not look: it is not
    /// known to have vanished.
    pub(super) fn is_unseen(&self, source: &str) -> bool {
        self.failed.iter().any(|(failed, _)| Root::folder(failed).contains(source))
    }
}

/// A path that a run was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    prefix: String,
    is_folder: bool,
}

impl Root {
    fn folder(path: &str) -> Self {
        Self { prefix: format!("{}/", path.trim_end_matches('/')), is_folder: true }
    }

    fn file(path: &str) -> Self {
        Self { prefix: path.to_owned(), is_folder: false }
    }

    /// What the source of every document under the root begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns whether a document is under the root.
    pub(super) fn contains(&self, source: &str) -> bool {
        if self.is_folder { source.starts_with(&self.prefix) } else { source == self.prefix }
    }
}

/// Looks at all `paths`. Those that overlap are looked at once.
///
/// # Errors
/// A path that is not there or cannot be looked at.
pub(super) async fn scan(paths: Vec<PathBuf>) -> Result<Scan, IndexError> {
    let walk = tokio::task::spawn_blocking(move || scan_now(&paths));
    walk.await.unwrap_or_else(|cause| {
        Err(IndexError::Path { path: ".".to_owned(), source: std::io::Error::other(cause) })
    })
}

fn scan_now(paths: &[PathBuf]) -> Result<Scan, IndexError> {
    let mut scan = Scan::default();
    let mut seen = Seen::default();
    for path in paths {
        let at = |source| IndexError::Path { path: path.display().to_string(), source };
        let root = path.canonicalize().map_err(at)?;
        let metadata = root.metadata().map_err(at)?;
        let Some(name) = root.to_str() else {
            return Err(at(std::io::Error::other("the path is not UTF-8")));
        };
        if metadata.is_dir() {
            // Being listed is part of being there: an unreadable root is an error, not an empty one.
            std::fs::read_dir(&root).map_err(at)?;
            scan.roots.push(Root::folder(name));
            seen.walk(&root);
        } else {
            scan.roots.push(Root::file(name));
            seen.look_at(&root, Ok(metadata));
        }
    }
    scan.files = seen.files.into_values().collect();
    scan.skipped = seen.skipped.into_iter().collect();
    scan.failed = seen.failed.into_iter().collect();
    Ok(scan)
}

/// What was found so far, by source.
#[derive(Default)]
struct Seen {
    files: BTreeMap<String, File>,
    skipped: BTreeMap<String, String>,
    failed: BTreeSet<(String, String)>,
}

impl Seen {
    fn walk(&mut self, root: &Path) {
        let walk = ignore::WalkBuilder::new(root).require_git(false).follow_links(false).build();
        for entry in walk {
            match entry {
                Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_dir() || kind.is_symlink()) => {}
                Ok(entry) => {
                    let metadata = entry.path().symlink_metadata();
                    self.look_at(entry.path(), metadata);
                }
                Err(cause) => self.fail(root, &cause),
            }
        }
    }

    fn look_at(&mut self, path: &Path, metadata: std::io::Result<Metadata>) {
        let Some(source) = path.to_str().map(str::to_owned) else {
            let reason = "its path is not UTF-8: rename it".to_owned();
            self.failed.insert((path.display().to_string(), reason));
            return;
        };
        match metadata {
            Ok(metadata) if metadata.is_file() => {
                self.files.insert(source.clone(), File::new(source, &metadata));
            }
            Ok(metadata) => {
                self.skipped.insert(source, format!("it is {}, not a file", kind(&metadata)));
            }
            Err(cause) => {
                self.failed.insert((source, cause.to_string()));
            }
        }
    }

    /// A folder that cannot be listed, mostly. Where the walk cannot say which
    /// one, nothing under `root` is known to have vanished.
    fn fail(&mut self, root: &Path, cause: &ignore::Error) {
        let path = path_of(cause).unwrap_or(root);
        self.failed.insert((path.display().to_string(), cause.to_string()));
    }
}

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

/// Nanoseconds since 1970; 0 where the system does not say.
pub(super) fn modified(metadata: &Metadata) -> i64 {
    let Ok(time) = metadata.modified() else { return 0 };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// By the file's extension. What has another one is text until its bytes say otherwise.
fn media_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "md" | "markdown" | "mdown" | "mkd" => "text/markdown",
        "html" | "htm" | "xhtml" => "text/html",
        _ => "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(folder: &tempfile::TempDir, scan: &Scan) -> Vec<String> {
        let root = folder.path().canonicalize().unwrap();
        let relative = |file: &File| Path::new(&file.source).strip_prefix(&root).unwrap().to_path_buf();
        scan.files.iter().map(|file| relative(file).display().to_string()).collect()
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], want: &[&str]) {
        let folder = tree(files);
        let scan = scan_now(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(names(&folder, &scan), want);
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        check(&[("b.md", ""), ("a/z.md", ""), ("a/B.md", "")], &["a/B.md", "a/z.md", "b.md"]);
    }

    #[test]
    fn what_git_ignores_is_left_out_without_a_repository() {
        check(
            &[(".gitignore", "draft.md\n"), ("draft.md", ""), ("sub/draft.md", ""), ("a.md", "")],
            &["a.md"],
        );
    }

    #[test]
    fn hidden_files_and_folders_are_left_out() {
        check(&[(".secret.md", ""), (".git/config", ""), ("a.md", "")], &["a.md"]);
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error_that_names_it() {
        let error = scan_now(&[PathBuf::from("/no/such/place")]).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/no/such/place`");
    }

    #[test]
    fn paths_that_overlap_find_each_file_once() {
        let folder = tree(&[("sub/a.md", "")]);
        let paths = [folder.path().to_path_buf(), folder.path().join("sub"), folder.path().join("sub/a.md")];
        assert_eq!(names(&folder, &scan_now(&paths).unwrap()), ["sub/a.md"]);
    }

    #[cfg(unix)]
    #[test]
    fn sockets_are_skipped_and_links_not_followed() {
        let folder = tree(&[("real.md", "")]);
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("s.sock")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("real.md"), folder.path().join("link.md")).unwrap();
        let scan = scan_now(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(names(&folder, &scan), ["real.md"]);
        assert_eq!(scan.skipped.len(), 1);
        assert_eq!(scan.skipped[0].1, "it is a socket, not a file");
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_fails_alone() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tree(&[("a.md", "")]);
        let name = std::ffi::OsStr::from_bytes(b"\xFF.md");
        std::fs::write(folder.path().join(name), "x").unwrap();
        let scan = scan_now(&[folder.path().to_path_buf()]).unwrap();
        assert_eq!(names(&folder, &scan), ["a.md"]);
        assert_eq!(scan.failed[0].1, "its path is not UTF-8: rename it");
    }

    #[test]
    fn a_root_does_not_contain_its_neighbour() {
        assert!(Root::folder("/a/docs").contains("/a/docs/x.md"));
        assert!(!Root::folder("/a/docs").contains("/a/docs2/x.md"));
        assert!(Root::folder("/").contains("/x.md"));
        assert!(!Root::file("/a/x.md").contains("/a/x.md.bak"));
    }

    #[test]
    fn the_extension_decides_the_media_type_in_any_case() {
        assert_eq!(media_type(Path::new("A.MD")), "text/markdown");
        assert_eq!(media_type(Path::new("a.xhtml")), "text/html");
        assert_eq!(media_type(Path::new("LICENSE")), "text/plain");
    }
}
