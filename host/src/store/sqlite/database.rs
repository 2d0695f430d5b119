//! The file and its connections: one that writes, a few that read meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::Semaphore;

use super::schema::{self, FORMAT};
use crate::store::error::cannot_open;
use crate::store::{Config, StoreError};

/// Says whose file it is, in its `application_id`: `EmbG`.
const APPLICATION: u32 = 0x456d_6247;

/// Pages of the log after which they are taken over into the file: each is
/// written there once, however often it was changed meanwhile.
const CHECKPOINT: i64 = 4096;

/// One SQLite file.
#[derive(Clone)]
pub(in crate::store) struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    timeout: std::time::Duration,
    writer: Mutex<Connection>,
    /// Idle connections; never more than permits.
    readers: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Database {
    /// Opens the file, creating it and its folder where they are missing.
    pub(in crate::store) async fn open(path: &Path, config: &Config) -> Result<Self, StoreError> {
        let (path, timeout) = (path.to_owned(), config.timeout);
        let (config, max_readers) = (config.clone(), config.max_readers.max(1));
        let open = move || {
            let shown = path.display().to_string();
            let writer = writer(&path, &config)?;
            let shared = Shared {
                path,
                timeout,
                writer: Mutex::new(writer),
                readers: Mutex::default(),
                permits: Arc::new(Semaphore::new(max_readers)),
            };
            tracing::debug!(path = shown, "store opened");
            Ok(Self { shared: Arc::new(shared) })
        };
        blocking(open).await
    }

    /// Runs `act` in a transaction: what it did is on the disk when this
    /// returns, or nothing is where it failed.
    pub(in crate::store) async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            // A writer that panicked left no open transaction: dropping it rolled back.
            let mut writer = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = (|| {
                let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let value = act(&transaction)?;
                transaction.commit()?;
                Ok(value)
            })();
            outcome.map_err(|error| shared.with_path(error))
        })
        .await
    }

    /// Runs `act` on a connection that cannot write. Waits where as many read
    /// as may at the same time.
    pub(in crate::store) async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&shared.permits).acquire_owned().await.map_err(failed)?;
        blocking(move || {
            let _permit = permit;
            let idle = shared.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let outcome = idle.map_or_else(|| shared.reader(), Ok).and_then(|reader| {
                let value = act(&reader)?;
                shared.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
                Ok(value)
            });
            outcome.map_err(|error| shared.with_path(error))
        })
        .await
    }
}

impl Shared {
    fn reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&self.path, flags)?;
        reader.busy_timeout(self.timeout)?;
        reader.set_prepared_statement_cache_capacity(64);
        Ok(reader)
    }

    /// Says which file it is about.
    fn with_path(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Failed(source) => named(&self.path, source),
            other => other,
        }
    }
}

fn writer(path: &Path, config: &Config) -> Result<Connection, StoreError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| cannot_open(path, error))?;
    }
    let prepared = (|| {
        let mut writer = Connection::open(path)?;
        writer.busy_timeout(config.timeout)?;
        writer.set_prepared_statement_cache_capacity(64);
        prepare(&mut writer, path)?;
        // Ids and hashes fall anywhere in their indexes: pages that are not kept
        // are read and written again for each batch. Less than nothing counts in KiB.
        let kib = i64::try_from(config.write_cache.as_u64() / 1024).unwrap_or(i64::MAX);
        writer.pragma_update(None, "cache_size", -kib.max(1))?;
        Ok(writer)
    })();
    prepared.map_err(|error| match error {
        StoreError::Failed(source) => match named(path, source) {
            StoreError::Failed(source) => StoreError::Open { path: path.display().to_string(), source },
            told => told,
        },
        other => other,
    })
}

/// Checks whose file it is, and makes the tables of a new one.
fn prepare(writer: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |connection: &Connection, name: &str| -> rusqlite::Result<u32> {
        connection.pragma_query_value(None, name, |row| row.get(0))
    };
    // Larger pages hold a vector whole. No effect on a file that is there.
    writer.pragma_update(None, "page_size", 16_384)?;
    let n_tables: u32 = writer.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if 0 < n_tables && pragma(writer, "application_id")? != APPLICATION {
        return Err(StoreError::Foreign { path: path.display().to_string() });
    }
    writer.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    writer.pragma_update(None, "synchronous", "FULL")?;
    writer.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
    writer.pragma_update(None, "foreign_keys", true)?;

    // A reader must not wait for whoever writes: a file that is made already needs no lock.
    if pragma(writer, "user_version")? == FORMAT {
        return Ok(());
    }
    // Another process may be at the same point: whoever comes second finds the tables.
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let have = pragma(&transaction, "user_version")?;
    if FORMAT < have {
        return Err(StoreError::Newer { path: path.display().to_string(), have, known: FORMAT });
    }
    schema::make(&transaction, have)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(transaction.commit()?)
}

/// Tells what can be done something about from any other failure.
fn named(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    let code = source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    let path = path.display().to_string();
    match code {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            // As text: the cause of the cause only says it again.
            StoreError::Damaged { path, source: source.to_string().into() }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path, source },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly { path, source },
        Some(ErrorCode::DiskFull) => StoreError::Full { path, source },
        _ => StoreError::Failed(source),
    }
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(act).await.map_err(failed)?
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Failed(Box::new(error))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        failed(error)
    }
}
