//! Keeps compiled plugins in a private folder, so that they start in milliseconds.

use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::LOG;

/// Bytes of the hash that stands before the code in each file.
const HASH_BYTES: usize = blake3::OUT_LEN;

/// The folder, or nothing where none can be had: then everything is compiled anew.
pub(super) struct Compiled {
    dir: Option<PathBuf>,
}

impl Compiled {
    /// Opens `dir`, by default a folder in the user's cache; creates it for the
    /// user alone. A folder that others can write to is not used.
    pub(super) fn open(dir: Option<&Path>) -> Self {
        let default =
            || directories::ProjectDirs::from("", "", "embergate").map(|it| it.cache_dir().join("plugins"));
        let Some(dir) = dir.map(Path::to_owned).or_else(default) else {
            tracing::warn!(target: LOG, "there is no folder for compiled plugins: set `plugins.cache_dir`");
            return Self { dir: None };
        };
        match make_private(&dir) {
            Ok(()) => Self { dir: Some(dir) },
            Err(error) => {
                let dir = dir.display();
                tracing::warn!(target: LOG, %dir, %error, "compiled plugins are not kept: set `plugins.cache_dir` to a folder of your own");
                Self { dir: None }
            }
        }
    }

    /// Returns the component that `bytes` are, compiled now or earlier. Blocks for
    /// as long as compiling takes.
    ///
    /// # Errors
    /// Says why `bytes` are no valid component.
    pub(super) fn component(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        let Some(path) = self.path(engine, bytes) else { return Component::from_binary(engine, bytes) };
        if let Some(component) = load(engine, &path) {
            return Ok(component);
        }
        let component = Component::from_binary(engine, bytes)?;
        if let Err(error) =
            component.serialize().map_err(io::Error::other).and_then(|code| store(&path, &code))
        {
            tracing::warn!(target: LOG, path = %path.display(), %error, "cannot keep a compiled plugin");
        }
        Ok(component)
    }

    /// One file for each component and each way of compiling it.
    fn path(&self, engine: &Engine, bytes: &[u8]) -> Option<PathBuf> {
        let mut key = Key(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut key);
        key.0.update(bytes);
        Some(self.dir.as_ref()?.join(format!("{}.compiled", key.0.finalize().to_hex())))
    }
}

/// Feeds what is hashed into BLAKE3: the answer of `finish` is not used.
struct Key(blake3::Hasher);

impl Hasher for Key {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

fn load(engine: &Engine, path: &Path) -> Option<Component> {
    let file = std::fs::read(path).ok()?;
    let (hash, code) = file.split_at_checked(HASH_BYTES)?;
    if blake3::hash(code).as_bytes() != hash {
        tracing::warn!(target: LOG, path = %path.display(), "a compiled plugin is damaged; it is compiled again");
        return None;
    }
    #[allow(unsafe_code, reason = "loading compiled components is what the cache is for")]
    // SAFETY: wasmtime wrote these bytes, the hash says that they are unchanged, and
    // only this user can write to their folder. Wasmtime refuses code of another
    // version or configuration by itself.
    let component = unsafe { Component::deserialize(engine, code) };
    component
        .inspect_err(|error| tracing::debug!(target: LOG, "a compiled plugin is outdated: {error:#}"))
        .ok()
}

/// Writes beside and renames, so that a reader never sees half a file.
fn store(path: &Path, code: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(uuid::Uuid::new_v4().simple().to_string());
    let written = write(&beside, code).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // What is left of the file is of no use; that it cannot be removed either changes nothing.
        drop(std::fs::remove_file(&beside));
    }
    written
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(blake3::hash(code).as_bytes())?;
    file.write_all(code)?;
    file.sync_all()
}

#[cfg(unix)]
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // A file that we make tells who we are: there is no safe call that does.
    let probe = dir.join(uuid::Uuid::new_v4().simple().to_string());
    let we = std::fs::File::create_new(&probe)?.metadata()?.uid();
    std::fs::remove_file(&probe)?;
    let found = std::fs::metadata(dir)?;
    if found.uid() != we {
        return Err(io::Error::other("the folder belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn only_file(dir: &Path) -> PathBuf {
        let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    #[test]
    fn a_component_is_compiled_once() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        let compiled = Compiled::open(Some(dir.path()));
        compiled.component(&engine, EMPTY).unwrap();
        assert!(load(&engine, &only_file(dir.path())).is_some());
        compiled.component(&engine, EMPTY).unwrap();
        only_file(dir.path());
    }

    #[test]
    fn a_damaged_file_is_not_trusted_but_replaced() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        let compiled = Compiled::open(Some(dir.path()));
        compiled.component(&engine, EMPTY).unwrap();
        let path = only_file(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(load(&engine, &path).is_none());
        compiled.component(&engine, EMPTY).unwrap();
        assert!(load(&engine, &only_file(dir.path())).is_some());
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Compiled::open(Some(dir.path())).dir.is_some());
        assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn without_a_folder_everything_still_compiles() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let compiled = Compiled::open(Some(&file.path().join("below a file")));
        assert!(compiled.component(&Engine::default(), EMPTY).is_ok());
    }
}
