//! Any bytes at all as the file of a plugin: it is loaded and started within its
//! limits, or refused with a reason.

use std::sync::LazyLock;
use std::time::Duration;

use embergate::plugin::{Config, Limits, PluginError, Plugins};
use embergate::units::ByteSize;
use tokio::runtime::Runtime;

struct Desk {
    runtime: Runtime,
    dir: tempfile::TempDir,
    config: Config,
}

static DESK: LazyLock<Desk> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let dir = tempfile::tempdir().expect("a folder can be made");
    // What lies below a file cannot be a folder: nothing that is compiled here is kept.
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file can be written");
    let limits = Limits {
        time: Duration::from_millis(200),
        memory: ByteSize::mib(1),
        instances: 1,
        ..Limits::default()
    };
    let cache_dir = Some(file.join("none"));
    let config = Config { dir: dir.path().into(), cache_dir, limits, ..Config::default() };
    Desk { runtime, dir, config }
});

pub(crate) fn check_bytes(bytes: &[u8]) {
    let path = DESK.dir.path().join("made-up.wasm");
    std::fs::write(&path, bytes).expect("a file can be written");
    for grants in [&[][..], &["embed".to_owned()]] {
        match DESK.runtime.block_on(Plugins::check(&DESK.config, &path, grants)) {
            Ok(info) => assert!(info.is_preprocessor || info.is_chunker),
            Err(PluginError::Load { reason, .. }) => {
                // What a panic while loading would become.
                assert!(!reason.is_empty() && !reason.starts_with("loading it failed"), "{reason}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
