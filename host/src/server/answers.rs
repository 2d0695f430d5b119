//! Room in memory for the answers that are under way: taken before an answer is
//! written out as text, and given back once its bytes are sent or given up.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Config;

/// Memory is given out in pieces of this size, because permits are 32 bits.
const PIECE: usize = 1024;

/// An answer of fewer bytes is small: a few vectors.
const SMALL: usize = 64 * 1024;

/// Room for the answers of all requests together. A quarter is for small ones, so
/// that large ones which nobody reads do not hold them up.
pub(super) struct Answers {
    small: Share,
    large: Share,
}

struct Share {
    pieces: u32,
    room: Arc<Semaphore>,
}

/// Room for one answer; free again when dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many large answers wait for clients that do not read them")]
pub(super) struct NoRoom;

/// An answer and its room.
struct Kept {
    json: Vec<u8>,
    _room: Room,
}

impl Answers {
    pub(super) fn new(config: &Config) -> Self {
        let all = config.max_answers.as_u64();
        Self { small: Share::new(all / 4), large: Share::new(all - all / 4) }
    }

    /// Room for an answer of about `bytes`, once there is some. One that is larger
    /// than all room of its kind gets it all, and so goes alone.
    pub(super) async fn room(&self, bytes: usize, deadline: Instant) -> Result<Room, NoRoom> {
        let share = if bytes < SMALL { &self.small } else { &self.large };
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX).min(share.pieces);
        match timeout_at(deadline, share.room.clone().acquire_many_owned(pieces)).await {
            Ok(Ok(permit)) => Ok(Room { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(NoRoom),
        }
    }
}

impl Share {
    fn new(bytes: u64) -> Self {
        // The semaphore takes more permits than that only where a pointer has 64 bits.
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let pieces = u32::try_from(bytes.div_ceil(PIECE as u64)).unwrap_or(u32::MAX).clamp(1, most);
        Self { pieces, room: Arc::new(Semaphore::new(pieces as usize)) }
    }
}

impl Room {
    /// `json` with its room, which is free again once nobody holds the bytes any more.
    pub(super) fn keep(self, json: Vec<u8>) -> Bytes {
        Bytes::from_owner(Kept { json, _room: self })
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::units::ByteSize;

    fn answers(max_answers: u64) -> Answers {
        Answers::new(&Config { max_answers: ByteSize::b(max_answers), ..Config::default() })
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_until_those_before_it_are_gone() {
        let answers = answers(400_000);
        let first = answers.room(200_000, soon()).await.unwrap().keep(vec![b'x'; 200_000]);
        let part = first.slice(..10);
        drop(first);
        assert_eq!(answers.room(200_000, soon()).await.unwrap_err(), NoRoom);
        assert!(answers.room(90_000, soon()).await.is_ok());
        drop(part);
        assert!(answers.room(200_000, soon()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_larger_than_the_bound_goes_alone() {
        let answers = answers(2048);
        let large = answers.room(1 << 40, soon()).await.unwrap();
        assert_eq!(answers.room(SMALL, soon()).await.unwrap_err(), NoRoom);
        drop(large);
        assert!(answers.room(SMALL, soon()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn small_answers_do_not_wait_for_large_ones() {
        let answers = answers(400_000);
        let _large = answers.room(300_000, soon()).await.unwrap();
        assert!(answers.room(SMALL - 1, soon()).await.is_ok());
    }
}
