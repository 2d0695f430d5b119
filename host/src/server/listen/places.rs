//! The places of a listener's connections: bounded, and given away where they are only waited on.
//!
//! Nobody is kept out by connections that do nothing. When all places are taken,
//! a new connection gets the place of the one that has waited longest, and one
//! that works on a request keeps its own whatever happens. Every step takes
//! time that grows with the logarithm of the places.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a connection waits for; those named first give up their places first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waits {
    /// It never sent a request.
    First,
    /// It was answered, and may send another request.
    Next,
    /// It sends a request's body.
    Body,
}

/// All places of one listener.
pub(super) struct Places {
    max: usize,
    state: Mutex<State>,
    /// Something may have changed for who waits for a place.
    changed: Notify,
}

#[derive(Default)]
struct State {
    n_taken: usize,
    /// Those that were told to leave, and have not left.
    n_leaving: usize,
    next_turn: u64,
    waiting: BTreeMap<Turn, Arc<Notify>>,
}

/// Who waits for what, since when.
type Turn = (Waits, u64);

/// One connection's seat, known to its requests.
pub(super) struct Seat {
    places: Arc<Places>,
    told: Arc<Notify>,
    at: Mutex<At>,
}

#[derive(Clone, Copy)]
enum At {
    /// Told to leave once the turn is no longer among those that wait.
    Waiting(Turn),
    Working,
    Left,
}

/// A place that is taken; free again when dropped.
pub(super) struct Place(pub(super) Arc<Seat>);

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: max.max(1), state: Mutex::default(), changed: Notify::new() })
    }

    /// Takes a place, and has another connection leave for it where all are taken.
    /// While every connection works on a request, it waits. For one caller at a time.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        while !self.try_take() {
            self.displace();
            self.changed.notified().await;
        }
        let seat = Seat { places: self.clone(), told: Arc::default(), at: Mutex::new(At::Working) };
        seat.wait(Waits::First);
        Place(Arc::new(seat))
    }

    fn try_take(&self) -> bool {
        let mut state = self.lock();
        let is_free = state.n_taken < self.max;
        state.n_taken += usize::from(is_free);
        is_free
    }

    /// Tells the connection that waited longest to leave, unless one is leaving already.
    pub(super) fn displace(&self) {
        let mut state = self.lock();
        if 0 < state.n_leaving {
            return;
        }
        if let Some((_, told)) = state.waiting.pop_first() {
            state.n_leaving = 1;
            told.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// From now on the connection waits, and may be told to leave.
    pub(super) fn wait(&self, waits: Waits) {
        self.go(|state| {
            state.next_turn += 1;
            let turn = (waits, state.next_turn);
            state.waiting.insert(turn, self.told.clone());
            At::Waiting(turn)
        });
    }

    /// From now on the connection works, and keeps its place: also if it was told to leave just now.
    pub(super) fn work(&self) {
        self.go(|_| At::Working);
    }

    /// Returns once the connection has to leave.
    pub(super) async fn displaced(&self) {
        loop {
            self.told.notified().await;
            let at = self.at();
            if let At::Waiting(turn) = *at
                && !self.places.lock().waiting.contains_key(&turn)
            {
                return;
            }
        }
    }

    fn leave(&self) {
        self.go(|state| {
            state.n_taken -= 1;
            At::Left
        });
    }

    /// Moves on, unless the connection has left.
    fn go(&self, to: impl FnOnce(&mut State) -> At) {
        let mut at = self.at();
        let mut state = self.places.lock();
        match *at {
            At::Left => return,
            At::Waiting(turn) if state.waiting.remove(&turn).is_none() => state.n_leaving -= 1,
            At::Waiting(_) | At::Working => {}
        }
        *at = to(&mut state);
        drop(state);
        self.places.changed.notify_one();
    }

    fn at(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn full(max: usize) -> (Arc<Places>, Vec<Place>) {
        let places = Places::new(max);
        let mut taken = Vec::new();
        for _ in 0..max {
            taken.push(places.take().await);
        }
        (places, taken)
    }

    /// A new connection comes; the one with the index `want` has to leave for it.
    #[track_caller]
    fn check(places: &Arc<Places>, taken: &mut Vec<Place>, want: Option<usize>) {
        let mut take = Box::pin(places.take());
        assert!(take.as_mut().now_or_never().is_none(), "there was a free place");
        let told = taken.iter().position(|place| place.0.displaced().now_or_never().is_some());
        assert_eq!(told, want);
        if let Some(told) = told {
            drop(taken.remove(told));
            taken.push(take.now_or_never().expect("a place is free"));
        }
    }

    #[tokio::test]
    async fn who_never_asked_leaves_first_and_the_oldest_of_them() {
        let (places, mut taken) = full(3).await;
        taken[0].0.work();
        taken[0].0.wait(Waits::Next);
        check(&places, &mut taken, Some(1));
        check(&places, &mut taken, Some(1));
        assert_eq!(taken.len(), 3);
    }

    #[tokio::test]
    async fn who_waits_for_longest_leaves() {
        let (places, mut taken) = full(3).await;
        for at in [2, 0, 1] {
            taken[at].0.work();
            taken[at].0.wait(Waits::Next);
        }
        check(&places, &mut taken, Some(2));
    }

    #[tokio::test]
    async fn who_sends_a_body_leaves_last_of_those_that_wait() {
        let (places, mut taken) = full(2).await;
        taken[0].0.wait(Waits::Body);
        taken[1].0.work();
        check(&places, &mut taken, Some(0));
    }

    #[tokio::test]
    async fn who_works_keeps_its_place_and_the_new_one_waits() {
        let (places, taken) = full(2).await;
        taken.iter().for_each(|place| place.0.work());
        let mut take = Box::pin(places.take());
        assert!(take.as_mut().now_or_never().is_none());
        assert!(taken.iter().all(|place| place.0.displaced().now_or_never().is_none()));
        taken[1].0.wait(Waits::Next);
        assert!(take.as_mut().now_or_never().is_none());
        assert!(taken[1].0.displaced().now_or_never().is_some());
        drop(taken);
        assert!(take.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_request_that_came_just_in_time_saves_its_connection_and_another_leaves() {
        let (places, taken) = full(2).await;
        let mut take = Box::pin(places.take());
        assert!(take.as_mut().now_or_never().is_none());
        taken[0].0.work();
        assert!(taken[0].0.displaced().now_or_never().is_none());
        assert!(take.as_mut().now_or_never().is_none());
        assert!(taken[1].0.displaced().now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_new_connection_displaces_one() {
        let (places, taken) = full(3).await;
        let mut take = Box::pin(places.take());
        assert!(take.as_mut().now_or_never().is_none());
        taken[2].0.work();
        taken[2].0.wait(Waits::Next);
        assert!(take.as_mut().now_or_never().is_none());
        let told = taken.iter().filter(|place| place.0.displaced().now_or_never().is_some()).count();
        assert_eq!(told, 1);
    }

    #[tokio::test]
    async fn what_is_left_of_a_request_does_not_count_once_its_connection_is_gone() {
        let (places, mut taken) = full(1).await;
        let seat = taken[0].0.clone();
        seat.work();
        taken.clear();
        seat.wait(Waits::Next);
        taken.push(places.take().now_or_never().expect("the place is free"));
        check(&places, &mut taken, Some(0));
    }
}
