//! Keeps compiled plugins in a private folder, so that they start in milliseconds.
//!
//! A file is trusted when it stands in a folder of ours, is ours, can be written by nobody
//! else, names the component and the engine that it was compiled from and for, and has the
//! hash that it had when it was written. Its code is mapped, not copied: an interpreter has
//! 35 MB of it.

mod folder; // whose it is
mod room; // what is given up when it is full
mod sealed; // code, and what says that it is right

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use embergate_core::units::ByteSize;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::LOG;

/// How the code of a plugin was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Compiled, which took this long.
    Compiled(Duration),
    /// Compiled earlier; to find, check and load it took this long.
    Kept(Duration),
}

/// The folder, or nothing where none can be had: then everything is compiled anew.
///
/// Several processes may use one folder: a file appears whole, and one that goes away
/// under a reader is compiled again.
pub(super) struct Compiled {
    folder: Option<Folder>,
    max: ByteSize,
    /// Whether others need the processors too.
    is_aside: AtomicBool,
    /// Is told of a plugin and its size before it is compiled.
    compiling: Compiling,
}

/// What is to know that a plugin is compiled, of so many bytes; that waits for it.
pub(super) type Compiling = Box<dyn Fn(&str, usize) + Send + Sync>;

struct Folder {
    dir: PathBuf,
    /// The user that we are, where users have numbers.
    owner: u32,
}

/// What a file is called and says of itself: one for each component and each way of compiling it.
struct Key(blake3::Hash);

impl Compiled {
    /// Opens `dir`, by default a folder in the user's cache; creates it for the
    /// user alone. A folder that others can write to is not used. Files in it have
    /// `max` bytes together.
    pub(super) fn open(dir: Option<&Path>, max: ByteSize) -> Self {
        let default =
            || directories::ProjectDirs::from("", "", "embergate").map(|it| it.cache_dir().join("plugins"));
        let Some(dir) = dir.map(Path::to_owned).or_else(default) else {
            tracing::warn!(target: LOG, "there is no folder for compiled plugins: set `plugins.cache_dir`");
            return Self::new(None, max);
        };
        match folder::make_private(&dir) {
            Ok(owner) => Self::new(Some(Folder { dir, owner }), max),
            Err(error) => {
                let dir = dir.display();
                tracing::warn!(target: LOG, %dir, %error, "compiled plugins are not kept: set `plugins.cache_dir` to a folder of your own");
                Self::new(None, max)
            }
        }
    }

    fn new(folder: Option<Folder>, max: ByteSize) -> Self {
        Self { folder, max, is_aside: AtomicBool::new(false), compiling: Box::new(|_, _| {}) }
    }

    pub(super) fn telling(self, compiling: Compiling) -> Self {
        Self { compiling, ..self }
    }

    /// Leaves half of the processors to others from now on.
    pub(super) fn step_aside(&self) {
        self.is_aside.store(true, Ordering::Relaxed);
    }

