//! Work that goes on by itself: a stage runs in a task of its own, ahead of
//! whoever takes what it makes by a bounded number of items.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// The items of a stage, in order. Dropping it stops the stage.
pub(super) struct Ahead<T> {
    items: mpsc::Receiver<T>,
    /// Taken away when the stage has ended well.
    task: Option<AbortOnDropHandle<()>>,
}

impl<T> Unpin for Ahead<T> {}

/// Runs `stage` in a task, at most `max_items` ahead.
pub(super) fn ahead<T: Send + 'static>(
    stage: impl Stream<Item = T> + Send + 'static,
    max_items: usize,
) -> Ahead<T> {
    let (sender, items) = mpsc::channel(max_items.max(1));
    let run = async move {
        let mut stage = std::pin::pin!(stage);
        while let Some(item) = stage.next().await {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    };
    Ahead { items, task: Some(AbortOnDropHandle::new(tokio::spawn(run))) }
}

impl<T> Stream for Ahead<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        match self.items.poll_recv(context) {
            Poll::Ready(None) => {}
            ready_or_not => return ready_or_not,
        }
        let Some(task) = &mut self.task else { return Poll::Ready(None) };
        let ended = std::task::ready!(Pin::new(task).poll(context));
        self.task = None;
        // A stage that panicked has not made all of its items: its end is no end.
        match ended {
            Err(cause) if cause.is_panic() => std::panic::resume_unwind(cause.into_panic()),
            _ => Poll::Ready(None),
        }
    }
}

/// What comes through a channel, until nobody can send any more.
pub(super) fn received<T: Send + 'static>(mut items: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send {
    futures_util::stream::poll_fn(move |context| items.poll_recv(context))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt, stream};

    use super::*;

    #[tokio::test]
    async fn a_stage_works_ahead_by_so_many_items_and_no_more() {
        let n_made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&n_made);
        let make = stream::iter(0..100).inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let mut items = ahead(make, 4);
        while n_made.load(Ordering::Relaxed) < 5 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert_eq!(n_made.load(Ordering::Relaxed), 5, "four wait, and one is at the door");
        assert_eq!(items.by_ref().collect::<Vec<_>>().await, (0..100).collect::<Vec<_>>());
        assert_eq!(items.next().await, None);
    }

    #[tokio::test]
    async fn a_stage_that_panics_does_not_end_like_one_that_is_done() {
        let mut items = ahead(stream::iter([1, 0]).map(|number| 1 / number), 4);
        assert_eq!(items.next().await, Some(1));
        let ended = std::panic::AssertUnwindSafe(items.next()).catch_unwind().await;
        assert!(ended.is_err());
    }
}
