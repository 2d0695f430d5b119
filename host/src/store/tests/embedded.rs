//! What only the embedded store promises: readers beside a writer, nothing by
//! halves, and clear words about files it cannot use.

use std::io::ErrorKind;

use super::error::cannot_open;
use super::*;

async fn database(folder: &Path) -> sqlite::Database {
    sqlite::Database::open(&folder.join("embergate.db"), &embedded_config(folder)).await.unwrap()
}

pub(super) async fn opened(folder: &Path) -> (Arc<dyn Store>, IndexState) {
    open(&embedded_config(folder), folder).await.unwrap()
}

async fn open_error(folder: &Path) -> StoreError {
    open(&embedded_config(folder), folder).await.err().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_work_while_a_transaction_is_open_and_see_none_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _state) = opened(folder.path()).await;
    store.create(&collection("docs")).await.unwrap();
    let database = database(folder.path()).await;
    let (started, has_started) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel();
    let writer = tokio::spawn(async move {
        database
            .write(move |transaction| {
                transaction.execute("DELETE FROM collections", [])?;
                started.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
            .await
    });
    tokio::task::spawn_blocking(move || has_started.recv().unwrap()).await.unwrap();
    assert_eq!(store.count("docs", None).await.unwrap(), 0);
    release.send(()).unwrap();
    writer.await.unwrap().unwrap();
    assert_eq!(store.collection("docs").await.unwrap(), None);
}

#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _state) = opened(folder.path()).await;
    store.create(&collection("docs")).await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON words WHEN (SELECT count(*) FROM words) = 1
                  BEGIN SELECT RAISE(ABORT, 'refused'); END";
    stranger(folder.path()).execute_batch(refuse).unwrap();
    let points =
        vec![point(1, [1.0, 0.0, 0.0], &[1], "/a.md", 0), point(2, [1.0, 0.0, 0.0], &[5], "/a.md", 1)];
    store.upsert("docs", points).await.unwrap_err();
    assert_eq!(store.count("docs", None).await.unwrap(), 0);
    store.upsert("docs", vec![point(1, [1.0, 0.0, 0.0], &[1], "/a.md", 0)]).await.unwrap();
    assert_eq!(store.count("docs", None).await.unwrap(), 1);
}

#[tokio::test]
async fn what_was_written_is_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _state) = opened(folder.path()).await;
    store.create(&collection("docs")).await.unwrap();
    store.upsert("docs", vec![point(1, [1.0, 0.0, 0.0], &[1], "/a.md", 0)]).await.unwrap();
    drop(store);
    let (store, _state) = opened(folder.path()).await;
    assert_eq!(store.existing("docs", &[id(1)]).await.unwrap(), [id(1)]);
}

#[tokio::test]
async fn a_second_indexer_is_refused_with_the_first_ones_process() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, state) = opened(folder.path()).await;
    let held = state.lock("docs").unwrap();
    let other = state.lock("other").unwrap();
    let error = state.lock("docs").unwrap_err().to_string();
    assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
    drop(held);
    state.lock("docs").unwrap();
    drop(other);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = open_error(&file.join("data")).await;
    assert!(matches!(&error, StoreError::Open { path, .. } if path.contains("file/data")), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("embergate.db"), vec![0x5a; 50_000]).unwrap();
    let error = open_error(folder.path()).await;
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.source().is_none(), "{cause} is told twice");
}

#[tokio::test]
async fn a_newer_file_and_a_foreign_one_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(opened(folder.path()).await);
    let path = folder.path().join("embergate.db");
    let change =
        |name: &str| rusqlite::Connection::open(&path).unwrap().pragma_update(None, name, 99).unwrap();
    change("user_version");
    let error = open_error(folder.path()).await;
    assert!(matches!(error, StoreError::Newer { have: 99, .. }), "{error}");
    change("application_id");
    let error = open_error(folder.path()).await;
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

/// Another program's connection to the store of `folder`.
pub(super) fn stranger(folder: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.join("embergate.db")).unwrap()
}

fn impatient(folder: &Path) -> Config {
    Config { timeout: Duration::from_millis(1), ..embedded_config(folder) }
}

#[tokio::test]
async fn a_file_that_another_program_holds_is_said_to_be_locked() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _state) = open(&impatient(folder.path()), folder.path()).await.unwrap();
    let writing = stranger(folder.path());
    writing.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.create(&collection("docs")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Busy { path, .. } if path.contains("embergate.db")), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let making = stranger(folder.path());
    making.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = open(&impatient(folder.path()), folder.path()).await.err().unwrap();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
}

/// Writes to a store after `pragma`, which makes SQLite fail as it does in earnest.
async fn failure_after(pragma: &'static str) -> StoreError {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path()).await;
    let write = database.write(move |transaction| {
        transaction.execute_batch(pragma)?;
        transaction.execute("CREATE TABLE much AS SELECT randomblob(9000000)", [])?;
        Ok(())
    });
    write.await.unwrap_err()
}

#[tokio::test]
async fn a_full_disk_and_a_file_that_must_not_be_written_are_told_apart() {
    let error = failure_after("PRAGMA max_page_count = 1").await;
    assert!(matches!(&error, StoreError::Full { path, .. } if path.contains("embergate.db")), "{error}");
    let error = failure_after("PRAGMA query_only = 1").await;
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    let io = |kind: ErrorKind| cannot_open(Path::new("/data"), kind.into());
    assert!(matches!(io(ErrorKind::StorageFull), StoreError::Full { .. }));
    assert!(matches!(io(ErrorKind::PermissionDenied), StoreError::ReadOnly { .. }));
    assert!(matches!(io(ErrorKind::NotADirectory), StoreError::Open { .. }));
}
