//! How much text a run may hold at once, in tokens: documents wait for room
//! before they are read, and give it back when they are written.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a document that are counted as one token before it was tokenized.
const TOKEN_BYTES: u64 = 4;

/// Batches that fill all of the room.
const PARTS: u32 = 8;

/// Room for so many tokens between reading and writing.
///
/// Documents are written in batches, and a batch that is being gathered waits
/// for more. So that it never waits for a document which waits for the batch's
/// room, one document has at most seven eighths of all, and a batch is closed
/// when it has an eighth.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    room: Arc<Semaphore>,
    max_tokens: u32,
}

/// The room that one document takes, freed by drop.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) n_tokens: u32,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(super) fn new(max_tokens: u32) -> Self {
        let max_tokens = max_tokens.max(PARTS);
        Self { room: Arc::new(Semaphore::new(max_tokens as usize)), max_tokens }
    }

    /// Waits for room for a document of `n_bytes`.
    pub(super) async fn room_for(&self, n_bytes: u64) -> Room {
        let most = self.max_tokens - self.max_tokens / PARTS;
        let n_tokens = u32::try_from(n_bytes / TOKEN_BYTES).unwrap_or(u32::MAX).clamp(1, most);
        // It is never closed.
        let permit = Arc::clone(&self.room).acquire_many_owned(n_tokens).await.ok();
        Room { n_tokens, _permit: permit }
    }

    /// Tokens at which a batch is closed.
    pub(super) fn of_batch(&self) -> u32 {
        self.max_tokens / PARTS
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_document_waits_until_there_is_room() {
        let budget = Budget::new(100);
        let first = budget.room_for(240).now_or_never().unwrap();
        assert!(budget.room_for(200).now_or_never().is_none());
        drop(first);
        assert!(budget.room_for(200).now_or_never().is_some());
    }

    #[test]
    fn the_largest_document_has_room_beside_a_batch_that_is_not_closed() {
        for max_tokens in [0, 1, 5, 99, 100] {
            let budget = Budget::new(max_tokens);
            let mut open = Vec::new();
            while open.iter().map(|room: &Room| room.n_tokens).sum::<u32>() + 1 < budget.of_batch() {
                open.push(budget.room_for(1).now_or_never().unwrap());
            }
            assert!(budget.room_for(u64::MAX).now_or_never().is_some(), "{max_tokens}");
        }
    }
}
