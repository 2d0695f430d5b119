//! A file of compiled code: the code, and behind it what says that it is right.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::{Key, folder};

/// What stands behind the code in each file, before the key and the code's hash; another number
/// for another layout. Wasmtime maps the file, so that the code comes first.
pub(super) const MAGIC: &[u8; 20] = b"embergate compiled 3";
const HASH_BYTES: usize = blake3::OUT_LEN;
const TAIL_BYTES: usize = MAGIC.len() + 2 * HASH_BYTES;

pub(super) fn unreadable(error: io::Error) -> String {
    format!("it cannot be read: {error}")
}

/// The component in the file at `path`, its code shared with whoever else has it mapped.
pub(super) fn map(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    #[allow(unsafe_code, reason = "loading compiled components is what the cache is for")]
    // SAFETY: wasmtime wrote the code for this component and an engine like this one, the hash
    // says that it is unchanged, and only this user can write to the file and its folder. Nobody
    // does: files are put there whole, and taken away, which leaves what is mapped as it is.
    // Wasmtime refuses code of another version or configuration by itself.
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

/// The same where files of the folder cannot be mapped as code, because its mount forbids it.
pub(super) fn copy(engine: &Engine, mut file: &File) -> wasmtime::Result<Component> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    bytes.truncate(bytes.len().saturating_sub(TAIL_BYTES));
    #[allow(unsafe_code, reason = "loading compiled components is what the cache is for")]
    // SAFETY: as above, but for the mapping.
    unsafe {
        Component::deserialize(engine, &bytes)
    }
}

/// Finds what speaks against `file` of `len` bytes: what stands behind its code.
pub(super) fn check(mut file: &File, len: u64, key: &Key) -> Result<(), String> {
    const OTHER: &str = "it is too short, or something else";
    let n_code = len.checked_sub(TAIL_BYTES as u64).ok_or(OTHER)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(n_code)).map_err(unreadable)?;
    let mut tail = [0; TAIL_BYTES];
    file.read_exact(&mut tail).map_err(unreadable)?;
    let (of, hash) = tail.strip_prefix(MAGIC).ok_or(OTHER)?.split_at(HASH_BYTES);
    if of != key.0.as_bytes() {
        return Err("it was made from another component".into());
    }
    if hasher.finalize().as_bytes() != hash {
        return Err("it is damaged".into());
    }
    Ok(())
}

/// Puts a new file there; what it is called is the business of whoever makes it.
pub(super) fn write(path: &Path, key: &Key, code: &[u8]) -> io::Result<()> {
    let mut file = folder::create(path)?;
    file.write_all(code)?;
    file.write_all(MAGIC)?;
    file.write_all(key.0.as_bytes())?;
    file.write_all(blake3::hash(code).as_bytes())?;
    file.sync_all()
}
