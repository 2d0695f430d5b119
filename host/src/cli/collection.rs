//! A collection by its name: as its table has it, else as it is stored.

use super::Context;
use crate::index::CollectionConfig;
use crate::store::{Collection, Store, StoreError};

/// The collection of that name, which has to be there.
///
/// # Errors
/// It is not in the store.
pub(super) async fn stored(
    context: &Context,
    store: &dyn Store,
    name: &str,
) -> Result<CollectionConfig, StoreError> {
    let stored = store.known(name).await?;
    Ok(table(context, name).unwrap_or_else(|| as_stored(name, stored)))
}

/// Its `[[collection]]` table, where it has one.
pub(super) fn table(context: &Context, name: &str) -> Option<CollectionConfig> {
    context.config.collections.iter().find(|table| table.name == name).cloned()
}

/// A collection without a table, as its generation was made.
pub(super) fn as_stored(name: &str, stored: Collection) -> CollectionConfig {
    let Collection { model, language, .. } = stored;
    CollectionConfig { name: name.to_owned(), model, language, max_tokens: None, rules: Vec::new() }
}
