//! How many calls of a plugin may be at work: seats, which stay with the core that used them last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::per_core::PerCore;

/// A semaphore whose permits rest where they are likely to be used next. Nobody waits while a
/// seat is free, wherever it rests.
pub(super) struct Seats {
    /// Seats that rest nowhere: never used, or given back while somebody waited.
    free: Semaphore,
    resting: PerCore<AtomicUsize>,
    n_waiting: AtomicUsize,
}

/// The right to be at work, given back when dropped.
pub(super) struct Seat<'s>(&'s Seats);

impl Seats {
    /// At least one.
    pub(super) fn new(n: usize) -> Self {
        let free = Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS));
        Self { free, resting: PerCore::default(), n_waiting: AtomicUsize::new(0) }
    }

    /// Takes a seat; returns nothing where none is given back within `wait`.
    ///
    /// Cancel-safe. Who waits is served in the order of asking.
    pub(super) async fn take(&self, wait: Duration) -> Option<Seat<'_>> {
        if let Some(seat) = self.try_take() {
            return Some(seat);
        }
        // Who gives a seat back from here on sees that somebody waits, and who gave one back
        // before has left it where it is found now.
        let _waiting = Waiting::begin(&self.n_waiting);
        if let Some(seat) = self.try_take() {
            return Some(seat);
        }
        let permit = tokio::time::timeout(wait, self.free.acquire()).await.ok()?.ok()?;
        permit.forget();
        Some(Seat(self))
    }

    fn try_take(&self) -> Option<Seat<'_>> {
        if self.resting.all().any(take_one) {
            return Some(Seat(self));
        }
        self.free.try_acquire().ok()?.forget();
        Some(Seat(self))
    }

    fn is_awaited(&self) -> bool {
        self.n_waiting.load(Ordering::SeqCst) != 0
    }
}

/// Takes one of what rests at a place, if there is one.
fn take_one(resting: &AtomicUsize) -> bool {
    // Looking costs others less than trying to change it.
    resting.load(Ordering::SeqCst) != 0
        && resting.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let Self(seats) = self;
        let resting = seats.resting.mine();
        if !seats.is_awaited() {
            resting.fetch_add(1, Ordering::SeqCst);
            // Who has begun to wait meanwhile may have looked before it rested there.
            if !seats.is_awaited() || !take_one(resting) {
                return;
            }
        }
        seats.free.add_permits(1);
    }
}

struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn begin(n: &'w AtomicUsize) -> Self {
        n.fetch_add(1, Ordering::SeqCst);
        Self(n)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::{JoinSet, yield_now};
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// How many can be taken now.
    fn n_free(seats: &Seats) -> usize {
        std::iter::from_fn(|| seats.try_take()).collect::<Vec<_>>().len()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_taken_than_there_are() {
        let seats = Seats::new(2);
        let (one, _two) = (seats.take(LONG).await.unwrap(), seats.take(LONG).await.unwrap());
        assert!(seats.take(LONG).await.is_none());
        drop(one);
        assert!(seats.take(LONG).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_next_that_is_given_back_and_not_who_comes_later() {
        let seats = Seats::new(1);
        let taken = seats.take(LONG).await.unwrap();
        let mut waits = Box::pin(seats.take(LONG));
        assert!(timeout(Duration::ZERO, waits.as_mut()).await.is_err());
        drop(taken);
        assert!(seats.try_take().is_none());
        drop(waits.await.unwrap());
        assert_eq!(n_free(&seats), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_queue_takes_no_seat_along() {
        let seats = Seats::new(1);
        let taken = seats.take(LONG).await.unwrap();
        let mut waits = Box::pin(seats.take(LONG));
        assert!(timeout(Duration::ZERO, waits.as_mut()).await.is_err());
        drop(taken);
        drop(waits);
        assert_eq!(n_free(&seats), 1);
        assert!(!seats.is_awaited());
    }

    #[test]
    fn a_seat_that_rests_with_another_thread_is_found() {
        let seats = Seats::new(1);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| drop(seats.try_take().unwrap())).join().unwrap();
            }
        });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_is_forgotten_and_no_seat_is_lost_or_doubled() {
        let seats = Arc::new(Seats::new(3));
        let at_work = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let (seats, at_work) = (Arc::clone(&seats), Arc::clone(&at_work));
            tasks.spawn(async move {
                for _ in 0..2_000 {
                    let seat = seats.take(LONG).await.expect("a seat");
                    assert!(at_work.fetch_add(1, Ordering::SeqCst) < 3);
                    yield_now().await;
                    at_work.fetch_sub(1, Ordering::SeqCst);
                    drop(seat);
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(n_free(&seats), 3);
    }
}
