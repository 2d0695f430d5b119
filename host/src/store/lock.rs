//! One indexer for each collection, held by a lock on a file that the system
//! frees when its process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::StoreError;
use super::error::cannot_open;

/// Held while one indexer works on a collection; freed by drop, and by the
/// system when the process dies.
#[derive(Debug)]
pub struct IndexLock {
    /// Closing it frees the lock. The file stays: deleting it would let two
    /// processes hold locks on two files of one name.
    _file: File,
}

impl IndexLock {
    pub(super) fn take(folder: &Path, collection: &str) -> Result<Self, StoreError> {
        let path = folder.join(format!("{collection}.lock"));
        let failed = |error| cannot_open(&path, error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    collection: collection.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        sign(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Leaves this process' id for the error of whoever comes second.
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    file.flush()
}

/// Names the holder for the error's text; nothing where it has not signed yet.
fn holder(file: &mut File) -> String {
    let mut id = String::new();
    match file.take(20).read_to_string(&mut id) {
        Ok(_) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => format!(" (process {id})"),
        _ => String::new(),
    }
}