    fn compile(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        if !self.is_aside.load(Ordering::Relaxed) {
            return Component::from_binary(engine, bytes);
        }
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2);
        // Wasmtime compiles functions side by side, on the threads of the pool that it is called in.
        match rayon::ThreadPoolBuilder::new().num_threads(n_threads).build() {
            Ok(pool) => pool.install(|| Component::from_binary(engine, bytes)),
            Err(_) => Component::from_binary(engine, bytes),
        }
    }

    /// Returns the component that `bytes` are, which the plugin `name` is made of, compiled now
    /// or earlier. Blocks for as long as compiling takes.
    ///
    /// # Errors
    /// Says why `bytes` are no valid component.
    pub(super) fn component(
        &self,
        engine: &Engine,
        name: &str,
        bytes: &[u8],
    ) -> wasmtime::Result<(Component, Code)> {
        let begun = Instant::now();
        let compile = || {
            (self.compiling)(name, bytes.len());
            let begun = Instant::now();
            self.compile(engine, bytes).map(|component| (component, Code::Compiled(begun.elapsed())))
        };
        let Some(folder) = &self.folder else { return compile() };
        let key = Key::new(engine, bytes);
        let path = folder.dir.join(format!("{}.{}", key.0.to_hex(), room::ENDING));
        match folder.load(engine, &path, &key) {
            Ok(Some(component)) => return Ok((component, Code::Kept(begun.elapsed()))),
            Ok(None) => {}
            Err(why) => {
                tracing::warn!(target: LOG, path = %path.display(), why, "a compiled plugin is not trusted, and compiled again");
            }
        }
        let (component, code) = compile()?;
        if let Err(error) = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|bytes| self.keep(&folder.dir, &path, &key, &bytes))
        {
            tracing::warn!(target: LOG, path = %path.display(), %error, "cannot keep a compiled plugin");
        }
        Ok((component, code))
    }

    /// Writes beside and renames, so that a reader never sees half a file; then makes room.
    fn keep(&self, dir: &Path, path: &Path, key: &Key, code: &[u8]) -> io::Result<()> {
        if self.max.as_u64() < code.len() as u64 {
            return Ok(());
        }
        let beside = dir.join(format!("{}.{}", uuid::Uuid::new_v4().simple(), room::UNFINISHED));
        let written = sealed::write(&beside, key, code).and_then(|()| std::fs::rename(&beside, path));
        if written.is_err() {
            // What is left of the file is of no use; that it cannot be removed either changes nothing.
            drop(std::fs::remove_file(&beside));
        }
        written?;
        folder::sync(dir)?;
        room::make(dir, self.max, path)
    }
}

impl Key {
    fn new(engine: &Engine, bytes: &[u8]) -> Self {
        let mut hasher = Feeding(blake3::Hasher::new());
        hasher.0.update(sealed::MAGIC);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(blake3::hash(bytes).as_bytes());
        Self(hasher.0.finalize())
    }
}

/// Feeds what is hashed into BLAKE3: the answer of `finish` is not used.
struct Feeding(blake3::Hasher);

impl Hasher for Feeding {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl Folder {
    /// The component at `path`; nothing where there is none, or one of another engine.
    ///
    /// # Errors
    /// Why the file that is there is not trusted.
    fn load(&self, engine: &Engine, path: &Path, key: &Key) -> Result<Option<Component>, String> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(sealed::unreadable(error)),
        };
        // Of the file that is open: what stands at the path may be another one by now.
        let found = file.metadata().map_err(sealed::unreadable)?;
        folder::check(&found, self.owner)?;
        sealed::check(&file, found.len(), key)?;
        let component = sealed::map(engine, path).or_else(|_| sealed::copy(engine, &file));
        if !folder::is_at(&file, path) {
            return Err("another one took its place".into());
        }
        // The least recently used goes first; where that cannot be noted, another may go.
        drop(file.set_modified(std::time::SystemTime::now()));
        Ok(component
            .inspect_err(|error| tracing::debug!(target: LOG, "a compiled plugin is outdated: {error:#}"))
            .ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    /// The same with a section that changes nothing.
    const NAMED: &[u8] = b"\0asm\x0d\0\x01\0\x00\x02\x01a";

    fn open(dir: &Path) -> Compiled {
        Compiled::open(Some(dir), ByteSize::mib(64))
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[track_caller]
    fn only_file(dir: &Path) -> PathBuf {
        let files = files(dir);
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    /// What is made of the file of `EMPTY` once `spoil` was at it; in the end there is a good one again.
    #[track_caller]
    fn check_spoilt(spoil: impl FnOnce(&Path), want: &str) {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        let compiled = open(dir.path());
        compiled.component(&engine, "mine", EMPTY).unwrap();
        let (path, key) = (only_file(dir.path()), Key::new(&engine, EMPTY));
        let folder = compiled.folder.as_ref().unwrap();
        assert!(folder.load(&engine, &path, &key).unwrap().is_some());
        spoil(&path);
        let why = folder.load(&engine, &path, &key).err().unwrap();
        assert!(why.contains(want), "{why}");
        compiled.component(&engine, "mine", EMPTY).unwrap();
        assert!(folder.load(&engine, &path, &key).unwrap().is_some());
        only_file(dir.path());
    }

    fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        edit(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_damaged_file_is_not_trusted_but_replaced() {
        check_spoilt(|path| edit(path, |bytes| *bytes.last_mut().unwrap() ^= 1), "damaged");
    }

    #[test]
    fn half_a_file_is_not_trusted() {
        check_spoilt(|path| edit(path, |bytes| bytes.truncate(60)), "too short");
        check_spoilt(|path| edit(path, Vec::clear), "too short");
    }

    #[test]
    fn good_code_of_another_component_is_not_trusted() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        open(dir.path()).component(&engine, "mine", NAMED).unwrap();
        let other = only_file(dir.path());
        check_spoilt(|path| assert!(std::fs::copy(other, path).is_ok()), "another component");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_write_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt;

        let open_up = |path: &Path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o620)).unwrap();
        };
        check_spoilt(open_up, "others can write");
    }

