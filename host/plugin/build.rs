//! Bundles the first-party plugins into the binary.
//!
//! Writes `bundled.rs`, an expression of the type `&[(&str, &[u8])]`: each plugin's name and its
//! module. They are built by `plugins/build.sh` where they are missing or older than their
//! sources; `EMBERGATE_BUNDLE=none` builds a gateway that has none.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The workspace's folder, from this package's.
const WORKSPACE: &str = "../..";

fn main() {
    println!("cargo:rerun-if-env-changed=EMBERGATE_BUNDLE");
    println!("cargo:rerun-if-env-changed=CARGO_TARGET_DIR");
    println!("cargo:rerun-if-changed=build.rs");
    // Cargo starts build scripts in the package's folder; all paths here are seen from the workspace's.
    std::env::set_current_dir(WORKSPACE).expect("the package is two folders down in the workspace");

    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let modules = match std::env::var("EMBERGATE_BUNDLE").as_deref() {
        Ok("none") => Vec::new(),
        Err(_) | Ok("" | "all") => built_plugins(),
        Ok(other) => fail(&format!("EMBERGATE_BUNDLE is `{other}`, but must be `all` or `none`")),
    };

    let mut bundled = String::from("&[");
    for (name, module) in &modules {
        // A copy of our own: what is bundled stays, whatever happens to target/plugins.
        let copy = out.join(format!("{name}.wasm"));
        fs::copy(module, &copy)
            .unwrap_or_else(|error| fail(&format!("cannot copy `{}`: {error}", module.display())));
        write!(bundled, "({name:?}, include_bytes!({copy:?}) as &[u8]), ").expect("a String can be written");
    }
    bundled.push(']');
    fs::write(out.join("bundled.rs"), bundled).expect("OUT_DIR can be written");
}

/// Returns the first-party plugins by name, with their modules, freshly built if need be.
fn built_plugins() -> Vec<(String, PathBuf)> {
    let plugins: Vec<_> = plugin_names()
        .into_iter()
        .map(|name| {
            let module = target_dir().join("plugins").join(format!("{name}.wasm"));
            (name, module)
        })
        .collect();

    let mut sources: Vec<PathBuf> =
        ["wit", "plugins/build.sh", "plugins/recursive/cut/src", "Cargo.toml", "Cargo.lock"]
            .map(PathBuf::from)
            .into();
    for (name, _) in &plugins {
        // Not the whole folder: golden cases are no reason to build anything.
        sources.extend(["src", "Cargo.toml"].map(|part| Path::new("plugins").join(name).join(part)));
    }
    for source in &sources {
        println!("cargo:rerun-if-changed={WORKSPACE}/{}", source.display());
    }

    let newest = sources.iter().filter_map(|source| newest(source)).max();
    let fresh = |module: &PathBuf| newest.is_some() && modified(module) >= newest;
    if !plugins.iter().all(|(_, module)| fresh(module)) {
        build_plugins();
    }
    plugins
}

fn plugin_names() -> Vec<String> {
    let entries = fs::read_dir("plugins")
        .unwrap_or_else(|error| fail(&format!("cannot read the folder `plugins`: {error}")));
    let mut names: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Returns the folder that `plugins/build.sh` takes as cargo's.
fn target_dir() -> PathBuf {
    let root = std::env::current_dir().expect("the workspace is there");
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn build_plugins() {
    let mut build = Command::new("bash");
    build.arg("plugins/build.sh").env("CARGO_TARGET_DIR", target_dir());
    for (key, _) in std::env::vars_os().filter(|(key, _)| is_of_this_build(key)) {
        build.env_remove(key);
    }
    let output = build
        .output()
        .unwrap_or_else(|error| fail(&format!("cannot run bash, which plugins/build.sh needs: {error}")));
    if !output.status.success() {
        fail(&format!(
            "plugins/build.sh failed ({}); `EMBERGATE_BUNDLE=none` builds the gateway without plugins\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
        ));
    }
}

/// Returns whether cargo set this variable for the build of the gateway: it would mislead
/// the cargo that builds the plugins for another target.
fn is_of_this_build(key: &OsStr) -> bool {
    const OURS: &[&str] =
        &["TARGET", "HOST", "PROFILE", "DEBUG", "OPT_LEVEL", "NUM_JOBS", "OUT_DIR", "LD_LIBRARY_PATH"];
    // What says where to fetch from and how to show it is the user's, and stays.
    const USERS: &[&str] = &[
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "CARGO_TARGET_DIR",
    ];
    let key = key.to_string_lossy();
    let is_cargos = key.starts_with("CARGO") || key.starts_with("RUSTC") || key.starts_with("RUSTDOC");
    let is_users = USERS.iter().any(|prefix| key.starts_with(prefix));
    OURS.contains(&&*key) || key == "RUSTFLAGS" || key.starts_with("DEP_") || is_cargos && !is_users
}

/// Returns the newest date of a file, or of the files in a folder.
fn newest(path: &Path) -> Option<SystemTime> {
    let Ok(entries) = fs::read_dir(path) else { return modified(path) };
    entries.filter_map(Result::ok).filter_map(|entry| newest(&entry.path())).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

#[expect(clippy::print_stderr, reason = "cargo shows what a build script writes there")]
fn fail(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1)
}
