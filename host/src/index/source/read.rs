//! A document's bytes, as they stood at one moment.

use std::io::{self, Read as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::fetch::Fetcher;
use super::records::Record;
use super::text::Hints;
use super::{Assumed, DecodeError, Decoded, Found, Origin};

/// Within this time of being read, a file may change again without a new
/// modification time: the coarsest clock of a common file system has 2 s.
const CLOCK: Duration = Duration::from_secs(2);

/// All of a document.
#[derive(Clone, Debug)]
pub struct Contents {
    /// With the size, the time and the media type that belong to `bytes`.
    pub found: Found,
    pub bytes: Bytes,
    /// Of all that decides which text it is: BLAKE3 of `bytes`, and of a record its place too.
    pub hash: [u8; 32],
    /// What its server says that it is in.
    pub(super) charset: Option<String>,
}

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it has {size} bytes, more than the {max} of `index.max_file`")]
    TooLarge { size: u64, max: u64 },
    #[error("it changed each time it was read")]
    Changing,
    #[error("cannot read it: {0}")]
    Io(#[source] io::Error),
    /// It is as it was when it was last fetched.
    #[error("it did not change")]
    Unchanged,
    #[error("it is gone: its server answered {status}")]
    Gone { status: u16 },
    #[error("its server calls it `{media_type}`, which is not text")]
    NoText { media_type: String },
    #[error("{0}")]
    Fetch(String),
    #[error("it came from standard input and cannot be read again: pipe it in once more")]
    Lost,
}

impl ReadError {
    /// Returns whether there is nothing to index, not something that went wrong.
    pub fn is_no_text(&self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::NoText { .. } | Self::Gone { .. } => true,
            Self::Changing | Self::Io(_) | Self::Unchanged | Self::Fetch(_) | Self::Lost => false,
        }
    }
}

/// Reads documents, a bounded number of pages at once.
pub struct Reader {
    max_file: u64,
    max_rereads: u32,
    assumed: Assumed,
    language: Option<String>,
    fetcher: Fetcher,
}

impl Reader {
    /// `language` (BCP 47) helps to read short texts in old encodings.
    pub fn new(config: &super::super::Config, language: Option<&str>) -> Self {
        Self {
            max_file: config.max_file.as_u64(),
            max_rereads: config.max_rereads,
            assumed: config.encoding,
            language: language.map(str::to_owned),
            fetcher: Fetcher::new(config),
        }
    }

    /// Reads a document. `before` is the origin that was kept with it, if any: a page that did
    /// not change since is not fetched again.
    pub async fn read(&self, found: &Found, before: Option<&Origin>) -> Result<Contents, ReadError> {
        if let Origin::Url { .. } = found.origin {
            return self.fetcher.fetch(found, before).await;
        }
        let (found, max_file, max_rereads) = (found.clone(), self.max_file, self.max_rereads);
        let read = tokio::task::spawn_blocking(move || read(&found, max_file, max_rereads));
        read.await.unwrap_or_else(|cause| Err(ReadError::Io(io::Error::other(cause))))
    }

    /// Reads a document's bytes as text.
    pub fn decode(&self, contents: Contents) -> Result<Decoded, DecodeError> {
        let Contents { found, bytes, charset, .. } = contents;
        let bytes = Vec::from(bytes);
        match &found.origin {
            Origin::Record(record) => Decoded::of_record(record, bytes),
            Origin::File | Origin::Url { .. } | Origin::Given(_) => {
                let hints = Hints {
                    assumed: self.assumed,
                    language: self.language.as_deref(),
                    charset: charset.as_deref(),
                    media_type: found.media_type,
                };
                Decoded::of_file(bytes, &hints)
            }
        }
    }
}

/// Reads what is no page, and a file again up to `max_rereads` times if it changes meanwhile.
fn read(found: &Found, max_file: u64, max_rereads: u32) -> Result<Contents, ReadError> {
    match &found.origin {
        Origin::Record(record) => read_record(found, record),
        Origin::Given(Some(bytes)) => given(found, bytes.clone(), max_file),
        Origin::Given(None) | Origin::Url { .. } => Err(ReadError::Lost),
        Origin::File => {
            for _ in 0..=max_rereads {
                if let Some(contents) = read_once(found, max_file)? {
                    return Ok(contents);
                }
            }
            Err(ReadError::Changing)
        }
    }
}