    #[test]
    fn it_is_told_when_a_plugin_is_compiled_and_not_when_it_was_kept() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        let (tell, told) = std::sync::mpsc::channel();
        let compiling = move |name: &str, n_bytes| drop(tell.send((name.to_owned(), n_bytes)));
        let compiled = open(dir.path()).telling(Box::new(compiling));
        let (_, code) = compiled.component(&engine, "mine", EMPTY).unwrap();
        assert!(matches!(code, Code::Compiled(_)), "{code:?}");
        let (_, code) = compiled.component(&engine, "mine", EMPTY).unwrap();
        assert!(matches!(code, Code::Kept(_)), "{code:?}");
        drop(compiled);
        assert_eq!(told.iter().collect::<Vec<_>>(), [("mine".to_owned(), EMPTY.len())]);
    }

    #[test]
    fn a_component_is_compiled_once_for_each_engine() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        let compiled = open(dir.path());
        compiled.component(&engine, "mine", EMPTY).unwrap();
        compiled.component(&engine, "mine", EMPTY).unwrap();
        only_file(dir.path());
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        compiled.component(&other, "mine", EMPTY).unwrap();
        assert_eq!(files(dir.path()).len(), 2);
    }

    #[test]
    fn what_is_more_than_there_is_room_for_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let compiled = Compiled::open(Some(dir.path()), ByteSize(10));
        compiled.component(&Engine::default(), "mine", EMPTY).unwrap();
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        open(dir.path()).component(&engine, "mine", EMPTY).unwrap();
        let size = std::fs::metadata(only_file(dir.path())).unwrap().len();
        let compiled = Compiled::open(Some(dir.path()), ByteSize(size * 3 / 2));
        compiled.component(&engine, "mine", NAMED).unwrap();
        let (left, key) = (only_file(dir.path()), Key::new(&engine, NAMED));
        assert!(compiled.folder.as_ref().unwrap().load(&engine, &left, &key).unwrap().is_some());
    }

    #[test]
    fn many_at_once_leave_one_whole_file() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| open(dir.path()).component(&engine, "mine", EMPTY).unwrap());
            }
        });
        let key = Key::new(&engine, EMPTY);
        let compiled = open(dir.path());
        let folder = compiled.folder.as_ref().unwrap();
        assert!(folder.load(&engine, &only_file(dir.path()), &key).unwrap().is_some());
    }

    #[test]
    fn code_that_cannot_be_mapped_is_copied() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        open(dir.path()).component(&engine, "mine", EMPTY).unwrap();
        let path = only_file(dir.path());
        assert!(sealed::map(&engine, &path).is_ok());
        assert!(sealed::copy(&engine, &File::open(path).unwrap()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_took_the_place_of_another_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&path, "same").unwrap();
        let file = File::open(&path).unwrap();
        assert!(folder::is_at(&file, &path));
        std::fs::write(&beside, "same").unwrap();
        std::fs::rename(&beside, &path).unwrap();
        assert!(!folder::is_at(&file, &path));
        std::fs::remove_file(&path).unwrap();
        assert!(!folder::is_at(&file, &path));
    }

    #[test]
    fn what_is_compiled_aside_is_the_same() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        let compiled = open(dir.path());
        compiled.step_aside();
        compiled.component(&engine, "mine", EMPTY).unwrap();
        open(dir.path()).component(&engine, "mine", EMPTY).unwrap();
        only_file(dir.path());
    }

    #[test]
    fn without_a_folder_everything_still_compiles() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let compiled = open(&file.path().join("below a file"));
        assert!(compiled.component(&Engine::default(), "mine", EMPTY).is_ok());
    }
}
