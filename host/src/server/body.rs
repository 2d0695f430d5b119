//! Reads a request's body: not more than allowed, not for longer than allowed,
//! and not more of them at once than there is memory for.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, EXPECT};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::Config;

/// Memory is given out in pieces of this size, because permits are 32 bits.
const PIECE: usize = 1024;

/// How long the rest of a body that was refused is read and thrown away.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Room for the bodies of all requests together.
pub(super) struct Bodies {
    max: usize,
    timeout: Duration,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// A body in memory; its room is free again when dropped.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is longer than {max} bytes: send fewer texts at once, or raise `server.max_body`")]
    TooLarge { max: usize },
    #[error("the body did not arrive within {within:?}")]
    Slow { within: Duration },
    #[error("too many large requests are under way")]
    NoRoom,
    #[error("the body is compressed: send it as it is")]
    Encoded,
    #[error("the body ended too early")]
    Broken,
}

impl Bodies {
    pub(super) fn new(config: &Config, tasks: TaskTracker) -> Self {
        let bytes = |size: crate::units::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let max = bytes(config.max_body);
        // One body must fit, or nothing is ever answered.
        let pieces = pieces(bytes(config.max_bodies).max(max)).min(Semaphore::MAX_PERMITS);
        Self { max, timeout: config.body_timeout, room: Arc::new(Semaphore::new(pieces)), tasks }
    }

    /// Reads all of `body`, or refuses it as early as possible: by its declared
    /// length before the first byte of it is read.
    pub(super) async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<Held, BodyError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(BodyError::Encoded);
        }
        let declared = body.size_hint().lower();
        if (self.max as u64) < declared {
            self.refuse(headers, body);
            return Err(BodyError::TooLarge { max: self.max });
        }
        let declared = usize::try_from(declared).unwrap_or(self.max);
        match timeout(self.timeout, self.collect(body, declared)).await {
            Ok(read) => read,
            Err(_) => Err(BodyError::Slow { within: self.timeout }),
        }
    }

    /// Takes leave of the body of a request that is refused whatever is in it.
    pub(super) fn refuse<B>(&self, headers: &HeaderMap, body: B)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        // Who asked first has sent nothing, and needs nothing thrown away.
        if !body.is_end_stream() && !headers.contains_key(EXPECT) {
            self.discard(body);
        }
    }

    async fn collect<B>(&self, mut body: B, declared: usize) -> Result<Held, BodyError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let mut room = self.more_room(None, declared)?;
        let mut bytes = BytesMut::with_capacity(declared);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            let length = bytes.len() + data.len();
            if self.max < length {
                self.discard(body);
                return Err(BodyError::TooLarge { max: self.max });
            }
            room = self.more_room(room, length)?;
            bytes.extend_from_slice(&data);
        }
        Ok(Held { bytes: bytes.freeze(), _room: room })
    }

    /// Grows `held` until `length` bytes have room.
    fn more_room(
        &self,
        held: Option<OwnedSemaphorePermit>,
        length: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, BodyError> {
        let have = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = pieces(length).saturating_sub(have);
        if missing == 0 {
            return Ok(held);
        }
        let missing = u32::try_from(missing).map_err(|_| BodyError::NoRoom)?;
        let more = self.room.clone().try_acquire_many_owned(missing).map_err(|_| BodyError::NoRoom)?;
        Ok(Some(match held {
            Some(mut held) => {
                held.merge(more);
                held
            }
            None => more,
        }))
    }

    /// Reads on for a moment and keeps nothing. Closing while a client still
    /// sends would reset the connection, and the client might never see why.
    fn discard<B>(&self, mut body: B)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let mut left = self.max;
        self.tasks.spawn(timeout(DISCARD_TIME, async move {
            while let Some(Ok(frame)) = body.frame().await {
                left = match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(left) => left,
                    None => return,
                };
            }
        }));
    }
}

fn pieces(bytes: usize) -> usize {
    bytes.div_ceil(PIECE)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;
    use crate::units::ByteSize;

    fn bodies(max_body: u64, max_bodies: u64) -> Bodies {
        let config = Config {
            max_body: ByteSize::b(max_body),
            max_bodies: ByteSize::b(max_bodies),
            ..Config::default()
        };
        Bodies::new(&config, TaskTracker::new())
    }

    /// A body whose length nobody declared.
    fn streamed(parts: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin + use<> {
        let frames: Vec<_> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[track_caller]
    fn check(read: Result<Held, BodyError>, want: Result<&str, BodyError>) {
        assert_eq!(read.map(|held| held.bytes), want.map(|text| Bytes::copy_from_slice(text.as_bytes())));
    }

    #[tokio::test]
    async fn a_body_of_the_longest_length_is_read() {
        let (bodies, none) = (bodies(8, 8), HeaderMap::new());
        check(bodies.read(&none, Full::new(Bytes::from("12345678"))).await, Ok("12345678"));
        check(bodies.read(&none, streamed(&["1234", "5678"])).await, Ok("12345678"));
    }

    #[tokio::test]
    async fn a_longer_body_is_refused_whether_its_length_is_declared_or_not() {
        let (bodies, none) = (bodies(8, 8), HeaderMap::new());
        let refused = Err(BodyError::TooLarge { max: 8 });
        check(bodies.read(&none, Full::new(Bytes::from("123456789"))).await, refused);
        check(bodies.read(&none, streamed(&["1234", "56789"])).await, refused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let stuck = StreamBody::new(
            stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("12")))]).chain(stream::pending()),
        );
        let slow = BodyError::Slow { within: Config::default().body_timeout };
        check(bodies(8, 8).read(&HeaderMap::new(), stuck).await, Err(slow));
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_bound_and_room_comes_back() {
        let (bodies, none) = (bodies(2048, 3072), HeaderMap::new());
        let two_pieces = || Full::new(Bytes::from(vec![b'x'; 2048]));
        let held = bodies.read(&none, two_pieces()).await.unwrap();
        check(bodies.read(&none, two_pieces()).await, Err(BodyError::NoRoom));
        check(bodies.read(&none, streamed(&["small"])).await, Ok("small"));
        drop(held);
        assert!(bodies.read(&none, two_pieces()).await.is_ok());
    }

    #[tokio::test]
    async fn a_compressed_body_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        check(bodies(8, 8).read(&headers, Full::new(Bytes::from("x"))).await, Err(BodyError::Encoded));
    }
}
