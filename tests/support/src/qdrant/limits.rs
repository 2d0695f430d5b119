//! Strict mode: what the real server refuses where its operator set limits.

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{Filter, StrictModeConfig};
use tonic::Status;

use super::Collection;

type Limit = fn(&StrictModeConfig) -> Option<u64>;

pub(super) fn upsert(collection: &Collection, n_points: usize) -> Result<(), Status> {
    check(collection, "upsert limit", n_points as u64, |strict| strict.upsert_max_batchsize)
}

pub(super) fn timeout(collection: &Collection, seconds: Option<u64>) -> Result<(), Status> {
    check(collection, "timeout", seconds.unwrap_or_default(), |strict| strict.max_timeout.map(u64::from))
}

pub(super) fn page(collection: &Collection, limit: Option<u64>) -> Result<(), Status> {
    check(collection, "limit", limit.unwrap_or(10), |strict| strict.max_query_limit.map(u64::from))
}

/// Whether one index more may be made.
pub(super) fn indexes(collection: &Collection) -> Result<(), Status> {
    let n_indexes = collection.indexed.len() as u64 + 1;
    check(collection, "payload index count", n_indexes, |strict| strict.max_payload_index_count)
}

/// Looks at the conditions of the filter itself.
pub(super) fn filter(collection: &Collection, filter: Option<&Filter>) -> Result<(), Status> {
    let conditions = filter.into_iter().flat_map(|filter| &filter.must);
    let sizes = conditions.filter_map(|condition| match condition.condition_one_of.as_ref()? {
        ConditionOneOf::Field(field) => match field.r#match.as_ref()?.match_value.as_ref()? {
            MatchValue::Keywords(keywords) => Some(keywords.strings.len()),
            _ => None,
        },
        _ => None,
    });
    let largest = sizes.max().unwrap_or_default() as u64;
    check(collection, "condition size", largest, |strict| strict.condition_max_size)
}

fn check(collection: &Collection, what: &str, got: u64, limit: Limit) -> Result<(), Status> {
    match collection.strict.as_ref().filter(|strict| strict.enabled()).and_then(limit) {
        Some(max) if max < got => Err(Status::permission_denied(format!(
            "Forbidden: Limit exceeded {got} > {max} for \"{what}\". Help: Reduce the \"{what}\" parameter."
        ))),
        _ => Ok(()),
    }
}
