//! What can go wrong in a store, told so that people know what to do.

use std::io::ErrorKind;
use std::path::Path;

use uuid::Uuid;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the store at `{path}`: set `store.path` to a folder that can be made and written")]
    Open {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("another program holds `{path}` locked: end it, or wait longer with `store.timeout`")]
    Busy {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("may not write `{path}`: allow it, or set `store.path` to another folder")]
    ReadOnly {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no room is left for `{path}`: make some, or set `store.path` to a folder on another disk")]
    Full {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot read Qdrant's key: correct `store.api_key_file`, which names `{path}`")]
    KeyFile {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no collection `{name}`; there are: {known}")]
    NoCollection { name: String, known: String },
    #[error(
        "collection `{name}` has {property} `{have}`, not `{want}`: delete it with `embergate collections delete {name}` and index it again, or index into another collection"
    )]
    Mismatch { name: String, property: &'static str, have: String, want: String },
    #[error(
        "another indexer works on collection `{collection}`{holder}: wait for it to end, or index into another collection"
    )]
    Locked { collection: String, holder: String },
    #[error(
        "collection `{name}` is in the way of `{wanted}`: delete it with `embergate collections delete {name}` and index it again, or index into another collection"
    )]
    Taken {
        /// A collection without generations, made by an earlier version.
        name: String,
        /// The generation that its name should lead to.
        wanted: String,
    },
    #[error("`{name}` cannot name a collection: use letters, digits and any of `-_.`, at most 128 of them")]
    Name { name: String },
    #[error("a point of collection `{collection}` has {got} dimensions, not {want}")]
    Dimensions { collection: String, want: usize, got: usize },
    #[error(
        "point `{id}` for collection `{collection}` has words without weights, or not in the order of their numbers"
    )]
    Words { collection: String, id: Uuid },
    #[error("`{path}` is damaged: move it away and index again")]
    Damaged {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "`{path}` was written by a newer Embergate (format {have}, this one knows {known}): use that one"
    )]
    Newer { path: String, have: u32, known: u32 },
    #[error("`{path}` is a database of some other program: set `store.path` to another folder")]
    Foreign { path: String },
    #[error("the store is Qdrant, and nothing says where: set `store.url`")]
    NoUrl,
    #[error("cannot reach Qdrant at `{url}`: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("Qdrant at `{url}` wants another key: {reason}; correct `store.api_key_file`")]
    Key { url: String, reason: String },
    #[error("Qdrant at `{url}` refused a call: {reason}")]
    Refused { url: String, reason: String },
    #[error(
        "Qdrant's collection `{name}` was not made by Embergate: {reason}; index into another collection"
    )]
    NotOurs { name: String, reason: String },
    #[error("a filter cannot use `{key}`: {reason}")]
    Filter { key: String, reason: String },
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Tells a disk that is full and a folder that must not be written from any
/// other reason not to open a file.
pub(super) fn cannot_open(path: &Path, error: std::io::Error) -> StoreError {
    let (kind, path, source) = (error.kind(), path.display().to_string(), Box::new(error));
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path, source },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { path, source },
        _ => StoreError::Open { path, source },
    }
}
