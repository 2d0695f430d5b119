//! How many requests are under way at once: as many as may be, half as many whenever the gateway
//! says that it is too much, and one more for each round that went well.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) struct Flow {
    most: f64,
    state: Mutex<State>,
    /// A request has ended, or the window is wider.
    changed: Notify,
}

struct State {
    /// Requests at once; its whole part counts.
    window: f64,
    n_under_way: usize,
    /// Nothing is sent before.
    not_before: Option<Instant>,
    /// Counts how often the window was halved: requests of one round halve it once.
    round: u64,
}

/// One request that is under way. Dropping it makes room for another.
pub(super) struct Turn<'f> {
    flow: &'f Flow,
    round: u64,
}

impl Flow {
    pub(super) fn new(max_in_flight: usize) -> Self {
        let most = max_in_flight.clamp(1, 1024) as f64;
        let state = State { window: most, n_under_way: 0, not_before: None, round: 0 };
        Self { most, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Waits for room, and for the end of a wait that was asked for; nothing where there is none
    /// until `until`.
    pub(super) async fn turn(&self, until: Instant) -> Option<Turn<'_>> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let now = Instant::now();
            let opens = match self.lock().take(now) {
                Ok(round) => return Some(Turn { flow: self, round }),
                Err(opens) => opens,
            };
            if until <= now {
                return None;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(opens.unwrap_or(until).min(until)) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes room; else says when there may be some, unless that depends on others alone.
    fn take(&mut self, now: Instant) -> Result<u64, Option<Instant>> {
        if let Some(opens) = self.not_before.filter(|opens| now < *opens) {
            return Err(Some(opens));
        }
        if self.window as usize <= self.n_under_way {
            return Err(None);
        }
        self.n_under_way += 1;
        Ok(self.round)
    }
}

impl Turn<'_> {
    pub(super) fn went_well(self) {
        let mut state = self.flow.lock();
        state.window = (state.window + 1.0 / state.window).min(self.flow.most);
    }

    /// The gateway takes no more for `wait`.
    pub(super) fn too_much(self, wait: Duration) {
        let mut state = self.flow.lock();
        if self.round == state.round {
            state.window = (state.window / 2.0).max(1.0);
            state.round += 1;
        }
        let opens = Instant::now() + wait;
        state.not_before = Some(state.not_before.map_or(opens, |before| before.max(opens)));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.flow.lock().n_under_way -= 1;
        self.flow.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// How many requests are let through now.
    async fn open(flow: &Flow) -> usize {
        let mut turns = Vec::new();
        while let Some(turn) = flow.turn(Instant::now()).await {
            turns.push(turn);
        }
        turns.len()
    }

    async fn turn(flow: &Flow) -> Turn<'_> {
        flow.turn(Instant::now() + LONG).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_refused_together_halve_the_window_once() {
        let flow = Flow::new(8);
        let turns = [turn(&flow).await, turn(&flow).await, turn(&flow).await];
        for turn in turns {
            turn.too_much(Duration::ZERO);
        }
        assert_eq!(open(&flow).await, 4);
        turn(&flow).await.too_much(Duration::ZERO);
        assert_eq!(open(&flow).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_grows_by_one_in_a_round_and_never_too_far() {
        let flow = Flow::new(4);
        turn(&flow).await.too_much(Duration::ZERO);
        assert_eq!(open(&flow).await, 2);
        for _ in 0..3 {
            turn(&flow).await.went_well();
        }
        assert_eq!(open(&flow).await, 3);
        for _ in 0..100 {
            turn(&flow).await.went_well();
        }
        assert_eq!(open(&flow).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_sends_before_the_time_that_one_was_told() {
        let flow = Flow::new(4);
        let begun = Instant::now();
        turn(&flow).await.too_much(Duration::from_secs(7));
        turn(&flow).await.went_well();
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_room_gets_it_when_a_request_ends() {
        let flow = Flow::new(1);
        let first = turn(&flow).await;
        let (second, ()) = tokio::join!(turn(&flow), async { drop(first) });
        assert!(flow.turn(Instant::now() + LONG).await.is_none(), "it waits in vain");
        drop(second);
        assert_eq!(open(&flow).await, 1);
    }
}
