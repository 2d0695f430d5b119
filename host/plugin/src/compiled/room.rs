//! A bound for all files together: the least recently used goes first.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use embergate_core::units::ByteSize;

/// How names of compiled plugins end.
pub(super) const ENDING: &str = "compiled";
/// How names of files end that are being written.
pub(super) const UNFINISHED: &str = "part";
/// Age from which a file that is being written was left by a process that is gone.
const LEFT: Duration = Duration::from_secs(60 * 60);

struct Entry {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

/// Removes files until the rest have at most `max` bytes; never `keep`.
pub(super) fn make(dir: &Path, max: ByteSize, keep: &Path) -> io::Result<()> {
    let mut entries = entries(dir, ENDING)?;
    for left in self::entries(dir, UNFINISHED)? {
        if left.used.elapsed().is_ok_and(|age| LEFT < age) {
            remove(&left.path)?;
        }
    }
    entries.sort_by_key(|entry| entry.used);
    let mut size: u64 = entries.iter().map(|entry| entry.size).sum();
    for entry in entries.iter().filter(|entry| entry.path != keep) {
        if size <= max.as_u64() {
            break;
        }
        remove(&entry.path)?;
        size -= entry.size;
    }
    Ok(())
}

/// Files of this ending. What another process has removed meanwhile is left out.
fn entries(dir: &Path, ending: &str) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != ending) {
            continue;
        }
        if let Ok(found) = std::fs::symlink_metadata(&path) {
            entries.push(Entry { path, size: found.len(), used: found.modified()? });
        }
    }
    Ok(entries)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of 10 bytes each, by name and age in hours; what is left within `max` bytes when `a` was written last.
    #[track_caller]
    fn check(files: &[(&str, u64)], max: u64, want: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        for (name, hours) in files {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_len(10).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
        }
        make(dir.path(), ByteSize(max), &dir.path().join("a.compiled")).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, want);
    }

    #[test]
    fn what_fits_stays() {
        check(&[("a.compiled", 0), ("b.compiled", 9)], 20, &["a.compiled", "b.compiled"]);
    }

    #[test]
    fn the_oldest_goes_first_and_the_newest_file_never() {
        check(&[("a.compiled", 9), ("b.compiled", 2), ("c.compiled", 1)], 20, &["a.compiled", "c.compiled"]);
        check(&[("a.compiled", 9), ("b.compiled", 2)], 5, &["a.compiled"]);
    }

    #[test]
    fn what_a_process_that_is_gone_has_left_goes_and_strangers_stay() {
        check(&[("x.part", 2), ("y.part", 0), ("notes.md", 9)], 5, &["notes.md", "y.part"]);
    }
}