fn given(found: &Found, bytes: Bytes, max_file: u64) -> Result<Contents, ReadError> {
    if max_file < found.size {
        return Err(ReadError::TooLarge { size: found.size, max: max_file });
    }
    let hash = *blake3::hash(&bytes).as_bytes();
    Ok(Contents { found: found.clone(), bytes, hash, charset: None })
}

/// The record as the walk saw it. Its file may have changed since: then another record may stand there.
fn read_record(found: &Found, record: &Record) -> Result<Contents, ReadError> {
    let bytes = record.read().map_err(|cause| match cause.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Changing,
        _ => ReadError::Io(cause),
    })?;
    let hash = record.hash(&bytes);
    if hash[..8] != found.modified.to_le_bytes() {
        return Err(ReadError::Changing);
    }
    Ok(Contents { found: found.clone(), bytes: bytes.into(), hash, charset: None })
}

/// Opens what is a file at this moment: a pipe in its place would keep whoever opens it waiting.
fn open(path: &str) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // O_NONBLOCK, which means nothing to a file.
        options.custom_flags(0o4000);
    }
    let handle = options.open(path)?;
    if handle.metadata()?.is_file() { Ok(handle) } else { Err(io::Error::other("it is no file any more")) }
}

/// Nothing if the file changed while it was read.
fn read_once(found: &Found, max_file: u64) -> Result<Option<Contents>, ReadError> {
    let path = &found.source;
    let stamped = |metadata: &std::fs::Metadata| Found {
        media_type: found.media_type,
        ..Found::file(path.clone(), metadata)
    };
    let mut handle = open(path).map_err(ReadError::Io)?;
    let before = stamped(&handle.metadata().map_err(ReadError::Io)?);
    if max_file < before.size {
        return Err(ReadError::TooLarge { size: before.size, max: max_file });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.size).unwrap_or_default());
    handle.by_ref().take(max_file.saturating_add(1)).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    // The path, not the handle: another file may have been put in its place.
    let after = stamped(&std::fs::metadata(path).map_err(ReadError::Io)?);
    if after != before || bytes.len() as u64 != before.size {
        return Ok(None);
    }
    let hash = *blake3::hash(&bytes).as_bytes();
    let found = settled(after, SystemTime::now());
    Ok(Some(Contents { found, bytes: bytes.into(), hash, charset: None }))
}

/// Forgets the time of a file that was changed a moment ago, so that the next
/// run looks at its bytes.
fn settled(found: Found, now: SystemTime) -> Found {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let settled_before = i64::try_from(now.saturating_sub(CLOCK).as_nanos()).unwrap_or(i64::MAX);
    let modified = if found.modified < settled_before { found.modified } else { i64::MIN };
    Found { modified, ..found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &std::path::Path) -> Found {
        Found::file(path.to_str().unwrap().to_owned(), &path.metadata().unwrap())
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "12345").unwrap();
        assert!(matches!(read(&found(&path), 4, 0), Err(ReadError::TooLarge { size: 5, max: 4 })));
        assert_eq!(&read(&found(&path), 5, 0).unwrap().bytes[..], b"12345");
    }

    #[cfg(unix)]
    #[test]
    fn what_became_a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "12345").unwrap();
        let found = found(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(read(&found, 100, 0), Err(ReadError::Io(_))));
    }

    #[track_caller]
    fn check_settled(age: Duration, want: bool) {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let modified = i64::try_from((Duration::from_secs(1_000) - age).as_nanos()).unwrap();
        let found =
            Found { source: "/a".into(), size: 1, modified, media_type: "text/plain", origin: Origin::File };
        assert_eq!(settled(found, now).modified == modified, want);
    }

    #[test]
    fn the_time_of_a_file_that_was_just_written_is_not_trusted() {
        check_settled(Duration::from_secs(3), true);
        check_settled(Duration::from_secs(1), false);
        check_settled(Duration::ZERO, false);
    }
}
