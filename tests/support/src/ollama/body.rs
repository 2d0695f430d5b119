//! The body of an answer, whole or broken off half-way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::wire::Cut;

/// Says at once how long it is, also where the second half never comes.
pub(super) struct Written {
    length: u64,
    /// What is still to be sent.
    rest: Option<Bytes>,
    breaks: Breaks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Never,
    /// Once what was written has left: it would be lost with the connection.
    AfterIt,
    Now,
}

impl Written {
    pub(super) fn whole(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { length: body.len() as u64, rest: Some(body), breaks: Breaks::Never }
    }

    /// Only the first half of `self` is sent.
    pub(super) fn broken_off(mut self) -> Self {
        if let Some(body) = &mut self.rest {
            body.truncate(body.len() / 2);
        }
        self.breaks = Breaks::AfterIt;
        self
    }
}

impl Body for Written {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.breaks {
            Breaks::Never => Poll::Ready(None),
            Breaks::AfterIt => {
                self.breaks = Breaks::Now;
                // The connection sends what it has while it waits.
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Breaks::Now => Poll::Ready(Some(Err(Cut))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.breaks == Breaks::Never
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
