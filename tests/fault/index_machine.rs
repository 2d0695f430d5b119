//! What the machine does to an indexer, through the real binary: a full disk.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use embergate::store;
use embergate_test_support::binary::{Desk, Said};

use crate::index::{paragraphs, write};
use crate::index_parts::{COLLECTION, Place};

const INDEX: [&str; 4] = ["index", "docs", "--collection", COLLECTION];

/// Indexes on a disk of 192 KiB, of 1.5 MiB and of 64 MiB, and copies what is there.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=192k tmpfs "$STORE" || exit 77
for size in 192k 1536k 64m; do
    mount -o remount,size=$size "$STORE" || exit 77
    "$0" "$@" >"$OUT/$size.out" 2>"$OUT/$size.err"
    echo $? >"$OUT/$size.code"
done
cp -r "$STORE" "$OUT/kept"
"#;

fn desk() -> Desk {
    Desk::new(env!("CARGO_BIN_EXE_embergate"))
}

/// `script`, where mounts are its own; it gets the command as its arguments.
fn apart(desk: &Desk, script: &str, arguments: &[&str]) -> Command {
    let inner = desk.command(arguments);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(desk.folder()).env_clear().stdin(Stdio::null());
    for (key, value) in inner.get_envs() {
        command.envs(value.map(|value| (key, value)));
    }
    command
}

fn write_documents(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for number in 0..60 {
        write(folder, &[(&format!("{number}.txt"), paragraphs(&format!("bread {number}"), 0..12))]);
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// What is in a copy of a store.
async fn place(folder: &Path) -> Place {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("embergate.db"), copy.path().join("embergate.db")).unwrap();
    let log = folder.join("embergate.db-wal");
    if log.exists() {
        std::fs::copy(log, copy.path().join("embergate.db-wal")).unwrap();
    }
    Place::in_folder(&store::Config::default(), copy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_with_room_the_run_ends_as_a_clean_one() {
    let (desk, out) = (desk(), tempfile::tempdir().unwrap());
    let (full, roomy) = (desk.folder().join("full"), desk.folder().join("roomy"));
    std::fs::create_dir(&full).unwrap();
    write_documents(&desk.folder().join("docs"));
    let configuration = |store: &Path| {
        let max_tokens = "max_tokens = 40\nmodel = \"static-embed-en-256\"";
        format!(
            "[index]\nbatch_documents = 4\n[store]\npath = \"{}\"\n[[collection]]\nname = \"{COLLECTION}\"\n{max_tokens}\n",
            store.display()
        )
    };
    desk.write("embergate.toml", configuration(&full));
    let mut command = apart(&desk, SCRIPT, &INDEX);
    let said = Said::by(command.env("STORE", &full).env("OUT", out.path()));
    if said.code != Some(0) {
        skip(&format!("no file system of its own can be mounted here: {}", said.stderr));
        return;
    }
    for size in ["192k", "1536k"] {
        let error = read(out.path(), &format!("{size}.err"));
        assert_eq!(read(out.path(), &format!("{size}.code")), "1\n", "{size}: {error}");
        assert!(error.contains(&format!("no room is left for `{}", full.display())), "{size}: {error}");
    }
    assert_eq!(read(out.path(), "64m.code"), "0\n", "{}", read(out.path(), "64m.err"));
    desk.write("embergate.toml", configuration(&roomy));
    desk.json(&INDEX);
    let (got, want) = (place(&out.path().join("kept")).await, place(&roomy).await);
    let (got, want) = (got.contents().await, want.contents().await);
    assert_eq!(got.points, want.points);
    assert_eq!(got.records.len(), want.records.len());
}

fn skip(reason: &str) {
    drop(writeln!(std::io::stderr(), "skipped: {reason}"));
}
