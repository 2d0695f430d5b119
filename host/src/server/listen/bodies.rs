//! A request's body on its way in and its answer on its way out, watched.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::activity::UnderWay;

/// Bytes of an answer that a client must have taken within `write_timeout`, again and again.
const PIECE: usize = 256 * 1024;

/// A body that says when it has arrived, or nobody waits for the rest of it.
pub(super) struct Arriving<B> {
    body: B,
    request: Arc<UnderWay>,
}

impl<B: Body> Arriving<B> {
    pub(super) fn new(body: B, request: Arc<UnderWay>) -> Self {
        if body.is_end_stream() {
            request.arrived();
        }
        Self { body, request }
    }
}

impl<B: Body + Unpin> Body for Arriving<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.request.arrived();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Arriving<B> {
    fn drop(&mut self) {
        self.request.arrived();
    }
}

/// An answer that leaves piece by piece, and says when a piece was taken or given up.
pub(super) struct Leaving<B> {
    body: B,
    rest: Bytes,
    request: Arc<UnderWay>,
}

impl<B> Leaving<B> {
    pub(super) fn new(body: B, request: Arc<UnderWay>) -> Self {
        request.taken();
        Self { body, rest: Bytes::new(), request }
    }

    fn next_piece(&mut self) -> Bytes {
        let bytes = self.rest.split_to(PIECE.min(self.rest.len()));
        Bytes::from_owner(Piece { bytes, request: self.request.clone() })
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Leaving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return other,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest + body.lower());
        if let Some(upper) = body.upper() {
            hint.set_upper(rest + upper);
        }
        hint
    }
}

/// Some bytes of an answer. hyper drops them once they are written, or never will be.
struct Piece {
    bytes: Bytes,
    request: Arc<UnderWay>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.request.taken();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use hyper::Version;

    use super::super::activity::{Activity, Times};
    use super::super::places::Places;
    use super::*;

    async fn request() -> Arc<UnderWay> {
        let hour = std::time::Duration::from_secs(3600);
        let place = Places::new(1).take().await;
        Arc::new(
            Activity::new(place.0.clone(), Times { head: hour, idle: hour, write: hour })
                .begin(Version::HTTP_11),
        )
    }

    #[tokio::test]
    async fn an_answer_leaves_whole_in_pieces_of_a_known_length() {
        let whole: Bytes = (0..3 * PIECE + 5).map(|at| at as u8).collect();
        let mut leaving = Leaving::new(Full::new(whole.clone()), request().await);
        let mut read = Vec::new();
        while !leaving.is_end_stream() {
            assert_eq!(leaving.size_hint().exact(), Some((whole.len() - read.len()) as u64));
            let piece = leaving.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            read.extend_from_slice(&piece);
        }
        assert_eq!(read, whole);
    }

    #[tokio::test]
    async fn a_request_ends_when_the_last_piece_of_its_answer_is_gone() {
        let request = request().await;
        let still = Arc::downgrade(&request);
        let mut leaving = Leaving::new(Full::new(Bytes::from("kelp")), request);
        let piece = leaving.frame().await.unwrap().unwrap();
        drop(leaving);
        assert!(still.upgrade().is_some());
        drop(piece);
        assert!(still.upgrade().is_none());
    }
}
