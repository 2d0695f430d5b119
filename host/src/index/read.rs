//! A file's bytes, as they stood at one moment.

use std::io::Read as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::scan::File;

/// Within this time of being read, a file may change again without a new
/// modification time: the coarsest clock of a common file system has 2 s.
const CLOCK: Duration = Duration::from_secs(2);

/// All of a file.
#[derive(Debug)]
pub(super) struct Contents {
    /// With the size and time that belong to `bytes`.
    pub(super) file: File,
    pub(super) bytes: Vec<u8>,
    /// BLAKE3 of `bytes`.
    pub(super) hash: [u8; 32],
}

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    TooLarge(u64),
    /// It changed each time it was read.
    Changing,
    Io(std::io::Error),
}

/// Reads `file`, and again up to `max_rereads` times if it changes meanwhile.
pub(super) fn read(file: &File, max_file: u64, max_rereads: u32) -> Result<Contents, ReadError> {
    for _ in 0..=max_rereads {
        if let Some(contents) = read_once(file, max_file)? {
            return Ok(contents);
        }
    }
    Err(ReadError::Changing)
}

/// Nothing if the file changed while it was read.
fn read_once(file: &File, max_file: u64) -> Result<Option<Contents>, ReadError> {
    let mut handle = std::fs::File::open(&file.source).map_err(ReadError::Io)?;
    let before = File::new(file.source.clone(), &handle.metadata().map_err(ReadError::Io)?);
    if max_file < before.size {
        return Err(ReadError::TooLarge(before.size));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.size).unwrap_or_default());
    handle.by_ref().take(max_file.saturating_add(1)).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    // The path, not the handle: another file may have been put in its place.
    let after = std::fs::metadata(&file.source).map_err(ReadError::Io)?;
    let after = File::new(file.source.clone(), &after);
    if after != before || bytes.len() as u64 != before.size {
        return Ok(None);
    }
    let hash = *blake3::hash(&bytes).as_bytes();
    Ok(Some(Contents { file: settled(after, SystemTime::now()), bytes, hash }))
}

/// Forgets the time of a file that was changed a moment ago, so that the next
/// run looks at its bytes.
fn settled(file: File, now: SystemTime) -> File {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let settled_before = i64::try_from(now.saturating_sub(CLOCK).as_nanos()).unwrap_or(i64::MAX);
    let modified = if file.modified < settled_before { file.modified } else { i64::MIN };
    File { modified, ..file }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "12345").unwrap();
        let file = File::new(path.to_str().unwrap().to_owned(), &path.metadata().unwrap());
        assert!(matches!(read(&file, 4, 0), Err(ReadError::TooLarge(5))));
        assert_eq!(read(&file, 5, 0).unwrap().bytes, b"12345");
    }

    #[track_caller]
    fn check_settled(age: Duration, want: bool) {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let modified = i64::try_from((Duration::from_secs(1_000) - age).as_nanos()).unwrap();
        let file = File { source: "/a".into(), size: 1, modified, media_type: "text/plain" };
        assert_eq!(settled(file, now).modified == modified, want);
    }

    #[test]
    fn the_time_of_a_file_that_was_just_written_is_not_trusted() {
        check_settled(Duration::from_secs(3), true);
        check_settled(Duration::from_secs(1), false);
        check_settled(Duration::ZERO, false);
    }
}
